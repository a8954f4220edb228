//! Says in the status, and to people, what came of a plan.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, Resource, ResourceExt};

use super::plan::{ObjectVersion, Outcome, TargetEvent, next_status};
use crate::api::names::FIELD_MANAGER;
use crate::api::{ANNOUNCED, ConditionType, SecretBinding, find, is_said_of_source, is_warning};
use crate::controller::Context;
use crate::controller::runtime::{Announced, Lenient, StatusError, emit_transitions, write_status};
use crate::core::RegistryTime;
use crate::telemetry::{Severity, Verb};

/// From the writing of a value in the database to that of the Secret, by both clocks; `None` where the value is older
/// than the last delivery, so that something else was the cause.
fn latency(binding: &SecretBinding, newest: RegistryTime, now: Timestamp) -> Option<Duration> {
    let last = binding.status.as_ref()?.last_sync_time.as_ref()?.0;
    let newest = newest.to_timestamp();
    if newest < last { None } else { Duration::try_from(now.duration_since(newest)).ok() }
}

/// Writes the status, if it says anything new, and emits Events.
pub(super) async fn report(
    binding: &Arc<SecretBinding>,
    context: &Context,
    outcome: &Outcome,
    written: Option<&ObjectVersion>,
) -> Result<(), StatusError> {
    // First, as it has happened, whatever becomes of the status.
    if let Some(event) = &outcome.event {
        let (severity, reason, what) = match event {
            TargetEvent::Repaired { what } => (Severity::Warning, "TargetRepaired", what),
            TargetEvent::Adopted { what } => (Severity::Normal, "TargetAdopted", what),
        };
        context.events.emit(binding.object_ref(&()), severity, reason, "Write", what);
    }
    let value = outcome.newest_value.filter(|_| written.is_some());
    if let Some(latency) = value.and_then(|value| latency(binding, value, Timestamp::now())) {
        context.metrics.delivered(latency);
    }
    let status = next_status(binding, outcome, written, Timestamp::now());
    let said = status.as_ref().or(binding.status.as_ref()).map_or(&[][..], |status| &status.conditions);
    context.count_failure("SecretBinding", said);
    let Some(status) = status else { return Ok(()) };
    let api: Api<Lenient<SecretBinding>> =
        Api::namespaced(context.client.clone(), &binding.namespace().unwrap_or_default());
    context.metrics.wrote("secretbindings/status", Verb::Patch);
    let after = write_status(&api, FIELD_MANAGER, &**binding, &status).await?;
    let name = ObjectRef::from_obj(&after);
    context.mutations.bindings.record(after);
    // The watch may have been quicker than the answer.
    if let Some(cached) = context.stores.bindings.get(&name) {
        context.mutations.bindings.seen(&*cached, Some(&*cached));
    }
    let before = binding.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let is_ready = find(&status.conditions, ConditionType::Ready).is_some_and(|ready| ready.status == "True");
    // To become Ready for the first time is no news: a thousand new bindings would be a thousand Events.
    if !(before.is_empty() && is_ready) {
        let announced =
            Announced { types: ANNOUNCED, is_warning, is_said_elsewhere: is_said_of_source, suffix: String::new() };
        emit_transitions(&context.events, &binding.object_ref(&()), before, &status.conditions, &announced);
    }
    Ok(())
}
