//! Workloads that are restarted, as far as a restart depends on them; plain data.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use serde_json::Value;

use super::plan::ObjectVersion;
use super::plan::rollouts::Due;
use crate::api::names::RESTART_PREFIX;
use crate::api::{RolloutRestartTarget, WorkloadKind};

/// What is known of the workloads that a binding restarts.
#[derive(Debug, Default)]
pub(crate) struct RestartTargets {
    /// Whether the operator was told that it may restart workloads.
    pub(crate) is_enabled: bool,
    /// Each target, once a plan asked for them.
    pub(crate) found: Option<Vec<(RolloutRestartTarget, Found)>>,
    /// What other bindings have those targets restarted for, by target: one restart is for all of them.
    pub(crate) due: Vec<(RolloutRestartTarget, Due)>,
}

/// What came of reading a target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Workload(Workload),
    Missing,
    /// The API server does not let it be read, and why, in our own words.
    Refused(String),
    /// It gave no answer.
    Failed(String),
}

/// A workload, as far as a restart depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) version: ObjectVersion,
    /// Those annotations that bindings restart it by.
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) is_paused: bool,
    /// Whether only the deletion of its pods restarts them.
    pub(crate) is_on_delete: bool,
}

/// The API's name of a kind, and of its resource; `None` of a kind that this operator does not know.
pub(super) fn resource_of(kind: WorkloadKind) -> Option<(ApiResource, &'static str)> {
    let (group, version, kind, plural) = match kind {
        WorkloadKind::Deployment => ("apps", "v1", "Deployment", "deployments"),
        WorkloadKind::StatefulSet => ("apps", "v1", "StatefulSet", "statefulsets"),
        WorkloadKind::DaemonSet => ("apps", "v1", "DaemonSet", "daemonsets"),
        WorkloadKind::Rollout => ("argoproj.io", "v1alpha1", "Rollout", "rollouts"),
        WorkloadKind::Unknown => return None,
    };
    Some((ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural), plural))
}

/// What an object of that kind says. One that is being deleted is as good as gone.
pub(super) fn read(kind: WorkloadKind, object: &DynamicObject) -> Found {
    if object.metadata.deletion_timestamp.is_some() {
        return Found::Missing;
    }
    let text = |pointer: &str| object.data.pointer(pointer).and_then(Value::as_str);
    // The pod template of a Rollout is not what restarts it.
    let annotations = if kind == WorkloadKind::Rollout {
        object.annotations().clone()
    } else {
        let said = object.data.pointer("/spec/template/metadata/annotations").and_then(Value::as_object);
        let texts = said.into_iter().flatten();
        texts.filter_map(|(name, text)| Some((name.clone(), text.as_str()?.to_owned()))).collect()
    };
    Found::Workload(Workload {
        version: ObjectVersion::from(&object.metadata),
        annotations: annotations.into_iter().filter(|(name, _)| name.starts_with(RESTART_PREFIX)).collect(),
        is_paused: object.data.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or_default(),
        is_on_delete: text("/spec/updateStrategy/type") == Some("OnDelete"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_one(kind: WorkloadKind, spec: &Value) -> Found {
        let metadata = json!({"name": "web", "uid": "u", "resourceVersion": "7", "annotations": {"restart.tidelock.dev/app": "on itself"}});
        let object = json!({"metadata": metadata, "spec": spec});
        read(kind, &serde_json::from_value(object).expect("an object"))
    }

    #[test]
    fn of_a_workload_is_read_what_a_restart_depends_on() {
        let template =
            json!({"metadata": {"annotations": {"restart.tidelock.dev/app": "on the template", "theirs": "x"}}});
        let workload = |annotation: Option<&str>, is_paused: bool, is_on_delete: bool| {
            let version = ObjectVersion { uid: Some("u".into()), resource_version: Some("7".into()) };
            let named = |text: &str| ("restart.tidelock.dev/app".to_owned(), text.to_owned());
            let annotations = annotation.map(named).into_iter().collect();
            Found::Workload(Workload { version, annotations, is_paused, is_on_delete })
        };
        let on_template = Some("on the template");
        for (kind, spec, expected) in [
            (WorkloadKind::Deployment, json!({"template": template}), workload(on_template, false, false)),
            (WorkloadKind::Deployment, json!({"paused": true}), workload(None, true, false)),
            (WorkloadKind::StatefulSet, json!({"updateStrategy": {"type": "OnDelete"}}), workload(None, false, true)),
            (
                WorkloadKind::DaemonSet,
                json!({"updateStrategy": {"type": "RollingUpdate"}}),
                workload(None, false, false),
            ),
            (WorkloadKind::Rollout, json!({"template": template}), workload(Some("on itself"), false, false)),
            (WorkloadKind::Rollout, json!({"paused": true}), workload(Some("on itself"), true, false)),
        ] {
            assert_eq!(read_one(kind, &spec), expected, "{kind:?} {spec}");
        }
        let going = json!({"metadata": {"name": "web", "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert_eq!(read(WorkloadKind::Deployment, &serde_json::from_value(going).expect("an object")), Found::Missing);
    }
}
