//! What has to be so of the content. Each of these may rely on a snapshot of the source.

use std::time::Duration;

use kube::ResourceExt;

use crate::api::names::{MERGE, RELEASE_REMOVAL};
use crate::api::{ConditionType, ConditionUpdate, DeletionPolicy, OnRevoke, Reason, list_keys};
use crate::controller::secret_binding::observed::{Life, Question, ReadLevel, TargetState};
use crate::controller::secret_binding::plan::facts::Facts;
use crate::controller::secret_binding::plan::history::History;
use crate::controller::secret_binding::plan::ownership::Ownership;
use crate::controller::secret_binding::plan::removal::Hold;
use crate::controller::secret_binding::plan::state::BindingState;
use crate::controller::secret_binding::plan::{
    BLOCKED_REQUEUE_AFTER, Decision, DeletePreconditions, Delivery, ObjectVersion, Plan, SecretWrite, content, rollouts,
};
use crate::controller::sources::ValueId;
use crate::core::digest_of_key;

/// When to look again at a standby that is behind; its next change is looked at in any case.
const STANDBY_REQUEUE_AFTER: Duration = Duration::from_secs(5);

/// When to ask again what the database could not answer just now.
const HISTORY_REQUEUE_AFTER: Duration = Duration::from_secs(5);

pub(super) fn target_is_known(facts: &Facts) -> Option<Decision> {
    matches!(facts.observed.target, TargetState::Unread).then_some(Decision::ReadMore(ReadLevel::Secret))
}

pub(super) fn history_continues(facts: &Facts) -> Option<Decision> {
    match &facts.observed.history {
        History::Continues => None,
        History::Unknown => Some(Plan::nothing().requeue_after(HISTORY_REQUEUE_AFTER).into_decision()),
        History::Behind { delivered, standby } => {
            let source = facts.source()?.store_name();
            let message = format!(
                "the Secret holds revision {} of {source}; the database that is read is a standby and has {standby} so far",
                delivered.revision
            );
            let in_sync = ConditionUpdate::plain(ConditionType::InSync, Reason::StandbyBehind);
            let state = BindingState::Undelivered { reason: Reason::StandbyBehind, message, in_sync };
            Some(facts.say(state).requeue_after(STANDBY_REQUEUE_AFTER).into_decision())
        }
        History::Diverged { delivered, how } => {
            let at = format!("revision {} of epoch {}", delivered.revision, delivered.epoch);
            let source = facts.source()?.store_name();
            let message = format!("the Secret holds {at}, which is not in the history of {source}: {how}");
            let state =
                BindingState::Undelivered { reason: Reason::HistoryDiverged, message, in_sync: facts.in_sync()? };
            Some(facts.say(state).into_decision())
        }
    }
}

/// Keys that are named and not granted hold the Secret; but where the source says `onRevoke: Delete`, what was delivered
/// of them goes, and `compose` says so.
pub(super) fn named_keys_are_granted(facts: &Facts) -> Option<Decision> {
    let state = ungranted(facts)?;
    if revokes_delivered_keys(facts) { None } else { Some(facts.say(state).into_decision()) }
}

/// What to say of keys that are named and not granted, if there are any.
pub(in crate::controller::secret_binding::plan) fn ungranted(facts: &Facts) -> Option<BindingState> {
    let ungranted = &facts.selected()?.ungranted;
    if ungranted.is_empty() {
        return None;
    }
    let message =
        format!("not granted to this namespace by {}: {}", facts.source()?.store_name(), list_keys(ungranted));
    Some(BindingState::Unresolved { reason: Reason::NotGranted, message })
}

/// Whether some that are not granted any more were delivered, and have to go.
fn revokes_delivered_keys(facts: &Facts) -> bool {
    let is_delete = facts.source().is_some_and(|source| source.on_revoke() == OnRevoke::Delete);
    if !is_delete || !facts.observed.baseline.may_be_from(&facts.observed.reference) {
        return false;
    }
    let delivered = facts.provenance().map_or(&[][..], |provenance| &provenance.rows);
    let goes = |key: &&str| {
        let digest = digest_of_key(key);
        delivered.iter().any(|row| row.key == digest)
    };
    facts.selected().is_some_and(|selected| selected.ungranted.iter().any(goes))
}

/// What is named, and what finds something, holds the Secret where it is not there; unless the spec lets it go on proof.
pub(super) fn named_keys_exist(facts: &Facts) -> Option<Decision> {
    let selected = facts.selected()?;
    if facts.spec().deletion_policy() != DeletionPolicy::Retain {
        return None;
    }
    let source = facts.source()?.store_name();
    let message = if !selected.missing.is_empty() {
        let missing = list_keys(&selected.missing);
        format!("not in {source}: {missing}; set it there, mark its entry in spec.data optional, or remove the entry")
    } else if let Some(place) = selected.finding_nothing.first() {
        format!(
            "spec.dataFrom[{place}].find finds no key of {source} that is granted; correct it, or let the Secret be without \
             by spec.target.deletionPolicy Merge or Delete"
        )
    } else {
        return None;
    };
    let state = BindingState::Held { reason: Reason::KeyMissing, message, in_sync: facts.in_sync()? };
    Some(facts.say(state).into_decision())
}

/// Where the Secret is what we wrote, and what we would write, nothing leaves it and nobody else has it.
pub(super) fn something_changed(facts: &Facts) -> Option<Decision> {
    let inputs = facts.inputs()?;
    if facts.written().and_then(|target| target.inputs.as_deref()) != Some(inputs) {
        return None;
    }
    let content = facts.written().and_then(|target| target.content.clone()).filter(|_| rollouts::has_targets(facts));
    if content.is_none() && rollouts::has_targets(facts) {
        // What they are restarted for is not known yet.
        return None;
    }
    let (TargetState::AsWritten(metadata) | TargetState::Complete(metadata)) = &facts.observed.target else {
        return None;
    };
    let delivery = Delivery {
        inputs: Some(inputs.to_owned()),
        keys: facts.written().and_then(|target| usize::try_from(target.keys?).ok()).unwrap_or_default(),
        revision: facts.delivered_revision(),
        kept: Some(ObjectVersion::from(metadata)),
        content,
        replaced: None,
    };
    let in_sync = facts.in_sync()?;
    let state = ungranted(facts).unwrap_or_else(|| facts.delivered(&delivery, in_sync));
    let mut plan = facts.say(state);
    plan.orphans = facts.observed.orphans.iter().map(DeletePreconditions::from).collect();
    plan.done.delivery = Some(delivery);
    Some(plan.into_decision())
}

/// Whether the registry has said of each row that would leave the Secret whether it was deleted.
pub(super) fn removals_are_known(facts: &Facts) -> Option<Decision> {
    let rows = facts.removals_to_ask_about();
    (!rows.is_empty()).then_some(Decision::Ask(Question::Tombstones(rows)))
}

pub(super) fn removals_are_proven(facts: &Facts) -> Option<Decision> {
    let hold = facts.hold()?;
    if facts.is_released() {
        return None;
    }
    let is_read = !matches!(facts.observed.target, TargetState::AsWritten(_) | TargetState::Complete(_));
    if !is_read && hold.lacks_names() {
        return Some(Decision::ReadMore(ReadLevel::Secret));
    }
    Some(facts.say(held(facts, hold)?).into_decision())
}

fn held(facts: &Facts, hold: &Hold) -> Option<BindingState> {
    let (reason, message) = (hold.reason(), format!("{}: {hold}", facts.source()?.store_name()));
    if reason == Reason::NotGranted {
        return Some(BindingState::Unresolved { reason, message });
    }
    let message = format!("{message}; if that is meant: {RELEASE_REMOVAL}={}", facts.release()?);
    Some(BindingState::Held { reason, message, in_sync: facts.in_sync()? })
}

pub(super) fn names_are_valid(facts: &Facts) -> Option<Decision> {
    let (reason, message) = if facts.spec().is_shaped() {
        let error = facts.outline()?.as_ref().err()?;
        (error.reason(), error.to_string())
    } else {
        (Reason::KeyNameInvalid, content::check_names(&facts.selected()?.keys).err()?.to_string())
    };
    let state = BindingState::Undelivered { reason, message, in_sync: facts.in_sync()? };
    Some(facts.say(state).into_decision())
}

/// Somebody else's target is never written.
pub(super) fn target_is_ours(facts: &Facts) -> Option<Decision> {
    let (reason, message) = blocked(facts)?;
    let state = BindingState::Undelivered { reason, message, in_sync: facts.in_sync()? };
    Some(facts.say(state).requeue_after(BLOCKED_REQUEUE_AFTER).into_decision())
}

fn blocked(facts: &Facts) -> Option<(Reason, String)> {
    let name = facts.binding().target_name();
    match facts.ownership() {
        Some(Ownership::Foreign { who }) if facts.is_merged() => {
            let binding = facts.binding().name_any();
            let message = format!(
                "Secret {name} belongs to {who}; it was not touched: its owner lets this binding add keys by the annotation \
                 {MERGE}={binding}"
            );
            Some((Reason::TargetForeign, message))
        }
        None if facts.is_merged() => {
            let binding = facts.binding().name_any();
            let message =
                format!("there is no Secret {name} to add keys to; create it, with the annotation {MERGE}={binding}");
            Some((Reason::TargetMissing, message))
        }
        Some(Ownership::Foreign { who }) => {
            let binding = facts.binding().name_any();
            let message = format!(
                "Secret {name} exists and belongs to {who}; it was not touched: choose another spec.target.name, delete \
                 the Secret, or, if nothing else controls it, hand it over by the annotation tidelock.dev/adopt={binding}"
            );
            Some((Reason::TargetForeign, message))
        }
        Some(Ownership::OwnedByOtherBinding { name: other }) => {
            Some((Reason::TargetTaken, format!("Secret {name} belongs to SecretBinding {other}")))
        }
        None if let Some(earlier) = &facts.observed.earlier_claimant => {
            Some((Reason::TargetTaken, format!("SecretBinding {earlier} wants Secret {name}, too, and is older")))
        }
        _ => facts.observed.target.metadata().and_then(|metadata| metadata.deletion_timestamp.as_ref()).map(|_| {
            let message = format!("Secret {name} is being deleted; it is made anew when it is gone");
            (Reason::WriteFailed, message)
        }),
    }
}

/// With `deletionPolicy: Delete`, a Secret that would be empty goes, or is not made. What leaves it was proven to be meant.
pub(super) fn something_is_left(facts: &Facts) -> Option<Decision> {
    let is_empty = facts.selected()?.keys.is_empty();
    if !is_empty || facts.spec().deletion_policy() != DeletionPolicy::Delete {
        return None;
    }
    let (name, source) = (facts.binding().target_name(), facts.source()?.store_name());
    let write = match (facts.ownership(), facts.observed.target.metadata()) {
        (Some(Ownership::Ours | Ownership::PreviousBinding), Some(metadata)) => SecretWrite::Delete(metadata.into()),
        _ => SecretWrite::Keep,
    };
    let message = format!("nothing that the binding selects is in {source}; there is no Secret {name}");
    let mut plan = facts.say(BindingState::Empty { message, in_sync: facts.in_sync()? });
    plan.write = write;
    plan.orphans = facts.observed.orphans.iter().map(DeletePreconditions::from).collect();
    Some(plan.into_decision())
}

pub(super) fn base_is_known(facts: &Facts) -> Option<Decision> {
    facts.base().err().map(Decision::ReadMore)
}

/// Before a Secret is made: does the binding still exist? The cache may be behind, and would have it made again each time
/// that the garbage collector has taken it away. One that appeared a moment ago, and was never written, is known to.
pub(super) fn creation_is_for_the_living(facts: &Facts) -> Option<Decision> {
    let is_asked = matches!(facts.observed.target, TargetState::Absent) && facts.observed.life == Life::Unknown;
    (is_asked && !facts.is_newborn()).then_some(Decision::Ask(Question::Life))
}

pub(super) fn values_are_known(facts: &Facts) -> Option<Decision> {
    let values = facts.selected()?.keys.iter().map(|key| key.row.value_id());
    let unread: Vec<ValueId> = values.filter(|value| facts.observed.values.get(value).is_none()).collect();
    (!unread.is_empty()).then_some(Decision::Ask(Question::Values(unread)))
}
