//! What comes over the watches: objects that cannot be read as they are, and nothing at all.

use http::Method;
use serde_json::json;

use crate::harness::api_server_proxy::ApiServerProxy;
use crate::harness::wait_for;
use crate::stage::{SOON, Stage};

/// As the API server takes it for a time, and no calendar of ours does.
const NO_TIME: &str = "9999-12-31T23:59:59Z";

#[tokio::test(flavor = "multi_thread")]
async fn a_status_that_cannot_be_read_costs_no_other_object_anything_and_is_put_right() {
    let stage = Stage::with_shop("unreadable").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    stage.binding("other", "dev", json!({})).await;
    let operator = stage.operator().await;
    stage.binding_is("app", &["Ready=True"]).await;
    stage.binding_is("other", &["Ready=True"]).await;

    // As whoever may write a status in one namespace, or once did.
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "Ready", "message": "c4n4ry", "lastTransitionTime": NO_TIME,
    });
    let status = json!({"status": {"conditions": [condition], "lastSyncTime": NO_TIME}});
    let namespace = stage.cluster.namespace.clone();
    let patch = async |kind: &str, name: &str, patch: serde_json::Value| {
        let patch = patch.to_string();
        let arguments =
            ["patch", kind, name, "-n", &namespace, "--subresource=status", "--type=merge", "--patch", patch.as_str()];
        stage.kubectl(&arguments, b"").await.unwrap();
    };
    patch("secretbinding", "app", status).await;
    let key = json!({"key": "A", "state": "Stale", "updatedAt": NO_TIME});
    patch("projectenvironment", &stage.source_name("dev"), json!({"status": {"outOfSync": [key]}})).await;

    stage.team.set("dev", "A", "2").await;
    for name in ["app", "other"] {
        stage.secret_has(name, &[("A", "2")]).await;
    }
    // Put right at once, and told the time again with what was delivered after that.
    wait_for("the status to say when it was synced", SOON, async || {
        let healed = stage.binding_is("app", &["Ready=True", "Delivered=True"]).await.status.unwrap_or_default();
        if healed.last_sync_time.is_some() { Ok(()) } else { Err(format!("{healed:?}")) }
    })
    .await;
    operator.stop();

    // And so at a start, where it is in the list.
    patch("secretbinding", "app", json!({"status": {"lastSyncTime": NO_TIME}})).await;
    let operator = stage.operator().await;
    stage.binding("new", "dev", json!({})).await;
    stage.secret_has("new", &[("A", "2")]).await;
    assert!(!operator.log().contains("c4n4ry"));

    // One that can be read, and is not so.
    for name in ["app".to_owned(), stage.source_name("dev")] {
        let kind = if name == "app" { "secretbinding" } else { "projectenvironment" };
        let said = async || {
            let arguments = ["get", kind, &name, "-n", &namespace, "-o", "jsonpath={.status.revision}"];
            stage.kubectl(&arguments, b"").await.map_err(|why| why.to_string())
        };
        let right = said().await.unwrap();
        patch(kind, &name, json!({"status": {"revision": 7_777}})).await;
        wait_for(&format!("an altered {kind} to be put right"), SOON, async || match said().await? {
            now if now == right => Ok(()),
            now => Err(now),
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_schema_would_take_as_a_time_is_refused_by_it() {
    let stage = Stage::with_shop("no-time").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let namespace = stage.cluster.namespace.clone();
    for time in ["2024-01-01T00:00:00x1Z", "2024-01-01 00:00:00Z", "2024-01-01"] {
        let patch = json!({"status": {"lastSyncTime": time}}).to_string();
        let arguments =
            ["patch", "secretbinding", "app", "-n", &namespace, "--subresource=status", "--type=merge", "-p", &patch];
        let refused = stage.kubectl(&arguments, b"").await.expect_err(time).to_string();
        assert!(refused.contains("lastSyncTime"), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_delivered_on_a_grant_that_a_deaf_watch_may_have_missed_the_end_of() {
    let stage = Stage::with_shop("deaf").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let proxy = ApiServerProxy::before(&stage.cluster).await;
    let (namespace, account) = stage.account();
    let kubeconfig = proxy.kubeconfig(&stage.cluster, &stage.cluster.token(namespace, account).await);
    let operator = stage.operator_with(&[("KUBECONFIG", &kubeconfig.to_string_lossy())]).await;
    stage.secret_has("app", &[("A", "1")]).await;
    stage.binding_is("app", &["Ready=True"]).await;

    proxy.deafen("/apis/tidelock.dev/v1alpha1/projectenvironments");
    let nobody = json!({"spec": {"grants": [{"namespaces": {"names": ["somebody-elses"]}}]}});
    stage.patch_source("dev", nobody).await;
    wait_for("the operator to say which watch is deaf", 2 * SOON, async || {
        let silence = operator.metric("tidelock_watch_silence_seconds{resource=\"projectenvironments\"}").await?;
        if silence > 45.0 { Ok(()) } else { Err(format!("{silence} s")) }
    })
    .await;
    let snapshots = async || operator.metric("tidelock_snapshots_total{result=\"ok\"}").await;
    let before = snapshots().await.unwrap();
    let written = || {
        let exchanges = proxy.exchanges();
        exchanges
            .iter()
            .filter(|exchange| exchange.method == Method::PUT && exchange.target.contains("/secrets/app"))
            .count()
    };
    let writes = written();
    stage.team.set("dev", "A", "2").await;
    wait_for("the operator to have read the change", SOON, async || {
        let after = snapshots().await?;
        if after > before { Ok(()) } else { Err(format!("{after} snapshots")) }
    })
    .await;
    wait_for("the binding to wait for its turn", SOON, async || {
        let waiting = operator.metric("tidelock_queue_depth{kind=\"secret_binding\",state=\"waiting\"}").await?;
        if waiting >= 1.0 { Ok(()) } else { Err(format!("{waiting} wait")) }
    })
    .await;

    proxy.hear();
    stage.binding_is("app", &["ResolvedRefs=False(NotGranted)"]).await;
    stage.secret_has("app", &[("A", "1")]).await;
    assert_eq!(written(), writes, "the operator wrote while it was deaf");
}
