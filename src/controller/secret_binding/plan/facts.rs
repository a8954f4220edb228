//! What the checks ask, each worked out once and only when a check comes to it.

use std::cell::OnceCell;
use std::collections::BTreeSet;

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::content::{self, Selected};
use super::fingerprint;
use super::ownership::Ownership;
use super::provenance::Provenance;
use super::removal::{self, Delivered, Hold, Question, release_text};
use super::repeats::Repeats;
use super::rollouts;
use super::state::BindingState;
use super::target::FullSecret;
use super::{Delivery, Plan};
use crate::api::names::{MANAGED_BY, MANAGED_BY_LABEL, RELEASE_REMOVAL};
use crate::api::{ConditionType, ConditionUpdate, CreationPolicy, Granted, InvalidGrant, Reason, WrittenTarget};
use crate::api::{SecretBinding, SecretBindingSpec};
use crate::controller::secret_binding::observed::{Baseline, Observed, ReadLevel, TargetState};
use crate::controller::sources::{Snapshot, Source, SourceState};
use crate::core::{KeyState, ShortDigest};
use crate::crypto::Keyring;
use crate::shape::{InvalidShape, Outline, Shape, ShapeError};

/// For how long after its creation a binding that was watched is taken to exist.
const NEWBORN: SignedDuration = SignedDuration::from_secs(30);

/// What was observed, and what follows from it. What a check asks for is there once the checks before it were silent.
pub(super) struct Facts<'o> {
    pub(super) observed: &'o Observed,
    pub(super) keyring: &'o Keyring,
    selected: OnceCell<Option<Selected<'o>>>,
    inputs: OnceCell<Option<String>>,
    hold: OnceCell<Option<Hold>>,
    shape: OnceCell<Result<Shape<'o>, InvalidShape>>,
    outline: OnceCell<Option<Result<Outline, ShapeError>>>,
}

/// What the Secret is written over.
pub(super) enum Base<'o> {
    Nothing,
    /// As we wrote it, with the type that the spec still asks for; all of its metadata.
    Metadata(&'o ObjectMeta),
    Full(&'o FullSecret),
}

impl<'o> Facts<'o> {
    pub(super) fn new(observed: &'o Observed, keyring: &'o Keyring) -> Self {
        Self {
            observed,
            keyring,
            selected: OnceCell::new(),
            inputs: OnceCell::new(),
            hold: OnceCell::new(),
            shape: OnceCell::new(),
            outline: OnceCell::new(),
        }
    }

    pub(super) fn binding(&self) -> &'o SecretBinding {
        &self.observed.binding
    }

    pub(super) fn spec(&self) -> &'o SecretBindingSpec {
        &self.binding().spec
    }

    pub(super) const fn source(&self) -> Option<&'o Source> {
        self.observed.source.as_ref()
    }

    /// What the source had, where it could be read.
    pub(super) fn snapshot(&self) -> Option<&'o Snapshot> {
        match self.source()?.state() {
            SourceState::Ready(snapshot) => Some(snapshot),
            SourceState::Pending | SourceState::Refused { .. } | SourceState::Unavailable { .. } => None,
        }
    }

    /// A grant that may be to the binding's namespace, and does not say what of.
    pub(super) fn invalid_grant(&self) -> Option<&'o InvalidGrant> {
        let namespace = self.observed.namespace.as_ref()?;
        self.source()?.grants().invalid_for(&namespace.name_any(), namespace.labels())
    }

    /// What the binding's namespace was granted; `None` where no grant covers it.
    pub(super) fn granted(&self) -> Option<Granted<'o>> {
        let namespace = self.observed.namespace.as_ref()?;
        self.source()?.grants().to_namespace(&namespace.name_any(), namespace.labels())
    }

    /// What the binding selects of what it was granted.
    pub(super) fn selected(&self) -> Option<&Selected<'o>> {
        let select = || {
            let granted = self.granted()?;
            Some(content::select(self.spec().selection(), |key| granted.covers(key), self.snapshot()?))
        };
        self.selected.get_or_init(select).as_ref()
    }

    /// What the spec makes of values, or why it makes nothing of any.
    pub(super) fn shape(&self) -> Result<&Shape<'o>, &InvalidShape> {
        self.shape.get_or_init(|| Shape::new(self.spec())).as_ref()
    }

    /// What the entries of the Secret will be called, as far as that is known before a value is opened.
    pub(super) fn outline(&self) -> Option<&Result<Outline, ShapeError>> {
        let outline = || {
            let keys = &self.selected()?.keys;
            if self.spec().is_shaped() {
                return Some(self.shape().ok()?.outline(keys.iter().map(|key| key.key)));
            }
            let names = keys.iter().map(|key| key.secret_key.to_owned()).collect();
            Some(Ok(Outline { names, is_whole: true }))
        };
        self.outline.get_or_init(outline).as_ref()
    }

    /// The comparison over what the binding selects. Hidden rows look like missing ones, so then nothing can be said.
    pub(super) fn in_sync(&self) -> Option<ConditionUpdate> {
        let (selected, snapshot) = (self.selected()?, self.snapshot()?);
        let missing = selected.states.values().any(|state| *state == KeyState::Missing);
        if snapshot.hides_rows() && (missing || self.spec().selection().is_open()) {
            return Some(ConditionUpdate::plain(ConditionType::InSync, Reason::RowsMayBeHidden));
        }
        let states = selected.states.iter().map(|(key, state)| (*key, *state));
        Some(ConditionUpdate::in_sync(selected.states.len(), states))
    }

    /// What the status says was written to the target, under the name that it has now.
    pub(super) fn written(&self) -> Option<&'o WrittenTarget> {
        let target = self.binding().status.as_ref().and_then(|status| status.target.as_ref());
        target.filter(|target| target.name == self.binding().target_name())
    }

    /// Whether it was created a moment ago, by the API server's clock and ours, and has no Secret yet.
    pub(super) fn is_newborn(&self) -> bool {
        let status = self.binding().status.as_ref();
        let was_written = status.is_some_and(|status| status.target.is_some());
        let created = self.binding().metadata.creation_timestamp.as_ref();
        !was_written && created.is_some_and(|time| self.observed.now.duration_since(time.0).abs() < NEWBORN)
    }

    /// The fingerprint of what the Secret would be made from.
    pub(super) fn inputs(&self) -> Option<&str> {
        let inputs = || {
            let previous = self.written().and_then(|target| target.inputs.as_deref());
            let (snapshot, keys) = (self.snapshot()?, &self.selected()?.keys);
            fingerprint::inputs(self.keyring, self.binding(), snapshot, keys, &self.observed.config_maps, previous)
        };
        self.inputs.get_or_init(inputs).as_deref()
    }

    /// What keeps keys in the Secret that would leave it without proof.
    pub(super) fn hold(&self) -> Option<&Hold> {
        self.hold.get_or_init(|| self.judge_removal().and_then(Result::err)).as_ref()
    }

    fn judge_removal(&self) -> Option<Result<(), Hold>> {
        self.about_removal(removal::judge)
    }

    /// Rows that would leave the Secret and of which only the registry knows whether they were deleted.
    pub(super) fn removals_to_ask_about(&self) -> Vec<ShortDigest> {
        self.about_removal(removal::to_ask_about).unwrap_or_default()
    }

    fn about_removal<T>(&self, ask: impl FnOnce(&Question<'_>) -> T) -> Option<T> {
        let (source, snapshot, selected) = (self.source()?, self.snapshot()?, self.selected()?);
        let granted = self.granted()?;
        let nothing = BTreeSet::new();
        Some(ask(&Question {
            delivered: match &self.observed.baseline {
                Baseline::Nothing => Delivered::Nothing,
                Baseline::Known(provenance) => Delivered::Known(provenance),
                Baseline::Unreadable => Delivered::Unreadable,
            },
            names: match &self.observed.target {
                TargetState::Full(secret) => Some(secret.names().collect()),
                _ => None,
            },
            is_handed_over: self.is_handed_over(),
            keys: &selected.keys,
            stays: self.outline().and_then(|outline| outline.as_ref().ok()).map_or(&nothing, |outline| &outline.names),
            selection: self.spec().selection(),
            source: &self.observed.reference.to_string(),
            snapshot,
            tombstones: &self.observed.tombstones,
            environment_was_deleted: self.observed.environment_was_deleted,
            is_granted: &|key| granted.covers(key),
            on_revoke: source.on_revoke(),
        }))
    }

    /// Whether the Secret may have keys that nobody delivered: a person hands it over, or an earlier binding left it to
    /// nobody and it has more keys now than that one wrote. In one that a binding controls, data is the binding's alone.
    fn is_handed_over(&self) -> bool {
        match (self.ownership(), &self.observed.target) {
            (Some(Ownership::Adoptable), _) => true,
            (Some(Ownership::PreviousBinding), TargetState::Full(secret)) => {
                let owners = secret.0.metadata.owner_references.iter().flatten();
                let delivered = self.provenance().map_or(0, |provenance| provenance.rows.len());
                !owners.clone().any(|owner| owner.controller == Some(true)) && secret.names().count() > delivered
            }
            _ => false,
        }
    }

    /// What a person would write to let go of what is held at this point.
    pub(super) fn release(&self) -> Option<String> {
        Some(release_text(self.snapshot()?, self.used_release()))
    }

    /// Whether a person let go of what is held at this point.
    pub(super) fn is_released(&self) -> bool {
        let given = self.binding().annotations().get(RELEASE_REMOVAL);
        given.is_some() && given == self.release().as_ref()
    }

    /// The release that the Secret is to remember: the one that this write uses, or else the last one.
    pub(super) fn release_to_remember(&self) -> Option<String> {
        if self.hold().is_some() { self.release() } else { self.used_release().map(str::to_owned) }
    }

    fn used_release(&self) -> Option<&'o str> {
        self.provenance().and_then(|provenance| provenance.origin.released.as_deref())
    }

    pub(super) const fn provenance(&self) -> Option<&'o Provenance> {
        self.observed.baseline.provenance()
    }

    /// The revision of the source that the Secret holds.
    pub(super) fn delivered_revision(&self) -> Option<i64> {
        self.provenance().and_then(|provenance| provenance.origin.at).map(|at| at.revision)
    }

    /// Earlier writes of the content that the Secret would have now, where these did not last.
    pub(super) fn repeats(&self) -> Option<&'o Repeats> {
        self.observed.repeats.as_ref().filter(|repeats| repeats.is_about(self.inputs(), self.observed.now))
    }

    /// Whether the target is there and lacks the label by which Secrets are watched, so that no event will tell of it.
    pub(super) fn is_target_unwatched(&self) -> bool {
        let label = |metadata: &ObjectMeta| {
            metadata
                .labels
                .as_ref()
                .is_some_and(|labels| labels.get(MANAGED_BY_LABEL).is_some_and(|by| by == MANAGED_BY))
        };
        self.observed.target.metadata().is_some_and(|metadata| !label(metadata))
    }

    /// Whether only keys are added to somebody else's Secret.
    pub(super) fn is_merged(&self) -> bool {
        self.spec().creation_policy() == CreationPolicy::Merge
    }

    pub(super) fn ownership(&self) -> Option<Ownership> {
        self.observed.target.ownership(self.binding())
    }

    /// What the Secret is written over, or how closely it has to be read to know.
    pub(super) fn base(&self) -> Result<Base<'o>, ReadLevel> {
        // The type and the immutability of what is there are only known while the spec is the one it was written for.
        let written_for = self.provenance().map(|provenance| provenance.origin.generation);
        let is_known = written_for == self.binding().metadata.generation
            && !self.spec().is_immutable()
            // Of somebody else's keys nobody remembers the values.
            && !self.is_merged()
            && rollouts::is_content_known(self);
        match &self.observed.target {
            TargetState::AsWritten(_) if is_known => Err(ReadLevel::Metadata),
            TargetState::Complete(metadata) if is_known => Ok(Base::Metadata(metadata)),
            TargetState::AsWritten(_) | TargetState::Complete(_) | TargetState::Unread => Err(ReadLevel::Secret),
            TargetState::Absent => Ok(Base::Nothing),
            TargetState::Full(secret) => Ok(Base::Full(secret)),
        }
    }

    /// Only the status is written, about what the source had.
    pub(super) fn say(&self, state: BindingState) -> Plan {
        let mut plan = Plan::say(state);
        plan.done.registry_revision = self.snapshot().and_then(Snapshot::registry_revision);
        plan
    }

    /// That the Secret holds what the source had.
    pub(super) fn delivered(&self, delivery: &Delivery, in_sync: ConditionUpdate) -> BindingState {
        let keys = match delivery.keys {
            1 => "1 key".to_owned(),
            keys => format!("{keys} keys"),
        };
        let source = self.source().map(Source::store_name).unwrap_or_default();
        let at = delivery.revision.map(|revision| format!(", as of revision {revision}")).unwrap_or_default();
        let message = format!("Secret {} has {keys} of {source}{at}", self.binding().target_name());
        BindingState::Delivered { message, in_sync }
    }
}
