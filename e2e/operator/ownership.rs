//! Whose Secret it is.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;

use crate::harness::wait_for;
use crate::stage::{SOON, Stage, text};

async fn foreign(stage: &Stage, name: &str) {
    let secret = serde_json::from_value(json!({
        "metadata": {"name": name}, "stringData": {"theirs": "untouched"},
    }))
    .unwrap();
    stage.cluster.create::<Secret>(&secret).await;
}

async fn untouched(stage: &Stage, name: &str) {
    let secret = stage.secrets().get(name).await.unwrap();
    assert_eq!(text(&secret).into_iter().collect::<Vec<_>>(), [("theirs".to_owned(), "untouched".to_owned())]);
    assert!(secret.metadata.owner_references.unwrap_or_default().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_secret_is_untouched_and_taken_over_within_ten_seconds_once_it_is_gone() {
    let stage = Stage::with_shop("foreign").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    foreign(&stage, "app").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;

    let binding = stage.binding_is("app", &["Ready=False(TargetForeign)", "Delivered=False(TargetForeign)"]).await;
    assert!(format!("{:?}", binding.status).contains("app"));
    untouched(&stage, "app").await;
    stage.secrets().delete("app", &DeleteParams::default()).await.unwrap();
    let gone = Instant::now();
    stage.secret_has("app", &[("A", "1")]).await;
    assert!(gone.elapsed() < Duration::from_secs(10), "{:?}", gone.elapsed());
    stage.binding_is("app", &["Ready=True"]).await;
}

/// The operator's cache has only what bears its label, so to its look there is no such Secret; the refused create tells.
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_secret_that_its_look_did_not_show_is_found_by_the_create_that_is_refused() {
    let stage = Stage::with_shop("unseen").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    let _operator = stage.operator().await;
    foreign(&stage, "app").await;
    let log = stage.cluster.audit_from_now().await;
    stage.binding("app", "dev", json!({})).await;
    stage.binding_is("app", &["Delivered=False(TargetForeign)"]).await;
    untouched(&stage, "app").await;
    let writes = stage.operator_writes(&log).await;
    let secrets: Vec<(&str, u16)> = writes
        .iter()
        .filter(|write| write.object().resource == "secrets")
        .map(|write| (write.verb.as_str(), write.response_status.as_ref().map_or(0, |status| status.code)))
        .collect();
    assert_eq!(secrets, [("create", 409)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_hands_a_secret_over_by_annotation_and_its_own_keys_go_only_when_released() {
    let stage = Stage::with_shop("adopt").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    foreign(&stage, "app").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;
    stage.binding_is("app", &["Delivered=False(TargetForeign)"]).await;

    let hand_over = json!({"metadata": {"annotations": {"tidelock.dev/adopt": "app"}}});
    stage.secrets().patch("app", &PatchParams::default(), &Patch::Merge(hand_over)).await.unwrap();
    let held = stage.binding_is("app", &["ResolvedRefs=False(RemovalUnproven)"]).await;
    let message = &held.status.unwrap().conditions[0].message;
    assert!(message.contains("would lose: theirs;"), "{message}");
    untouched(&stage, "app").await;
    let (_, release) = message.split_once("tidelock.dev/release-removal=").expect("the message spells the release");
    let release = json!({"metadata": {"annotations": {"tidelock.dev/release-removal": release}}});
    stage.patch_binding("app", release).await;
    stage.secret_has("app", &[("A", "1")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
    let adopted = async || {
        let events: Api<Event> = stage.cluster.api();
        let events = events.list(&ListParams::default()).await.map_err(|why| why.to_string())?.items;
        let notes: Vec<String> = events.into_iter().filter_map(|event| event.note).collect();
        let what = "Secret app, which was handed over: keys added A; removed theirs";
        if notes.iter().any(|note| note == what) { Ok(()) } else { Err(format!("{notes:?}")) }
    };
    wait_for("an Event that says what changed", SOON, adopted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_bindings_for_one_target_the_owner_keeps_it_and_the_other_follows_when_it_goes() {
    let stage = Stage::with_shop("rivals").await;
    stage.team.set("dev", "A", "dev").await;
    stage.team.set("staging", "A", "staging").await;
    stage.source("dev").await;
    stage.source("staging").await;
    let target = json!({"target": {"name": "shared"}});
    stage.binding("first", "dev", target.clone()).await;
    let _operator = stage.operator().await;
    stage.secret_has("shared", &[("A", "dev")]).await;
    stage.binding("second", "staging", target).await;
    let second = stage.binding_is("second", &["Ready=False(TargetTaken)"]).await;
    assert!(format!("{:?}", second.status).contains("first"), "the other is named");
    stage.secret_has("shared", &[("A", "dev")]).await;

    stage.bindings().delete("first", &DeleteParams::default()).await.unwrap();
    let gone = Instant::now();
    stage.secret_has("shared", &[("A", "staging")]).await;
    assert!(gone.elapsed() < Duration::from_secs(10), "{:?}", gone.elapsed());
    stage.binding_is("second", &["Ready=True"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_bindings_for_a_target_that_neither_has_the_older_one_may_and_the_other_waits_until_it_goes() {
    let stage = Stage::with_shop("earlier-claimant").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    let target = json!({"target": {"name": "shared"}});
    // Its source does not exist yet, so it would lose any race.
    let older = stage.binding("older", "staging", target.clone()).await.metadata.creation_timestamp;
    // Creation times have a resolution of one second.
    wait_for("a binding that is younger", SOON, async || {
        let younger = stage.binding("younger", "dev", target.clone()).await;
        if younger.metadata.creation_timestamp > older {
            return Ok(());
        }
        stage.bindings().delete("younger", &DeleteParams::default()).await.map_err(|why| why.to_string())?;
        Err("it is of the same second".to_owned())
    })
    .await;
    for name in ["one", "other"] {
        stage.binding(name, "dev", json!({"target": {"name": "contested"}})).await;
    }
    let _operator = stage.operator().await;
    // Whichever of them goes first, it does not wait for the other.
    stage.secret_has("contested", &[("A", "1")]).await;
    stage.binding_is("older", &["Ready=False(SourceNotFound)"]).await;
    let younger = stage.binding_is("younger", &["Ready=False(TargetTaken)"]).await;
    assert!(format!("{:?}", younger.status).contains("SecretBinding older"), "the other is named");
    assert!(stage.secrets().get_opt("shared").await.unwrap().is_none());

    // A deletion timestamp is enough.
    stage.patch_binding("older", json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    stage.bindings().delete("older", &DeleteParams::default()).await.unwrap();
    let gone = Instant::now();
    stage.secret_has("shared", &[("A", "1")]).await;
    assert!(gone.elapsed() < Duration::from_secs(10), "{:?}", gone.elapsed());
    stage.patch_binding("older", json!({"metadata": {"finalizers": null}})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_deleted_and_made_again_takes_over_and_the_secret_is_never_absent() {
    let stage = Stage::with_shop("reborn").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;
    let first = stage.secret_has("app", &[("A", "1")]).await;
    stage.binding_is("app", &["Ready=True"]).await;

    // A GitOps tool deletes like this when it is told to orphan the dependents.
    stage.bindings().delete("app", &DeleteParams::orphan()).await.unwrap();
    wait_for("the binding to be gone", SOON, async || match stage.bindings().get_opt("app").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let reborn = stage.binding("app", "dev", json!({})).await;
    let owner = reborn.metadata.uid.clone();
    stage
        .secret("app", |secret| {
            let owners = secret.metadata.owner_references.clone().unwrap_or_default();
            if owners.iter().any(|o| Some(&o.uid) == owner.as_ref()) { Ok(()) } else { Err(format!("{owners:?}")) }
        })
        .await;
    let now = stage.secrets().get("app").await.unwrap();
    assert_eq!(now.metadata.uid, first.metadata.uid, "the same object, so it was never absent");
}

/// With its dependents, as `kubectl delete` does it: whether the collector or the new binding is first to the Secret is
/// open, and either way the new one has it in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_binding_deleted_with_its_dependents_and_made_again_ends_with_its_secret() {
    let stage = Stage::with_shop("collected-reborn").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;
    for round in 0..5 {
        stage.secret_has("app", &[("A", "1")]).await;
        stage.binding_is("app", &["Ready=True"]).await;
        stage.bindings().delete("app", &DeleteParams::background()).await.unwrap();
        let made = Instant::now();
        let reborn = stage.binding("app", "dev", json!({})).await;
        stage
            .secret("app", |secret| {
                let owners = secret.metadata.owner_references.clone().unwrap_or_default();
                let is_new = owners.len() == 1 && Some(&owners[0].uid) == reborn.metadata.uid.as_ref();
                if is_new { Ok(()) } else { Err(format!("{owners:?}")) }
            })
            .await;
        assert!(made.elapsed() < Duration::from_secs(10), "round {round}: {:?}", made.elapsed());
    }
    stage.binding_is("app", &["Ready=True"]).await;
}
