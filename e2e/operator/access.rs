//! What the platform team grants, and what the registry lets the operator see.

use kube::api::DeleteParams;
use serde_json::json;

use crate::stage::{Operator, Stage};

async fn delivered(what: &str) -> (Stage, Operator) {
    let stage = Stage::with_shop(what).await;
    for key in ["A", "B"] {
        stage.team.set("dev", key, "v").await;
    }
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator().await;
    stage.secret_has("app", &[("A", "v"), ("B", "v")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
    (stage, operator)
}

async fn still_there(stage: &Stage) {
    stage.secret_has("app", &[("A", "v"), ("B", "v")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_that_is_missing_and_one_without_membership_give_the_same_answer() {
    let stage = Stage::with_shop("invisible").await;
    stage.team.done(&stage.team.eve, &["project", "create", "hidden"]).await;
    stage.team.done(&stage.team.eve, &["environment", "create", "dev", "-p", "hidden"]).await;
    stage.source("dev").await;
    stage.source_with("staging", json!({"project": "hidden", "environment": "dev"})).await;
    stage.source_with("production", json!({"project": "no-such-project"})).await;
    stage.binding("app", "staging", json!({})).await;
    let _operator = stage.operator().await;
    stage.source_is("dev", &["Ready=True"]).await;
    let hidden = stage.source_is("staging", &["Ready=False(ProjectNotVisible)", "InSync=Unknown"]).await;
    let missing = stage.source_is("production", &["Ready=False(ProjectNotVisible)"]).await;
    let message = |source: tidelock::api::ProjectEnvironment, project: &str| {
        let status = source.status.unwrap_or_default();
        status
            .conditions
            .iter()
            .find(|c| c.type_ == "Ready")
            .map(|c| c.message.replace(project, "X"))
            .unwrap_or_default()
    };
    assert_eq!(message(hidden, "hidden"), message(missing, "no-such-project"));
    stage.binding_is("app", &["Ready=False(SourceNotReady)", "ResolvedRefs=False(SourceNotReady)"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_membership_that_ends_keeps_the_secret_and_says_why() {
    let (stage, _operator) = delivered("member-gone").await;
    stage.team.done(&stage.team.ana, &["member", "remove", "tidelock"]).await;
    stage.source_is("dev", &["Ready=False(ProjectNotVisible)"]).await;
    stage.binding_is("app", &["Ready=False(SourceNotReady)"]).await;
    still_there(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn production_needs_an_admin_membership_and_every_environment_one_that_extends_to_it() {
    let stage = Stage::with_shop("not-admin").await;
    stage.team.done(&stage.team.ana, &["member", "remove", "tidelock"]).await;
    stage.team.done(&stage.team.ana, &["member", "add", "tidelock", "--role", "viewer"]).await;
    stage.source("dev").await;
    stage.source("production").await;
    let _operator = stage.operator().await;
    stage.source_is("dev", &["Ready=True"]).await;
    stage.source_is("production", &["Ready=False(ProductionNotPermitted)"]).await;
    let narrow = ["member", "add", "tidelock", "--role", "admin", "--read-only", "--only", "dev"];
    stage.team.done(&stage.team.ana, &narrow).await;
    stage.source_is("production", &["Ready=False(EnvironmentNotPermitted)"]).await;
    stage.source_is("dev", &["Ready=True"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_never_was_and_one_that_was_deleted_are_told_apart() {
    let (stage, _operator) = delivered("environment-gone").await;
    stage.source_with("nowhere", json!({})).await;
    stage.source_is("nowhere", &["Ready=False(EnvironmentNotFound)"]).await;
    let ana = stage.team.ana.connect().await;
    ana.batch_execute("UPDATE tidelock_api.environments SET deleted_at = now() WHERE name = 'dev'").await.unwrap();
    stage.source_is("dev", &["Ready=False(EnvironmentDeleted)"]).await;
    stage.binding_is("app", &["Ready=False(SourceNotReady)"]).await;
    still_there(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_project_is_read_no_more_and_its_secrets_stay() {
    let (stage, _operator) = delivered("archived").await;
    stage.team.done(&stage.team.ana, &["project", "archive", "shop", "--reason", "closed"]).await;
    stage.source_is("dev", &["Ready=False(ProjectArchived)"]).await;
    stage.binding_is("app", &["Ready=False(SourceNotReady)"]).await;
    still_there(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_not_granted_gets_nothing() {
    let stage = Stage::with_shop("not-granted").await;
    stage.team.set("dev", "A", "v").await;
    let elsewhere = json!({"grants": [{"namespaces": {"selector": {"matchLabels": {"team": "shop"}}}}]});
    stage.source_with("dev", elsewhere).await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;
    stage.binding_is("app", &["Ready=False(NotGranted)", "ResolvedRefs=False(NotGranted)"]).await;
    assert!(stage.secrets().get_opt("app").await.unwrap().is_none());

    // The namespace gets the label that the grant selects.
    stage.kubectl(&["label", "namespace", &stage.cluster.namespace, "team=shop"], b"").await.unwrap();
    stage.secret_has("app", &[("A", "v")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_not_granted_do_not_arrive_and_naming_one_is_an_error() {
    let stage = Stage::with_shop("keys").await;
    for key in ["APP_A", "APP_B", "ROOT"] {
        stage.team.set("dev", key, "v").await;
    }
    let grants = json!([{"namespaces": {"names": [stage.cluster.namespace]}, "keys": {"regexp": "APP_.*"}}]);
    stage.source_with("dev", json!({"grants": grants})).await;
    stage.binding("every", "dev", json!({})).await;
    let root = json!([{"secretKey": "root", "remoteRef": {"key": "ROOT"}}]);
    stage.binding("greedy", "dev", json!({"data": root})).await;
    let _operator = stage.operator().await;
    stage.secret_has("every", &[("APP_A", "v"), ("APP_B", "v")]).await;
    let greedy = stage.binding_is("greedy", &["Ready=False(NotGranted)"]).await;
    assert!(format!("{:?}", greedy.status).contains("ROOT"));
    assert!(stage.secrets().get_opt("greedy").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_revoked_keeps_the_secret_or_deletes_it_as_the_source_says() {
    let (stage, _operator) = delivered("revoked").await;
    let revoked = json!({"spec": {"grants": [{"namespaces": {"names": ["somewhere-else"]}}]}});
    stage.patch_source("dev", revoked).await;
    stage.binding_is("app", &["Ready=False(NotGranted)"]).await;
    still_there(&stage).await;

    stage.patch_source("dev", json!({"spec": {"onRevoke": "Delete"}})).await;
    crate::harness::wait_for("the Secret to be gone", crate::stage::SOON, async || {
        match stage.secrets().get_opt("app").await {
            Ok(None) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_deleted_while_bound_keeps_the_secret() {
    let (stage, _operator) = delivered("source-deleted").await;
    stage.sources().delete(&stage.source_name("dev"), &DeleteParams::default()).await.unwrap();
    stage.binding_is("app", &["Ready=False(SourceNotFound)", "ResolvedRefs=False(SourceNotFound)"]).await;
    still_there(&stage).await;
    stage.source("dev").await;
    stage.binding_is("app", &["Ready=True"]).await;
}
