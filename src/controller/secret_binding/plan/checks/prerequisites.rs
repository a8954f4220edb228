//! What has to be so before anything is delivered. None of it needs the database.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::names::{CREDENTIAL_MINTING_TYPES, is_reserved};
use crate::api::{ConditionType, OnRevoke, Reason, SecretBindingStatus, SourceKind, Target, find};
use crate::controller::secret_binding::observed::{Life, Question, ReadLevel, TargetState};
use crate::controller::secret_binding::plan::facts::Facts;
use crate::controller::secret_binding::plan::ownership::Ownership;
use crate::controller::secret_binding::plan::state::BindingState;
use crate::controller::secret_binding::plan::{Decision, DeletePreconditions, Plan, SecretWrite};
use crate::controller::sources::{Fault, Source, SourceState};
use crate::core::{ShortDigest, digest_of_key};

/// When to reconcile again where a cache will have something in a moment.
const CACHE_REQUEUE_AFTER: Duration = Duration::from_secs(1);

fn say(state: BindingState) -> Decision {
    Plan::say(state).into_decision()
}

fn do_nothing() -> Decision {
    Plan::nothing().into_decision()
}

pub(super) fn binding_is_there(facts: &Facts) -> Option<Decision> {
    let is_gone = facts.observed.life == Life::Gone || facts.binding().metadata.deletion_timestamp.is_some();
    is_gone.then(do_nothing)
}

/// Before anything is done to a Secret of an earlier binding of this name: is it this one that came later?
pub(super) fn takeover_is_for_the_living(facts: &Facts) -> Option<Decision> {
    let is_earlier_ones = facts.ownership() == Some(Ownership::PreviousBinding);
    (is_earlier_ones && facts.observed.life == Life::Unknown).then_some(Decision::Ask(Question::Life))
}

pub(super) fn namespace_is_there(facts: &Facts) -> Option<Decision> {
    match &facts.observed.namespace {
        None => Some(Plan::nothing().requeue_after(CACHE_REQUEUE_AFTER).into_decision()),
        Some(namespace) if namespace.metadata.deletion_timestamp.is_some() => Some(do_nothing()),
        Some(_) => None,
    }
}

/// A withdrawal by the platform team goes ahead: an application team cannot keep what was taken from it by asking for a rest.
pub(super) fn not_suspended(facts: &Facts) -> Option<Decision> {
    if !facts.spec().is_suspended() {
        return None;
    }
    if let Some(withdrawal) = withdrawal(facts) {
        return Some(withdrawal);
    }
    if withdraws_delivered_keys(facts) {
        return None;
    }
    Some(say(BindingState::Suspended { message: "spec.suspend is true".to_owned() }))
}

/// Whether a withdrawn grant takes something away, where the source works and says so.
fn can_withdraw<'o>(facts: &Facts<'o>) -> Option<&'o Source> {
    facts.source().filter(|source| source.on_revoke() == OnRevoke::Delete && !source.is_suspended())
}

/// What becomes of the Secret of a namespace that is not granted any more.
fn withdrawal(facts: &Facts) -> Option<Decision> {
    can_withdraw(facts)?;
    if facts.invalid_grant().is_some() {
        return None;
    }
    match namespace_is_granted(facts)? {
        Decision::Do(plan) if !matches!(plan.done.state, Some(BindingState::Revoked { .. })) => None,
        decision => Some(decision),
    }
}

/// Whether a key was delivered that is not granted any more, as far as its name is known.
fn withdraws_delivered_keys(facts: &Facts) -> bool {
    let is_withdrawn = || {
        can_withdraw(facts).filter(|_| facts.observed.baseline.may_be_from(&facts.observed.reference))?;
        let (granted, snapshot) = (facts.granted()?, facts.snapshot()?);
        let delivered: HashSet<ShortDigest> = facts.provenance()?.rows.iter().map(|row| row.key).collect();
        let mut known = snapshot.keys.names();
        known.find(|key| !granted.covers(key) && delivered.contains(&digest_of_key(key))).map(drop)
    };
    is_withdrawn().is_some()
}

/// What the schema refuses as well; the definitions in the cluster may be older ones.
pub(super) fn spec_is_valid(facts: &Facts) -> Option<Decision> {
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
    if let Some(contradiction) = spec.target.as_ref().and_then(Target::contradiction) {
        return invalid(contradiction.to_owned());
    }
    if let Err(error) = facts.shape() {
        return invalid(error.to_string());
    }
    let metadata = spec.target_metadata();
    let mut names = metadata.into_iter().flat_map(|metadata| metadata.labels.keys().chain(metadata.annotations.keys()));
    let name = names.find(|name| is_reserved(name))?;
    invalid(format!("spec.target.template.metadata sets {name}, which is reserved"))
}

pub(super) fn source_exists(facts: &Facts) -> Option<Decision> {
    if facts.source().is_some() {
        return None;
    }
    let reference = &facts.observed.reference;
    let message = format!("there is no {:?} {}", reference.kind, reference.name);
    Some(say(BindingState::Unresolved { reason: Reason::SourceNotFound, message }))
}

pub(super) fn source_is_not_suspended(facts: &Facts) -> Option<Decision> {
    let source = facts.source().filter(|source| source.is_suspended())?;
    Some(say(BindingState::Suspended { message: format!("spec.suspend is true on {}", source.object_name()) }))
}

pub(super) fn grants_are_valid(facts: &Facts) -> Option<Decision> {
    let invalid = facts.invalid_grant()?;
    Some(not_ready(facts.source()?, &invalid.to_string()))
}

fn not_ready(source: &Source, why: &str) -> Decision {
    let message = format!("{} is not ready: {why}", source.object_name());
    say(BindingState::Unresolved { reason: Reason::SourceNotReady, message })
}

/// Needs no database: a withdrawal must work while that is away, too.
pub(super) fn namespace_is_granted(facts: &Facts) -> Option<Decision> {
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
    let merged = facts.provenance().and_then(|provenance| provenance.origin.merged.as_ref());
    let emptied = match (facts.ownership(), &observed.target, merged) {
        (Some(Ownership::Mergeable), TargetState::Full(secret), Some(merged)) => {
            Some(SecretWrite::Replace(secret.without(merged)))
        }
        _ => None,
    };
    if target.is_none() && emptied.is_none() && orphans.is_empty() && !was_revoked {
        return retained();
    }
    let name = facts.binding().target_name();
    let done = if facts.is_merged() {
        format!("the keys that were added to Secret {name} were taken out")
    } else {
        format!("Secret {name} was deleted")
    };
    let message = format!("{message}, and says onRevoke: Delete; {done}");
    let write = emptied.or(target.map(SecretWrite::Delete)).unwrap_or_default();
    Some(Plan { write, orphans, ..Plan::say(BindingState::Revoked { message }) }.into_decision())
}

pub(super) fn source_is_read(facts: &Facts) -> Option<Decision> {
    let source = facts.source()?;
    match source.state() {
        SourceState::Ready(_) => None,
        SourceState::Pending => Some(do_nothing()),
        SourceState::Refused { refusal } => Some(not_ready(source, &source.refused_because(*refusal))),
        SourceState::Unavailable { since, cause, fault, .. } => source_is_away(facts, *fault, *since, cause),
    }
}

/// The binding stands on its last word until `staleAfter`, so that a fail-over rewrites nothing; unless it never had one,
/// or what it would say is not true any more.
fn source_is_away(facts: &Facts, fault: Fault, since: Timestamp, cause: &str) -> Option<Decision> {
    let (observed, binding) = (facts.observed, facts.binding());
    let (reason, what) = match fault {
        Fault::Away => (Reason::DatabaseUnavailable, "the database is away"),
        Fault::Refused => (Reason::DatabaseRefused, "the database refuses"),
        Fault::Schema => (Reason::SchemaNotServed, "the registry's schema does not serve this operator"),
    };
    // This operator may have been started during the outage.
    let since = facts.source().and_then(Source::said_away_since).map_or(since, |said| said.min(since));
    let unavailable = |so: &str| {
        let beginning = format!("{so}{what} since ");
        // Said before, perhaps by an operator that was stopped since: it stands until the outage is over.
        if has_begun_with(binding.status.as_ref(), binding.metadata.generation, reason, &beginning) {
            return Some(do_nothing());
        }
        let message = format!("{beginning}{since:.0}: {cause}");
        Some(say(BindingState::DatabaseUnavailable { reason, message }))
    };
    let said = binding.status.as_ref().filter(|status| has_said(status, binding.metadata.generation));
    let Some(_) = said else { return unavailable("") };
    if facts.written().is_some() {
        match observed.target {
            TargetState::Unread => return Some(Decision::ReadMore(ReadLevel::Secret)),
            TargetState::Absent => {
                return unavailable("the Secret is gone and cannot be made anew: ");
            }
            TargetState::AsWritten(_) | TargetState::Complete(_) | TargetState::Full(_) => {}
        }
    }
    let waited = Duration::try_from(observed.now.duration_since(since)).unwrap_or_default();
    match binding.spec.stale_after().checked_sub(waited).filter(|left| !left.is_zero()) {
        Some(left) => Some(Plan::nothing().requeue_after(left).into_decision()),
        None => unavailable(""),
    }
}

/// Whether the status says that already, of this generation: that reason, in words that begin so.
fn has_begun_with(status: Option<&SecretBindingStatus>, generation: Option<i64>, reason: Reason, words: &str) -> bool {
    let said = status.filter(|status| status.observed_generation == generation);
    let delivered = said.and_then(|status| find(&status.conditions, ConditionType::Delivered));
    delivered.is_some_and(|said| said.reason == reason.as_str() && said.message.starts_with(words))
}

/// Whether the status says something about this generation.
fn has_said(status: &SecretBindingStatus, generation: Option<i64>) -> bool {
    let ready = find(&status.conditions, ConditionType::Ready);
    status.observed_generation == generation && ready.is_some_and(|ready| ready.reason != Reason::Pending.as_str())
}
