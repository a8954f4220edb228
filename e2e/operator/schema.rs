//! What the API server itself refuses, by the definitions' schema and rules.

use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::stage::Stage;

async fn refusal(stage: &Stage, kind: &str, spec: Value) -> String {
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("tidelock.dev", "v1alpha1", kind));
    let api: Api<DynamicObject> = match kind {
        "SecretBinding" => Api::namespaced_with(stage.cluster.admin.clone(), &stage.cluster.namespace, &resource),
        _ => Api::all_with(stage.cluster.admin.clone(), &resource),
    };
    let manifest = json!({"apiVersion": "tidelock.dev/v1alpha1", "kind": kind,
        "metadata": {"name": format!("{}-x", stage.cluster.namespace)}, "spec": spec});
    let object = serde_json::from_value(manifest).unwrap();
    // As kubectl does: a field that is not there is an error, not dropped.
    let strict = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&strict, &object).await {
        Ok(_) => "accepted".to_owned(),
        Err(why) => why.to_string(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused_at_once_and_says_what_would_be_right() {
    let stage = Stage::with_shop("schema").await;
    let binding = |more: Value| {
        let mut spec = json!({"sourceRef": {"name": "dev"}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    let template = |template: Value| binding(json!({"target": {"template": template}}));
    let metadata = |what: &str, name: &str| template(json!({"metadata": {what: {name: "x"}}}));
    let target = |target: Value| binding(json!({"target": target}));
    let rewrite = |step: Value| binding(json!({"dataFrom": [{"find": {}, "rewrite": [step]}]}));
    let restarts = |targets: Value| binding(json!({"rolloutRestartTargets": targets}));
    let grants = |grant: Value| json!({"project": "shop", "environment": "dev", "grants": [grant]});
    for (kind, spec, expected) in [
        ("SecretBinding", binding(json!({})), "accepted"),
        ("SecretBinding", json!({}), "sourceRef"),
        ("SecretBinding", template(json!({"type": "kubernetes.io/service-account-token"})), "mint a credential"),
        ("SecretBinding", template(json!({"type": "bootstrap.kubernetes.io/token"})), "mint a credential"),
        ("SecretBinding", metadata("labels", "app.kubernetes.io/instance"), "reserved"),
        ("SecretBinding", metadata("labels", "app.kubernetes.io/managed-by"), "reserved"),
        ("SecretBinding", metadata("annotations", "tidelock.dev/adopt"), "reserved"),
        ("SecretBinding", metadata("annotations", "argocd.argoproj.io/tracking-id"), "reserved"),
        ("SecretBinding", binding(json!({"data": []})), "spec.data"),
        ("SecretBinding", binding(json!({"data": [{"secretKey": "..bad", "remoteRef": {"key": "A"}}]})), "secretKey"),
        ("SecretBinding", binding(json!({"dataFrom": [{"find": {}}]})), "accepted"),
        ("SecretBinding", binding(json!({"dataFrom": []})), "spec.dataFrom"),
        ("SecretBinding", binding(json!({"dataFrom": [{}]})), "find"),
        ("SecretBinding", binding(json!({"dataFrom": [{"find": {"name": {"regexp": "("}}}]})), "regular expression"),
        ("SecretBinding", rewrite(json!({})), "at least 1"),
        ("SecretBinding", rewrite(json!({"merge": {}, "transform": {"template": "a"}})), "at most 1"),
        ("SecretBinding", rewrite(json!({"regexp": {"source": "(", "target": ""}})), "regular expression"),
        ("SecretBinding", rewrite(json!({"merge": {"strategy": "JSON"}})), "into names the entry"),
        ("SecretBinding", rewrite(json!({"merge": {"into": "all"}})), "into names the entry"),
        ("SecretBinding", rewrite(json!({"merge": {"strategy": "Later"}})), "Unsupported value"),
        ("SecretBinding", rewrite(json!({"merge": {"strategy": "JSON", "into": "all"}})), "accepted"),
        ("SecretBinding", binding(json!({"nameTransformer": "shouting"})), "Unsupported value"),
        ("SecretBinding", target(json!({"format": {"as": "toml", "secretKey": "a"}})), "Unsupported value"),
        ("SecretBinding", target(json!({"format": {"as": "json", "secretKey": ".."}})), "secretKey"),
        ("SecretBinding", target(json!({"format": {"as": "json", "secretKey": "a"}})), "accepted"),
        (
            "SecretBinding",
            target(json!({"format": {"as": "json", "secretKey": "a"}, "template": {"data": {"a": "b"}}})),
            "not both",
        ),
        ("SecretBinding", template(json!({"data": {"..": "x"}})), "starts with no '..'"),
        ("SecretBinding", template(json!({"data": {}})), "at least 1"),
        ("SecretBinding", template(json!({"data": {"tls.crt": "{{ A }}"}})), "accepted"),
        ("SecretBinding", template(json!({"templateFrom": [{"configMap": {"name": "a", "items": []}}]})), "at least 1"),
        ("SecretBinding", target(json!({"creationPolicy": "Merge", "immutable": true})), "not made immutable"),
        ("SecretBinding", target(json!({"creationPolicy": "Merge", "deletionPolicy": "Delete"})), "is not deleted"),
        (
            "SecretBinding",
            target(json!({"creationPolicy": "Merge", "template": {"type": "example.com/x"}})),
            "keeps its type",
        ),
        ("SecretBinding", target(json!({"creationPolicy": "Merge", "deletionPolicy": "Merge"})), "accepted"),
        ("SecretBinding", target(json!({"creationPolicy": "None"})), "Unsupported value"),
        ("SecretBinding", restarts(json!([{"kind": "Rollout", "name": "a"}])), "accepted"),
        (
            "SecretBinding",
            restarts(json!([{"kind": "Deployment", "name": "a"}, {"kind": "StatefulSet", "name": "a"}])),
            "accepted",
        ),
        ("SecretBinding", restarts(json!([])), "at least 1"),
        ("SecretBinding", restarts(json!([{"kind": "Pod", "name": "a"}])), "Unsupported value"),
        ("SecretBinding", restarts(json!([{"kind": "Deployment", "name": "A"}])), "name"),
        ("SecretBinding", restarts(json!([{"kind": "Deployment"}])), "name"),
        (
            "SecretBinding",
            restarts(json!([{"kind": "Deployment", "name": "a"}, {"kind": "Deployment", "name": "a"}])),
            "Duplicate",
        ),
        (
            "SecretBinding",
            restarts((0..17).map(|n| json!({"kind": "Deployment", "name": format!("a{n}")})).collect()),
            "at most 16",
        ),
        ("SecretBinding", binding(json!({"staleAfter": "soon"})), "staleAfter"),
        ("SecretBinding", binding(json!({"staleAfter": "1000h"})), "from 1s to 720h"),
        ("ProjectEnvironment", grants(json!({"namespaces": {"names": ["shop"]}})), "accepted"),
        ("ProjectEnvironment", json!({"project": "shop", "environment": "dev"}), "grants"),
        ("ProjectEnvironment", json!({"project": "shop", "environment": "dev", "grants": []}), "grants"),
        ("ProjectEnvironment", grants(json!({"namespaces": {}})), "name the namespaces"),
        ("ProjectEnvironment", grants(json!({"namespaces": {"selector": {}}})), "empty selector"),
        ("ProjectEnvironment", grants(json!({"namespaces": {"selector": {"matchLabels": {}}}})), "empty selector"),
        ("ProjectEnvironment", grants(json!({"namespaces": {"names": ["shop"]}, "keys": {}})), "name the keys"),
        (
            "ProjectEnvironment",
            grants(json!({"namespaces": {"names": ["shop"]}, "keys": {"regexp": "("}})),
            "regular expression",
        ),
    ] {
        let answer = refusal(&stage, kind, spec.clone()).await;
        assert!(answer.contains(expected), "{kind} {spec}: {answer}");
    }
}
