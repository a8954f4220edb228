//! With a snapshot at hand: what the binding selects, and whether the Secret may become that.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::super::content::{self, Picked, Selected};
use super::super::fingerprint;
use super::super::history::History;
use super::super::observed::{Baseline, Depth, Observed, Source, TargetSeen};
use super::super::ownership::Ownership;
use super::super::provenance::{Provenance, digest_of_key, source_of};
use super::super::removal::{self, Delivered, Hold, Question, release_text};
use super::super::state::BindingState;
use super::super::target::Whole;
use super::{BLOCKED, Decision, Delivery, Doomed, Plan};
use crate::api::names::RELEASE_REMOVAL;
use crate::api::{ConditionType, OnRevoke, Reason, Selection, Verdict, list_keys};
use crate::core::KeyState;
use crate::crypto::Keyring;
use crate::registry::{Fence, Snapshot};

/// When to ask again what the database could not answer just now.
const ASK_AGAIN: Duration = Duration::from_secs(5);

/// What the second stage goes on from.
#[derive(Debug)]
pub(in super::super) struct Intent<'o> {
    /// What was read.
    pub(in super::super) snapshot: &'o Snapshot,
    /// What is to be opened.
    pub(in super::super) picked: Vec<Picked<'o>>,
    pub(super) base: Base<'o>,
    pub(super) provenance: Provenance,
    pub(super) inputs: Option<String>,
    pub(super) in_sync: Verdict,
    pub(super) source: String,
    pub(super) ownership: Option<Ownership>,
    /// What is to be said instead of "delivered".
    pub(super) shortfall: Option<BindingState>,
}

/// What the Secret is written over.
#[derive(Debug)]
pub(super) enum Base<'o> {
    Nothing,
    /// As we wrote it, with the type that the spec still asks for; all of its metadata.
    Metadata(&'o ObjectMeta),
    Whole(&'o Whole),
}

pub(super) fn resolve<'o>(
    seen: &'o Observed,
    source: &Source,
    snapshot: &'o Snapshot,
    is_granted: impl Fn(&str) -> bool,
    keyring: &Keyring,
) -> Decision<'o> {
    if matches!(seen.target, TargetSeen::Unread) {
        return Decision::Read(Depth::Whole);
    }
    let binding = &*seen.binding;
    let selected = content::select(binding.spec.selection(), &is_granted, snapshot);
    let in_sync = in_sync(binding.spec.selection(), &selected, snapshot);
    let say = |state| Plan { registry_revision: registry_revision(snapshot), ..Plan::say(state) };

    match &seen.history {
        History::Continues => {}
        History::Unknown => return Plan::nothing().again_after(ASK_AGAIN).settled(),
        History::Diverged { delivered, how } => {
            let at = format!("revision {} of epoch {}", delivered.revision, delivered.epoch);
            let message = format!("the Secret holds {at}, which is not in the history of {}: {how}", source.name());
            return say(BindingState::Undelivered { reason: Reason::HistoryDiverged, message, in_sync }).settled();
        }
    }
    let shortfall = match ungranted(seen, source, &selected) {
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
        && let TargetSeen::AsWritten(metadata) | TargetSeen::Complete(metadata) = &seen.target
    {
        // It is what we wrote, and what we would write: so nothing leaves, and nobody else has it.
        let delivery = kept(metadata, inputs, &selected.picked, &seen.baseline);
        let done = || delivered(&delivery, &source.name(), &binding.target_name(), in_sync);
        let state = shortfall.unwrap_or_else(done);
        let strays = seen.strays.iter().map(Doomed::from).collect();
        return Plan { strays, delivery: Some(delivery), ..say(state) }.settled();
    }
    let used = seen.baseline.provenance().and_then(|provenance| provenance.origin.released.as_deref());
    let release = release_text(snapshot, used);
    let mut released = used;
    if let Err(hold) = may_become(seen, source, snapshot, &selected, is_granted) {
        if !is_released(&binding.metadata, &release) {
            if matches!(seen.target, TargetSeen::AsWritten(_) | TargetSeen::Complete(_)) && hold.lacks_names() {
                return Decision::Read(Depth::Whole);
            }
            return say(held(&hold, source, &release, in_sync)).settled();
        }
        released = Some(&release);
    }
    if let Err(error) = content::check_names(&selected.picked) {
        let message = error.to_string();
        return say(BindingState::Undelivered { reason: Reason::KeyNameInvalid, message, in_sync }).settled();
    }
    let ownership = seen.target.ownership(binding);
    if let Some((reason, message)) = blocked(seen, ownership.as_ref()) {
        return say(BindingState::Undelivered { reason, message, in_sync }).again_after(BLOCKED).settled();
    }

    let mut provenance = Provenance::of(binding, snapshot, &selected.picked);
    provenance.origin.released = released.map(str::to_owned);
    // The type and the immutability of what is there are only known while the spec is the one it was written for.
    let written_for = seen.baseline.provenance().map(|provenance| provenance.origin.generation);
    let is_known = written_for == binding.metadata.generation && !binding.spec.is_immutable();
    let base = match &seen.target {
        TargetSeen::AsWritten(_) if is_known => return Decision::Read(Depth::Metadata),
        TargetSeen::Complete(metadata) if is_known => Base::Metadata(metadata),
        TargetSeen::AsWritten(_) | TargetSeen::Complete(_) | TargetSeen::Unread => {
            return Decision::Read(Depth::Whole);
        }
        TargetSeen::Absent => Base::Nothing,
        TargetSeen::Whole(whole) => Base::Whole(whole),
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
fn ungranted(seen: &Observed, source: &Source, selected: &Selected) -> Option<(BindingState, bool)> {
    if selected.ungranted.is_empty() {
        return None;
    }
    let delivered = seen.baseline.provenance().map_or(&[][..], |provenance| &provenance.rows);
    let revokes = source.environment.spec.on_revoke() == OnRevoke::Delete && seen.baseline.may_be_from(&seen.binding);
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
    seen: &Observed,
    source: &Source,
    snapshot: &Snapshot,
    selected: &Selected,
    is_granted: impl Fn(&str) -> bool,
) -> Result<(), Hold> {
    let binding = &*seen.binding;
    removal::judge(&Question {
        delivered: match &seen.baseline {
            Baseline::Nothing => Delivered::Nothing,
            Baseline::Known(provenance) => Delivered::Known(provenance),
            Baseline::Unreadable => Delivered::Unreadable,
        },
        names: match &seen.target {
            TargetSeen::Whole(whole) => Some(whole.names().collect()),
            _ => None,
        },
        picked: &selected.picked,
        selection: binding.spec.selection(),
        source: &source_of(binding),
        snapshot,
        environment_was_deleted: seen.environment_was_deleted,
        is_granted,
        on_revoke: source.environment.spec.on_revoke(),
    })
}

/// Whether a person let go of what is held at this point.
fn is_released(binding: &ObjectMeta, release: &str) -> bool {
    let annotations = binding.annotations.as_ref();
    annotations.and_then(|annotations| annotations.get(RELEASE_REMOVAL)).is_some_and(|released| released == release)
}

fn held(hold: &Hold, source: &Source, release: &str, in_sync: Verdict) -> BindingState {
    let (reason, message) = (hold.reason(), format!("{}: {hold}", source.name()));
    if reason == Reason::NotGranted {
        return BindingState::Unresolved { reason, message };
    }
    let message = format!("{message}; if that is meant: {RELEASE_REMOVAL}={release}");
    BindingState::Held { reason, message, in_sync }
}

/// Why the target cannot be written, if somebody else has it.
fn blocked(seen: &Observed, ownership: Option<&Ownership>) -> Option<(Reason, String)> {
    let name = seen.binding.target_name();
    match ownership {
        Some(Ownership::Foreign { who }) => {
            let binding = seen.binding.name_any();
            let message = format!(
                "Secret {name} exists and belongs to {who}; it was not touched: choose another spec.target.name, delete \
                 the Secret, or, if nothing else controls it, hand it over by the annotation tidelock.dev/adopt={binding}"
            );
            Some((Reason::TargetForeign, message))
        }
        Some(Ownership::OwnedByRival { name: rival }) => {
            Some((Reason::TargetTaken, format!("Secret {name} belongs to SecretBinding {rival}")))
        }
        None if let Some(elder) = &seen.elder => {
            Some((Reason::TargetTaken, format!("SecretBinding {elder} wants Secret {name}, too, and is older")))
        }
        _ => seen.target.metadata().and_then(|metadata| metadata.deletion_timestamp.as_ref()).map(|_| {
            let message = format!("Secret {name} is being deleted; it is made anew when it is gone");
            (Reason::WriteFailed, message)
        }),
    }
}

/// The comparison over what the binding selects. Hidden rows look like missing ones, so then nothing can be said.
fn in_sync(selection: Selection, selected: &Selected, snapshot: &Snapshot) -> Verdict {
    let missing = selected.states.values().any(|state| *state == KeyState::Missing);
    if snapshot.hides_rows() && (missing || selection == Selection::Every) {
        return Verdict::plain(ConditionType::InSync, Reason::RowsMayBeHidden);
    }
    Verdict::in_sync(selected.states.iter().map(|(key, state)| (*key, *state)))
}

fn kept(metadata: &ObjectMeta, inputs: Option<String>, picked: &[Picked], baseline: &Baseline) -> Delivery {
    let kept = Some((metadata.uid.clone(), metadata.resource_version.clone()));
    Delivery { inputs, keys: picked.len(), revision: revision_of(baseline), kept }
}

pub(super) fn revision_of(baseline: &Baseline) -> Option<i64> {
    baseline.provenance().and_then(|provenance| provenance.origin.at).map(|at| at.revision)
}

pub(super) fn registry_revision(snapshot: &Snapshot) -> Option<i64> {
    match snapshot.fence {
        Fence::Revisions { project, .. } => Some(project.number),
        Fence::Digest { .. } => None,
    }
}

pub(super) fn delivered(delivery: &Delivery, source: &str, target: &str, in_sync: Verdict) -> BindingState {
    let keys = match delivery.keys {
        1 => "1 key".to_owned(),
        keys => format!("{keys} keys"),
    };
    let at = delivery.revision.map(|revision| format!(", as of revision {revision}")).unwrap_or_default();
    BindingState::Delivered { message: format!("Secret {target} has {keys} of {source}{at}"), in_sync }
}
