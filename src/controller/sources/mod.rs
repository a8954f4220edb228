//! Where every watched environment stands: one poll and one snapshot for all bindings of a source.

#[cfg(test)]
mod fake_registry;
mod poll_state;
mod poller;
mod reader;
mod registry;
mod revision_tokens;
mod states;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use uuid::Uuid;

use crate::core::{EnvironmentId, ProjectId};
use crate::registry::{Refusal, RegistryError, Snapshot, SnapshotVersion, SourceName};

pub use poller::{Poller, PollerDependencies};
use registry::in_time;
pub use registry::{Answer, DATABASE_TIMEOUT, Registry};
use revision_tokens::RevisionTokens;
use states::SourceStates;

/// Where an environment stands, as last seen.
#[derive(Debug, Clone)]
pub enum SourceState {
    /// Nobody has looked yet, or it is not watched.
    Pending,
    /// The registry answered that it may not be read.
    Refused {
        /// Why not.
        refusal: Refusal,
    },
    /// The registry did not answer, or with an error.
    Unavailable {
        /// Since when.
        since: Timestamp,
        /// What was tried and what came back, on one line; never a value.
        cause: String,
        /// Whether it can pass by itself.
        fault: Fault,
        /// What was read before, if anything was.
        last: Option<Arc<Snapshot>>,
    },
    /// It was read.
    Ready(Arc<Snapshot>),
}

/// What kind of error keeps an environment from being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The database is away or too slow: it passes by itself.
    Away,
    /// The database refuses, or holds what cannot be read: a person must act.
    Refused,
    /// The schema is missing, or no longer serves operators of this version.
    Schema,
}

impl Fault {
    /// What kind of fault an error is.
    #[must_use]
    pub const fn of(error: &RegistryError) -> Self {
        match error {
            RegistryError::Schema(_) => Self::Schema,
            error if error.is_transient() => Self::Away,
            _ => Self::Refused,
        }
    }
}

impl SourceState {
    /// The snapshot that was read last, also where the registry does not answer any more.
    #[must_use]
    pub const fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        match self {
            Self::Ready(snapshot) | Self::Unavailable { last: Some(snapshot), .. } => Some(snapshot),
            Self::Pending | Self::Refused { .. } | Self::Unavailable { last: None, .. } => None,
        }
    }

    /// Whether what was read is older than a revision of its project that somebody has read already: another operator
    /// was quicker, or the database was set back.
    #[must_use]
    pub fn is_older_than(&self, revision: Option<i64>) -> bool {
        match (self, revision) {
            (Self::Ready(snapshot), Some(revision)) => match snapshot.version {
                SnapshotVersion::Revisions { project, .. } => project.number < revision,
                SnapshotVersion::Digest { .. } => false,
            },
            _ => false,
        }
    }

    /// The state's name, for a metric.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Refused { .. } => "Refused",
            Self::Unavailable { .. } => "Unavailable",
            Self::Ready(_) => "Ready",
        }
    }

    /// Whether both say the same; of two snapshots, whether they are one.
    fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pending, Self::Pending) => true,
            (Self::Refused { refusal: ours }, Self::Refused { refusal: theirs }) => ours == theirs,
            (Self::Ready(ours), Self::Ready(theirs)) => Arc::ptr_eq(ours, theirs),
            (Self::Unavailable { since, fault, .. }, Self::Unavailable { since: then, fault: other, .. }) => {
                since == then && fault == other
            }
            _ => false,
        }
    }
}

/// The watched environments, shared by all bindings. Cheap to clone.
#[derive(Clone)]
pub struct Sources {
    states: Arc<SourceStates>,
    revision_tokens: Arc<RevisionTokens>,
    registry: Arc<dyn Registry>,
}

impl Sources {
    /// Where the environment stands, as last seen; costs nothing.
    #[must_use]
    pub fn state(&self, source: &SourceName) -> SourceState {
        self.states.state(source)
    }

    /// Where the environment stands according to a look that began after this call, so that the answer cannot be an
    /// old one. Callers at the same time share one look. Waits as long as the registry takes to answer or to time out
    /// ([`DATABASE_TIMEOUT`] per question); the caller's own deadline bounds the whole.
    pub async fn poll_again(&self, source: &SourceName) -> SourceState {
        self.states.poll_again(source).await
    }

    /// The token that a revision has in the project's revision_tokens as it is now; `None` where the revision_tokens has no such
    /// revision. Cached for as long as the revision_tokens only grows. Two questions at most.
    pub async fn token_of(&self, project: ProjectId, revision: i64) -> Result<Option<Uuid>, RegistryError> {
        self.revision_tokens.token_of(&*self.registry, project, revision).await
    }

    /// Whether the registry proves that the environment was deleted on purpose. Not cached.
    pub async fn environment_was_deleted(&self, id: EnvironmentId) -> Result<bool, RegistryError> {
        in_time("asking whether an environment was deleted", self.registry.environment_was_deleted(id)).await
    }

    /// Makes the next look come at once: something else is watched now.
    pub fn nudge(&self) {
        self.states.nudge();
    }
}
