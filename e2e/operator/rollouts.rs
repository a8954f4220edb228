//! Workloads are restarted once for each change of content, and for nothing else.

mod workloads;

use http::Method;
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

pub(crate) use self::workloads::ROLLOUTS;
use self::workloads::{annotations, targets, web};
use crate::harness::api_server_proxy::ApiServerProxy;
use crate::harness::wait_for;
use crate::stage::{Operator, SOON, Stage};

const RESTARTS: (&str, &str) = ("TIDELOCK_ROLLOUT_RESTARTS", "true");

/// Every kind that can be restarted.
const KINDS: [&str; 4] = ["Deployment", "StatefulSet", "DaemonSet", "Rollout"];

#[tokio::test(flavor = "multi_thread")]
async fn each_change_of_content_restarts_every_kind_of_workload_once_and_nothing_else_restarts_any() {
    let stage = Stage::restarting("restarts").await;
    for kind in KINDS {
        stage.workload(kind, "web", json!({})).await;
    }
    let log = stage.cluster.audit_from_now().await;
    let of_all = targets(&KINDS.map(|kind| (kind, "web")));
    stage.binding("app", "dev", of_all.clone()).await;
    let operator = stage.operator_with(&[RESTARTS]).await;
    stage.binding_is("app", &["Ready=True", "RolloutRestarted=True(NoRestartDue)"]).await;
    let restarts = async |expected: i64| {
        for kind in KINDS {
            assert_eq!(stage.restarts(kind, "web").await, expected, "{kind}");
        }
    };
    restarts(0).await;

    stage.team.set("dev", "A", "2").await;
    stage.binding_is("app", &["Ready=True", "RolloutRestarted=Unknown(RestartPending)"]).await;
    restarts(0).await;
    stage.restarted(&["app"]).await;
    restarts(1).await;
    let status = stage.bindings().get("app").await.unwrap().status.unwrap();
    let content = status.restarted_for.expect("a digest");
    for kind in KINDS {
        let object = stage.workloads(kind).get("web").await.unwrap();
        let expected = [("restart.tidelock.dev/app".to_owned(), content.clone())];
        assert_eq!(annotations(kind, &object), expected, "{kind}");
        assert_eq!(object.data["spec"]["template"]["metadata"]["annotations"]["theirs"], "kept", "{kind}");
        assert_eq!(object.data["spec"]["restartAt"].is_string(), kind == "Rollout");
    }

    // Metadata of the Secret, a hand on it, another operator, a look, and a failure to deliver.
    stage.patch_binding("app", json!({"spec": {"target": {"template": {"metadata": {"labels": {"a": "b"}}}}}})).await;
    stage
        .secret("app", |secret| {
            let labels = secret.metadata.labels.clone().unwrap_or_default();
            if labels.contains_key("a") { Ok(()) } else { Err(format!("{labels:?}")) }
        })
        .await;
    stage.delete_secret("app").await;
    stage.secret_has("app", &[("A", "2")]).await;
    operator.stop();
    let operator = stage.operator_with(&[RESTARTS]).await;
    stage.ask_for_a_sync("app").await;
    stage.binding_is("app", &["Ready=True", "RolloutRestarted=True"]).await;
    let missing = json!([{"secretKey": "A", "remoteRef": {"key": "NONE"}}]);
    stage.patch_binding("app", json!({"spec": {"data": missing}})).await;
    stage.binding_is("app", &["Ready=False(KeyMissing)", "RolloutRestarted=False(NotDelivered)"]).await;
    stage.patch_binding("app", json!({"spec": {"data": null}})).await;
    stage.binding_is("app", &["Ready=True", "RolloutRestarted=True(NoRestartDue)"]).await;
    restarts(1).await;

    stage.team.set("dev", "A", "1").await;
    stage.restarted(&["app"]).await;
    restarts(2).await;
    operator.stop();
    for resource in ["deployments", "statefulsets", "daemonsets", "rollouts"] {
        assert_eq!(stage.patches(&log, resource).await, 2, "{resource}");
    }
}

/// An operator whose requests come through the proxy.
async fn proxied(stage: &Stage, proxy: &ApiServerProxy) -> Operator {
    let (namespace, account) = stage.account();
    let kubeconfig = proxy.kubeconfig(&stage.cluster, &stage.cluster.token(namespace, account).await);
    stage.operator_with(&[RESTARTS, ("KUBECONFIG", &kubeconfig.to_string_lossy())]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_ends_at_any_point_of_a_change_leaves_one_restart_to_be_done_or_done() {
    let stage = Stage::restarting("restart-crash").await;
    stage.workload("Deployment", "web", json!({})).await;
    stage.binding("app", "dev", web()).await;
    let proxy = ApiServerProxy::before(&stage.cluster).await;
    let namespace = &stage.cluster.namespace;
    let status = format!("/apis/tidelock.dev/v1alpha1/namespaces/{namespace}/secretbindings/app/status");
    let workload = format!("/apis/apps/v1/namespaces/{namespace}/deployments/web");

    // With the Secret written and nothing said; with the restart not sent; with it done and nothing said.
    for (round, (path, is_said_before)) in
        [(&status, false), (&workload, false), (&status, true)].into_iter().enumerate()
    {
        let operator = proxied(&stage, &proxy).await;
        stage.binding_is("app", &["Ready=True", "RolloutRestarted=True"]).await;
        let value = format!("round {round}");
        let hold_back = || proxy.hold(Method::PATCH, path.clone());
        let request = if is_said_before {
            stage.team.set("dev", "A", &value).await;
            stage.binding_is("app", &["RolloutRestarted=Unknown(RestartPending)"]).await;
            hold_back()
        } else {
            let request = hold_back();
            stage.team.set("dev", "A", &value).await;
            request
        };
        request.meanwhile(async { operator.kill() }).await;
        stage.secret_has("app", &[("A", &value)]).await;
        let next = stage.operator_with(&[RESTARTS]).await;
        let content = async || {
            let status = stage.bindings().get("app").await.unwrap().status.unwrap();
            let content = status.target.and_then(|target| target.content);
            if content == status.restarted_for { Ok(()) } else { Err(format!("{:?}", status.conditions)) }
        };
        wait_for("the restart to be said", SOON, content).await;
        let done = i64::try_from(round).unwrap() + 1;
        wait_for("the restart", SOON, async || {
            let restarts = stage.restarts("Deployment", "web").await;
            if restarts == done { Ok(()) } else { Err(restarts.to_string()) }
        })
        .await;
        stage.restarted(&["app"]).await;
        next.stop();
        assert_eq!(stage.restarts("Deployment", "web").await, done);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bindings_that_change_together_or_within_five_seconds_share_one_restart() {
    let stage = Stage::restarting("shared-restart").await;
    stage.team.set("staging", "B", "1").await;
    stage.source("staging").await;
    stage.workload("Deployment", "web", json!({})).await;
    let of_dev = ["one", "two", "three"];
    for binding in of_dev {
        stage.binding(binding, "dev", web()).await;
    }
    stage.binding("other", "staging", web()).await;
    let log = stage.cluster.audit_from_now().await;
    let _operator = stage.operator_with(&[RESTARTS]).await;
    for binding in ["one", "two", "three", "other"] {
        stage.binding_is(binding, &["RolloutRestarted=True"]).await;
    }
    // Two environments, one after the other, and three bindings at once.
    tokio::join!(stage.team.set("dev", "A", "2"), stage.team.set("staging", "B", "2"));
    stage.restarted(&["one", "two", "three", "other"]).await;
    assert_eq!(stage.restarts("Deployment", "web").await, 1);
    let object = stage.workloads("Deployment").get("web").await.unwrap();
    let names: Vec<String> = annotations("Deployment", &object).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["one", "other", "three", "two"].map(|name| format!("restart.tidelock.dev/{name}")));
    assert_eq!(stage.patches(&log, "deployments").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paused_on_delete_or_missing_is_left_alone_and_told() {
    let stage = Stage::restarting("left-alone").await;
    let on_delete = || json!({"updateStrategy": {"type": "OnDelete"}});
    stage.workload("Deployment", "web", json!({"paused": true})).await;
    stage.workload("StatefulSet", "db", on_delete()).await;
    stage.workload("DaemonSet", "agent", on_delete()).await;
    stage.workload("Rollout", "canary", json!({"paused": true})).await;
    let all = [
        ("Deployment", "web"),
        ("StatefulSet", "db"),
        ("DaemonSet", "agent"),
        ("Rollout", "canary"),
        ("Deployment", "none"),
    ];
    stage.binding("app", "dev", targets(&all)).await;
    let _operator = stage.operator_with(&[RESTARTS]).await;
    stage.binding_is("app", &["RolloutRestarted=True(NoRestartDue)"]).await;
    stage.team.set("dev", "A", "2").await;
    let binding = stage.binding_is("app", &["Ready=True", "RolloutRestarted=False(RolloutPaused)"]).await;
    let conditions = binding.status.unwrap().conditions;
    let said = conditions.iter().find(|one| one.type_ == "RolloutRestarted").unwrap();
    assert_eq!(
        said.message,
        "paused and left alone: Deployment web, Rollout canary; not there: Deployment none; left alone, as their pods are \
         replaced on deletion only: StatefulSet db, DaemonSet agent"
    );
    for (kind, name) in &all[..4] {
        assert_eq!(stage.restarts(kind, name).await, 0, "{kind}");
    }
    for (kind, name) in [all[0], all[3]] {
        stage.change_workload(kind, name, json!({"spec": {"paused": false}})).await;
    }
    stage.ask_for_a_sync("app").await;
    stage.binding_is("app", &["RolloutRestarted=False(RestartTargetNotFound)"]).await;
    for ((kind, name), expected) in all.into_iter().zip([2, 0, 0, 2]) {
        assert_eq!(stage.restarts(kind, name).await, expected, "{kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_that_may_not_restart_says_so_and_delivers_all_the_same() {
    let stage = Stage::with_shop("no-restarts").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.workload("Deployment", "web", json!({})).await;
    stage.binding("app", "dev", web()).await;
    let operator = stage.operator().await;
    stage.binding_is("app", &["Ready=True", "RolloutRestarted=False(RestartsNotEnabled)"]).await;
    stage.team.set("dev", "A", "2").await;
    stage.secret_has("app", &[("A", "2")]).await;
    operator.stop();
    // It is told to, and has no right; and then it has.
    let _operator = stage.operator_with(&[RESTARTS]).await;
    stage.binding_is("app", &["RolloutRestarted=True(NoRestartDue)"]).await;
    stage.team.set("dev", "A", "3").await;
    stage.secret_has("app", &[("A", "3")]).await;
    let binding = stage.binding_is("app", &["Ready=True", "RolloutRestarted=False(RestartRefused)"]).await;
    let conditions = binding.status.unwrap().conditions;
    let said = conditions.iter().find(|one| one.type_ == "RolloutRestarted").unwrap();
    assert!(said.message.contains("Deployment web") && said.message.contains("403"), "{}", said.message);
    assert_eq!(stage.restarts("Deployment", "web").await, 0);
    stage.upgrade_chart("rolloutRestarts.enabled=true").await;
    let restarted = async || {
        stage.ask_for_a_sync("app").await;
        let restarts = stage.restarts("Deployment", "web").await;
        if restarts == 1 { Ok(()) } else { Err(restarts.to_string()) }
    };
    wait_for("the restart", SOON, restarted).await;
    stage.restarted(&["app"]).await;
}

/// How many are restarted at once; the benchmark takes a thousand.
const MANY: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn as_many_restarts_as_are_due_at_once_are_as_many_patches() {
    let stage = Stage::restarting("many-restarts").await;
    let template = json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "app", "image": "example.com/app"}]},
    });
    for number in 0..MANY {
        let name = format!("web-{number}");
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "web"}}, "template": template},
        }))
        .unwrap();
        stage.cluster.create(&deployment).await;
        stage.binding(&name, "dev", targets(&[("Deployment", &name)])).await;
    }
    let _operator = stage.operator_with(&[RESTARTS]).await;
    for number in 0..MANY {
        stage.binding_is(&format!("web-{number}"), &["RolloutRestarted=True"]).await;
    }
    let log = stage.cluster.audit_from_now().await;
    stage.team.set("dev", "A", "2").await;
    for number in 0..MANY {
        stage.restarted(&[&format!("web-{number}")]).await;
        assert_eq!(stage.restarts("Deployment", &format!("web-{number}")).await, 1);
    }
    let writes = stage.operator_writes(&log).await;
    let of = |resource: &str| writes.iter().filter(|write| write.object().resource == resource).count();
    assert_eq!([of("secrets"), of("secretbindings"), of("deployments")], [MANY, 2 * MANY, MANY]);
}
