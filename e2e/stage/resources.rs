//! Custom resources and Secrets of a stage, as manifests go in and as conditions come out.

use std::collections::BTreeMap;
use std::fmt::Debug;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tidelock::api::{ProjectEnvironment, SecretBinding};

use super::{SOON, Stage};
use crate::harness::wait_for;

/// What a test looks for in an object: what it wants of it, or what it saw instead.
pub(crate) type Answer<T> = Result<T, String>;

impl Stage {
    /// The name of the ProjectEnvironment of one of the shop's environments: cluster-scoped, so it carries the test's.
    pub(crate) fn source_name(&self, environment: &str) -> String {
        format!("{}-{environment}", self.cluster.namespace)
    }

    /// A ProjectEnvironment of an environment of the shop, granted to the test's namespace with all its keys.
    pub(crate) async fn source(&self, environment: &str) -> ProjectEnvironment {
        self.source_with(environment, json!({})).await
    }

    /// As [`Stage::source`], with fields of `spec` added or replaced.
    pub(crate) async fn source_with(&self, environment: &str, spec: Value) -> ProjectEnvironment {
        let mut manifest = json!({
            "apiVersion": "tidelock.dev/v1alpha1",
            "kind": "ProjectEnvironment",
            "metadata": {"name": self.source_name(environment), "labels": self.class()},
            "spec": {
                "project": "shop",
                "environment": environment,
                "grants": [{"namespaces": {"names": [self.cluster.namespace]}}],
            },
        });
        merge(&mut manifest["spec"], spec);
        create(&self.sources(), manifest).await
    }

    /// A SecretBinding `name`, with fields of `spec` added or replaced; its target has its name.
    pub(crate) async fn binding(&self, name: &str, environment: &str, spec: Value) -> SecretBinding {
        create(&self.bindings(), self.binding_manifest(name, environment, spec)).await
    }

    /// As many SecretBindings as that of every key: `app-0` and so on. Answers their names.
    pub(crate) async fn numbered_bindings(&self, count: usize, environment: &str) -> Vec<String> {
        let names: Vec<String> = (0..count).map(|number| format!("app-{number}")).collect();
        for name in &names {
            self.binding(name, environment, json!({})).await;
        }
        names
    }

    /// What [`Stage::binding`] creates.
    pub(crate) fn binding_manifest(&self, name: &str, environment: &str, spec: Value) -> Value {
        let mut manifest = json!({
            "apiVersion": "tidelock.dev/v1alpha1",
            "kind": "SecretBinding",
            "metadata": {"name": name, "namespace": self.cluster.namespace, "labels": self.class()},
            "spec": {"sourceRef": {"name": self.source_name(environment)}},
        });
        merge(&mut manifest["spec"], spec);
        manifest
    }

    fn class(&self) -> Value {
        json!({"tidelock.dev/class": self.cluster.namespace})
    }

    /// All ProjectEnvironments, as admin.
    pub(crate) fn sources(&self) -> Api<ProjectEnvironment> {
        Api::all(self.cluster.admin.clone())
    }

    /// The SecretBindings of the test's namespace, as admin.
    pub(crate) fn bindings(&self) -> Api<SecretBinding> {
        self.cluster.api()
    }

    /// The Secrets of the test's namespace, as admin.
    pub(crate) fn secrets(&self) -> Api<Secret> {
        self.cluster.api()
    }

    /// Merges into a SecretBinding, as `kubectl patch` does.
    pub(crate) async fn patch_binding(&self, name: &str, patch: Value) {
        self.bindings()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap_or_else(|why| panic!("patching {name}: {why}"));
    }

    /// Asks for a sync of a SecretBinding: everything is read anew, what no revision tells of, too.
    pub(crate) async fn ask_for_a_sync(&self, binding: &str) {
        let nonce = uuid::Uuid::new_v4().to_string();
        self.patch_binding(binding, json!({"metadata": {"annotations": {"tidelock.dev/sync": nonce}}})).await;
    }

    /// Merges into the ProjectEnvironment of an environment.
    pub(crate) async fn patch_source(&self, environment: &str, patch: Value) {
        self.sources()
            .patch(&self.source_name(environment), &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap_or_else(|why| panic!("patching the source {environment}: {why}"));
    }

    /// Deletes a Secret, as a person would.
    pub(crate) async fn delete_secret(&self, name: &str) {
        self.secrets()
            .delete(name, &DeleteParams::default())
            .await
            .unwrap_or_else(|why| panic!("deleting {name}: {why}"));
    }

    /// Waits until the Secret `name` is what `wanted` says.
    pub(crate) async fn secret<T>(&self, name: &str, wanted: impl Fn(&Secret) -> Answer<T>) -> T {
        let api = self.secrets();
        wait_for(&format!("Secret {name}"), SOON, async || {
            let found = api.get_opt(name).await.map_err(|why| why.to_string())?;
            found.as_ref().ok_or_else(|| "there is none".to_owned()).and_then(&wanted)
        })
        .await
    }

    /// Waits until the Secret `name` has exactly these keys with these values.
    pub(crate) async fn secret_has(&self, name: &str, expected: &[(&str, &str)]) -> Secret {
        let expected: BTreeMap<String, String> = expected.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        self.secret(name, |secret| {
            if text(secret) == expected { Ok(secret.clone()) } else { Err(format!("{:?}", text(secret))) }
        })
        .await
    }

    /// Waits until the SecretBinding `name` has these conditions, each as `Type=Status` or `Type=Status(Reason)`.
    pub(crate) async fn binding_is(&self, name: &str, conditions: &[&str]) -> SecretBinding {
        is(&self.bindings(), name, conditions, |binding| {
            binding.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default()
        })
        .await
    }

    /// Waits until the ProjectEnvironment of an environment has these conditions.
    pub(crate) async fn source_is(&self, environment: &str, conditions: &[&str]) -> ProjectEnvironment {
        is(&self.sources(), &self.source_name(environment), conditions, |source| {
            source.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default()
        })
        .await
    }
}

/// The data of a Secret as text.
pub(crate) fn text(secret: &Secret) -> BTreeMap<String, String> {
    data(secret).into_iter().map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned())).collect()
}

pub(crate) fn data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

async fn create<K>(api: &Api<K>, manifest: Value) -> K
where
    K: Resource + Clone + Debug + Serialize + DeserializeOwned,
{
    let object: K = serde_json::from_value(manifest.clone()).unwrap_or_else(|why| panic!("{manifest}: {why}"));
    api.create(&PostParams::default(), &object).await.unwrap_or_else(|why| panic!("creating {manifest}: {why}"))
}

async fn is<K>(api: &Api<K>, name: &str, expected: &[&str], conditions: impl Fn(&K) -> Vec<Condition>) -> K
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    wait_for(&format!("{name} to be {expected:?}"), SOON, async || {
        let found = api.get(name).await.map_err(|why| why.to_string())?;
        let has: Vec<(String, String)> = conditions(&found)
            .iter()
            .map(|c| (format!("{}={}", c.type_, c.status), format!("{}={}({})", c.type_, c.status, c.reason)))
            .collect();
        if expected.iter().all(|wanted| has.iter().any(|(plain, reasoned)| wanted == plain || wanted == reasoned)) {
            return Ok(found);
        }
        Err(conditions(&found)
            .iter()
            .map(|c| format!("{}={}({}): {}", c.type_, c.status, c.reason, c.message))
            .collect::<Vec<_>>()
            .join("\n  "))
    })
    .await
}

/// Puts the fields of one object into another, objects in objects likewise.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}
