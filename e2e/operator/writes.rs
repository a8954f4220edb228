//! How much the operator writes: what changed, and nothing else. The API server's audit log says so.

use serde_json::json;

use crate::harness::audit::AuditEvent;
use crate::harness::wait_for;
use crate::stage::{SOON, Stage};

/// What was written where, for messages.
fn listed(events: &[AuditEvent]) -> Vec<String> {
    events.iter().map(|event| format!("{} {}", event.verb, event.request_uri)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_restarts_over_two_hundred_unchanged_bindings_writes_nothing() {
    let stage = Stage::with_shop("restart").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    let names = stage.numbered_bindings(200, "dev").await;
    let operator = stage.operator().await;
    for name in &names {
        stage.binding_is(name, &["Ready=True"]).await;
    }
    stage.source_is("dev", &["Ready=True"]).await;
    sync(&stage, "app-0").await;
    operator.stop();

    let log = stage.cluster.audit_from_now().await;
    let operator = stage.operator().await;
    sync(&stage, "app-0").await;
    let seen = stage.operator_writes(&log).await;
    // The status that answers the request for a sync is the only write that is allowed.
    let others: Vec<&AuditEvent> = seen.iter().filter(|event| !event.request_uri.contains("/app-0/status")).collect();
    assert!(others.is_empty(), "{:#?}", others.iter().map(|e| (&e.verb, &e.request_uri)).collect::<Vec<_>>());
    assert!(seen.len() <= 1, "{:#?}", listed(&seen));
    // It did reconcile all of them: a change reaches the last one.
    stage.team.set("dev", "A", "2").await;
    stage.secret_has("app-199", &[("A", "2")]).await;
    operator.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_under_another_hashing_key_are_no_change_of_any_secret() {
    let stage = Stage::with_shop("rehashed").await;
    let _operator = stage.operator().await;
    for key in ["A", "B"] {
        stage.team.set("dev", key, "1").await;
    }
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    stage.secret_has("app", &[("A", "1"), ("B", "1")]).await;
    stage.binding_is("app", &["Ready=True", "InSync=True"]).await;

    let log = stage.cluster.audit_from_now().await;
    let rehash = ["project", "rehash", "shop", "--reason", "a test"];
    stage.team.done(&stage.team.ana, &rehash).await;
    // What it kept of the registry, what it reads of it anew, and what it writes from both.
    sync(&stage, "app").await;
    stage.team.set("dev", "A", "2").await;
    stage.secret_has("app", &[("A", "2"), ("B", "1")]).await;
    stage.binding_is("app", &["Ready=True", "InSync=True"]).await;
    let seen = stage.operator_writes(&log).await;
    let of_secret = seen.iter().filter(|event| event.request_uri.contains("/secrets/app")).count();
    assert_eq!(of_secret, 1, "for the change alone: {:#?}", listed(&seen));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_costs_two_writes_and_a_binding_that_it_does_not_touch_none() {
    let stage = Stage::with_shop("two-writes").await;
    for key in ["A", "B"] {
        stage.team.set("dev", key, "1").await;
    }
    stage.source("dev").await;
    for key in ["A", "B"] {
        let data = json!([{"secretKey": key, "remoteRef": {"key": key}}]);
        stage.binding(&format!("only-{}", key.to_lowercase()), "dev", json!({"data": data})).await;
    }
    let _operator = stage.operator().await;
    stage.binding_is("only-a", &["Ready=True"]).await;
    stage.binding_is("only-b", &["Ready=True"]).await;

    let log = stage.cluster.audit_from_now().await;
    stage.team.set("dev", "A", "2").await;
    stage.secret_has("only-a", &[("A", "2")]).await;
    let before = stage.bindings().get("only-a").await.unwrap();
    sync(&stage, "only-b").await;
    // A write can be read before the API server's log has it.
    let seen = wait_for("the answer in the API server's log", SOON, async || {
        let seen = stage.operator_writes(&log).await;
        let is_logged = seen.iter().any(|event| event.request_uri.contains("/secretbindings/only-b/status"));
        if is_logged { Ok(seen) } else { Err(format!("{:#?}", listed(&seen))) }
    })
    .await;
    let of = |what: &str| seen.iter().filter(|event| event.request_uri.contains(what)).count();
    assert_eq!((of("/secrets/only-a"), of("/secretbindings/only-a/status")), (1, 1), "{:#?}", listed(&seen));
    assert_eq!((of("/secrets/only-b"), of("/secretbindings/only-b/status")), (0, 1), "{:#?}", listed(&seen));
    assert!(before.status.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_source_takes_three_quarters_of_the_permits_at_most() {
    let stage = Stage::with_shop("permits").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    let names = stage.numbered_bindings(60, "dev").await;
    let log = stage.cluster.audit_from_now().await;
    let _operator = stage.operator_with(&[("TIDELOCK_CONCURRENCY", "4")]).await;
    for name in &names {
        stage.binding_is(name, &["Ready=True"]).await;
    }
    let seen = stage.operator_writes(&log).await;
    let of_bindings = seen.iter().filter(|event| ["secrets", "secretbindings"].contains(&&*event.object().resource));
    let mut turns: Vec<(&str, i32)> = of_bindings
        .flat_map(|event| [(event.request_received_timestamp.as_str(), 1), (event.stage_timestamp.as_str(), -1)])
        .collect();
    turns.sort_unstable();
    let at_once = turns.iter().scan(0, |running, (_, turn)| {
        *running += turn;
        Some(*running)
    });
    let most = at_once.max();
    assert!(most == Some(2) || most == Some(3), "{most:?} at once");
}

/// Asks for a sync of one binding and waits for its answer: everything that was queued before it has been worked on.
async fn sync(stage: &Stage, name: &str) {
    let nonce = uuid::Uuid::new_v4().to_string();
    stage.patch_binding(name, json!({"metadata": {"annotations": {"tidelock.dev/sync": nonce}}})).await;
    wait_for(&format!("the answer of {name}"), SOON, async || {
        let status = stage.bindings().get(name).await.map_err(|why| why.to_string())?.status.unwrap_or_default();
        if status.last_handled_sync.as_deref() == Some(&nonce) { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}
