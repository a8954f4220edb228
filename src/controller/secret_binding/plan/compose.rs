//! With the values at hand: what is to be written, if anything.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::checks::{Base, Intent, delivered, registry_revision, revision_of};
use super::content::{ContentError, Values};
use super::ownership::Ownership;
use super::state::BindingState;
use super::target::{Desired, Differences, FullSecret, TooLarge};
use super::{Action, BLOCKED_REQUEUE_AFTER, DeletePreconditions, Delivery, Plan, TargetEvent};
use crate::api::Reason;
use crate::controller::secret_binding::observed::Observed;

/// The second stage: compares what was opened with what is there.
#[must_use]
pub(crate) fn compose(observed: &Observed, intent: Intent, opened: Result<Values, ContentError>) -> Plan {
    let registry_revision = registry_revision(intent.snapshot);
    let refuse = |reason, message, intent: Intent| {
        let state = BindingState::Undelivered { reason, message, in_sync: intent.in_sync };
        Plan { registry_revision, ..Plan::say(state) }
    };
    let values = match opened {
        Ok(values) => values,
        Err(error) => return refuse(reason_of(&error), error.to_string(), intent),
    };
    let binding = &*observed.binding;
    let desired = Desired { binding, values, provenance: intent.provenance.clone() };
    let differences = match &intent.base {
        Base::Full(whole) => Some(desired.differences(whole)),
        Base::Nothing | Base::Metadata(_) => None,
    };
    if let (Base::Full(whole), Some(differences)) = (&intent.base, &differences)
        && let Some(message) = immutable(binding.spec.target_type(), whole, differences)
    {
        // One that is not ours yet sends no event when it is deleted.
        let requeue = (intent.ownership == Some(Ownership::Adoptable)).then_some(BLOCKED_REQUEUE_AFTER);
        return Plan { requeue, ..refuse(Reason::TargetImmutable, message, intent) };
    }
    let action = match act(&desired, &intent.base, differences.as_ref()) {
        Ok(action) => action,
        Err(too_large) => return refuse(Reason::TargetTooLarge, too_large.to_string(), intent),
    };

    let delivery = Delivery {
        inputs: intent.inputs.clone(),
        keys: desired.values.len(),
        revision: match &action {
            Action::Keep => revision_of(&observed.baseline),
            _ => intent.provenance.origin.at.map(|at| at.revision),
        },
        kept: match (&action, &intent.base) {
            (Action::Keep, Base::Full(whole)) => Some(identity(&whole.0.metadata)),
            _ => None,
        },
    };
    let newest = intent.picked.iter().map(|key| key.row.updated_at).max();
    let event = event(observed, &intent, &action, differences.as_ref());
    let state = intent
        .shortfall
        .unwrap_or_else(|| delivered(&delivery, &intent.source, &binding.target_name(), intent.in_sync));
    Plan {
        action,
        orphans: observed.orphans.iter().map(DeletePreconditions::from).collect(),
        delivery: Some(delivery),
        registry_revision,
        newest,
        event,
        ..Plan::say(state)
    }
}

fn act(desired: &Desired, base: &Base, differences: Option<&Differences>) -> Result<Action, TooLarge> {
    match base {
        Base::Nothing => desired.build(None).map(Action::Create),
        Base::Metadata(metadata) => desired.build(Some(metadata)).map(Action::Replace),
        Base::Full(_) if differences.is_some_and(Differences::is_empty) => Ok(Action::Keep),
        Base::Full(whole) => {
            let mut next = desired.build(Some(&whole.0.metadata))?;
            // Nobody can take it back.
            next.0.immutable = next.0.immutable.or(whole.is_immutable().then_some(true));
            Ok(Action::Replace(next))
        }
    }
}

/// Why Kubernetes would not let the Secret become what it is to be.
fn immutable(type_: &str, current: &FullSecret, differences: &Differences) -> Option<String> {
    if current.type_() != type_ {
        return Some(format!("the Secret has type {}, and the spec asks for {type_}", current.type_()));
    }
    let frozen = current.is_immutable() && differences.touch_data();
    frozen.then(|| format!("the Secret is immutable, and its data would have to change: {differences}"))
}

/// Repaired, where the source asks for nothing new and the Secret is different all the same.
fn event(
    observed: &Observed,
    intent: &Intent,
    action: &Action,
    differences: Option<&Differences>,
) -> Option<TargetEvent> {
    let name = observed.binding.target_name();
    let status = observed.binding.status.as_ref().and_then(|status| status.target.as_ref());
    let written = status.filter(|target| target.name == name);
    match (action, &intent.ownership) {
        (Action::Create(_), _) if written.is_some() => {
            Some(TargetEvent::Repaired { what: format!("Secret {name} was gone") })
        }
        (Action::Replace(_), Some(Ownership::Adoptable)) => {
            Some(TargetEvent::Adopted { what: format!("Secret {name}, which was handed over") })
        }
        (Action::Replace(_), Some(Ownership::PreviousBinding)) => {
            Some(TargetEvent::Adopted { what: format!("Secret {name} of an earlier binding of this name") })
        }
        (Action::Replace(_), _) => {
            let same = written.is_some_and(|target| target.inputs.is_some() && target.inputs == intent.inputs);
            let differences = differences.filter(|_| same)?;
            Some(TargetEvent::Repaired { what: format!("Secret {name}: {differences}") })
        }
        _ => None,
    }
}

fn reason_of(error: &ContentError) -> Reason {
    match error {
        ContentError::KeyNameInvalid { .. } | ContentError::KeyNameTwice { .. } => Reason::KeyNameInvalid,
        ContentError::RingNotHeld { .. } => Reason::RingNotHeld,
        ContentError::OpenFailed { .. } => Reason::OpenFailed,
        ContentError::HashMismatch { .. } => Reason::HashMismatch,
        ContentError::TooLarge { .. } => Reason::TargetTooLarge,
    }
}

fn identity(metadata: &ObjectMeta) -> (Option<String>, Option<String>) {
    (metadata.uid.clone(), metadata.resource_version.clone())
}
