//! The restore drill: a backup into an empty server, roles included, and the operator on it.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;

use crate::harness::{Postgres, wait_for};
use crate::registry::audit;
use crate::stage::{Restored, SOON, Stage, Team};

const VALUES: [(&str, &str, &str); 4] =
    [("dev", "A", "first"), ("dev", "B", "multi\nline"), ("staging", "A", "first"), ("production", "A", "its own")];

async fn answers_a_sync(stage: &Stage, nonce: &str) {
    stage.patch_binding("app", json!({"metadata": {"annotations": {"tidelock.dev/sync": nonce}}})).await;
    wait_for("the answer of app", SOON, async || {
        let status = stage.bindings().get("app").await.map_err(|why| why.to_string())?.status.unwrap_or_default();
        if status.last_handled_sync.as_deref() == Some(nonce) { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}

/// What a registry has to be, wherever it was restored: nothing to migrate, nothing to find, every chain whole, and every
/// value opens.
async fn is_whole(restored: &Restored, team: &Team, values: &[(&str, &str, &str)]) {
    let (owner, ana) = (restored.login(&team.database.owner), restored.login(&team.ana));
    let migrated = team.done(&owner, &["migrate", "-o", "json"]).await;
    assert_eq!(migrated.stdout.trim(), "[]", "nothing to migrate");
    restored.confirm_logins(team).await;
    team.run(&ana, &["registry", "check"]).await.expect(0);
    assert_eq!(audit::verify(&restored.superuser().await).await, 2, "the chain of users and that of the project");
    for (environment, key, value) in values {
        let read = team.run(&ana, &["secret", "get", key, "-e", environment]).await.expect(0);
        assert_eq!(read.stdout, *value, "{key} in {environment}");
    }
    // What each may is as it was.
    team.run(&restored.login(&team.bob), &["secret", "get", "A", "-e", "production"]).await.expect(4);
    team.run(&restored.login(&team.eve), &["status"]).await.expect(5);
}

/// The operator is pointed at a server with the history that it delivered from.
async fn goes_on_without_a_write(stage: &Stage, restored: &Restored, nonce: &str) {
    let url = restored.login(&stage.team.operator).url;
    let before = stage.secret_has("app", &[("A", "first"), ("B", "multi\nline")]).await;
    let log = stage.cluster.audit_from_now().await;
    let operator = stage.operator_with(&[("TIDELOCK_DATABASE_URL", &url)]).await;
    answers_a_sync(stage, nonce).await;
    stage.binding_is("app", &["Ready=True"]).await;
    let writes = stage.operator_writes(&log).await;
    // Only the status that answers the request for a sync.
    let others: Vec<&String> =
        writes.iter().map(|event| &event.request_uri).filter(|uri| !uri.contains("/app/status")).collect();
    assert!(others.is_empty(), "{others:?}");
    let now = stage.secret_has("app", &[("A", "first"), ("B", "multi\nline")]).await;
    assert_eq!(now.metadata.resource_version, before.metadata.resource_version);
    operator.stop();
}

async fn restored_into(server: Arc<Postgres>, stage: &Stage, dump: &Path, nonce: &str) {
    let restored = Restored::by_superuser(server, dump).await;
    is_whole(&restored, &stage.team, &VALUES).await;
    goes_on_without_a_write(stage, &restored, nonce).await;
    // It is a registry to write to: the chain goes on.
    let ana = restored.login(&stage.team.ana);
    stage.team.run_with(&ana, &["secret", "set", "AFTER", "-e", "dev"], b"new").await.expect(0);
    audit::verify(&restored.superuser().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_restored_into_an_empty_server_is_the_registry_and_the_operator_goes_on() {
    let own = Postgres::publishing("postgres-backed-up").await;
    if !own.has_dump_programs() {
        return;
    }
    let stage = Stage::of(Team::builder("restored").on(own).build(), "restored").await;
    let team = &stage.team;
    let backup = team.backup_login().await;
    team.set("dev", "A", "older").await;
    let older = team.back_up(&backup, "older.dump").await;
    for (environment, key, value) in VALUES {
        team.set(environment, key, value).await;
    }
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator().await;
    stage.secret_has("app", &[("A", "first"), ("B", "multi\nline")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
    stage.source_is("dev", &["Ready=True"]).await;
    answers_a_sync(&stage, "before").await;
    operator.stop();
    let dump = team.back_up(&backup, "registry.dump").await;

    // A backup from before what was delivered.
    let behind = Restored::by_superuser(Postgres::publishing("postgres-restored-older").await, &older).await;
    is_whole(&behind, team, &[("dev", "A", "older")]).await;
    let url = behind.login(&team.operator).url;
    let held = stage.operator_with(&[("TIDELOCK_DATABASE_URL", &url)]).await;
    stage.binding_is("app", &["Ready=False(HistoryDiverged)"]).await;
    stage.secret_has("app", &[("A", "first"), ("B", "multi\nline")]).await;
    held.stop();
    // Back on its own server all is well again.
    let operator = stage.operator().await;
    stage.binding_is("app", &["Ready=True"]).await;
    operator.stop();

    restored_into(Postgres::publishing("postgres-restored").await, &stage, &dump, "same version").await;
    if let Some(newer) = Postgres::newer("postgres-restored-newer").await {
        restored_into(newer, &stage, &dump, "newer version").await;
    }
}
