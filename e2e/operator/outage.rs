//! The database goes away, and comes back.

use serde_json::json;

use crate::harness::pooler::Pooler;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::{Postgres, wait_for};
use crate::stage::{Operator, SOON, Stage, Team};

/// A stage whose operator reaches the database over a proxy that the test can cut.
async fn over_a_proxy(what: &str) -> (Stage, Operator, TcpProxy) {
    let stage = Stage::with_shop(what).await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({"staleAfter": "2s"})).await;
    stage.binding("patient", "dev", json!({})).await;
    let proxy = TcpProxy::to(Postgres::shared().await.port()).await;
    let url = proxy.reroute(&stage.team.operator.url);
    let operator = stage.operator_with(&[("TIDELOCK_DATABASE_URL", &url)]).await;
    for name in ["app", "patient"] {
        stage.secret_has(name, &[("A", "1")]).await;
        stage.binding_is(name, &["Ready=True"]).await;
    }
    (stage, operator, proxy)
}

async fn says_so_and_recovers(stage: &Stage, proxy: &TcpProxy) {
    stage.source_is("dev", &["Ready=False(DatabaseUnavailable)", "InSync=Unknown(DatabaseUnavailable)"]).await;
    stage.binding_is("app", &["Delivered=Unknown(DatabaseUnavailable)"]).await;
    // The ten minutes of this binding are not over.
    stage.binding_is("patient", &["Ready=True", "Delivered=True"]).await;
    stage.secret_has("app", &[("A", "1")]).await;
    proxy.restore();
    stage.team.set("dev", "A", "2").await;
    stage.secret_has("app", &[("A", "2")]).await;
    stage.source_is("dev", &["Ready=True"]).await;
    stage.binding_is("app", &["Ready=True"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_cut_off_keeps_the_secret_and_the_sources_say_so_at_once() {
    let (stage, operator, proxy) = over_a_proxy("cut").await;
    proxy.cut();
    says_so_and_recovers(&stage, &proxy).await;
    operator.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_stays_shut_while_the_database_is_away_and_opens_when_it_is_back() {
    let (stage, _operator, proxy) = over_a_proxy("shut").await;
    stage.source_is("dev", &["Ready=True"]).await;
    proxy.cut();
    stage.source_is("dev", &["Ready=False(DatabaseUnavailable)"]).await;
    let ask = json!({"metadata": {"annotations": {"tidelock.dev/sync": "while away"}}});
    stage.patch_binding("app", ask.clone()).await;
    stage.patch_source("dev", ask).await;
    let name = stage.source_name("dev");
    let source = async || stage.sources().get(&name).await.map_err(|why| why.to_string());
    let answers = async || {
        let of_source = source().await?.status.unwrap_or_default().last_handled_sync;
        let binding = stage.bindings().get("app").await.map_err(|why| why.to_string())?;
        Ok::<_, String>([of_source, binding.status.unwrap_or_default().last_handled_sync])
    };
    // The sync requests were queued last, so all that was queued before has been reconciled.
    stage.binding("one-more", "dev", json!({})).await;
    wait_for("the third binding to be counted", SOON, async || {
        let bindings = source().await?.status.unwrap_or_default().bindings;
        if bindings == Some(3) { Ok(()) } else { Err(format!("{bindings:?}")) }
    })
    .await;
    stage.binding_is("one-more", &["Delivered=Unknown(DatabaseUnavailable)"]).await;
    assert_eq!(answers().await, Ok([None, None]));
    proxy.restore();
    wait_for("both answers", SOON, async || {
        let answers = answers().await?;
        let both = answers.iter().all(|answer| answer.as_deref() == Some("while away"));
        if both { Ok(()) } else { Err(format!("{answers:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_does_not_answer_is_as_good_as_gone() {
    let (stage, _operator, proxy) = over_a_proxy("stalled").await;
    proxy.stall();
    says_so_and_recovers(&stage, &proxy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_times_out_keeps_the_secret() {
    let stage = Stage::with_shop("time-out").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;
    stage.secret_has("app", &[("A", "1")]).await;
    stage.source_is("dev", &["Ready=True"]).await;
    let locker = stage.team.database.superuser().await;
    // First the poll hangs until the server cancels it; then the poll succeeds and the snapshot hangs.
    for table in ["environments", "secrets"] {
        let lock = format!("BEGIN; LOCK TABLE tidelock.{table} IN ACCESS EXCLUSIVE MODE");
        locker.batch_execute(&lock).await.unwrap();
        if table == "secrets" {
            stage.team.done(&stage.team.ana, &["environment", "create", "one-more"]).await;
        }
        let source = stage.source_is("dev", &["Ready=False(DatabaseUnavailable)"]).await;
        let said = format!("{:?}", source.status.unwrap_or_default().conditions);
        assert!(said.contains("statement timeout"), "{said}");
        stage.secret_has("app", &[("A", "1")]).await;
        locker.batch_execute("ROLLBACK").await.unwrap();
        stage.source_is("dev", &["Ready=True"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_starts_without_its_database_and_goes_on_when_it_comes() {
    let stage = Stage::with_shop("starts-without").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let proxy = TcpProxy::to(Postgres::shared().await.port()).await;
    proxy.cut();
    let url = proxy.reroute(&stage.team.operator.url);
    // It is ready nevertheless: readiness depends neither on the database nor on leadership.
    let _operator = stage.operator_with(&[("TIDELOCK_DATABASE_URL", &url)]).await;
    stage.source_is("dev", &["Ready=False(DatabaseUnavailable)"]).await;
    proxy.restore();
    stage.secret_has("app", &[("A", "1")]).await;
}

/// Stopped as an administrator does it, and started again; then crashed. Sessions, snapshots and LISTEN are all lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_stopped_and_one_that_crashes_keep_the_secret_and_changes_arrive_afterwards() {
    let postgres = tokio::task::spawn_blocking(|| Postgres::start("postgres-restarted")).await.unwrap();
    let postgres = postgres.unwrap_or_else(|why| panic!("{why:#}"));
    let stage = Stage::of(Team::builder("restarted").on(postgres.clone()).build(), "restarted").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;
    let first = stage.secret_has("app", &[("A", "1")]).await;
    stage.source_is("dev", &["Ready=True"]).await;

    postgres.stop().unwrap();
    stage.source_is("dev", &["Ready=False(DatabaseUnavailable)", "InSync=Unknown(DatabaseUnavailable)"]).await;
    stage.binding_is("app", &["Ready=True", "Delivered=True"]).await;
    postgres.start_again().unwrap();
    stage.source_is("dev", &["Ready=True"]).await;
    let now = stage.secret_has("app", &[("A", "1")]).await;
    assert_eq!(now.metadata.resource_version, first.metadata.resource_version, "nothing had changed");
    stage.team.set("dev", "A", "2").await;
    stage.secret_has("app", &[("A", "2")]).await;

    postgres.crash().unwrap();
    stage.source_is("dev", &["Ready=False(DatabaseUnavailable)"]).await;
    postgres.start_again().unwrap();
    stage.team.set("dev", "A", "3").await;
    stage.secret_has("app", &[("A", "3")]).await;
    stage.binding_is("app", &["Ready=True", "Delivered=True"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_is_restarted_is_an_outage_that_ends_with_it() {
    let stage = Stage::with_shop("pooler-restarted").await;
    let team = &stage.team;
    let Some(mut pooler) = Pooler::before(&team.database, &[&team.database.owner, &team.operator]).await else {
        return;
    };
    team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let (url, listen) = (pooler.url(&team.operator), team.operator.url.clone());
    let _operator = stage.operator_with(&[("TIDELOCK_DATABASE_URL", &url), ("TIDELOCK_LISTEN_URL", &listen)]).await;
    stage.secret_has("app", &[("A", "1")]).await;
    for value in ["2", "3"] {
        pooler.stop();
        stage.source_is("dev", &["Ready=False(DatabaseUnavailable)"]).await;
        stage.binding_is("app", &["Ready=True", "Delivered=True"]).await;
        team.set("dev", "A", value).await;
        pooler.start_again().await;
        stage.secret_has("app", &[("A", value)]).await;
        stage.source_is("dev", &["Ready=True"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_whose_database_hangs_stops_in_time_all_the_same() {
    let (stage, operator, proxy) = over_a_proxy("stop-hanging").await;
    proxy.stall();
    let ask = json!({"metadata": {"annotations": {"tidelock.dev/sync": "while it hangs"}}});
    stage.patch_binding("app", ask).await;
    stage.source_is("dev", &["Ready=False(DatabaseUnavailable)"]).await;
    operator.stop();
}
