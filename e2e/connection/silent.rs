//! A host that does not answer is given up on, whenever it falls silent.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use serde_json::json;
use tidelock::registry::{ConnectSettings, Reader, Session, SourceName, migrate};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::harness::database::Login;
use crate::harness::tcp_proxy::TcpProxy;
use crate::harness::{Postgres, SilentHost, TestDatabase, wait_for};
use crate::stage::{Finished, Running, SOON, Stage, Team};

/// Far longer than any budget here, and short enough to be no time-out of TCP's.
const BOUND: Duration = Duration::from_secs(30);

/// A login's URL with a host before its own, and a budget of two seconds for each.
fn behind(login: &Login, port: u16) -> String {
    login.url.replacen('@', &format!("@127.0.0.1:{port},"), 1) + "?connect_timeout=2"
}

async fn run_with_url(team: &Team, url: &str, arguments: &[&str]) -> Finished {
    let mut command = team.command(&team.ana, arguments);
    command.env("TIDELOCK_DATABASE_URL", url);
    timeout(BOUND, Running::start(command).end(b"")).await.unwrap_or_else(|_| panic!("{arguments:?} does not end"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_comes_to_the_next_host_when_one_drops_packets_or_says_nothing() {
    let team = Team::with_shop("next-host").await;
    for silent in [SilentHost::dropping(), SilentHost::mute()] {
        run_with_url(&team, &behind(&team.ana, silent.port()), &["secret", "list", "-e", "dev"]).await.expect(0);
        run_with_url(&team, &behind(&team.database.owner, silent.port()), &["migrate", "--check"]).await.expect(0);
        let alone = format!("postgresql://ana:x@127.0.0.1:{}/d?connect_timeout=1", silent.port());
        let said = run_with_url(&team, &alone, &["status"]).await.expect(1);
        assert!(said.stderr.contains("given up on after 1.0 s"), "{}", said.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_is_connected_within_the_budget_of_all_hosts_when_the_first_drops_packets() {
    let stage = Stage::with_shop("first-drops").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let silent = SilentHost::dropping();
    let url = behind(&stage.team.operator, silent.port());
    let began = Instant::now();
    let _operator = stage.operator_with(&[("TIDELOCK_DATABASE_URL", &url)]).await;
    stage.secret_has("app", &[("A", "1")]).await;
    let took = began.elapsed();
    assert!(took < BOUND, "twice two seconds and five: {took:?}");
    // And what changes afterwards does not wait for the dead host again.
    stage.team.set("dev", "A", "2").await;
    stage.secret_has("app", &[("A", "2")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_says_that_the_database_never_answered_and_why() {
    let stage = Stage::with_shop("never-answered").await;
    let silent = SilentHost::mute();
    let url = format!("postgresql://u:h4nter2@127.0.0.1:{}/d?connect_timeout=1", silent.port());
    let operator = stage.operator_with(&[("TIDELOCK_DATABASE_URL", &url)]).await;
    let told = wait_for("a remark", SOON, async || {
        let told = operator.http("/readyz").await;
        if told.contains("given up on") { Ok(told) } else { Err(told) }
    })
    .await;
    assert!(
        told.contains(" 200 ") && told.contains("the registry has not answered since this operator started"),
        "{told}"
    );
    assert!(told.contains(&format!("127.0.0.1:{}, TLS: given up on after 1.0 s", silent.port())), "{told}");
    assert!(!told.contains("h4nter2") && !operator.log().contains("h4nter2"), "{told}");
}

/// Whatever it had said by then: the answer to the request for TLS, the challenge of the authentication, its parameters, parts
/// of rows.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_freezes_at_any_moment_is_given_up_on() {
    let team = Team::with_shop("freezes").await;
    let proxy = TcpProxy::to(team.database.postgres().port()).await;
    let settings = |login: &Login| ConnectSettings::new(proxy.reroute(&login.url) + "?connect_timeout=1");
    let (mut steps, mut ended) = (Vec::new(), 0);
    for bytes in [0, 1, 10, 130, 330, 520, 700] {
        proxy.freeze_after(bytes);
        let asked = async {
            let mut session = Session::open(&settings(&team.ana), None).await?;
            session.environment(&"shop".parse().unwrap(), &"dev".parse().unwrap()).await
        };
        match timeout(BOUND, asked).await.unwrap_or_else(|_| panic!("frozen after {bytes} bytes, it is waited for")) {
            Ok(_) => ended += 1,
            Err(error) => steps.push(error.to_string()),
        }
        // Statements of a migration have no time-out, and end as well.
        let migrated = timeout(BOUND, migrate(&settings(&team.database.owner))).await;
        let migrated = migrated.unwrap_or_else(|_| panic!("frozen after {bytes} bytes, it is waited for"));
        assert!(migrated.is_err() || bytes > 500, "{bytes}");
    }
    assert!(ended < 3, "{steps:?}");
    for step in ["TLS: given up on", "start-up: given up on", "authentication: given up on", "no answer for 2."] {
        assert!(steps.iter().any(|told| told.contains(step)), "{step}: {steps:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_gives_up_on_a_server_that_shows_no_sign_of_life() {
    let team = Team::with_shop("deaf").await;
    let proxy = TcpProxy::to(Postgres::shared().await.port()).await;
    let settings = ConnectSettings::new(proxy.reroute(&team.operator.url));
    let reader = Reader::new(settings, None).unwrap_or_else(|why| panic!("{why}"));
    let (hint, mut hints) = mpsc::channel(8);
    let listening = tokio::spawn(async move { reader.listen(&hint).await });
    timeout(SOON, hints.recv()).await.expect("it listens");
    team.set("dev", "A", "1").await;
    timeout(SOON, hints.recv()).await.expect("it hears");
    proxy.stall();
    let error = timeout(SOON, listening).await.expect("it gives up").unwrap();
    assert!(error.to_string().contains("no answer for"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn listening_is_begun_anew_where_another_url_is_in_the_file() {
    let team = Team::with_shop("listen-elsewhere").await;
    let file = team.home().join("url");
    let put = |url: &str| {
        fs::write(&file, url).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    };
    put(&team.operator.url);
    let settings = ConnectSettings::new(format!("file:{}", file.display()));
    let reader = Reader::new(settings, None).unwrap_or_else(|why| panic!("{why}"));
    let (hint, mut hints) = mpsc::channel(8);
    let listening = tokio::spawn(async move { reader.listen(&hint).await });
    timeout(SOON, hints.recv()).await.expect("it listens");
    put(&format!("{}?application_name=another", team.operator.url));
    let error = timeout(SOON, listening).await.expect("it is begun anew").unwrap();
    assert!(error.to_string().contains("settings were replaced"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_answer_was_given_up_on_is_closed_and_not_used_again() {
    let team = Team::with_shop("given-up").await;
    let proxy = TcpProxy::to(Postgres::shared().await.port()).await;
    let settings = ConnectSettings::new(proxy.reroute(&team.operator.url));
    let reader = Reader::new(settings, None).unwrap_or_else(|why| panic!("{why}"));
    let sources = [SourceName { project: "shop".into(), environment: "dev".into() }];
    let admin = team.database.superuser().await;
    let role = team.operator.role.clone();
    let sessions = async || -> Vec<i32> {
        let query = "SELECT pid FROM pg_stat_activity WHERE usename = $1 ORDER BY pid";
        admin.query(query, &[&role]).await.unwrap().iter().map(|row| row.get(0)).collect()
    };
    reader.poll(&sources).await.unwrap_or_else(|why| panic!("{why}"));
    reader.poll(&sources).await.unwrap_or_else(|why| panic!("{why}"));
    let before = sessions().await;
    assert_eq!(before.len(), 1, "one connection was enough");
    proxy.stall();
    timeout(Duration::from_millis(300), reader.poll(&sources)).await.expect_err("nothing comes through");
    proxy.restore();
    wait_for("its session to end", SOON, async || {
        let now = sessions().await;
        if now.contains(&before[0]) { Err(format!("{now:?}")) } else { Ok(()) }
    })
    .await;
    reader.poll(&sources).await.unwrap_or_else(|why| panic!("{why}"));
    assert!(!sessions().await.contains(&before[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_only_slow_is_waited_for() {
    let database = TestDatabase::empty("slow").await;
    let settings = ConnectSettings::new(database.owner.url.clone() + "?connect_timeout=1");
    migrate(&settings).await.unwrap_or_else(|why| panic!("{why}"));
    // A migration that has to wait for a lock that somebody holds for four times its patience.
    let holder = database.owner.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE tidelock.schema_migrations IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let waiting = tokio::spawn(async move { migrate(&settings).await });
    holder.batch_execute("SELECT pg_sleep(8); COMMIT").await.unwrap();
    let migrated = timeout(SOON, waiting).await.expect("it ends").unwrap();
    assert!(migrated.is_ok_and(|migrated| migrated.migrations.is_empty()));
}
