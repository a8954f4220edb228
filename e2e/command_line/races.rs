//! Several people at once.

use std::time::Duration;

use crate::snapshot::assert_reads;
use crate::stage::{Running, Team};
use futures::future::join_all;
use tidelock::core::{KeyName, ProjectName, SecretValue};
use tidelock::crypto::Keyring;
use tidelock::registry::{ConnectSettings, Session, WriteOptions};
use tokio::task::JoinSet;

use crate::harness::wait_for;
use crate::registry::order::the_last_writer_is_the_newest;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_lands_between_look_and_follow_leaves_the_follower_behind() {
    let team = Team::with_shop("between").await;
    team.set_as(&team.ana, "URL", "dev", "one").await.expect(0);

    let follower = Running::start(team.command(&team.bob, &["secret", "set", "URL", "-e", "staging", "--follow"]));
    let log = team.database.postgres().statement_log();
    let who = format!(" {}@{} ", team.bob.role, team.database.name);
    wait_for("the follower's look", Duration::from_secs(30), async || {
        let log = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
        let looked = log.lines().any(|line| line.contains(&who) && line.contains("SELECT key_name"));
        if looked { Ok(()) } else { Err("no look yet".to_owned()) }
    })
    .await;
    team.set_as(&team.ana, "URL", "dev", "two").await.expect(0);
    let said = follower.end(b"one, too").await.expect(3);
    assert_reads!("follow-lost-the-race", said.stderr);
    assert_eq!(team.states("URL").await, ["InSync", "Stale", "Missing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirm_accepts_what_was_seen_and_nothing_later() {
    let team = Team::with_shop("observed").await;
    team.set_as(&team.ana, "URL", "dev", "one").await.expect(0);
    team.follow_as(&team.ana, "URL", "staging", "own").await.expect(0);
    team.set_as(&team.ana, "URL", "dev", "two").await.expect(0);
    let observed = team.run(&team.ana, &["status", "URL", "-o", "json"]).await.json()[0]["lastUpdatedAt"].clone();
    let observed = observed.as_str().unwrap();
    team.set_as(&team.ana, "URL", "dev", "three").await.expect(0);

    let confirm = ["secret", "confirm", "URL", "-e", "staging"];
    let said = team.run(&team.ana, &[&confirm[..], &["--at", observed]].concat()).await.expect(3);
    assert_reads!("confirm-of-an-old-look", said.stderr);
    assert_eq!(team.states("URL").await[1], "Stale");
    team.run(&team.ana, &[&confirm[..], &["--at", "2100-01-01T00:00:00Z"]].concat()).await.expect(2);
    team.run(&team.ana, &confirm).await.expect(0);
    assert_eq!(team.states("URL").await[1], "InSync");
}

/// Eight commands at a time, as processes.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_at_once_none_fails_and_exactly_one_is_newest() {
    let team = Team::with_shop("writers").await;
    let writers = (0..WRITERS).map(async |writer| {
        for round in 0..4 {
            for key in order(["A", "B", "C"], writer) {
                let value = format!("{writer} {round} {key}");
                team.set_as(&team.ana, key, PLACES[writer % 3], &value).await.expect(0);
            }
        }
    });
    join_all(writers).await;
    exactly_one_is_newest(&team).await;
}

/// What the command does once it has its value, without the start of a thousand processes. In between, the server's
/// clock is set back by an hour, as far as the registry can tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_rounds_of_eight_writers_have_no_deadlock_and_each_is_one_revision() {
    let team = Team::with_shop("rounds").await;
    let superuser = team.database.superuser().await;
    let before = team.revision().await;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let keyring = Keyring::read(&team.keyring()).unwrap_or_else(|why| panic!("{why}"));
        let mut session = Session::open(&ConnectSettings::new(&team.ana.url), None).await.unwrap();
        writers.spawn(async move {
            let project: ProjectName = "shop".parse().unwrap();
            for round in 0..1_000 / WRITERS {
                // Every second writer goes through keys and environments from the other end.
                let place = order(PLACES, writer)[(writer + round) % 3].parse().unwrap();
                let environment = session.environment(&project, &place).await.unwrap();
                let values: Vec<(KeyName, SecretValue)> = order(["A", "B", "C"], writer)
                    .map(|key| {
                        (key.parse().unwrap(), SecretValue::from(format!("{writer} {round} {key}").into_bytes()))
                    })
                    .into();
                let keys: Vec<KeyName> = values.iter().map(|(key, _)| key.clone()).collect();
                let observed = session.observed_times(&environment, &keys).await.unwrap();
                let options = WriteOptions {
                    follow: false,
                    observed: &observed,
                    dry_run: false,
                    allow_empty: false,
                    reason: "a round",
                };
                if let Err(why) = session.write_values(&keyring, &environment, &values, options).await {
                    panic!("writer {writer}, round {round}: {why}");
                }
            }
        });
    }
    wait_for("half of the rounds", Duration::from_mins(2), async || {
        let revision = team.revision().await;
        if revision > before + 500 { Ok(()) } else { Err(format!("{} rounds", revision - before)) }
    })
    .await;
    superuser
        .batch_execute("UPDATE tidelock.project_revisions SET changed_at = clock_timestamp() + interval '1 hour'")
        .await
        .unwrap();
    while let Some(ended) = writers.join_next().await {
        ended.unwrap();
    }
    assert_eq!(team.revision().await, before + 1_000);
    exactly_one_is_newest(&team).await;
    let ahead =
        "SELECT min(last_updated_at) > clock_timestamp() + interval '50 minutes' FROM tidelock.project_secret_registry";
    assert!(superuser.query_one(ahead, &[]).await.unwrap().get::<_, bool>(0), "the clock went back while they wrote");
}

const WRITERS: usize = 8;
const PLACES: [&str; 3] = ["dev", "staging", "production"];

fn order<T>(mut all: [T; 3], writer: usize) -> [T; 3] {
    if writer % 2 == 1 {
        all.reverse();
    }
    all
}

async fn exactly_one_is_newest(team: &Team) {
    let admin = team.database.superuser().await;
    admin.batch_execute("SET search_path = tidelock, tidelock_api").await.unwrap();
    the_last_writer_is_the_newest(&admin).await;
    team.done(&team.ana, &["registry", "check"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_who_waits_in_vain_is_told_for_whom() {
    let team = Team::with_shop("blocked").await;
    let bob = team.session("bob").await;
    bob.batch_execute("BEGIN; SELECT begin_change('shop', 'and then nothing')").await.unwrap();
    let process: i32 = bob.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    let said = team.set_as(&team.ana, "KEY", "dev", "one").await.expect(1);
    let holder = format!("login {} (", team.bob.role);
    let remedy = format!("SELECT pg_terminate_backend({process})");
    assert!(said.stderr.contains(&holder) && said.stderr.contains(&remedy), "{}", said.stderr);
    bob.batch_execute("ROLLBACK").await.unwrap();
    team.set_as(&team.ana, "KEY", "dev", "one").await.expect(0);
}
