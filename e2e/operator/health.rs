//! What the operator says of itself: its endpoints, its Events, its end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, DeleteParams, ListParams};
use serde_json::json;

use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::wait_for;
use crate::stage::{Operator, SOON, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened_and_name_nothing() {
    let stage = Stage::with_shop("metrics").await;
    stage.team.set("dev", "A_KEY", "1").await;
    stage.source("dev").await;
    let names = stage.numbered_bindings(10, "dev").await;
    let operator = stage.operator().await;
    for name in &names {
        stage.binding_is(name, &["Ready=True"]).await;
    }
    stage.source_is("dev", &["Ready=True"]).await;
    for (path, expected) in [("/livez", "ok\n"), ("/readyz", "ok\n"), ("/metrics", "# EOF\n")] {
        let answer = operator.http(path).await;
        assert!(answer.contains(" 200 ") && answer.ends_with(expected), "{path}: {answer}");
    }
    for (series, expected) in [
        (r#"tidelock_api_writes_total{resource="secrets",verb="create"}"#, 10.0),
        (r#"tidelock_api_writes_total{resource="secretbindings/status",verb="patch"}"#, 10.0),
        (r#"tidelock_sources{state="ready"}"#, 1.0),
        ("tidelock_events_dropped_total", 0.0),
        // The operator's cache has the last status only once its watch brings it.
        (r#"tidelock_objects{kind="secret_binding",reason="ready"}"#, 10.0),
    ] {
        counts(&operator, series, expected).await;
    }

    // Ten bindings share one snapshot of a change.
    let snapshots = r#"tidelock_snapshots_total{result="ok"}"#;
    let before = operator.metric(snapshots).await.unwrap();
    stage.team.set("dev", "A_KEY", "2").await;
    for name in &names {
        stage.secret_has(name, &[("A_KEY", "2")]).await;
    }
    assert_eq!(operator.metric(snapshots).await, Ok(before + 1.0));
    counts(&operator, "tidelock_delivery_lag_seconds_count", 10.0).await;
    let metrics = operator.http("/metrics").await;
    for name in ["A_KEY", "app-0", "shop", stage.cluster.namespace.as_str()] {
        assert!(!metrics.contains(name), "{name} is in {metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_and_what_is_not_ready_can_be_seen_and_single_objects_where_somebody_wants_that() {
    let stage = Stage::with_shop("measured").await;
    stage.source("dev").await;
    stage.team.set("dev", "A_KEY", "1").await;
    stage.binding("good", "dev", json!({})).await;
    stage.binding("bad", "dev", json!({"data": [{"secretKey": "X", "remoteRef": {"key": "NO_KEY"}}]})).await;
    let operator = stage.operator_with(&[("TIDELOCK_METRICS_PER_OBJECT", "true")]).await;
    stage.binding_is("good", &["Ready=True"]).await;
    stage.binding_is("bad", &["Ready=False(KeyMissing)"]).await;
    let namespace = &stage.cluster.namespace;
    let of = |series: &str, name: &str| format!(r#"{series}{{namespace="{namespace}",name="{name}"}}"#);
    counts(&operator, "tidelock_notify_connected", 1.0).await;
    counts(&operator, &of("tidelock_binding_ready", "good"), 1.0).await;
    counts(&operator, &of("tidelock_binding_ready", "bad"), 0.0).await;
    for series in [
        r#"tidelock_sync_errors_total{kind="secret_binding",reason="key_missing"}"#,
        r#"tidelock_registry_request_duration_seconds_count{question="poll",result="ok"}"#,
        r#"tidelock_api_request_duration_seconds_count{method="POST",code="201"}"#,
        r#"tidelock_sync_total{kind="secret_binding",result="ok"}"#,
    ] {
        assert!(operator.metric(series).await.is_ok_and(|count| count >= 1.0), "{series}");
    }
    stage.bindings().delete("bad", &DeleteParams::default()).await.unwrap();
    wait_for("the series of what is gone to be gone", SOON, async || {
        operator
            .metric(&of("tidelock_binding_ready", "bad"))
            .await
            .err()
            .map(drop)
            .ok_or_else(|| "it is there".to_owned())
    })
    .await;
    let metrics = operator.http("/metrics").await;
    assert!(!metrics.contains("A_KEY") && !metrics.contains("NO_KEY"), "{metrics}");
}

/// Waits until a metric has that value.
async fn counts(operator: &Operator, series: &str, expected: f64) {
    wait_for(&format!("{series} to be {expected}"), SOON, async || match operator.metric(series).await {
        Ok(value) if value.total_cmp(&expected).is_eq() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_ready_once_its_caches_are_filled_and_alive_before() {
    let stage = Stage::with_shop("not-ready").await;
    let (namespace, account) = stage.account();
    let direct = stage.cluster.kubeconfig("direct", &stage.cluster.token(namespace, account).await);
    let text = std::fs::read_to_string(&direct).unwrap();
    let port = text.split("127.0.0.1:").nth(1).and_then(|rest| rest.split('"').next()).unwrap().parse().unwrap();
    let proxy = TcpProxy::to(port).await;
    let rerouted = stage.team.home().join("kubeconfig");
    std::fs::write(&rerouted, proxy.reroute(&text)).unwrap();

    proxy.stall();
    let mut operator = stage.operator_launched(&[("KUBECONFIG", &rerouted.to_string_lossy())]).await;
    wait_for("an answer", SOON, async || match operator.try_http("/readyz").await {
        Ok(answer) if answer.contains(" 503 ") && answer.contains("not yet synced: ") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert!(operator.http("/livez").await.contains(" 200 "));
    proxy.restore();
    operator.ready().await;
    operator.stop();
}

/// Of each binding the Events' reasons, in the order of their beginning.
async fn told(stage: &Stage) -> BTreeMap<String, Vec<String>> {
    let api: Api<Event> = stage.cluster.api();
    let mut events = api.list(&ListParams::default()).await.unwrap().items;
    events.sort_by_key(|event| event.event_time.clone().map(|time| time.0));
    let mut told = BTreeMap::<String, Vec<String>>::new();
    for event in events {
        let about = event.regarding.and_then(|regarding| regarding.name).unwrap_or_default();
        let times = event.series.map_or(1, |series| series.count);
        told.entry(about).or_default().push(format!("{}x{times}", event.reason.unwrap_or_default()));
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn each_transition_is_told_once_and_nothing_else_is() {
    let stage = Stage::with_shop("events").await;
    for key in ["A", "B"] {
        stage.team.set("dev", key, "1").await;
    }
    stage.source("dev").await;
    let data = json!([{"secretKey": "A", "remoteRef": {"key": "A"}}]);
    stage.binding("app", "dev", json!({"data": data})).await;
    stage.binding("quiet", "dev", json!({})).await;
    let operator = stage.operator().await;
    for name in ["app", "quiet"] {
        stage.binding_is(name, &["Ready=True"]).await;
    }
    // Ordinary changes and a restart, which make no Event.
    for value in ["2", "3"] {
        stage.team.set("dev", "A", value).await;
        stage.secret_has("app", &[("A", value)]).await;
    }
    stage.binding_is("app", &["Ready=True"]).await;
    operator.stop();
    let operator = stage.operator().await;
    stage.team.remove("dev", "A").await;
    let missing = stage.binding_is("app", &["Ready=False(KeyMissing)"]).await;
    stage.team.done(&stage.team.ana, &["secret", "restore", "A", "-e", "dev"]).await;
    stage.binding_is("app", &["Ready=True"]).await;
    // The operator sends the Events that are still queued before it ends.
    operator.stop();
    let told = told(&stage).await;
    // Ready becomes False and then True again. That a key is behind or missing is one Event of the source, and none of its
    // bindings, however many there are.
    let app = told.get("app").cloned().unwrap_or_default();
    assert_eq!(app, ["KeyMissingx1", "Readyx1"], "{told:?}");
    assert_eq!(told.get("quiet"), None, "{told:?}");
    assert!(missing.metadata.finalizers.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn asked_to_stop_in_the_midst_of_work_it_ends_in_time_and_its_successor_finishes() {
    let stage = Stage::with_shop("stop").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    let names = stage.numbered_bindings(150, "dev").await;
    let operator = stage.operator().await;
    wait_for("the first Secret", SOON, async || {
        let found = stage.secrets().list_metadata(&ListParams::default()).await.map_err(|why| why.to_string())?;
        if found.items.is_empty() { Err("none".to_owned()) } else { Ok(()) }
    })
    .await;
    let asked = Instant::now();
    operator.stop();
    assert!(asked.elapsed() < Duration::from_secs(11), "{:?}", asked.elapsed());
    let secrets = stage.secrets().list(&ListParams::default()).await.unwrap().items;
    let ours = secrets.iter().filter(|secret| secret.metadata.owner_references.is_some());
    assert!(ours.clone().all(|secret| crate::stage::text(secret).contains_key("A")), "none is half written");
    assert!(ours.count() < names.len(), "it was in the midst of work");
    let _operator = stage.operator().await;
    for name in &names {
        stage.binding_is(name, &["Ready=True"]).await;
    }
}
