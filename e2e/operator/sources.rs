//! What becomes of a ProjectEnvironment while bindings read it.

use std::time::Instant;

use serde_json::json;

use crate::stage::{Operator, Stage};

async fn delivered(what: &str) -> (Stage, Operator) {
    let stage = Stage::with_shop(what).await;
    for key in ["A", "B"] {
        stage.team.set("dev", key, "dev").await;
    }
    stage.team.set("staging", "A", "staging").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator().await;
    stage.secret_has("app", &[("A", "dev"), ("B", "dev")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
    (stage, operator)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_source_delivers_nothing_until_it_goes_on() {
    let (stage, _operator) = delivered("source-suspended").await;
    stage.patch_source("dev", json!({"spec": {"suspend": true}})).await;
    stage.source_is("dev", &["Ready=True(Suspended)"]).await;
    stage.binding_is("app", &["Ready=True(Suspended)", "Delivered=True(Suspended)"]).await;
    stage.team.set("dev", "A", "later").await;
    // Another source of the same environment shows that the operator has worked on the change.
    stage.source_with("witness", json!({"environment": "dev"})).await;
    stage.binding("witness", "witness", json!({})).await;
    stage.secret_has("witness", &[("A", "later"), ("B", "dev")]).await;
    stage.secret_has("app", &[("A", "dev"), ("B", "dev")]).await;
    stage.patch_source("dev", json!({"spec": {"suspend": null}})).await;
    stage.secret_has("app", &[("A", "later"), ("B", "dev")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_pointed_elsewhere_takes_a_key_away_only_once_the_old_environment_is_deleted() {
    let (stage, _operator) = delivered("repointed").await;
    stage.patch_source("dev", json!({"spec": {"environment": "staging"}})).await;
    let held = stage.binding_is("app", &["Ready=False(RemovalUnproven)"]).await;
    assert!(format!("{:?}", held.status).contains('B'));
    stage.secret_has("app", &[("A", "dev"), ("B", "dev")]).await;
    let ana = stage.team.ana.connect().await;
    ana.batch_execute("UPDATE tidelock_api.environments SET deleted_at = now() WHERE name = 'dev'").await.unwrap();
    stage.secret_has("app", &[("A", "staging")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_missing_and_a_schema_that_is_too_new_keep_the_secret_and_are_told_apart() {
    let (stage, operator) = delivered("refused").await;
    let superuser = stage.team.database.superuser().await;
    let again = async |reason: &str| {
        stage.source_is("dev", &[&format!("Ready=False({reason})")]).await;
        stage.secret_has("app", &[("A", "dev"), ("B", "dev")]).await;
    };
    superuser.batch_execute("REVOKE SELECT ON tidelock.secrets FROM tidelock_definer").await.unwrap();
    stage.team.done(&stage.team.ana, &["key", "exempt", "B", "-e", "staging", "--reason", "a step"]).await;
    again("DatabaseRefused").await;
    superuser.batch_execute("GRANT SELECT ON tidelock.secrets TO tidelock_definer").await.unwrap();
    stage.source_is("dev", &["Ready=True"]).await;
    operator.stop();

    superuser.batch_execute("UPDATE tidelock.schema_floor SET version = 99, oldest_reader = 99").await.unwrap();
    let operator = stage.operator().await;
    again("SchemaNotServed").await;
    // A newer schema that still supports this reader is used.
    superuser.batch_execute("UPDATE tidelock.schema_floor SET oldest_reader = 1").await.unwrap();
    stage.source_is("dev", &["Ready=True"]).await;
    operator.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_behind_is_listed_with_its_times_to_the_microsecond() {
    let (stage, _operator) = delivered("times").await;
    stage.source("staging").await;
    stage.team.set("dev", "A", "newer").await;
    let source = stage.source_is("staging", &["Ready=True", "InSync=False(KeysStale)"]).await;
    let status = source.status.unwrap();
    let superuser = stage.team.database.superuser().await;
    let micros = async |expression: &str, table: &str| {
        let sql = format!("SELECT (extract(epoch FROM {expression}) * 1000000)::bigint FROM {table}");
        superuser.query_one(&sql, &[]).await.unwrap().get::<_, i64>(0)
    };
    let registry = "tidelock.project_secret_registry WHERE key_name = ";
    let staging = "tidelock.secrets s JOIN tidelock.environments e ON e.id = s.environment_id WHERE e.name = 'staging'";
    let listed: Vec<_> = status
        .out_of_sync
        .iter()
        .map(|key| {
            let micros = |time: &k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime| time.0.as_microsecond();
            (key.key.as_str(), key.updated_at.as_ref().map(micros), key.last_updated_at.as_ref().map(micros))
        })
        .collect();
    let a =
        (Some(micros("s.updated_at", staging).await), Some(micros("last_updated_at", &format!("{registry}'A'")).await));
    let b = Some(micros("last_updated_at", &format!("{registry}'B'")).await);
    assert_eq!(listed, [("A", a.0, a.1), ("B", None, b)]);
    let counts = status.keys.map(|keys| (keys.total, keys.in_sync, keys.stale, keys.missing));
    assert_eq!((counts, status.production), (Some((2, 0, 1, 1)), Some(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_written_once_a_second_at_most_and_not_at_all_for_nothing() {
    let (stage, _operator) = delivered("once-a-second").await;
    stage.source_is("dev", &["Ready=True"]).await;
    let ana = stage.team.ana.connect().await;
    let exempt = "INSERT INTO tidelock_api.key_exemptions (project_id, environment_id, key_name, reason)
        SELECT project_id, id, 'B', 'a step' FROM tidelock_api.environments WHERE name = 'staging'";
    let (log, began) = (stage.cluster.audit_from_now().await, Instant::now());
    // In SQL, because that is faster than commands: the status gets a new revision each time.
    for _ in 0..50 {
        ana.batch_execute(exempt).await.unwrap();
        ana.batch_execute(
            "SET tidelock.reason = 'a step'; SELECT tidelock_api.unexempt_keys(project_id, environment_id, ARRAY[key_name]) FROM tidelock_api.key_exemptions",
        )
        .await
        .unwrap();
    }
    stage.team.set("dev", "A", "last").await;
    stage.secret_has("app", &[("A", "last"), ("B", "dev")]).await;
    let revision = stage.team.revision().await;
    crate::harness::wait_for("the last revision in the status", crate::stage::SOON, async || {
        let source = stage.sources().get(&stage.source_name("dev")).await.map_err(|why| why.to_string())?;
        let said = source.status.and_then(|status| status.registry_revision);
        if said == Some(revision) { Ok(()) } else { Err(format!("{said:?} of {revision}")) }
    })
    .await;
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    let writes = stage.operator_writes(&log).await;
    let writes = writes.iter().filter(|write| write.object().resource == "projectenvironments").count();
    assert!(writes <= seconds + 2, "{writes} writes in {seconds} s");
}
