//! Writing the status: at most once a second, and only when it says something else.

use std::time::Duration;

use kube::{Api, Resource};
use tokio::time::Instant;

use super::observe::ObservedEnvironment;
use crate::api::names::FIELD_MANAGER;
use crate::api::{ANNOUNCED, ProjectEnvironmentStatus, differs, is_warning};
use crate::controller::Context;
use crate::controller::runtime::{Announced, Requeue, StatusError, emit_transitions, write_status};
use crate::telemetry::Verb;

/// Shortest time from one write of a status to the next.
const SPACING: Duration = Duration::from_secs(1);

pub(super) async fn report(
    context: &Context,
    observed: &ObservedEnvironment,
    status: ProjectEnvironmentStatus,
) -> Result<Requeue, StatusError> {
    let object = &*observed.object;
    context.count_failure("ProjectEnvironment", &status.conditions);
    if !differs(object.status.as_ref(), &status) {
        return Ok(Requeue::OnChange);
    }
    if let Some(rest) = rest(context.mutations.environments.last_write(object), Instant::now()) {
        return Ok(Requeue::After(rest));
    }
    context.metrics.wrote("projectenvironments/status", Verb::Patch);
    let api = Api::all(context.client.clone());
    let after = write_status(&api, FIELD_MANAGER, object, &status).await?;
    let before = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
    let suffix = match observed.bindings {
        0 => String::new(),
        1 => "; 1 SecretBinding reads it".to_owned(),
        bindings => format!("; {bindings} SecretBindings read it"),
    };
    let announced = Announced { types: ANNOUNCED, is_warning, is_said_elsewhere: |_, _| false, suffix };
    emit_transitions(&context.events, &object.object_ref(&()), before, &status.conditions, &announced);
    context.mutations.environments.record(after);
    Ok(Requeue::OnChange)
}

/// How long a write has to wait after the last one; `None` where it has not. The first after a quiet second goes out
/// at once.
fn rest(last: Option<Instant>, now: Instant) -> Option<Duration> {
    let rest = (last? + SPACING).saturating_duration_since(now);
    (!rest.is_zero()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_waits_for_the_end_of_the_second_unless_it_was_quiet() {
        let now = Instant::now();
        assert_eq!(rest(None, now), None);
        assert_eq!(rest(Some(now), now + Duration::from_millis(300)), Some(Duration::from_millis(700)));
        assert_eq!(rest(Some(now), now + SPACING), None);
    }
}
