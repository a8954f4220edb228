//! The ordered list of checks: each looks at the facts and is silent, or says what is to be done; the first that speaks
//! ends the list.

use std::time::Duration;

use kube::ResourceExt;

use super::facts::Facts;
use super::history::History;
use super::ownership::Ownership;
use super::provenance::digest_of_key;
use super::removal::Hold;
use super::state::BindingState;
use super::{
    BLOCKED_REQUEUE_AFTER, Decision, DeletePreconditions, Delivery, ObjectVersion, Plan, SecretWrite, content,
};
use crate::api::names::{CREDENTIAL_MINTING_TYPES, RELEASE_REMOVAL, is_reserved};
use crate::api::{ConditionType, OnRevoke, Reason, SecretBindingStatus, SourceKind, find, list_keys};
use crate::controller::secret_binding::observed::{ReadLevel, TargetState};
use crate::controller::sources::{Source, SourceState};

/// When to reconcile again where a cache will have something in a moment.
const CACHE_REQUEUE_AFTER: Duration = Duration::from_secs(1);

/// When to ask again what the database could not answer just now.
const HISTORY_REQUEUE_AFTER: Duration = Duration::from_secs(5);

/// Silent, or what is to be done.
type Check = fn(&Facts) -> Option<Decision>;

/// In this order. Up to `source_is_read` none needs the database; from there on each may rely on a snapshot.
const CHECKS: &[Check] = &[
    binding_is_there,
    namespace_is_there,
    not_suspended,
    spec_is_valid,
    source_exists,
    source_is_not_suspended,
    grants_are_valid,
    namespace_is_granted,
    source_is_read,
    target_is_known,
    history_continues,
    named_keys_are_granted,
    named_keys_exist,
    something_changed,
    removals_are_proven,
    names_are_valid,
    target_is_ours,
    base_is_known,
];

pub(super) fn first_to_speak(facts: &Facts) -> Option<Decision> {
    CHECKS.iter().find_map(|check| check(facts))
}

fn say(state: BindingState) -> Decision {
    Plan::say(state).into_decision()
}

fn do_nothing() -> Decision {
    Plan::nothing().into_decision()
}

fn binding_is_there(facts: &Facts) -> Option<Decision> {
    let is_gone = facts.observed.is_superseded || facts.binding().metadata.deletion_timestamp.is_some();
    is_gone.then(do_nothing)
}

fn namespace_is_there(facts: &Facts) -> Option<Decision> {
    match &facts.observed.namespace {
        None => Some(Plan::nothing().requeue_after(CACHE_REQUEUE_AFTER).into_decision()),
        Some(namespace) if namespace.metadata.deletion_timestamp.is_some() => Some(do_nothing()),
        Some(_) => None,
    }
}

fn not_suspended(facts: &Facts) -> Option<Decision> {
    if !facts.spec().is_suspended() {
        return None;
    }
    Some(say(BindingState::Suspended { message: "spec.suspend is true".to_owned() }))
}

/// What the schema refuses as well; the definitions in the cluster may be older ones.
fn spec_is_valid(facts: &Facts) -> Option<Decision> {
    let spec = facts.spec();
    let invalid = |message: String| Some(say(BindingState::InvalidSpec { message }));
    if spec.source_kind() == SourceKind::Unknown {
        return invalid("spec.sourceRef.kind is none that this operator knows; a newer one may".to_owned());
    }
    let type_ = spec.target_type();
    if CREDENTIAL_MINTING_TYPES.contains(&type_) {
        return invalid(format!(
            "spec.target.template.type is {type_}, which makes the control plane mint a credential"
        ));
    }
    let metadata = spec.target_metadata();
    let mut names = metadata.into_iter().flat_map(|metadata| metadata.labels.keys().chain(metadata.annotations.keys()));
    let name = names.find(|name| is_reserved(name))?;
    invalid(format!("spec.target.template.metadata sets {name}, which is reserved"))
}

fn source_exists(facts: &Facts) -> Option<Decision> {
    if facts.source().is_some() {
        return None;
    }
    let reference = &facts.observed.reference;
    let message = format!("there is no {:?} {}", reference.kind, reference.name);
    Some(say(BindingState::Unresolved { reason: Reason::SourceNotFound, message }))
}

fn source_is_not_suspended(facts: &Facts) -> Option<Decision> {
    let source = facts.source().filter(|source| source.is_suspended())?;
    Some(say(BindingState::Suspended { message: format!("spec.suspend is true on {}", source.object_name()) }))
}

fn grants_are_valid(facts: &Facts) -> Option<Decision> {
    let invalid = facts.grants()?.as_ref().err()?;
    Some(not_ready(facts.source()?, &invalid.to_string()))
}

fn not_ready(source: &Source, why: &str) -> Decision {
    let message = format!("{} is not ready: {why}", source.object_name());
    say(BindingState::Unresolved { reason: Reason::SourceNotReady, message })
}

/// Needs no database: a withdrawal must work while that is away, too.
fn namespace_is_granted(facts: &Facts) -> Option<Decision> {
    if facts.granted().is_some() {
        return None;
    }
    let (observed, source) = (facts.observed, facts.source()?);
    let namespace = facts.binding().namespace().unwrap_or_default();
    let message = format!("{} grants nothing to namespace {namespace}", source.object_name());
    let retained = || Some(say(BindingState::Unresolved { reason: Reason::NotGranted, message: message.clone() }));
    if source.on_revoke() == OnRevoke::Retain {
        return retained();
    }
    if matches!(observed.target, TargetState::Unread) {
        return Some(Decision::ReadMore(ReadLevel::Secret));
    }
    if !observed.baseline.may_be_from(&observed.reference) {
        return retained();
    }
    let target = match facts.ownership() {
        Some(Ownership::Ours | Ownership::PreviousBinding) => observed.target.metadata().map(DeletePreconditions::from),
        _ => None,
    };
    let orphans: Vec<DeletePreconditions> = observed.orphans.iter().map(DeletePreconditions::from).collect();
    let before = facts.binding().status.as_ref().and_then(|status| find(&status.conditions, ConditionType::Delivered));
    let was_revoked = before.is_some_and(|condition| condition.reason == Reason::Revoked.as_str());
    if target.is_none() && orphans.is_empty() && !was_revoked {
        return retained();
    }
    let message = format!("{message}, and says onRevoke: Delete; Secret {} was deleted", facts.binding().target_name());
    let write = target.map_or(SecretWrite::Keep, SecretWrite::Delete);
    Some(Plan { write, orphans, ..Plan::say(BindingState::Revoked { message }) }.into_decision())
}

fn source_is_read(facts: &Facts) -> Option<Decision> {
    let source = facts.source()?;
    match source.state() {
        SourceState::Ready(_) => None,
        SourceState::Pending => Some(do_nothing()),
        SourceState::Refused { refusal } => Some(not_ready(source, &source.refused_because(*refusal))),
        SourceState::Unavailable { since, cause, .. } => source_is_away(facts, *since, cause),
    }
}

/// The binding stands on its last word until `staleAfter`, so that a fail-over rewrites nothing; unless it never had one,
/// or what it would say is not true any more.
fn source_is_away(facts: &Facts, since: jiff::Timestamp, cause: &str) -> Option<Decision> {
    let (observed, binding) = (facts.observed, facts.binding());
    let unavailable = |what: &str| {
        let message = format!("{what}since {since:.0}: {cause}");
        Some(say(BindingState::DatabaseUnavailable { message }))
    };
    let said = binding.status.as_ref().filter(|status| has_said(status, binding.metadata.generation));
    let Some(_) = said else { return unavailable("the database is away ") };
    if facts.written().is_some() {
        match observed.target {
            TargetState::Unread => return Some(Decision::ReadMore(ReadLevel::Secret)),
            TargetState::Absent => {
                return unavailable("the Secret is gone and cannot be made anew: the database is away ");
            }
            TargetState::AsWritten(_) | TargetState::Complete(_) | TargetState::Full(_) => {}
        }
    }
    let waited = Duration::try_from(observed.now.duration_since(since)).unwrap_or_default();
    match binding.spec.stale_after().checked_sub(waited).filter(|left| !left.is_zero()) {
        Some(left) => Some(Plan::nothing().requeue_after(left).into_decision()),
        None => unavailable("the database is away "),
    }
}

/// Whether the status says something about this generation.
fn has_said(status: &SecretBindingStatus, generation: Option<i64>) -> bool {
    let ready = find(&status.conditions, ConditionType::Ready);
    status.observed_generation == generation && ready.is_some_and(|ready| ready.reason != Reason::Pending.as_str())
}

fn target_is_known(facts: &Facts) -> Option<Decision> {
    matches!(facts.observed.target, TargetState::Unread).then_some(Decision::ReadMore(ReadLevel::Secret))
}

fn history_continues(facts: &Facts) -> Option<Decision> {
    match &facts.observed.history {
        History::Continues => None,
        History::Unknown => Some(Plan::nothing().requeue_after(HISTORY_REQUEUE_AFTER).into_decision()),
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
fn named_keys_are_granted(facts: &Facts) -> Option<Decision> {
    let state = ungranted(facts)?;
    if revokes_delivered_keys(facts) { None } else { Some(facts.say(state).into_decision()) }
}

/// What to say of keys that are named and not granted, if there are any.
pub(super) fn ungranted(facts: &Facts) -> Option<BindingState> {
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

fn named_keys_exist(facts: &Facts) -> Option<Decision> {
    let missing = &facts.selected()?.missing;
    if missing.is_empty() {
        return None;
    }
    let message = format!(
        "not in {}: {}; set it there, mark its entry in spec.data optional, or remove the entry",
        facts.source()?.store_name(),
        list_keys(missing)
    );
    let state = BindingState::Held { reason: Reason::KeyMissing, message, in_sync: facts.in_sync()? };
    Some(facts.say(state).into_decision())
}

/// Where the Secret is what we wrote, and what we would write, nothing leaves it and nobody else has it.
fn something_changed(facts: &Facts) -> Option<Decision> {
    let inputs = facts.inputs()?;
    if facts.written().and_then(|target| target.inputs.as_deref()) != Some(inputs) {
        return None;
    }
    let (TargetState::AsWritten(metadata) | TargetState::Complete(metadata)) = &facts.observed.target else {
        return None;
    };
    let delivery = Delivery {
        inputs: Some(inputs.to_owned()),
        keys: facts.selected()?.keys.len(),
        revision: facts.delivered_revision(),
        kept: Some(ObjectVersion::from(metadata)),
    };
    let in_sync = facts.in_sync()?;
    let state = ungranted(facts).unwrap_or_else(|| facts.delivered(&delivery, in_sync));
    let mut plan = facts.say(state);
    plan.orphans = facts.observed.orphans.iter().map(DeletePreconditions::from).collect();
    plan.done.delivery = Some(delivery);
    Some(plan.into_decision())
}

fn removals_are_proven(facts: &Facts) -> Option<Decision> {
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

fn names_are_valid(facts: &Facts) -> Option<Decision> {
    let message = content::check_names(&facts.selected()?.keys).err()?.to_string();
    let state = BindingState::Undelivered { reason: Reason::KeyNameInvalid, message, in_sync: facts.in_sync()? };
    Some(facts.say(state).into_decision())
}

/// Somebody else's target is never written.
fn target_is_ours(facts: &Facts) -> Option<Decision> {
    let (reason, message) = blocked(facts)?;
    let state = BindingState::Undelivered { reason, message, in_sync: facts.in_sync()? };
    Some(facts.say(state).requeue_after(BLOCKED_REQUEUE_AFTER).into_decision())
}

fn blocked(facts: &Facts) -> Option<(Reason, String)> {
    let name = facts.binding().target_name();
    match facts.ownership() {
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

fn base_is_known(facts: &Facts) -> Option<Decision> {
    facts.base().err().map(Decision::ReadMore)
}
