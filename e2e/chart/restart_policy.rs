//! What the admission policy lets the operator's account do to workloads, whatever rights it has and whatever the
//! operator's code does: tried with its token.

use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use serde_json::{Value, json};

use crate::harness::custom_resources;
use crate::harness::wait_for;
use crate::operator::ROLLOUTS;
use crate::stage::{SOON, Stage};

const NOTHING_ELSE: &str = "tidelock does nothing to workloads but to restart them";
const METADATA: &str = "tidelock sets nothing in a workload's metadata but its own annotations, on a Rollout";
const SPEC: &str = "tidelock sets nothing in a workload's spec but what restarts it";
const TEMPLATE: &str = "tidelock sets nothing in a pod template but its own annotations";
const ANNOTATION: &str = "tidelock sets no annotation of a pod template but its own, to a digest";

/// A namespace with the policy in force, and the operator's account an administrator of it.
struct PolicyStage {
    stage: Stage,
    operator: Client,
}

impl PolicyStage {
    async fn new() -> Self {
        let stage = Stage::with_shop("restart-policy").await;
        stage.upgrade_chart("rolloutRestarts.enabled=true").await;
        custom_resources::install_one(&stage.cluster.admin, &serde_yaml::from_str(ROLLOUTS).unwrap()).await.unwrap();
        let (namespace, account) = stage.account();
        let account = format!("--serviceaccount={namespace}:{account}");
        let all = ["create", "rolebinding", "all", "--clusterrole=cluster-admin", &account, "--namespace", namespace];
        stage.kubectl(&all, b"").await.unwrap();
        let operator = stage.cluster.client(&stage.cluster.token(namespace, stage.account().1).await);
        let given = Self { stage, operator };
        for kind in ["Deployment", "StatefulSet", "DaemonSet", "Rollout"] {
            let admin = given.api(kind, &given.stage.cluster.admin);
            admin.create(&PostParams::default(), &workload(kind, "web")).await.unwrap();
        }
        wait_for("the policy and the right to be in force", SOON, async || {
            match given.patches("Deployment", json!({"spec": {"replicas": 7}})).await {
                Err(why) if why.contains("ValidatingAdmissionPolicy") => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await;
        given
    }

    fn api(&self, kind: &str, client: &Client) -> Api<DynamicObject> {
        let (group, version) = group_of(kind);
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(client.clone(), &self.stage.cluster.namespace, &resource)
    }

    /// This and the next are dry runs, so that each attempt finds what the one before found.
    async fn patches(&self, kind: &str, patch: Value) -> Result<(), String> {
        let dry_run = PatchParams { dry_run: true, ..PatchParams::default() };
        let patched = self.api(kind, &self.operator).patch("web", &dry_run, &Patch::Merge(patch)).await;
        patched.map(|_| ()).map_err(|why| why.to_string())
    }
}

fn group_of(kind: &str) -> (&'static str, &'static str) {
    if kind == "Rollout" { ("argoproj.io", "v1alpha1") } else { ("apps", "v1") }
}

fn workload(kind: &str, name: &str) -> DynamicObject {
    let (group, version) = group_of(kind);
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}, "annotations": {"theirs": "1"}},
            "spec": {"containers": [{"name": "app", "image": "example.com/app", "env": [{"name": "A", "value": "1"}]}]},
        },
    });
    if kind == "StatefulSet" {
        spec["serviceName"] = json!("web");
    }
    if kind != "DaemonSet" {
        spec["replicas"] = json!(0);
    }
    let metadata = json!({"name": name, "labels": {"a": "b"}, "annotations": {"theirs": "1"}});
    serde_json::from_value(
        json!({"apiVersion": format!("{group}/{version}"), "kind": kind, "metadata": metadata, "spec": spec}),
    )
    .unwrap()
}

fn expect(what: &str, answer: &Result<(), String>, expected: Option<&str>) {
    match (answer, expected) {
        (Ok(()), None) => {}
        (Err(why), Some(message)) if why.contains("ValidatingAdmissionPolicy") && why.contains(message) => {}
        _ => panic!("{what}: {answer:?} instead of {expected:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_account_restarts_workloads_and_changes_nothing_else_in_them() {
    let given = PolicyStage::new().await;
    let digest = format!("1:{}:{}", uuid::Uuid::new_v4(), "0a".repeat(32));
    let ours = "restart.tidelock.dev/app";
    let template = |fields: Value| json!({"spec": {"template": fields}});
    let in_template = |annotations: Value| template(json!({"metadata": {"annotations": annotations}}));
    let itself = |annotations: Value| json!({"metadata": {"annotations": annotations}});
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        let replicas = json!({"spec": {"replicas": 1, "minReadySeconds": 7}});
        for (what, patch, expected) in [
            ("a restart", in_template(json!({ours: digest})), None),
            ("a value", in_template(json!({ours: "hunter2"})), Some(ANNOTATION)),
            ("somebody else's annotation", in_template(json!({"theirs": "2"})), Some(ANNOTATION)),
            ("taking it", in_template(json!({"theirs": null})), Some(ANNOTATION)),
            ("a new one", in_template(json!({"kubectl.kubernetes.io/restartedAt": "now"})), Some(ANNOTATION)),
            ("a label of the template", template(json!({"metadata": {"labels": {"more": "x"}}})), Some(TEMPLATE)),
            ("a pod's field", template(json!({"spec": {"hostNetwork": true}})), Some(TEMPLATE)),
            (
                "an image",
                template(json!({"spec": {"containers": [{"name": "app", "image": "example.com/evil"}]}})),
                Some(TEMPLATE),
            ),
            ("a field of the spec", replicas, Some(SPEC)),
            ("its own annotations", itself(json!({ours: digest})), Some(METADATA)),
            ("its labels", json!({"metadata": {"labels": {"a": "c"}}}), Some(METADATA)),
            ("its finalizers", json!({"metadata": {"finalizers": ["example.com/x"]}}), Some(METADATA)),
        ] {
            expect(&format!("{kind}: {what}"), &given.patches(kind, patch).await, expected);
        }
    }
    let restart = |time: &str| json!({"metadata": {"annotations": {ours: digest}}, "spec": {"restartAt": time}});
    for (what, patch, expected) in [
        ("a restart", restart("2026-11-29T12:00:00Z"), None),
        ("a value", itself(json!({ours: "hunter2"})), Some(METADATA)),
        ("somebody else's annotation", itself(json!({"theirs": "2"})), Some(METADATA)),
        ("taking it", itself(json!({"theirs": null})), Some(METADATA)),
        ("its template", in_template(json!({ours: digest})), Some(SPEC)),
        ("a field of the spec", json!({"spec": {"paused": true}}), Some(SPEC)),
        ("its labels", json!({"metadata": {"labels": {"a": "c"}}}), Some(METADATA)),
    ] {
        expect(&format!("Rollout: {what}"), &given.patches("Rollout", patch).await, expected);
    }
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "Rollout"] {
        let api = given.api(kind, &given.operator);
        let create = PostParams { dry_run: true, ..PostParams::default() };
        let created = api.create(&create, &workload(kind, "new")).await.map(drop).map_err(|why| why.to_string());
        expect(&format!("creating a {kind}"), &created, Some(NOTHING_ELSE));
        let delete = DeleteParams { dry_run: true, ..DeleteParams::default() };
        let deleted = api.delete("web", &delete).await.map(drop).map_err(|why| why.to_string());
        expect(&format!("deleting a {kind}"), &deleted, Some(NOTHING_ELSE));
    }
    let scale = PatchParams { dry_run: true, ..PatchParams::default() };
    let scaled = given.api("Deployment", &given.operator);
    let scaled = scaled.patch_scale("web", &scale, &Patch::Merge(json!({"spec": {"replicas": 3}}))).await;
    expect("scaling", &scaled.map(drop).map_err(|why| why.to_string()), Some(NOTHING_ELSE));
}
