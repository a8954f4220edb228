//! Rows that cannot be opened, and histories that are not the one delivered from.

use serde_json::json;

use crate::stage::{Operator, Stage};

/// A stage with keys `A` and `B` in dev; binding `a` selects `A`, `b` selects `B`.
async fn two_bindings(what: &str) -> (Stage, Operator) {
    let stage = Stage::with_shop(what).await;
    stage.source("dev").await;
    for key in ["A", "B"] {
        stage.team.set("dev", key, "v1").await;
        let data = json!([{"secretKey": key, "remoteRef": {"key": key}}]);
        stage.binding(&key.to_lowercase(), "dev", json!({"data": data})).await;
    }
    let operator = stage.operator().await;
    stage.secret_has("a", &[("A", "v1")]).await;
    stage.secret_has("b", &[("B", "v1")]).await;
    (stage, operator)
}

/// Damages the row of `A`, which no revision tells of, then changes `B`: once everything is read anew, `a` is held for the
/// reason given, and `b` goes on.
async fn only_a_is_held(stage: &Stage, damage: &str, reason: &str) {
    stage.team.set("dev", "A", "v2").await;
    stage.secret_has("a", &[("A", "v2")]).await;
    stage.team.superuser_without_triggers().await.batch_execute(damage).await.unwrap();
    stage.team.enable_triggers().await;
    stage.team.set("dev", "B", "v2").await;
    stage.secret_has("b", &[("B", "v2")]).await;
    // A changed spec makes the operator decrypt A again.
    let again = json!({"spec": {"target": {"template": {"metadata": {"labels": {"again": "yes"}}}}}});
    stage.patch_binding("a", again).await;
    stage.ask_for_a_sync("a").await;
    let held = stage.binding_is("a", &[&format!("Ready=False({reason})"), &format!("Delivered=False({reason})")]).await;
    let status = format!("{:?}", held.status);
    assert!(status.contains('A') && !status.contains("v2"), "{status}");
    stage.secret_has("a", &[("A", "v2")]).await;
    stage.binding_is("b", &["Ready=True"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ciphertext_that_was_altered_is_rejected() {
    let (stage, _operator) = two_bindings("altered").await;
    let alter = "UPDATE secrets SET encrypted_value = left(encrypted_value, -2) || 'AA' WHERE key = 'A'";
    only_a_is_held(&stage, alter, "OpenFailed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ciphertext_that_was_moved_to_another_row_is_rejected() {
    let (stage, _operator) = two_bindings("moved").await;
    let moving =
        "UPDATE secrets SET encrypted_value = (SELECT encrypted_value FROM secrets WHERE key = 'B') WHERE key = 'A'";
    only_a_is_held(&stage, moving, "OpenFailed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_does_not_match_its_hash_is_not_delivered() {
    let (stage, _operator) = two_bindings("hash").await;
    let forge =
        "UPDATE secrets SET value_hash = (SELECT value_hash FROM secrets WHERE key = 'B' LIMIT 1) WHERE key = 'A'";
    only_a_is_held(&stage, forge, "HashMismatch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ring_that_is_not_held_is_named_and_other_environments_go_on() {
    let stage = Stage::with_shop("ring").await;
    for environment in ["dev", "production"] {
        stage.team.set(environment, "A", "v").await;
        stage.source(environment).await;
        stage.binding(environment, environment, json!({})).await;
    }
    // A keyring of another team: rings of the same names, other keys.
    let other = stage.team.home().join("other");
    stage
        .team
        .done(&stage.team.ana, &["keyring", "init", "--keyring", &other.to_string_lossy(), "--ring", "default"])
        .await;
    let _operator = stage.operator_with(&[("TIDELOCK_KEYRING", &other.to_string_lossy())]).await;
    let production = stage.binding_is("production", &["Ready=False(RingNotHeld)"]).await;
    assert!(format!("{:?}", production.status).contains("production"));
    stage.binding_is("dev", &["Ready=False(RingNotHeld)"]).await;
    assert!(stage.secrets().get_opt("dev").await.unwrap().is_none(), "nothing half-written");
}

/// Another key's material under the id that the rows name; then another ring altogether; then the right one again.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_and_a_missing_encryption_key_keep_what_was_delivered_and_block_only_who_needs_them() {
    let stage = Stage::with_shop("wrong-key").await;
    for environment in ["dev", "production"] {
        stage.team.set(environment, "A", "v1").await;
        stage.source(environment).await;
        stage.binding(environment, environment, json!({})).await;
    }
    let operator = stage.operator().await;
    let mut before = Vec::new();
    for environment in ["dev", "production"] {
        before.push(stage.secret_has(environment, &[("A", "v1")]).await.metadata.resource_version);
        stage.binding_is(environment, &["Ready=True"]).await;
    }
    operator.stop();

    let right = std::fs::read_to_string(stage.team.keyring()).unwrap();
    let secret = right.lines().find(|line| line.starts_with("secret = ")).unwrap();
    let wrong = right.replacen(secret, &format!("secret = \"{}\"", "AQEB".repeat(10) + "AQE="), 1);
    let (header, rings) = right.split_at(right.find("[[ring]]").unwrap());
    let production = &rings[rings.rfind("[[ring]]").unwrap()..];
    for (name, text, reason) in
        [("wrong", wrong.clone(), "OpenFailed"), ("missing", format!("{header}{production}"), "RingNotHeld")]
    {
        let path = stage.team.home().join(name);
        std::fs::copy(stage.team.keyring(), &path).unwrap();
        std::fs::write(&path, text).unwrap();
        let operator = stage.operator_with(&[("TIDELOCK_KEYRING", &path.to_string_lossy())]).await;
        let held =
            stage.binding_is("dev", &[&format!("Ready=False({reason})"), &format!("Delivered=False({reason})")]).await;
        let told = format!("{:?}", held.status);
        assert!(told.contains("default") || told.contains("open A:"), "{name}: the ring or the key is named: {told}");
        assert!(!told.contains("v1"), "{told}");
        stage.secret_has("dev", &[("A", "v1")]).await;
        // Production's ring is held, and its deliveries go on.
        stage.team.set("production", "A", name).await;
        stage.secret_has("production", &[("A", name)]).await;
        operator.stop();
    }
    let _operator = stage.operator().await;
    stage.binding_is("dev", &["Ready=True"]).await;
    let dev = stage.secret_has("dev", &[("A", "v1")]).await;
    assert_eq!(dev.metadata.resource_version, before[0], "never written in between");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_restored_to_an_older_state_and_written_on_is_held() {
    let (stage, _operator) = two_bindings("restored").await;
    let superuser_without_triggers = stage.team.superuser_without_triggers().await;
    let keep = "CREATE TABLE public.kept AS SELECT * FROM secrets; CREATE TABLE public.kept_counter AS SELECT * FROM project_revisions;
        CREATE TABLE public.kept_log AS SELECT * FROM revision_log; CREATE TABLE public.kept_environments AS SELECT * FROM environments";
    superuser_without_triggers.batch_execute(keep).await.unwrap();
    stage.team.enable_triggers().await;
    stage.team.set("dev", "A", "v2").await;
    stage.secret_has("a", &[("A", "v2")]).await;

    // Back to the copy, then other transactions until the numbers are the same again.
    let restore = "ALTER TABLE secrets DISABLE TRIGGER USER; ALTER TABLE revision_log DISABLE TRIGGER USER;
        ALTER TABLE environments DISABLE TRIGGER USER;
        UPDATE secrets s SET encrypted_value = k.encrypted_value, value_hash = k.value_hash, version = k.version, updated_at = k.updated_at
            FROM public.kept k WHERE k.id = s.id;
        DELETE FROM secret_versions;
        DELETE FROM revision_log l WHERE NOT EXISTS (SELECT FROM public.kept_log k WHERE k.token = l.token);
        UPDATE project_revisions r SET revision = k.revision, token = k.token, transaction = k.transaction
            FROM public.kept_counter k WHERE k.project_id = r.project_id;
        UPDATE environments e SET revision = k.revision, live_secrets = k.live_secrets FROM public.kept_environments k WHERE k.id = e.id";
    stage.team.superuser_without_triggers().await.batch_execute(restore).await.unwrap();
    stage.team.enable_triggers().await;
    for value in ["v3", "v4", "v5"] {
        stage.team.set("dev", "A", value).await;
    }
    stage.binding_is("a", &["Ready=False(HistoryDiverged)", "Delivered=False(HistoryDiverged)"]).await;
    stage.secret_has("a", &[("A", "v2")]).await;
}
