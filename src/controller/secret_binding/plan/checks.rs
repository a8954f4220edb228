//! With a snapshot at hand: what the binding selects, and whether the Secret may become that.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::content::{self, Selected, SelectedKey};
use super::fingerprint;
use super::history::History;
use super::ownership::Ownership;
use super::provenance::{Provenance, digest_of_key, source_of};
use super::removal::{self, Delivered, Hold, Question, release_text};
use super::state::BindingState;
use super::target::FullSecret;
use super::{BLOCKED_REQUEUE_AFTER, Decision, DeletePreconditions, Delivery, Plan};
use crate::api::names::RELEASE_REMOVAL;
use crate::api::{ConditionType, ConditionUpdate, OnRevoke, Reason, Selection, list_keys};
use crate::controller::secret_binding::observed::{Baseline, Observed, ReadLevel, Source, TargetState};
use crate::core::KeyState;
use crate::crypto::Keyring;
use crate::registry::{Snapshot, SnapshotVersion};

/// When to ask again what the database could not answer just now.
const HISTORY_REQUEUE_AFTER: Duration = Duration::from_secs(5);

/// What the second stage goes on from.
#[derive(Debug)]
pub(crate) struct Intent<'o> {
    /// What was read.
    pub(crate) snapshot: &'o Snapshot,
    /// What is to be opened.
    pub(crate) picked: Vec<SelectedKey<'o>>,
    pub(crate) base: Base<'o>,
    pub(crate) provenance: Provenance,
    pub(crate) inputs: Option<String>,
    pub(crate) in_sync: ConditionUpdate,
    pub(crate) source: String,
    pub(crate) ownership: Option<Ownership>,
    /// What is to be said instead of "delivered".
    pub(crate) shortfall: Option<BindingState>,
}

/// What the Secret is written over.
#[derive(Debug)]
pub(crate) enum Base<'o> {
    Nothing,
    /// As we wrote it, with the type that the spec still asks for; all of its metadata.
    Metadata(&'o ObjectMeta),
    Full(&'o FullSecret),
}

pub(crate) fn resolve<'o>(
    observed: &'o Observed,
    source: &Source,
    snapshot: &'o Snapshot,
    is_granted: impl Fn(&str) -> bool,
    keyring: &Keyring,
) -> Decision<'o> {
    if matches!(observed.target, TargetState::Unread) {
        return Decision::Read(ReadLevel::Secret);
    }
    let binding = &*observed.binding;
    let selected = content::select(binding.spec.selection(), &is_granted, snapshot);
    let in_sync = in_sync(binding.spec.selection(), &selected, snapshot);
    let say = |state| Plan { registry_revision: registry_revision(snapshot), ..Plan::say(state) };

    match &observed.history {
        History::Continues => {}
        History::Unknown => return Plan::nothing().again_after(HISTORY_REQUEUE_AFTER).settled(),
        History::Diverged { delivered, how } => {
            let at = format!("revision {} of epoch {}", delivered.revision, delivered.epoch);
            let message = format!("the Secret holds {at}, which is not in the history of {}: {how}", source.name());
            return say(BindingState::Undelivered { reason: Reason::HistoryDiverged, message, in_sync }).settled();
        }
    }
    let shortfall = match ungranted(observed, source, &selected) {
        None => None,
        Some((state, false)) => return say(state).settled(),
        Some((state, true)) => Some(state),
    };
    if !selected.missing.is_empty() {
        let message = format!(
            "not in {}: {}; set it there, mark its entry in spec.data optional, or remove the entry",
            source.name(),
            list_keys(&selected.missing)
        );
        return say(BindingState::Held { reason: Reason::KeyMissing, message, in_sync }).settled();
    }
    let status = binding.status.as_ref().and_then(|status| status.target.as_ref());
    let written = status.filter(|target| target.name == binding.target_name());
    let previous = written.and_then(|target| target.inputs.as_deref());
    let inputs = fingerprint::inputs(keyring, binding, snapshot, &selected.picked, previous);
    if inputs.is_some()
        && inputs.as_deref() == previous
        && let TargetState::AsWritten(metadata) | TargetState::Complete(metadata) = &observed.target
    {
        // It is what we wrote, and what we would write: so nothing leaves, and nobody else has it.
        let delivery = kept(metadata, inputs, &selected.picked, &observed.baseline);
        let done = || delivered(&delivery, &source.name(), &binding.target_name(), in_sync);
        let state = shortfall.unwrap_or_else(done);
        let orphans = observed.orphans.iter().map(DeletePreconditions::from).collect();
        return Plan { orphans, delivery: Some(delivery), ..say(state) }.settled();
    }
    let used = observed.baseline.provenance().and_then(|provenance| provenance.origin.released.as_deref());
    let release = release_text(snapshot, used);
    let mut released = used;
    if let Err(hold) = may_become(observed, source, snapshot, &selected, is_granted) {
        if !is_released(&binding.metadata, &release) {
            if matches!(observed.target, TargetState::AsWritten(_) | TargetState::Complete(_)) && hold.lacks_names() {
                return Decision::Read(ReadLevel::Secret);
            }
            return say(held(&hold, source, &release, in_sync)).settled();
        }
        released = Some(&release);
    }
    if let Err(error) = content::check_names(&selected.picked) {
        let message = error.to_string();
        return say(BindingState::Undelivered { reason: Reason::KeyNameInvalid, message, in_sync }).settled();
    }
    let ownership = observed.target.ownership(binding);
    if let Some((reason, message)) = blocked(observed, ownership.as_ref()) {
        return say(BindingState::Undelivered { reason, message, in_sync })
            .again_after(BLOCKED_REQUEUE_AFTER)
            .settled();
    }

    let mut provenance = Provenance::of(binding, snapshot, &selected.picked);
    provenance.origin.released = released.map(str::to_owned);
    // The type and the immutability of what is there are only known while the spec is the one it was written for.
    let written_for = observed.baseline.provenance().map(|provenance| provenance.origin.generation);
    let is_known = written_for == binding.metadata.generation && !binding.spec.is_immutable();
    let base = match &observed.target {
        TargetState::AsWritten(_) if is_known => return Decision::Read(ReadLevel::Metadata),
        TargetState::Complete(metadata) if is_known => Base::Metadata(metadata),
        TargetState::AsWritten(_) | TargetState::Complete(_) | TargetState::Unread => {
            return Decision::Read(ReadLevel::Secret);
        }
        TargetState::Absent => Base::Nothing,
        TargetState::Full(whole) => Base::Full(whole),
    };
    Decision::Open(Box::new(Intent {
        snapshot,
        picked: selected.picked,
        base,
        provenance,
        inputs,
        in_sync,
        source: source.name(),
        ownership,
        shortfall,
    }))
}

/// Keys that `data` names and that are not granted: what to say, and whether there is something to take out first.
///
/// They hold the Secret; but where the source says `onRevoke: Delete`, what was delivered of them goes.
fn ungranted(observed: &Observed, source: &Source, selected: &Selected) -> Option<(BindingState, bool)> {
    if selected.ungranted.is_empty() {
        return None;
    }
    let delivered = observed.baseline.provenance().map_or(&[][..], |provenance| &provenance.rows);
    let revokes =
        source.environment.spec.on_revoke() == OnRevoke::Delete && observed.baseline.may_be_from(&observed.binding);
    let goes = |key: &&str| {
        let digest = digest_of_key(key);
        revokes && delivered.iter().any(|row| row.key == digest)
    };
    let keys = list_keys(&selected.ungranted);
    let message = format!("not granted to this namespace by {}: {keys}", source.name());
    let state = BindingState::Unresolved { reason: Reason::NotGranted, message };
    Some((state, selected.ungranted.iter().any(goes)))
}

fn may_become(
    observed: &Observed,
    source: &Source,
    snapshot: &Snapshot,
    selected: &Selected,
    is_granted: impl Fn(&str) -> bool,
) -> Result<(), Hold> {
    let binding = &*observed.binding;
    removal::judge(&Question {
        delivered: match &observed.baseline {
            Baseline::Nothing => Delivered::Nothing,
            Baseline::Known(provenance) => Delivered::Known(provenance),
            Baseline::Unreadable => Delivered::Unreadable,
        },
        names: match &observed.target {
            TargetState::Full(whole) => Some(whole.names().collect()),
            _ => None,
        },
        picked: &selected.picked,
        selection: binding.spec.selection(),
        source: &source_of(binding),
        snapshot,
        environment_was_deleted: observed.environment_was_deleted,
        is_granted,
        on_revoke: source.environment.spec.on_revoke(),
    })
}

/// Whether a person let go of what is held at this point.
fn is_released(binding: &ObjectMeta, release: &str) -> bool {
    let annotations = binding.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(RELEASE_REMOVAL)).is_some_and(|released| released == release)
}

fn held(hold: &Hold, source: &Source, release: &str, in_sync: ConditionUpdate) -> BindingState {
    let (reason, message) = (hold.reason(), format!("{}: {hold}", source.name()));
    if reason == Reason::NotGranted {
        return BindingState::Unresolved { reason, message };
    }
    let message = format!("{message}; if that is meant: {RELEASE_REMOVAL}={release}");
    BindingState::Held { reason, message, in_sync }
}

/// Why the target cannot be written, if somebody else has it.
fn blocked(observed: &Observed, ownership: Option<&Ownership>) -> Option<(Reason, String)> {
    let name = observed.binding.target_name();
    match ownership {
        Some(Ownership::Foreign { who }) => {
            let binding = observed.binding.name_any();
            let message = format!(
                "Secret {name} exists and belongs to {who}; it was not touched: choose another spec.target.name, delete \
                 the Secret, or, if nothing else controls it, hand it over by the annotation tidelock.dev/adopt={binding}"
            );
            Some((Reason::TargetForeign, message))
        }
        Some(Ownership::OwnedByOtherBinding { name: rival }) => {
            Some((Reason::TargetTaken, format!("Secret {name} belongs to SecretBinding {rival}")))
        }
        None if let Some(earlier_claimant) = &observed.earlier_claimant => Some((
            Reason::TargetTaken,
            format!("SecretBinding {earlier_claimant} wants Secret {name}, too, and is older"),
        )),
        _ => observed.target.metadata().and_then(|metadata| metadata.deletion_timestamp.as_ref()).map(|_| {
            let message = format!("Secret {name} is being deleted; it is made anew when it is gone");
            (Reason::WriteFailed, message)
        }),
    }
}

/// The comparison over what the binding selects. Hidden rows look like missing ones, so then nothing can be said.
fn in_sync(selection: Selection, selected: &Selected, snapshot: &Snapshot) -> ConditionUpdate {
    let missing = selected.states.values().any(|state| *state == KeyState::Missing);
    if snapshot.hides_rows() && (missing || selection == Selection::Every) {
        return ConditionUpdate::plain(ConditionType::InSync, Reason::RowsMayBeHidden);
    }
    ConditionUpdate::in_sync(selected.states.iter().map(|(key, state)| (*key, *state)))
}

fn kept(metadata: &ObjectMeta, inputs: Option<String>, picked: &[SelectedKey], baseline: &Baseline) -> Delivery {
    let kept = Some((metadata.uid.clone(), metadata.resource_version.clone()));
    Delivery { inputs, keys: picked.len(), revision: revision_of(baseline), kept }
}

pub(crate) fn revision_of(baseline: &Baseline) -> Option<i64> {
    baseline.provenance().and_then(|provenance| provenance.origin.at).map(|at| at.revision)
}

pub(crate) fn registry_revision(snapshot: &Snapshot) -> Option<i64> {
    match snapshot.version {
        SnapshotVersion::Revisions { project, .. } => Some(project.number),
        SnapshotVersion::Digest { .. } => None,
    }
}

pub(crate) fn delivered(delivery: &Delivery, source: &str, target: &str, in_sync: ConditionUpdate) -> BindingState {
    let keys = match delivery.keys {
        1 => "1 key".to_owned(),
        keys => format!("{keys} keys"),
    };
    let at = delivery.revision.map(|revision| format!(", as of revision {revision}")).unwrap_or_default();
    BindingState::Delivered { message: format!("Secret {target} has {keys} of {source}{at}"), in_sync }
}
