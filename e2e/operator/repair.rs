//! Hands in a Secret that is ours: put right, and told.

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::harness::wait_for;
use crate::stage::{SOON, Stage, text};

async fn delivered(what: &str) -> (Stage, crate::stage::Operator) {
    let stage = Stage::with_shop(what).await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator().await;
    stage.secret_has("app", &[("A", "1")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
    (stage, operator)
}

async fn patch(stage: &Stage, patch: Value) {
    stage.secrets().patch("app", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

async fn event(stage: &Stage, reason: &str) {
    let api: Api<Event> = stage.cluster.api();
    wait_for(&format!("an Event {reason}"), SOON, async || {
        let events = api.list(&ListParams::default()).await.map_err(|why| why.to_string())?;
        let reasons: Vec<String> = events.items.iter().filter_map(|event| event.reason.clone()).collect();
        if reasons.iter().any(|seen| seen == reason) { Ok(()) } else { Err(format!("{reasons:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_deleted_comes_back() {
    let (stage, _operator) = delivered("deleted").await;
    stage.delete_secret("app").await;
    stage.secret_has("app", &[("A", "1")]).await;
    event(&stage, "TargetRepaired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_edited_and_a_key_added_by_hand_are_undone() {
    let (stage, _operator) = delivered("edited").await;
    patch(&stage, json!({"stringData": {"A": "by hand", "EXTRA": "by hand"}})).await;
    stage.secret_has("app", &[("A", "1")]).await;
    event(&stage, "TargetRepaired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_of_ours_comes_back_and_a_label_of_others_stays() {
    let (stage, _operator) = delivered("labels").await;
    patch(&stage, json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": null, "theirs": "kept"}}})).await;
    stage
        .secret("app", |secret| {
            let labels = secret.metadata.labels.clone().unwrap_or_default();
            let ours = labels.get("app.kubernetes.io/managed-by").map(String::as_str) == Some("tidelock");
            if ours { Ok(labels) } else { Err(format!("{labels:?}")) }
        })
        .await;
    let secret = stage.secrets().get("app").await.unwrap();
    assert_eq!(
        secret.metadata.labels.as_ref().and_then(|labels| labels.get("theirs")).map(String::as_str),
        Some("kept")
    );
    assert_eq!(text(&secret)["A"], "1");
    event(&stage, "TargetRepaired").await;
}
