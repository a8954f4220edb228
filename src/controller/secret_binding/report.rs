//! Says in the status, and to people, what the plan came to.

use std::sync::Arc;
use std::time::Duration;

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{Api, Resource, ResourceExt};

use super::apply::ObjectVersion;
use super::plan::state::BindingState;
use super::plan::{Action, Plan, TargetEvent};
use crate::api::{ConditionType, SecretBinding, SecretBindingStatus, WrittenTarget, conditions, find};
use crate::controller::Context;
use crate::controller::runtime::{MutationCache, StatusError, emit_transitions, write_status};
use crate::core::RegistryTime;
use crate::telemetry::{Severity, Verb};

/// The status that is to be written; `None` where it would say nothing new. A revision of the project or a time that
/// moved is nothing new by itself.
#[must_use]
pub(super) fn next_status(
    binding: &SecretBinding,
    plan: &Plan,
    written: Option<&ObjectVersion>,
    answered: Option<&str>,
    now: Timestamp,
) -> Option<SecretBindingStatus> {
    let state = plan.state.as_ref()?;
    let previous = binding.status.clone().unwrap_or_default();
    let generation = binding.metadata.generation.unwrap_or_default();
    let updates = state.updates(binding.spec.out_of_sync_policy());
    let mut next = SecretBindingStatus {
        conditions: conditions(&previous.conditions, &updates, generation, now),
        observed_generation: Some(generation),
        ..previous.clone()
    };
    if matches!(state, BindingState::Revoked { .. }) {
        next.target = None;
        next.revision = None;
    }
    if let Some(delivery) = &plan.delivery {
        let identity = written.map(ObjectVersion::identity).or_else(|| delivery.kept.clone());
        let (uid, resource_version) = identity.unwrap_or_default();
        let before = previous.target.as_ref().and_then(|target| target.uid.clone());
        if !matches!(plan.action, Action::Keep) || before != uid || previous.revision != delivery.revision {
            // Never later than it was: what is written within the same second is still newer.
            let whole = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc);
            next.last_sync_time = Some(Time(now.round(whole).unwrap_or(now)));
        }
        next.revision = delivery.revision;
        next.target = Some(WrittenTarget {
            name: binding.target_name(),
            uid,
            resource_version,
            inputs: delivery.inputs.clone(),
            keys: i64::try_from(delivery.keys).ok(),
        });
    }
    if let Some(nonce) = answered.filter(|_| state.answers_sync()) {
        next.last_handled_sync = Some(nonce.to_owned());
    }
    if next == previous {
        return None;
    }
    next.registry_revision = plan.registry_revision.or(previous.registry_revision);
    Some(next)
}

/// From the writing of a value in the database to that of the Secret, by both clocks; `None` where the value is older
/// than the last delivery, so that something else was the cause.
fn latency(binding: &SecretBinding, newest: RegistryTime, now: Timestamp) -> Option<Duration> {
    let last = binding.status.as_ref()?.last_sync_time.as_ref()?.0;
    let newest = newest.to_timestamp();
    if newest < last { None } else { Duration::try_from(now.duration_since(newest)).ok() }
}

/// Writes the status, if it says anything new, and tells of transitions.
pub(super) async fn report(
    binding: &Arc<SecretBinding>,
    context: &Context,
    mutations: &MutationCache<SecretBinding>,
    plan: &Plan,
    written: Option<&ObjectVersion>,
    answered: Option<&str>,
) -> Result<(), StatusError> {
    // First, as it has happened, whatever becomes of the status.
    if let Some(event) = &plan.event {
        let (reason, what) = match event {
            TargetEvent::Repaired { what } => ("TargetRepaired", what),
            TargetEvent::Adopted { what } => ("TargetAdopted", what),
        };
        let severity = if matches!(event, TargetEvent::Repaired { .. }) { Severity::Warning } else { Severity::Normal };
        context.events.emit(binding.object_ref(&()), severity, reason, "Write", what);
    }
    let value = plan.newest.filter(|_| written.is_some());
    if let Some(latency) = value.and_then(|value| latency(binding, value, Timestamp::now())) {
        context.metrics.synced(latency);
    }
    let Some(status) = next_status(binding, plan, written, answered, Timestamp::now()) else { return Ok(()) };
    let api: Api<SecretBinding> = Api::namespaced(context.client.clone(), &binding.namespace().unwrap_or_default());
    context.metrics.wrote("secretbindings/status", Verb::Patch);
    let after = write_status(&api, &**binding, &status).await?;
    mutations.record(after);
    let before = binding.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let is_ready = find(&status.conditions, ConditionType::Ready).is_some_and(|ready| ready.status == "True");
    // To become Ready for the first time is no news: a thousand new bindings would be a thousand Events.
    if !(before.is_empty() && is_ready) {
        emit_transitions(&context.events, &binding.object_ref(&()), before, &status.conditions);
    }
    Ok(())
}
