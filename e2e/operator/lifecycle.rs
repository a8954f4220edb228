//! Bindings that change, pause, and end.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use tidelock::api::SecretBinding;

use crate::harness::wait_for;
use crate::stage::{Operator, SOON, Stage};

async fn delivered(what: &str) -> (Stage, Operator) {
    let stage = Stage::with_shop(what).await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator().await;
    stage.secret_has("app", &[("A", "1")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
    (stage, operator)
}

async fn gone(stage: &Stage, secret: &str) {
    wait_for(&format!("Secret {secret} to be gone"), SOON, async || {
        match stage.secrets().get_metadata_opt(secret).await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_renamed_is_written_before_the_old_one_goes() {
    let (stage, _operator) = delivered("renamed").await;
    let log = stage.cluster.audit_from_now().await;
    stage.patch_binding("app", json!({"spec": {"target": {"name": "app-v2"}}})).await;
    stage.secret_has("app-v2", &[("A", "1")]).await;
    gone(&stage, "app").await;
    let writes = stage.operator_writes(&log).await;
    let secrets: Vec<(String, String)> =
        writes.iter().filter(|w| w.object().resource == "secrets").map(|w| (w.verb.clone(), w.object().name)).collect();
    // A create names its object only in what is answered.
    assert_eq!(secrets.iter().map(|(verb, _)| verb.as_str()).collect::<Vec<_>>(), ["create", "delete"], "{secrets:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_of_a_deleted_binding_is_collected() {
    let (stage, _operator) = delivered("collected").await;
    stage.bindings().delete("app", &DeleteParams::default()).await.unwrap();
    gone(&stage, "app").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_binding_is_not_written_until_it_goes_on() {
    let (stage, _operator) = delivered("suspended").await;
    stage.patch_binding("app", json!({"spec": {"suspend": true}})).await;
    let edited = stage.bindings().get("app").await.unwrap().metadata.generation;
    wait_for("the suspension to be seen", SOON, async || {
        let status = stage.bindings().get("app").await.map_err(|why| why.to_string())?.status.unwrap_or_default();
        let suspended =
            status.conditions.iter().any(|c| c.type_ == "Ready" && c.reason == "Suspended" && c.status == "True");
        if suspended { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    // What was true of the generation before is not said of this one: `kubectl wait` would end.
    let status = stage.bindings().get("app").await.unwrap().status.unwrap();
    let looked_at = status.conditions.iter().map(|condition| condition.observed_generation);
    assert!(looked_at.chain([status.observed_generation]).all(|generation| generation < edited), "{status:?}");
    // Another binding shows that the operator has worked on the change.
    stage.team.set("dev", "A", "2").await;
    stage.binding("witness", "dev", json!({})).await;
    stage.secret_has("witness", &[("A", "2")]).await;
    stage.secret_has("app", &[("A", "1")]).await;
    stage.patch_binding("app", json!({"spec": {"suspend": null}})).await;
    stage.secret_has("app", &[("A", "2")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_into_a_namespace_that_is_ending() {
    let stage = Stage::with_shop("ending").await;
    stage.team.set("dev", "A", "1").await;
    // Not the one that the operator's own account is in, which would end with it.
    let namespace = stage.cluster.another_namespace("there", &[]).await;
    stage.source_with("dev", json!({"grants": [{"namespaces": {"names": [namespace]}}]})).await;
    let bindings: Api<SecretBinding> = Api::namespaced(stage.cluster.admin.clone(), &namespace);
    let secrets: Api<Secret> = Api::namespaced(stage.cluster.admin.clone(), &namespace);
    let mut manifest = stage.binding_manifest("app", "dev", json!({}));
    manifest["metadata"]["namespace"] = json!(namespace);
    // A finalizer of somebody else keeps the binding, and so the namespace, around.
    manifest["metadata"]["finalizers"] = json!(["example.com/hold"]);
    bindings.create(&PostParams::default(), &serde_json::from_value(manifest).unwrap()).await.unwrap();
    let _operator = stage.operator().await;
    let is_there = async |expected: bool| {
        wait_for(&format!("the Secret's presence to be {expected}"), SOON, async || {
            let found = secrets.get_metadata_opt("app").await.map_err(|why| why.to_string())?;
            if found.is_some() == expected { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .await;
    };
    is_there(true).await;
    let namespaces: Api<Namespace> = Api::all(stage.cluster.admin.clone());
    namespaces.delete(&namespace, &DeleteParams::default()).await.unwrap();
    is_there(false).await;
    let log = stage.cluster.audit_from_now().await;
    stage.team.set("dev", "A", "2").await;
    stage.source_is("dev", &["Ready=True"]).await;
    stage.patch_source("dev", json!({"metadata": {"annotations": {"tidelock.dev/sync": "now"}}})).await;
    wait_for("the source's answer", SOON, async || {
        let source = stage.sources().get(&stage.source_name("dev")).await.map_err(|why| why.to_string())?;
        let last = source.status.unwrap_or_default().last_handled_sync;
        if last.as_deref() == Some("now") { Ok(()) } else { Err(format!("{last:?}")) }
    })
    .await;
    let writes = stage.operator_writes(&log).await;
    let here: Vec<&String> =
        writes.iter().filter(|w| w.object().resource != "projectenvironments").map(|w| &w.request_uri).collect();
    assert!(here.is_empty(), "{here:?}");
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    bindings.patch("app", &PatchParams::default(), &release).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_immutable_target_is_written_once_and_a_later_difference_is_told() {
    let stage = Stage::with_shop("immutable").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({"target": {"immutable": true}})).await;
    let _operator = stage.operator().await;
    let secret = stage.secret_has("app", &[("A", "1")]).await;
    assert_eq!(secret.immutable, Some(true));
    stage.team.set("dev", "A", "2").await;
    stage.binding_is("app", &["Ready=False(TargetImmutable)"]).await;
    stage.secret_has("app", &[("A", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_somebody_removed_is_said_again() {
    let (stage, _operator) = delivered("status-removed").await;
    stage.binding_is("app", &["Ready=True"]).await;
    let removed = Patch::Json::<()>(serde_json::from_value(json!([{"op": "remove", "path": "/status"}])).unwrap());
    stage.bindings().patch_status("app", &PatchParams::default(), &removed).await.unwrap();
    stage.binding_is("app", &["Ready=True"]).await;
    let source = stage.source_name("dev");
    stage.source_is("dev", &["Ready=True"]).await;
    stage.sources().patch_status(&source, &PatchParams::default(), &removed).await.unwrap();
    stage.source_is("dev", &["Ready=True"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_of_objects_whose_name_is_as_long_as_it_may_be() {
    let (stage, _operator) = delivered("long-name").await;
    let name = "n".repeat(250);
    let spec = json!({"data": [{"secretKey": "ABSENT", "remoteRef": {"key": "ABSENT"}}]});
    stage.binding(&name, "dev", spec).await;
    stage.binding_is(&name, &["Ready=False(KeyMissing)"]).await;
    let told = async || {
        let events: Api<Event> = stage.cluster.api();
        let events = events.list(&ListParams::default()).await.map_err(|why| why.to_string())?.items;
        let about = |event: &Event| event.regarding.as_ref().and_then(|about| about.name.clone());
        let told = events.iter().any(|event| about(event).as_ref() == Some(&name));
        if told { Ok(()) } else { Err(format!("{:?}", events.iter().map(about).collect::<Vec<_>>())) }
    };
    wait_for("an Event about it", SOON, told).await;
}
