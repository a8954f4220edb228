//! Several replicas with a Lease: one works, and another one when it leaves or falls silent.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::harness::api_server_proxy::ApiServerProxy;
use crate::harness::wait_for;
use crate::stage::{SOON, Stage};

async fn stage(what: &str) -> Stage {
    let stage = Stage::with_shop(what).await;
    stage.allow_replicas().await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    stage
}

fn leases(stage: &Stage) -> Api<Lease> {
    Api::namespaced(stage.cluster.admin.clone(), &stage.cluster.namespace)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_works_and_the_next_one_when_it_is_killed() {
    let stage = stage("leader-killed").await;
    let log = stage.cluster.audit_from_now().await;
    let first = stage.replica("10").await;
    first.leads(true).await;
    stage.secret_has("app", &[("A", "1")]).await;
    let second = stage.replica("10").await;
    second.leads(false).await;
    stage.team.set("dev", "A", "2").await;
    stage.secret_has("app", &[("A", "2")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
    let writes = stage.operator_writes(&log).await;
    let of_secrets = writes.iter().filter(|write| write.object().resource == "secrets").count();
    assert_eq!(of_secrets, 2, "one for each content: {writes:#?}");
    assert!(!second.log().contains("wrote a Secret"), "it only waits");

    first.kill();
    stage.team.set("dev", "A", "3").await;
    stage.secret_has("app", &[("A", "3")]).await;
    second.leads(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_in_order_is_not_waited_for() {
    let stage = stage("leader-leaves").await;
    let first = stage.replica("300").await;
    first.leads(true).await;
    let second = stage.replica("300").await;
    stage.secret_has("app", &[("A", "1")]).await;
    first.stop();
    stage.team.set("dev", "A", "2").await;
    stage.secret_has("app", &[("A", "2")]).await;
    second.leads(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_cannot_read_everything_keeps_no_other_one_from_working() {
    let stage = stage("leader-unready").await;
    let proxy = ApiServerProxy::before(&stage.cluster).await;
    let (namespace, account) = stage.account();
    let kubeconfig = proxy.kubeconfig(&stage.cluster, &stage.cluster.token(namespace, account).await);
    proxy.deafen("/api/v1/secrets");
    let mut unready = stage.replica_launched("300", &[("KUBECONFIG", &kubeconfig.to_string_lossy())]).await;
    let asked = |path: &str| proxy.exchanges().iter().any(|exchange| exchange.target.contains(path));
    wait_for("the first replica to begin its watches", SOON, async || {
        if asked("/api/v1/namespaces") { Ok(()) } else { Err("it does not".to_owned()) }
    })
    .await;
    let other = stage.replica("300").await;
    stage.secret_has("app", &[("A", "1")]).await;
    other.leads(true).await;
    assert!(!asked("/leases"), "it does not stand for election before it can work");
    proxy.hear();
    unready.ready().await;
    wait_for("the first replica to stand for election", SOON, async || {
        if asked("/leases") { Ok(()) } else { Err("it does not".to_owned()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_that_are_an_hour_apart_and_a_lease_that_is_taken_away() {
    let stage = stage("leader-clocks").await;
    let lease = |ago: SignedDuration, seconds: i32| {
        let renewed = Timestamp::now() - ago;
        let lease = json!({
            "metadata": {"name": stage.lease_name()},
            "spec": {"holderIdentity": "somebody", "leaseDurationSeconds": seconds, "renewTime": renewed.to_string()},
        });
        serde_json::from_value::<Lease>(lease).unwrap()
    };
    // Held by one whose clock is an hour behind: its Lease looks as if it had ended long ago.
    leases(&stage).create(&PostParams::default(), &lease(SignedDuration::from_hours(1), 300)).await.unwrap();
    let operator = stage.replica("10").await;
    wait_for("the replica to wait", SOON, async || {
        if operator.log().contains("another replica leads") { Ok(()) } else { Err(operator.log()) }
    })
    .await;
    operator.leads(false).await;
    // And by one whose clock is an hour ahead, and that has fallen silent.
    let ahead = serde_json::to_value(lease(SignedDuration::from_hours(-1), 2)).unwrap();
    let patch = Patch::Merge(json!({"spec": ahead["spec"]}));
    leases(&stage).patch(&stage.lease_name(), &PatchParams::default(), &patch).await.unwrap();
    stage.secret_has("app", &[("A", "1")]).await;
    operator.leads(true).await;

    // Taken away, it stops: whoever took it works now.
    leases(&stage).patch(&stage.lease_name(), &PatchParams::default(), &patch).await.unwrap();
    let code = operator.ended().await;
    assert_eq!(code, Some(1));
}
