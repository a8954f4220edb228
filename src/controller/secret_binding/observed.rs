//! Everything that a plan is made from, read once; plain data.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::PartialObjectMeta;

use super::plan::history::History;
use super::plan::ownership::{Ownership, ownership};
use super::plan::provenance::Provenance;
use super::plan::repeats::Repeats;
use super::plan::target::FullSecret;
use super::workloads::RestartTargets;
use crate::api::SecretBinding;
use crate::controller::sources::{SealedValues, Source, SourceReference, Tombstones, ValueId};
use crate::core::ShortDigest;
use crate::shape::ConfigMapTexts;

/// How closely to read a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadLevel {
    /// What was watched.
    Cache,
    /// All of its metadata.
    Metadata,
    /// The Secret itself, values included.
    Secret,
}

/// Everything that a plan is made from.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) now: Timestamp,
    pub(crate) binding: Arc<SecretBinding>,
    /// Whether it still exists, as far as it was asked.
    pub(crate) life: Life,
    /// Writes of its Secret that did not last, where there were some lately.
    pub(crate) repeats: Option<Repeats>,
    /// Its namespace, where the cache has it already.
    pub(crate) namespace: Option<Arc<PartialObjectMeta<Namespace>>>,
    /// What its spec names as the source.
    pub(crate) reference: SourceReference,
    /// The source, if there is one.
    pub(crate) source: Option<Source>,
    /// Whether a person asked for a poll, and the source was read after that.
    pub(crate) sync: SyncRequest,
    pub(crate) target: TargetState,
    /// Secrets that this binding controls under other names: its target was renamed.
    pub(crate) orphans: Vec<ObjectMeta>,
    /// An older binding that wants the same target.
    pub(crate) earlier_claimant: Option<String>,
    /// What was delivered before, according to the Secret.
    pub(crate) baseline: Baseline,
    /// Whether the source's history is the one that was delivered from.
    pub(crate) history: History,
    /// Whether the environment that was delivered from was deleted on purpose.
    pub(crate) environment_was_deleted: bool,
    /// Templates in ConfigMaps.
    pub(crate) config_maps: ConfigMapTexts,
    /// What a plan asked for besides: values, sealed.
    pub(crate) values: SealedValues,
    /// And proofs that rows were deleted on purpose.
    pub(crate) tombstones: Tombstones,
    /// And workloads to restart.
    pub(crate) restart_targets: RestartTargets,
}

/// Whether the binding that the cache has is still the one of its name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Life {
    /// The API server was not asked: the watch may be behind.
    #[default]
    Unknown,
    Lives,
    /// It was deleted, and there may be another one of its name.
    Gone,
}

/// What a plan cannot be made without, and the API server or the source has to be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    /// Whether the binding still exists.
    Life,
    /// What these values are sealed as.
    Values(Vec<ValueId>),
    /// Which rows, by the digests of their ids, were deleted on purpose.
    Tombstones(Vec<ShortDigest>),
    /// How the workloads stand that the binding restarts.
    RestartTargets,
}

/// A request for a poll now (`tidelock.dev/sync`) that has no answer in the status yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SyncRequest {
    None,
    /// The source was polled after the request with this nonce was seen.
    Answered(String),
    /// The database did not answer, or nobody polls the source.
    Unanswered,
}

/// What is known of the target.
#[derive(Debug)]
pub(crate) enum TargetState {
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
    pub(crate) const fn metadata(&self) -> Option<&ObjectMeta> {
        match self {
            Self::AsWritten(metadata) | Self::Complete(metadata) => Some(metadata),
            Self::Full(whole) => Some(&whole.0.metadata),
            Self::Absent | Self::Unread => None,
        }
    }

    /// Its type, where it was read.
    #[must_use]
    pub(crate) fn type_(&self) -> Option<&str> {
        match self {
            Self::Full(whole) => Some(whole.type_()),
            Self::Absent | Self::AsWritten(_) | Self::Complete(_) | Self::Unread => None,
        }
    }

    /// What it is to the binding; `None` where nothing is there or known.
    #[must_use]
    pub(crate) fn ownership(&self, binding: &SecretBinding) -> Option<Ownership> {
        self.metadata().map(|metadata| ownership(binding, metadata, self.type_()))
    }
}

/// What was delivered before, according to the Secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Baseline {
    /// Nothing.
    Nothing,
    /// This.
    Known(Box<Provenance>),
    /// Something, and the Secret no longer says what.
    Unreadable,
}

impl Baseline {
    /// From the target if it is ours, else from a Secret that this binding wrote under another name: a renamed target
    /// must not lose what an unchanged one would keep.
    #[must_use]
    pub(crate) fn of(binding: &SecretBinding, target: &TargetState, orphans: &[ObjectMeta]) -> Self {
        let read = |metadata: &ObjectMeta| match metadata.annotations.as_ref().map(Provenance::read) {
            Some(Ok(provenance)) => Self::Known(Box::new(provenance)),
            _ => Self::Unreadable,
        };
        match (target.ownership(binding), target.metadata()) {
            (Some(Ownership::Ours | Ownership::PreviousBinding), Some(metadata)) => read(metadata),
            // What cannot be told to be ours is its owner's: it stays, and stands in the way.
            (Some(Ownership::Mergeable), Some(metadata)) => match read(metadata) {
                Self::Known(known) if known.merged_by(binding) => Self::Known(known),
                _ => Self::Nothing,
            },
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
    pub(crate) fn may_be_from(&self, source: &SourceReference) -> bool {
        self.provenance().is_none_or(|provenance| provenance.origin.source == source.to_string())
    }

    /// What it is, if it is known.
    #[must_use]
    pub(crate) const fn provenance(&self) -> Option<&Provenance> {
        match self {
            Self::Known(provenance) => Some(&**provenance),
            Self::Nothing | Self::Unreadable => None,
        }
    }
}
