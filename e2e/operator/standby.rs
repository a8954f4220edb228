//! Reading a hot standby: behind is not another history, and what it needs for its replay is no conflict with anybody.

use std::sync::Arc;

use serde_json::json;
use tidelock::registry::{ConnectSettings, Reader, SourceName};
use tokio_postgres::Client;

use crate::harness::{Postgres, wait_for};
use crate::stage::{SOON, Stage, Team};

async fn start(name: &'static str) -> Arc<Postgres> {
    tokio::task::spawn_blocking(move || Postgres::start(name).unwrap()).await.unwrap()
}

async fn standby_of(primary: &Arc<Postgres>, name: &'static str) -> Arc<Postgres> {
    let primary = primary.clone();
    tokio::task::spawn_blocking(move || primary.standby(name).unwrap()).await.unwrap()
}

/// A login's URL on another server.
fn there(url: &str, from: &Postgres, to: &Postgres) -> String {
    url.replace(&format!(":{}/", from.port()), &format!(":{}/", to.port()))
}

async fn database_of(team: &Team) -> String {
    let superuser = team.database.superuser().await;
    superuser.query_one("SELECT current_database()::text", &[]).await.unwrap().get(0)
}

async fn caught_up(primary: &Client, standby: &Client) {
    let target: String = primary.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.unwrap().get(0);
    wait_for("the standby to catch up", SOON, async || {
        let reached = format!("SELECT pg_last_wal_replay_lsn() >= '{target}'");
        if standby.query_one(&reached, &[]).await.unwrap().get(0) { Ok(()) } else { Err("behind".to_owned()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_that_is_behind_is_waited_for_and_only_the_primary_can_say_that_history_is_another() {
    let primary = start("postgres-read-primary").await;
    let stage = Stage::of(Team::builder("behind").on(primary.clone()).build(), "behind").await;
    stage.team.set("dev", "A", "v1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let standby = standby_of(&primary, "postgres-read-standby").await;
    let database = database_of(&stage.team).await;
    let (writer, reader) = (primary.superuser(&database).await.unwrap(), standby.superuser(&database).await.unwrap());
    let url = there(&stage.team.operator.url, &primary, &standby);

    let operator = stage.operator_with(&[("TIDELOCK_DATABASE_URL", &url)]).await;
    stage.secret_has("app", &[("A", "v1")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
    operator.stop();
    reader.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    stage.team.set("dev", "A", "v2").await;
    let operator = stage.operator().await;
    let before = stage.secret_has("app", &[("A", "v2")]).await.metadata.resource_version;
    stage.binding_is("app", &["Ready=True"]).await;
    operator.stop();

    // What was delivered is not there yet.
    let operator = stage.operator_with(&[("TIDELOCK_DATABASE_URL", &url)]).await;
    stage.binding_is("app", &["Ready=Unknown(StandbyBehind)", "InSync=Unknown(StandbyBehind)"]).await;
    stage.secret_has("app", &[("A", "v2")]).await;
    reader.batch_execute("SELECT pg_wal_replay_resume()").await.unwrap();
    caught_up(&writer, &reader).await;
    stage.binding_is("app", &["Ready=True", "InSync=True"]).await;
    assert_eq!(stage.secret_has("app", &[("A", "v2")]).await.metadata.resource_version, before, "nothing was written");
    operator.stop();

    // Behind again; and this time the primary does not have what was delivered either.
    reader.batch_execute("SELECT pg_wal_replay_pause()").await.unwrap();
    stage.team.set("dev", "A", "v3").await;
    let operator = stage.operator().await;
    stage.secret_has("app", &[("A", "v3")]).await;
    operator.stop();
    let told = [("TIDELOCK_DATABASE_URL", url.as_str()), ("TIDELOCK_PRIMARY_URL", &stage.team.operator.url)];
    let operator = stage.operator_with(&told).await;
    stage.binding_is("app", &["Ready=Unknown(StandbyBehind)"]).await;
    operator.stop();
    let forget = "ALTER TABLE tidelock.revision_log DISABLE TRIGGER USER;
        UPDATE tidelock.revision_log l SET token = gen_random_uuid()
            FROM tidelock.project_revisions r WHERE r.project_id = l.project_id AND r.revision = l.revision";
    writer.batch_execute(forget).await.unwrap();
    let _operator = stage.operator_with(&told).await;
    stage.binding_is("app", &["Ready=False(HistoryDiverged)"]).await;
    stage.secret_has("app", &[("A", "v3")]).await;
}

/// A primary that removes old rows all the time, and a standby that does not wait for its readers.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_a_standby_breaks_off_asks_again_and_conflicts_with_nobody() {
    let primary = start("postgres-vacuum-primary").await;
    let team = Team::builder("vacuum").on(primary.clone()).build().await;
    let import: Vec<String> = (0..3_000).map(|n| format!("KEY_{n}=value\n")).collect();
    team.run_with(&team.ana, &["import", "-", "-e", "dev"], import.concat().as_bytes()).await.expect(0);
    let database = database_of(&team).await;
    let writer = primary.superuser(&database).await.unwrap();
    writer.batch_execute("ALTER SYSTEM SET max_standby_streaming_delay = 0").await.unwrap();
    let standby = standby_of(&primary, "postgres-vacuum-standby").await;
    let onlooker = standby.superuser("postgres").await.unwrap();
    let vacuuming = tokio::spawn(async move {
        loop {
            let rewrite = "ALTER TABLE tidelock.project_secret_registry DISABLE TRIGGER USER;
                UPDATE tidelock.project_secret_registry SET description = description || '' ";
            writer.batch_execute(rewrite).await.unwrap();
            writer.batch_execute("VACUUM tidelock.project_secret_registry").await.unwrap();
        }
    });
    let settings = ConnectSettings::new(there(&team.operator.url, &primary, &standby));
    let reader = Reader::new(settings, None).unwrap_or_else(|why| panic!("{why}"));
    let source = SourceName { project: "shop".into(), environment: "dev".into() };
    let read = async || match reader.snapshot(&source, None).await {
        Ok(read) => {
            assert_eq!(read.answer.unwrap().keys.live(), 3_000);
            true
        }
        // Three times in a row: the standby is busy, and that passes.
        Err(error) => {
            assert!(error.is_transient() && !error.to_string().contains("wrote"), "{error:?}");
            false
        }
    };
    wait_for("readers to be broken off", SOON, async || {
        for _ in 0..20 {
            read().await;
        }
        let count = "SELECT sum(confl_snapshot + confl_lock + confl_bufferpin + confl_deadlock)::int8 FROM pg_stat_database_conflicts";
        let broken_off = onlooker.query_one(count, &[]).await.unwrap().get::<_, i64>(0);
        if broken_off >= 3 { Ok(()) } else { Err(format!("{broken_off} were")) }
    })
    .await;
    // On a busy machine every reader may be broken off as long as this goes on.
    vacuuming.abort();
    wait_for(
        "one to come to its end",
        SOON,
        async || {
            if read().await { Ok(()) } else { Err("it was broken off".to_owned()) }
        },
    )
    .await;
}
