//! A value leaves a Secret only on proof.

use serde_json::json;
use tidelock::api::SecretBinding;

use crate::stage::{Operator, Stage, text};

async fn with_keys(what: &str, keys: usize) -> (Stage, Operator) {
    let stage = Stage::with_shop(what).await;
    for number in 0..keys {
        stage.team.set("dev", &format!("KEY_{number}"), "v").await;
    }
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator().await;
    stage.binding_is("app", &["Ready=True"]).await;
    has(&stage, keys).await;
    (stage, operator)
}

async fn has(stage: &Stage, keys: usize) {
    stage
        .secret("app", |secret| {
            let found = text(secret);
            if found.len() == keys { Ok(()) } else { Err(format!("{:?}", found.keys().collect::<Vec<_>>())) }
        })
        .await;
}

fn says(binding: &SecretBinding, what: &str) {
    let status = format!("{:?}", binding.status);
    assert!(status.contains(what), "{what}: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_deleted_on_purpose_leaves() {
    let (stage, _operator) = with_keys("tombstone", 2).await;
    stage.team.remove("dev", "KEY_0").await;
    has(&stage, 1).await;
    stage.binding_is("app", &["Ready=True", "InSync=False(KeysMissing)"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_name_was_purged_leaves_with_its_value() {
    let (stage, _operator) = with_keys("purged", 2).await;
    let purge = ["key", "purge-name", "--reason", "a password became a name"];
    stage.team.run_with(&stage.team.ana, &purge, b"KEY_0").await.expect(0);
    has(&stage, 1).await;
    let binding = stage.binding_is("app", &["Ready=True"]).await;
    assert!(!format!("{:?}", binding.status).contains("KEY_0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_vanished_without_a_tombstone_stays_until_a_person_releases_it() {
    let (stage, _operator) = with_keys("vanished", 2).await;
    let superuser_without_triggers = stage.team.superuser_without_triggers().await;
    superuser_without_triggers.batch_execute("DELETE FROM secrets WHERE key = 'KEY_0'; UPDATE environments SET live_secrets = live_secrets - 1 WHERE name = 'dev'").await.unwrap();
    stage.team.enable_triggers().await;
    stage.ask_for_a_sync("app").await;
    stage.binding_is("app", &["Ready=False(RemovalUnproven)"]).await;
    stage.team.set("dev", "KEY_1", "changed").await;
    let binding = stage.binding_is("app", &["Ready=False(RemovalUnproven)"]).await;
    says(&binding, "KEY_0");
    stage.secret_has("app", &[("KEY_0", "v"), ("KEY_1", "v")]).await;
    let revision: i64 = superuser_without_triggers
        .query_one("SELECT revision FROM environments WHERE name = 'dev'", &[])
        .await
        .unwrap()
        .get(0);
    let release = json!({"metadata": {"annotations": {"tidelock.dev/release-removal": revision.to_string()}}});
    stage.patch_binding("app", release).await;
    stage.secret_has("app", &[("KEY_1", "changed")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_recreated_and_then_hidden_is_not_proved_gone_by_its_first_tombstone() {
    let (stage, _operator) = with_keys("recreated", 2).await;
    stage.team.remove("dev", "KEY_0").await;
    has(&stage, 1).await;
    stage.team.set("dev", "KEY_0", "again").await;
    stage.secret_has("app", &[("KEY_0", "again"), ("KEY_1", "v")]).await;
    let superuser_without_triggers = stage.team.superuser_without_triggers().await;
    superuser_without_triggers
        .batch_execute(
            "DELETE FROM secrets WHERE key = 'KEY_0' AND deleted_at IS NULL;
             UPDATE environments SET live_secrets = live_secrets - 1 WHERE name = 'dev'",
        )
        .await
        .unwrap();
    stage.team.enable_triggers().await;
    stage.ask_for_a_sync("app").await;
    stage.binding_is("app", &["Ready=False(RemovalUnproven)"]).await;
    stage.team.set("dev", "KEY_1", "changed").await;
    stage.binding_is("app", &["Ready=False(RemovalUnproven)"]).await;
    stage.secret_has("app", &[("KEY_0", "again"), ("KEY_1", "v")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_row_level_security_hides_stays_and_the_condition_says_so() {
    let (stage, _operator) = with_keys("hidden", 2).await;
    let superuser = stage.team.database.superuser().await;
    superuser
        .batch_execute("CREATE POLICY hide ON tidelock.secrets AS RESTRICTIVE FOR SELECT TO tidelock_definer USING (key <> 'KEY_0')")
        .await
        .unwrap();
    stage.ask_for_a_sync("app").await;
    stage.team.set("dev", "KEY_1", "changed").await;
    let binding = stage.binding_is("app", &["Ready=False(RowsMayBeHidden)"]).await;
    says(&binding, "KEY_0");
    stage.secret_has("app", &[("KEY_0", "v"), ("KEY_1", "v")]).await;

    // The condition's message advises this; it changes no revision.
    superuser.batch_execute("DROP POLICY hide ON tidelock.secrets").await.unwrap();
    stage.secret_has("app", &[("KEY_0", "v"), ("KEY_1", "changed")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn most_keys_going_at_once_waits_for_a_person() {
    let (stage, _operator) = with_keys("mass", 12).await;
    let ana = stage.team.ana.connect().await;
    ana.batch_execute(
        "SET search_path = tidelock_api; UPDATE secrets SET deleted_at = now() WHERE key <> 'KEY_0'
             AND environment_id = (SELECT id FROM environments WHERE name = 'dev') AND deleted_at IS NULL",
    )
    .await
    .unwrap();
    stage.binding_is("app", &["Ready=False(MassRemoval)"]).await;
    has(&stage, 12).await;

    let revision: i64 =
        ana.query_one("SELECT revision FROM environments WHERE name = 'dev'", &[]).await.unwrap().get(0);
    let release = json!({"metadata": {"annotations": {"tidelock.dev/release-removal": revision.to_string()}}});
    stage.patch_binding("app", release).await;
    has(&stage, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_named_key_that_is_gone_holds_the_secret_unless_it_is_optional() {
    let stage = Stage::with_shop("named-gone").await;
    for key in ["A", "B"] {
        stage.team.set("dev", key, "v").await;
    }
    stage.source("dev").await;
    let data = |optional: bool| {
        json!({"data": [
            {"secretKey": "A", "remoteRef": {"key": "A"}, "optional": optional},
            {"secretKey": "B", "remoteRef": {"key": "B"}},
        ]})
    };
    stage.binding("strict", "dev", data(false)).await;
    stage.binding("lenient", "dev", data(true)).await;
    let _operator = stage.operator().await;
    stage.secret_has("strict", &[("A", "v"), ("B", "v")]).await;
    stage.secret_has("lenient", &[("A", "v"), ("B", "v")]).await;

    stage.team.remove("dev", "A").await;
    stage.secret_has("lenient", &[("B", "v")]).await;
    let strict = stage.binding_is("strict", &["Ready=False(KeyMissing)", "ResolvedRefs=False(KeyMissing)"]).await;
    says(&strict, "A");
    stage.secret_has("strict", &[("A", "v"), ("B", "v")]).await;
}
