//! Workloads that are restarted, and how often they were.

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::harness::audit::AuditLog;
use crate::harness::custom_resources;
use crate::stage::Stage;

/// What stands for Argo Rollouts: its kind, without its controller.
pub(crate) const ROLLOUTS: &str = r"
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: rollouts.argoproj.io}
spec:
  group: argoproj.io
  names: {kind: Rollout, listKind: RolloutList, plural: rollouts, singular: rollout}
  scope: Namespaced
  versions:
    - name: v1alpha1
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
";

impl Stage {
    /// As [`Stage::with_shop`], where the operator may restart workloads, and with one value in `dev`.
    pub(super) async fn restarting(what: &str) -> Self {
        let stage = Self::with_shop(what).await;
        stage.upgrade_chart("rolloutRestarts.enabled=true").await;
        custom_resources::install_one(&stage.cluster.admin, &serde_yaml::from_str(ROLLOUTS).unwrap())
            .await
            .unwrap_or_else(|why| panic!("{why:#}"));
        stage.team.set("dev", "A", "1").await;
        stage.source("dev").await;
        stage
    }

    pub(super) fn workloads(&self, kind: &str) -> Api<DynamicObject> {
        let (group, version) = if kind == "Rollout" { ("argoproj.io", "v1alpha1") } else { ("apps", "v1") };
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.cluster.admin.clone(), &self.cluster.namespace, &resource)
    }

    /// A workload without pods, with fields of `spec` added or replaced.
    pub(super) async fn workload(&self, kind: &str, name: &str, fields: Value) {
        let (group, version) = if kind == "Rollout" { ("argoproj.io", "v1alpha1") } else { ("apps", "v1") };
        let labels = json!({"app": name});
        let mut manifest = json!({
            "apiVersion": format!("{group}/{version}"), "kind": kind, "metadata": {"name": name},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels, "annotations": {"theirs": "kept"}},
                    "spec": {
                        "containers": [{"name": "app", "image": "example.com/app"}],
                        "nodeSelector": {"example.com/nowhere": "true"},
                    },
                },
            },
        });
        if kind != "DaemonSet" {
            manifest["spec"]["replicas"] = json!(0);
        }
        if kind == "StatefulSet" {
            manifest["spec"]["serviceName"] = json!(name);
        }
        manifest["spec"].as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let object = serde_json::from_value(manifest).unwrap();
        self.workloads(kind).create(&PostParams::default(), &object).await.unwrap();
    }

    pub(super) async fn change_workload(&self, kind: &str, name: &str, change: Value) {
        self.workloads(kind).patch(name, &PatchParams::default(), &Patch::Merge(change)).await.unwrap();
    }

    /// How often its spec was changed, by its generation.
    pub(super) async fn restarts(&self, kind: &str, name: &str) -> i64 {
        self.workloads(kind).get(name).await.unwrap().metadata.generation.unwrap() - 1
    }

    /// Waits until the operator has seen to the restarts of these bindings for that value of `A` in `dev`.
    pub(super) async fn restarted(&self, bindings: &[&str]) {
        for binding in bindings {
            self.binding_is(binding, &["RolloutRestarted=True(Restarted)"]).await;
        }
    }

    /// How often the operator tried to restart a workload of the kind.
    pub(super) async fn patches(&self, log: &AuditLog, resource: &str) -> usize {
        let writes = self.operator_writes(log).await;
        writes.iter().filter(|write| write.object().resource == resource).count()
    }
}

pub(super) fn targets(all: &[(&str, &str)]) -> Value {
    let targets: Vec<Value> = all.iter().map(|(kind, name)| json!({"kind": kind, "name": name})).collect();
    json!({"rolloutRestartTargets": targets})
}

pub(super) fn web() -> Value {
    targets(&[("Deployment", "web")])
}

/// What of a workload says which content it was restarted for, by binding.
pub(super) fn annotations(kind: &str, object: &DynamicObject) -> Vec<(String, String)> {
    let all = match kind {
        "Rollout" => json!(object.metadata.annotations),
        _ => object.data["spec"]["template"]["metadata"]["annotations"].clone(),
    };
    let ours = all.as_object().cloned().unwrap_or_default().into_iter();
    let ours = ours.filter(|(name, _)| name.starts_with("restart.tidelock.dev/"));
    ours.map(|(name, text)| (name, text.as_str().unwrap_or_default().to_owned())).collect()
}
