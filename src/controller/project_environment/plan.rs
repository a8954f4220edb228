//! From what was observed to the status; pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

use super::observe::ObservedEnvironment;
use crate::api::{
    ConditionType, ConditionUpdate, KeyCounts, OUT_OF_SYNC_MAX, OutOfSyncKey, ProjectEnvironmentStatus, Reason,
    conditions,
};
use crate::controller::sources::{Fault, Snapshot, SourceState, refusal_in_words, registry_name};
use crate::core::{KeyState, RegistryTime, is_secret_key};

/// The status that the environment should have; `None` while there is nothing to say yet.
pub(super) fn plan(observed: &ObservedEnvironment) -> Option<ProjectEnvironmentStatus> {
    let spec = &observed.object.spec;
    let before = observed.object.status.clone().unwrap_or_default();
    let (availability, in_sync) = updates(observed)?;
    let suspended = availability.reason() == Reason::Suspended;
    let mut status = match &observed.state {
        _ if suspended || availability.reason() == Reason::InvalidSpec => before.clone(),
        SourceState::Ready(snapshot) => values(snapshot),
        SourceState::Refused { .. } => ProjectEnvironmentStatus::default(),
        SourceState::Unavailable { .. } | SourceState::Pending => before.clone(),
    };
    if !suspended {
        status.bindings = Some(i64::try_from(observed.bindings).unwrap_or(i64::MAX));
    }
    status.last_handled_sync = answered(observed).or(before.last_handled_sync);
    let generation = observed.object.metadata.generation.unwrap_or_default();
    // While it is suspended, nobody has looked at a newer one.
    let looked_at = before.observed_generation.filter(|looked_at| suspended && *looked_at >= 0);
    status.observed_generation = looked_at.or(Some(generation));
    let ready = ConditionUpdate::source_ready(&availability, &in_sync, spec.out_of_sync_policy());
    status.conditions = conditions(&before.conditions, &[ready, in_sync], generation, observed.now);
    Some(status)
}

/// The request that this poll answers. A registry that did not answer answers nobody, as on a binding: a gate that waits
/// for the answer must not pass on what was known before.
fn answered(observed: &ObservedEnvironment) -> Option<String> {
    match observed.state {
        SourceState::Ready(_) | SourceState::Refused { .. } => observed.asked.clone(),
        SourceState::Pending | SourceState::Unavailable { .. } => None,
    }
}

/// Whether it is available, and the registry comparison.
fn updates(observed: &ObservedEnvironment) -> Option<(ConditionUpdate, ConditionUpdate)> {
    use ConditionType::{InSync, Ready};
    let spec = &observed.object.spec;
    if spec.is_suspended() {
        return Some((
            ConditionUpdate::plain(Ready, Reason::Suspended),
            ConditionUpdate::plain(InSync, Reason::Suspended),
        ));
    }
    if let Some(invalid) = observed.grants.invalid() {
        let message = invalid.to_string();
        return Some((
            ConditionUpdate::new(Ready, Reason::InvalidSpec, message.clone()),
            ConditionUpdate::new(InSync, Reason::InvalidSpec, message),
        ));
    }
    let not_ready =
        || ConditionUpdate::new(InSync, Reason::SourceNotReady, "nothing can be compared; see the condition Ready");
    Some(match &observed.state {
        SourceState::Pending => return None,
        SourceState::Refused { refusal } => {
            let (reason, words) = refusal_in_words(*refusal, &registry_name(&observed.object));
            (ConditionUpdate::new(Ready, reason, words), not_ready())
        }
        SourceState::Unavailable { cause, fault: Fault::Away, .. } => (
            ConditionUpdate::new(Ready, Reason::DatabaseUnavailable, cause.clone()),
            ConditionUpdate::new(InSync, Reason::DatabaseUnavailable, cause.clone()),
        ),
        SourceState::Unavailable { cause, fault: Fault::Refused, .. } => {
            (ConditionUpdate::new(Ready, Reason::DatabaseRefused, cause.clone()), not_ready())
        }
        SourceState::Unavailable { cause, fault: Fault::Schema, .. } => {
            (ConditionUpdate::new(Ready, Reason::SchemaNotServed, cause.clone()), not_ready())
        }
        SourceState::Ready(snapshot) => {
            let in_sync = if snapshot.hides_rows() {
                ConditionUpdate::plain(InSync, Reason::RowsMayBeHidden)
            } else {
                ConditionUpdate::in_sync(snapshot.keys.counts().total, snapshot.keys.out_of_sync())
            };
            (ConditionUpdate::plain(Ready, Reason::Available), in_sync)
        }
    })
}

/// What the snapshot says, without conditions.
fn values(snapshot: &Snapshot) -> ProjectEnvironmentStatus {
    ProjectEnvironmentStatus {
        project_id: Some(snapshot.project.to_string()),
        environment_id: Some(snapshot.environment.to_string()),
        production: Some(snapshot.production),
        revision: snapshot.fence().map(|fence| fence.revision),
        registry_revision: snapshot.registry_revision(),
        keys: Some(KeyCounts::from(snapshot.keys.counts())),
        out_of_sync: out_of_sync(snapshot),
        ..ProjectEnvironmentStatus::default()
    }
}

/// The first 50 keys that are behind: stale ones first, then missing, then unregistered; each by name.
fn out_of_sync(snapshot: &Snapshot) -> Vec<OutOfSyncKey> {
    let mut behind: Vec<(KeyState, &str)> = snapshot
        .keys
        .out_of_sync()
        // What no Secret takes as a name may be a secret that became one; it is counted all the same.
        .filter(|(key, _)| is_secret_key(key))
        .map(|(key, state)| (state, key))
        .collect();
    behind.sort_unstable();
    behind.truncate(OUT_OF_SYNC_MAX);
    let time = |time: RegistryTime| MicroTime(time.to_timestamp());
    behind
        .into_iter()
        .map(|(state, key)| OutOfSyncKey {
            key: key.to_owned(),
            state,
            updated_at: snapshot.keys.secret(key).map(|row| time(row.updated_at)),
            last_updated_at: snapshot.keys.get(key).and_then(|entry| entry.last_updated_at).map(time),
        })
        .collect()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
