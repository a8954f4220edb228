//! Reads and restarts workloads. They are not watched: what is not restarted costs nothing.
//!
//! What the API server says of a workload is never repeated: a policy or webhook may quote its environment.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::runtime::reflector::ObjectRef;
use kube::{Error, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::plan::rollouts::{Due, Restart, Standing, due};
use super::workloads::{self, Found, resource_of};
use crate::api::names::FIELD_MANAGER;
use crate::api::{RolloutRestartTarget, SecretBinding, WorkloadKind};
use crate::controller::Context;
use crate::telemetry::{Verb, api_error_text};

/// How many workloads are restarted at once at most without waiting for one another.
const TURNS: usize = 256;

/// One at a time reads and restarts a workload: bindings that are due together would all restart it otherwise, and all but
/// one in vain.
#[derive(Debug)]
pub(crate) struct RestartTurns(Vec<Mutex<()>>);

impl Default for RestartTurns {
    fn default() -> Self {
        Self((0..TURNS).map(|_| Mutex::new(())).collect())
    }
}

impl RestartTurns {
    /// The turn at all of these.
    pub(super) async fn at(&self, namespace: &str, targets: &[RolloutRestartTarget]) -> Vec<MutexGuard<'_, ()>> {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let place = |target| usize::try_from(hasher.hash_one((namespace, target)) % (TURNS as u64)).unwrap_or_default();
        let mut places: Vec<usize> = targets.iter().map(place).collect();
        // In one order, and each once: nobody waits for who waits.
        places.sort_unstable();
        places.dedup();
        let mut turns = Vec::with_capacity(places.len());
        for place in places {
            turns.push(self.0[place].lock().await);
        }
        turns
    }
}

/// Reads the targets of a binding.
pub(super) async fn find(binding: &SecretBinding, context: &Context) -> Vec<(RolloutRestartTarget, Found)> {
    let namespace = binding.namespace().unwrap_or_default();
    let mut found = Vec::new();
    for target in binding.spec.rollout_restart_targets() {
        found.push((target.clone(), read(target, &namespace, context).await));
    }
    found
}

async fn read(target: &RolloutRestartTarget, namespace: &str, context: &Context) -> Found {
    let Some((resource, _)) = resource_of(target.kind) else {
        return Found::Refused("its kind is none that this operator knows; a newer one may".to_owned());
    };
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &resource);
    match api.get_opt(&target.name).await {
        Ok(Some(object)) => workloads::read(target.kind, &object),
        Ok(None) => Found::Missing,
        Err(error) => match standing(&error) {
            Standing::Refused(why) => Found::Refused(why),
            Standing::Failed(why) => Found::Failed(why),
            _ => Found::Missing,
        },
    }
}

/// What other bindings have the same targets restarted for.
pub(super) fn others_due(binding: &SecretBinding, context: &Context) -> Vec<(RolloutRestartTarget, Due)> {
    let namespace = binding.namespace().unwrap_or_default();
    let of_target = |target: &RolloutRestartTarget| {
        let others = context.index.of_restart_target(&namespace, target);
        others.into_iter().filter(|other| *other != ObjectRef::from_obj(binding))
    };
    let newest = |other: &ObjectRef<SecretBinding>| {
        let cached = context.stores.bindings.get(other)?;
        due(&context.mutations.bindings.latest(cached, &context.stores.bindings))
    };
    let targets = binding.spec.rollout_restart_targets().iter();
    let due = targets.flat_map(|target| of_target(target).filter_map(|other| Some((target.clone(), newest(&other)?))));
    due.collect()
}

/// Restarts each, if it is still as it was read.
pub(super) async fn restart(binding: &SecretBinding, context: &Context, restarts: &[Restart]) -> Vec<Standing> {
    let namespace = binding.namespace().unwrap_or_default();
    let mut standings = Vec::new();
    for restart in restarts {
        standings.push(restart_one(restart, &namespace, context).await);
    }
    let (binding, count) = (binding.name_any(), standings.iter().filter(|one| **one == Standing::Restarted).count());
    tracing::debug!(%namespace, %binding, count, "restarted workloads");
    standings
}

async fn restart_one(restart: &Restart, namespace: &str, context: &Context) -> Standing {
    let Restart { target, .. } = restart;
    let Some((resource, plural)) = resource_of(target.kind) else { return Standing::Missing };
    let api: Api<DynamicObject> = Api::namespaced_with(context.client.clone(), namespace, &resource);
    let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    context.metrics.wrote(plural, Verb::Patch);
    match api.patch(&target.name, &parameters, &Patch::Merge(patch(restart))).await {
        Ok(_) => Standing::Restarted,
        Err(error) => standing(&error),
    }
}

/// What is merged into the workload, with the uid and the resourceVersion that it must have.
fn patch(restart: &Restart) -> Value {
    let Restart { target, version, annotations, at } = restart;
    let metadata = json!({"uid": version.uid, "resourceVersion": version.resource_version});
    match target.kind {
        WorkloadKind::Rollout => {
            let mut metadata = metadata;
            metadata["annotations"] = json!(annotations);
            json!({"metadata": metadata, "spec": {"restartAt": format!("{at:.0}")}})
        }
        _ => json!({"metadata": metadata, "spec": {"template": {"metadata": {"annotations": annotations}}}}),
    }
}

/// What an error means to us, by the API server's code alone.
fn standing(error: &Error) -> Standing {
    let Error::Api(answer) = error else { return Standing::Failed(api_error_text(error)) };
    match answer.code {
        404 => Standing::Missing,
        409 => Standing::Conflict,
        401 | 403 => Standing::Refused(format!(
            "the operator's account may not do it ({}): a right or an admission policy",
            answer.code
        )),
        code @ (429 | 500..) => Standing::Failed(format!("the API server failed, or has too much to do ({code})")),
        code => Standing::Refused(format!("the API server refused it ({code})")),
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use jiff::Timestamp;

    use super::*;
    use crate::controller::secret_binding::plan::ObjectVersion;

    fn target(kind: WorkloadKind, name: &str) -> RolloutRestartTarget {
        RolloutRestartTarget { kind, name: name.to_owned() }
    }

    #[test]
    fn a_patch_has_its_preconditions_and_touches_nothing_but_annotations_and_the_time_of_a_rollout() {
        let restart = |kind| Restart {
            target: target(kind, "web"),
            version: ObjectVersion { uid: Some("u".into()), resource_version: Some("7".into()) },
            annotations: [("a".to_owned(), "1".to_owned())].into(),
            at: Timestamp::UNIX_EPOCH,
        };
        let of_template = json!({
            "metadata": {"uid": "u", "resourceVersion": "7"},
            "spec": {"template": {"metadata": {"annotations": {"a": "1"}}}},
        });
        for kind in [WorkloadKind::Deployment, WorkloadKind::StatefulSet, WorkloadKind::DaemonSet] {
            assert_eq!(patch(&restart(kind)), of_template);
        }
        let of_rollout = json!({
            "metadata": {"uid": "u", "resourceVersion": "7", "annotations": {"a": "1"}},
            "spec": {"restartAt": "1970-01-01T00:00:00Z"},
        });
        assert_eq!(patch(&restart(WorkloadKind::Rollout)), of_rollout);
    }

    #[tokio::test]
    async fn who_is_at_a_workload_keeps_others_from_it_and_from_no_other_one() {
        let turns = RestartTurns::default();
        let [web, api] = ["web", "api"].map(|name| target(WorkloadKind::Deployment, name));
        let held = turns.at("shop", &[web.clone(), api.clone(), web.clone()]).await;
        assert!(turns.at("shop", std::slice::from_ref(&web)).now_or_never().is_none());
        drop(held);
        let _held = turns.at("shop", std::slice::from_ref(&web)).await;
        assert!(turns.at("shop", &[api]).now_or_never().is_some());
    }
}
