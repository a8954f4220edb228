//! What people read of the custom resources: the columns that kubectl prints, and the conditions with their messages.

use std::fmt::Write as _;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::ResourceExt as _;
use kube::api::{ListParams, PostParams};
use serde_json::json;

use crate::snapshot::{assert_reads, without_padding};
use crate::stage::Stage;

/// Bindings and sources, each in a state of its own that nothing but the test changes.
async fn stage_of_all_states() -> Stage {
    let stage = Stage::with_shop("conditions").await;
    for (environment, key, value) in [
        ("staging", "DATABASE_URL", "canary of staging"),
        ("dev", "DATABASE_URL", "canary of dev"),
        ("dev", "API_KEY", "canary"),
    ] {
        stage.team.set(environment, key, value).await;
    }
    stage.source("dev").await;
    stage.source("staging").await;
    stage.source_with("production", json!({"environment": "nowhere"})).await;
    stage.source_with("hidden", json!({"project": "hidden", "environment": "dev"})).await;
    let grants = json!([{"namespaces": {"names": ["somewhere-else"]}}]);
    stage.source_with("granted-elsewhere", json!({"environment": "dev", "grants": grants})).await;
    stage.binding("ready", "dev", json!({})).await;
    stage.binding("behind", "staging", json!({})).await;
    let absent = json!([{"secretKey": "absent", "remoteRef": {"key": "ABSENT"}}]);
    stage.binding("key-missing", "dev", json!({"data": absent})).await;
    stage.binding("not-granted", "granted-elsewhere", json!({})).await;
    stage.binding("source-not-found", "none", json!({})).await;
    stage.binding("source-not-ready", "hidden", json!({})).await;
    let foreign = json!({"metadata": {"name": "target-foreign"}, "stringData": {"theirs": "untouched"}});
    stage.secrets().create(&PostParams::default(), &serde_json::from_value(foreign).unwrap()).await.unwrap();
    stage.binding("target-foreign", "dev", json!({})).await;
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn each_main_state_reads_as_it_did() {
    let stage = stage_of_all_states().await;
    let _operator = stage.operator().await;
    for (source, conditions) in [
        ("dev", &["Ready=True", "InSync=True"][..]),
        ("staging", &["Ready=True", "InSync=False"]),
        ("production", &["Ready=False(EnvironmentNotFound)"]),
        ("hidden", &["Ready=False(ProjectNotVisible)"]),
        ("granted-elsewhere", &["Ready=True", "InSync=True"]),
    ] {
        stage.source_is(source, conditions).await;
    }
    for (binding, conditions) in [
        ("ready", &["Ready=True", "InSync=True"][..]),
        ("behind", &["Ready=True", "InSync=False"]),
        ("key-missing", &["Ready=False(KeyMissing)"]),
        ("not-granted", &["Ready=False(NotGranted)"]),
        ("source-not-found", &["Ready=False(SourceNotFound)"]),
        ("source-not-ready", &["Ready=False(SourceNotReady)"]),
        ("target-foreign", &["Delivered=False(TargetForeign)"]),
    ] {
        stage.binding_is(binding, conditions).await;
    }
    let class = format!("tidelock.dev/class={}", stage.cluster.namespace);
    let get = async |kind: &str, what: &[&str]| {
        let arguments = [&["get", kind, "--selector", &class, "--namespace", &stage.cluster.namespace], what].concat();
        without_age(&without_padding(&stage.kubectl(&arguments, b"").await.unwrap()))
    };
    assert_reads!("kubectl-get-secretbindings", get("secretbindings", &[]).await);
    assert_reads!("kubectl-get-projectenvironments", get("projectenvironments", &[]).await);

    let ours = ListParams::default().labels(&class);
    let bindings = stage.bindings().list(&ours).await.unwrap().items.into_iter();
    let bindings = bindings.map(|binding| (binding.name_any(), binding.status.unwrap_or_default().conditions));
    assert_reads!("conditions-of-secretbindings", listed(bindings));
    let sources = stage.sources().list(&ours).await.unwrap().items.into_iter();
    let sources = sources.map(|source| (source.name_any(), source.status.unwrap_or_default().conditions));
    assert_reads!("conditions-of-projectenvironments", listed(sources));
}

/// Without the last column, which is how old each object is.
fn without_age(table: &str) -> String {
    let lines: Vec<&str> = table.lines().map(|line| line.rsplit_once("  ").map_or(line, |(rest, _)| rest)).collect();
    lines.join("\n")
}

fn listed(objects: impl Iterator<Item = (String, Vec<Condition>)>) -> String {
    let mut text = String::new();
    for (name, conditions) in objects {
        let _ = writeln!(text, "{name}");
        for condition in conditions {
            let _ = writeln!(
                text,
                "  {}={} {}: {}",
                condition.type_, condition.status, condition.reason, condition.message
            );
        }
    }
    text
}
