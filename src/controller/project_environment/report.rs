//! Writing the status: at most once a second, and only when it says something else.

use std::time::Duration;

use kube::{Api, Resource};
use tokio::time::Instant;

use super::observe::{Observed, source_of};
use crate::api::{ProjectEnvironment, ProjectEnvironmentStatus, differs};
use crate::controller::Context;
use crate::controller::runtime::{Action, Lane, MutationCache, StatusError, emit_transitions, write_status};
use crate::telemetry::Verb;

/// Shortest time from one write of a status to the next.
const SPACING: Duration = Duration::from_secs(1);

pub(super) async fn report(
    context: &Context,
    mutations: &MutationCache<ProjectEnvironment>,
    observed: &Observed,
    status: ProjectEnvironmentStatus,
) -> Result<Action, StatusError> {
    let object = &*observed.object;
    if !differs(object.status.as_ref(), &status) {
        return Ok(Action::await_change());
    }
    if let Some(rest) = rest(mutations.last_write(object), Instant::now()) {
        return Ok(Action::requeue(rest));
    }
    // One write for an environment, which people watch: it does not wait behind those of all its bindings.
    let _pass = context.lanes.enter(Lane::Urgent, &source_of(object)).await;
    context.metrics.wrote("projectenvironments/status", Verb::Patch);
    let api = Api::all(context.client.clone());
    let after = write_status(&api, object, &status).await?;
    let before = object.status.as_ref().map_or(&[][..], |status| &status.conditions);
    emit_transitions(&context.events, &object.object_ref(&()), before, &status.conditions);
    mutations.record(after);
    Ok(Action::await_change())
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
