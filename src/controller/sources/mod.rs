//! Where every watched environment stands: one poll and one snapshot for all bindings of a source.

mod compiled_grants;
mod contents;
mod deleted_environments;
#[cfg(test)]
mod fake_registry;
mod measured;
mod newest_position;
mod poll_state;
mod poller;
mod reach;
mod reference;
mod refusal;
mod registry;
mod revision_tokens;
mod source;
mod states;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Semaphore;

use crate::api::{Grants, ProjectEnvironment};
use crate::core::{EnvironmentId, ProjectId, ShortDigest};
use crate::registry::SourceName;
pub(crate) use crate::registry::{LoggedToken, Refusal, RegistryError, SecretRow, Snapshot, ValueId};

use compiled_grants::CompiledGrants;
pub(crate) use contents::{Fence, contradicts};
use deleted_environments::DeletedEnvironments;
use newest_position::Newest;
#[cfg(test)]
use poller::Poller;
pub(crate) use poller::PollerDependencies;
pub(crate) use reach::Reach;
pub(crate) use reference::SourceReference;
pub(crate) use refusal::in_words as refusal_in_words;
pub(crate) use registry::Registry;
use registry::in_time;
use revision_tokens::RevisionTokens;
pub(crate) use source::{Source, registry_name};
use states::SourceStates;
use values::ValueCache;
pub(crate) use values::{SealedValues, Tombstones};

/// Where an environment stands, as last seen.
#[derive(Debug, Clone)]
pub(crate) enum SourceState {
    /// Nobody has polled yet, or it is not watched.
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

/// An environment that stands otherwise than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SourceChange {
    pub(crate) source: SourceName,
    pub(crate) kind: ChangeKind,
    /// The keys that it can concern; `None`: it may concern whoever reads the environment.
    pub(crate) keys: Option<Vec<Arc<str>>>,
}

/// What is different about an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChangeKind {
    /// Its values, perhaps.
    Content,
    /// How it compares with the registry, and nothing else.
    Comparison,
    /// It was read for the first time, or whether it can be read has changed.
    Availability,
}

/// What kind of error keeps an environment from being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Fault {
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
    pub(crate) const fn of(error: &RegistryError) -> Self {
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
    pub(crate) const fn snapshot(&self) -> Option<&Arc<Snapshot>> {
        match self {
            Self::Ready(snapshot) | Self::Unavailable { last: Some(snapshot), .. } => Some(snapshot),
            Self::Pending | Self::Refused { .. } | Self::Unavailable { last: None, .. } => None,
        }
    }

    /// Whether what was read is older than a revision of its project that somebody has read already: another operator
    /// was quicker, or the database was set back.
    #[must_use]
    pub(crate) fn is_older_than(&self, revision: Option<i64>) -> bool {
        match (self, revision) {
            (Self::Ready(snapshot), Some(revision)) => snapshot.registry_revision().is_some_and(|read| read < revision),
            _ => false,
        }
    }

    /// The state's name, for a metric.
    #[must_use]
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Refused { .. } => "Refused",
            Self::Unavailable { .. } => "Unavailable",
            Self::Ready(_) => "Ready",
        }
    }

    /// The change from this state to the next; `None` where both say the same.
    fn change_to(&self, next: &Self, source: &SourceName) -> Option<SourceChange> {
        let kind =
            match (self.snapshot(), next) {
                _ if self.is_same(next) => return None,
                (Some(before), Self::Ready(after)) if !Arc::ptr_eq(before, after) => {
                    if after.differs_in_content(before) { ChangeKind::Content } else { ChangeKind::Comparison }
                }
                _ => ChangeKind::Availability,
            };
        let keys = match (self, next) {
            (Self::Ready(before), Self::Ready(after)) => after.keys_changed_since(before).map(<[_]>::to_vec),
            _ => None,
        };
        Some(SourceChange { source: source.clone(), kind, keys })
    }

    /// Whether both say the same; of two snapshots, whether they are one.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Pending, Self::Pending) => true,
            (Self::Refused { refusal: ours }, Self::Refused { refusal: theirs }) => ours == theirs,
            (Self::Ready(ours), Self::Ready(theirs)) => Arc::ptr_eq(ours, theirs),
            (
                Self::Unavailable { since, fault, cause, .. },
                Self::Unavailable { since: then, fault: other, cause: before, .. },
            ) => {
                // An outage is said in many ways, one after the other. What a person must act on is said as it is now.
                since == then && fault == other && (*fault == Fault::Away || cause == before)
            }
            _ => false,
        }
    }
}

/// The watched environments, shared by all bindings. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Sources {
    states: Arc<SourceStates>,
    revision_tokens: Arc<RevisionTokens>,
    values: Arc<ValueCache>,
    /// One place for each question but a poll, so that a poll never waits for a connection.
    width: Arc<Semaphore>,
    newest: Arc<Newest>,
    grants: Arc<CompiledGrants>,
    deleted: Arc<DeletedEnvironments>,
    registry: Arc<dyn Registry>,
}

impl Sources {
    /// Where the environment stands, as last seen; costs nothing.
    #[must_use]
    pub(crate) fn state(&self, source: &SourceName) -> SourceState {
        self.states.state(source)
    }

    /// Where the environment stands according to a poll that began after this call, so that the answer cannot be an
    /// old one. Callers at the same time share one poll. Waits as long as the registry takes to answer or to time out
    /// ([`Registry::patience`] per question); the caller's own deadline bounds the whole.
    pub(crate) async fn poll_again(&self, source: &SourceName) -> SourceState {
        self.states.poll_again(source, false).await
    }

    /// The same, and everything is read anew, values too: a person asked, or what was read before is not what is there, though
    /// nothing says that it changed.
    pub(crate) async fn read_again(&self, source: &SourceName) -> SourceState {
        self.values.clear();
        self.states.poll_again(source, true).await
    }

    /// What values of an environment are sealed as. Those that are not in their rows any more are left out.
    pub(crate) async fn sealed_values(
        &self,
        (project, environment): (ProjectId, EnvironmentId),
        mut wanted: Vec<ValueId>,
    ) -> Result<SealedValues, RegistryError> {
        let mut found = SealedValues::default();
        self.values.take_from(&mut wanted, &mut found);
        if wanted.is_empty() {
            return Ok(found);
        }
        in_time(&*self.registry, "reading values", async {
            let _place = self.width.acquire().await;
            // Another binding may have asked for the same meanwhile.
            self.values.take_from(&mut wanted, &mut found);
            if !wanted.is_empty() {
                let read = self.registry.sealed_values(project, environment, &wanted).await?;
                for value in &read {
                    self.values.keep(value);
                }
                found.extend(read);
            }
            Ok(())
        })
        .await?;
        Ok(found)
    }

    /// Which rows of an environment were deleted on purpose, of those whose ids have these digests. Not cached. A standby that
    /// is behind another one does not answer for it: what it lacks may have been deleted all the same.
    pub(crate) async fn tombstones(
        &self,
        (project, environment): (ProjectId, EnvironmentId),
        rows: &[ShortDigest],
    ) -> Result<Tombstones, RegistryError> {
        let then = self.newest.get();
        let question = async {
            let _place = self.width.acquire().await;
            self.registry.tombstones(project, environment, rows).await
        };
        let read = in_time(&*self.registry, "looking for deleted rows", question).await?;
        if self.newest.is_behind(read.position, then) {
            return Err(RegistryError::Unavailable {
                attempt: "looking for deleted rows".to_owned(),
                cause: "a standby answered that is behind another one".into(),
            });
        }
        let mut tombstones = Tombstones::default();
        for row in rows {
            tombstones.insert(*row, None);
        }
        for tombstone in read.answer {
            tombstones.insert(tombstone.row, Some(tombstone.key));
        }
        Ok(tombstones)
    }

    /// What the project's log says of a revision as it is now. A token is cached for as long as the log only grows. Two questions at most.
    pub(crate) async fn token_of(&self, project: ProjectId, revision: i64) -> Result<LoggedToken, RegistryError> {
        let _place = self.width.acquire().await;
        self.revision_tokens.token_of(&*self.registry, project, revision).await
    }

    /// Whether the registry proves that the environment was deleted on purpose. All who ask within some seconds share one
    /// question.
    pub(crate) async fn environment_was_deleted(&self, id: EnvironmentId) -> Result<bool, RegistryError> {
        let question = async {
            let _place = self.width.acquire().await;
            self.registry.environment_was_deleted(id).await
        };
        let question = in_time(&*self.registry, "asking whether an environment was deleted", question);
        self.deleted.was_deleted(id, question).await
    }

    /// The grants of an object, compiled.
    pub(crate) fn grants(&self, object: &ProjectEnvironment) -> Arc<Grants> {
        self.grants.of(object)
    }

    /// Lets go of what is kept for a source whose object is gone.
    pub(crate) fn forget(&self, object: &ProjectEnvironment) {
        self.grants.forget(object);
    }

    /// Makes the next poll come at once: something else is watched now.
    pub(crate) fn nudge(&self) {
        self.states.nudge();
    }
}
