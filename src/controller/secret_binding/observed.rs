//! Everything that a plan is made from, read once; plain data.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;

use super::plan::history::History;
use super::plan::ownership::{Ownership, ownership};
use super::plan::provenance::{Provenance, source_of};
use super::plan::target::FullSecret;
use crate::api::{ProjectEnvironment, SecretBinding};
use crate::controller::sources::SourceState;

/// How closely to look at a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadLevel {
    /// At what was watched.
    Cache,
    /// At all of its metadata.
    Metadata,
    /// At the Secret itself, values included.
    Secret,
}

/// Everything that a plan is made from.
#[derive(Debug)]
pub(super) struct Observed {
    /// When it was read.
    pub(super) now: Timestamp,
    /// The binding.
    pub(super) binding: Arc<SecretBinding>,
    /// Whether another binding of that name exists by now: this one is gone.
    pub(super) superseded: bool,
    /// Its namespace, where the cache has it already.
    pub(super) namespace: Option<Arc<PartialObjectMeta<Namespace>>>,
    /// Its source, if there is one.
    pub(super) source: Option<Source>,
    /// Its target.
    pub(super) target: TargetState,
    /// Secrets that this binding controls under other names: its target was renamed.
    pub(super) orphans: Vec<ObjectMeta>,
    /// An older binding that wants the same target.
    pub(super) earlier_claimant: Option<String>,
    /// What was delivered before, according to the Secret.
    pub(super) baseline: Baseline,
    /// Whether the database's history is the one that was delivered from.
    pub(super) history: History,
    /// Whether the environment that was delivered from was deleted on purpose.
    pub(super) environment_was_deleted: bool,
}

/// A source, and where its environment stands.
#[derive(Debug)]
pub(super) struct Source {
    /// The custom resource.
    pub(super) environment: Arc<ProjectEnvironment>,
    /// What was read of it.
    pub(super) state: SourceState,
}

impl Source {
    /// Project and environment, for messages.
    #[must_use]
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.environment.spec.project, self.environment.spec.environment)
    }
}

/// What is known of the target.
#[derive(Debug)]
pub(super) enum TargetState {
    /// It is not there, as far as is known; to create it is the proof.
    Absent,
    /// It is as the status says that it was written: same uid, same resourceVersion. Of its metadata this is what the
    /// cache keeps.
    AsWritten(ObjectMeta),
    /// As [`AsWritten`](Self::AsWritten), with all of its metadata.
    Complete(ObjectMeta),
    /// Something may be there, and has to be read first.
    Unread,
    /// It was read.
    Full(FullSecret),
}

impl TargetState {
    /// Its metadata, where it is there and known.
    #[must_use]
    pub(super) const fn metadata(&self) -> Option<&ObjectMeta> {
        match self {
            Self::AsWritten(metadata) | Self::Complete(metadata) => Some(metadata),
            Self::Full(whole) => Some(&whole.0.metadata),
            Self::Absent | Self::Unread => None,
        }
    }

    /// Its type, where it was read.
    #[must_use]
    pub(super) fn type_(&self) -> Option<&str> {
        match self {
            Self::Full(whole) => Some(whole.type_()),
            Self::Absent | Self::AsWritten(_) | Self::Complete(_) | Self::Unread => None,
        }
    }

    /// What it is to the binding; `None` where nothing is there or known.
    #[must_use]
    pub(super) fn ownership(&self, binding: &SecretBinding) -> Option<Ownership> {
        self.metadata().map(|metadata| ownership(binding, metadata, self.type_()))
    }
}

/// What was delivered before, according to the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Baseline {
    /// Nothing.
    Nothing,
    /// This.
    Known(Provenance),
    /// Something, and the Secret no longer says what.
    Unreadable,
}

impl Baseline {
    /// From the target if it is ours, else from a Secret that this binding wrote under another name: a renamed target
    /// must not lose what an unchanged one would keep.
    #[must_use]
    pub(super) fn of(binding: &SecretBinding, target: &TargetState, orphans: &[ObjectMeta]) -> Self {
        let read = |metadata: &ObjectMeta| match metadata.annotations.as_ref().map(Provenance::read) {
            Some(Ok(provenance)) => Self::Known(provenance),
            _ => Self::Unreadable,
        };
        match (target.ownership(binding), target.metadata()) {
            (Some(Ownership::Ours | Ownership::PreviousBinding), Some(metadata)) => read(metadata),
            // Of several, one that says what it holds; one that does not is no proof that there was nothing.
            _ => orphans
                .iter()
                .map(read)
                .reduce(|first, next| if first == Self::Unreadable { next } else { first })
                .unwrap_or(Self::Nothing),
        }
    }

    /// Whether it came from the source that the binding names now, as far as is known. What came from another one is
    /// not that source's to take away.
    pub(super) fn may_be_from(&self, binding: &SecretBinding) -> bool {
        self.provenance().is_none_or(|provenance| provenance.origin.source == source_of(binding))
    }

    /// What it is, if it is known.
    #[must_use]
    pub(super) const fn provenance(&self) -> Option<&Provenance> {
        match self {
            Self::Known(provenance) => Some(provenance),
            Self::Nothing | Self::Unreadable => None,
        }
    }
}
