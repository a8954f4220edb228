//! A primary that froze, and a standby that took its place.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::harness::{Postgres, wait_for};
use crate::stage::{Running, SOON, Stage, Team};

const HOSTS: u32 = 2;

/// For each of them.
const BUDGET: Duration = Duration::from_secs(2);

/// What is promised: the budget of each host, and this.
const BEYOND: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn after_a_fail_over_the_operator_leaves_the_frozen_primary_and_delivers() {
    let primary = tokio::task::spawn_blocking(|| Postgres::start("postgres-frozen").unwrap()).await.unwrap();
    let stage = Stage::of(Team::builder("frozen").on(primary.clone()).build(), "frozen").await;
    stage.team.set("dev", "A", "before").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let standby: Arc<Postgres> = {
        let primary = primary.clone();
        tokio::task::spawn_blocking(move || primary.standby("postgres-promoted").unwrap()).await.unwrap()
    };
    let both = format!("@127.0.0.1:{},127.0.0.1:{}/", primary.port(), standby.port());
    let of_both = |url: &str| {
        let url = url.replace(&format!("@127.0.0.1:{}/", primary.port()), &both);
        format!("{url}?connect_timeout={}&target_session_attrs=primary", BUDGET.as_secs())
    };
    let url = of_both(&stage.team.operator.url);
    let _operator = stage.operator_with(&[("TIDELOCK_DATABASE_URL", &url)]).await;
    stage.secret_has("app", &[("A", "before")]).await;

    let written: String = {
        let session = primary.superuser("postgres").await.unwrap();
        session.query_one("SELECT pg_current_wal_lsn()::text", &[]).await.unwrap().get(0)
    };
    let there = standby.superuser("postgres").await.unwrap();
    wait_for("the standby to have everything", SOON, async || {
        let row = there.query_one(&format!("SELECT pg_last_wal_replay_lsn() >= '{written}'"), &[]).await.unwrap();
        if row.get(0) { Ok(()) } else { Err("behind".to_owned()) }
    })
    .await;
    let frozen = primary.freeze();
    there.batch_execute("SELECT pg_promote()").await.unwrap();
    let promoted = Instant::now();
    // A person's command finds the new primary, too.
    let mut set = stage.team.command(&stage.team.ana, &["secret", "set", "A", "-e", "dev"]);
    set.env("TIDELOCK_DATABASE_URL", of_both(&stage.team.ana.url));
    Running::start(set).end(b"after").await.expect(0);
    // It waits for the frozen host once. The rest of its time is this machine's for a handful of statements, while it does other
    // things beside.
    let busy = promoted.elapsed().saturating_sub(BUDGET);
    stage.secret_has("app", &[("A", "after")]).await;
    let took = promoted.elapsed();
    let bound = BUDGET * HOSTS + BEYOND + 4 * busy;
    assert!(took < bound, "{took:?}, and {bound:?} with {busy:?} for what takes a moment otherwise");
    drop(frozen);
}
