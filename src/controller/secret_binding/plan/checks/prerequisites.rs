//! What has to be so before anything is delivered. None of it needs the database.

use std::time::Duration;

use kube::ResourceExt;

use crate::api::names::{CREDENTIAL_MINTING_TYPES, is_reserved};
use crate::api::{ConditionType, OnRevoke, Reason, SecretBindingStatus, SourceKind, find};
use crate::controller::secret_binding::observed::{Life, Question, ReadLevel, TargetState};
use crate::controller::secret_binding::plan::facts::Facts;
use crate::controller::secret_binding::plan::ownership::Ownership;
use crate::controller::secret_binding::plan::state::BindingState;
use crate::controller::secret_binding::plan::{Decision, DeletePreconditions, Plan, SecretWrite};
use crate::controller::sources::{Source, SourceState};

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

pub(super) fn not_suspended(facts: &Facts) -> Option<Decision> {
    if !facts.spec().is_suspended() {
        return None;
    }
    Some(say(BindingState::Suspended { message: "spec.suspend is true".to_owned() }))
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
    let invalid = facts.grants()?.as_ref().err()?;
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
    if target.is_none() && orphans.is_empty() && !was_revoked {
        return retained();
    }
    let message = format!("{message}, and says onRevoke: Delete; Secret {} was deleted", facts.binding().target_name());
    let write = target.map_or(SecretWrite::Keep, SecretWrite::Delete);
    Some(Plan { write, orphans, ..Plan::say(BindingState::Revoked { message }) }.into_decision())
}

pub(super) fn source_is_read(facts: &Facts) -> Option<Decision> {
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
