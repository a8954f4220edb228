//! Several people at once.

use std::time::Duration;

use super::team::{Team, feed, said};
use crate::harness::wait_for;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_lands_between_look_and_follow_leaves_the_follower_behind() {
    let team = Team::at_work("between").await;
    team.set(&team.ana, "URL", "dev", "one").done();

    let mut follower = team.command(&team.ben, &["secret", "set", "URL", "-e", "staging", "--follow"]).spawn().unwrap();
    let log = team.database.postgres().statement_log();
    let who = format!(" {}@{} ", team.ben.role, team.database.name);
    wait_for("the follower's look", Duration::from_secs(30), async || {
        let log = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
        let looked = log.lines().any(|line| line.contains(&who) && line.contains("SELECT key_name"));
        if looked { Ok(()) } else { Err("no look yet".to_owned()) }
    })
    .await;
    team.set(&team.ana, "URL", "dev", "two").done();
    feed(&mut follower, b"one, too");

    let said = said("follow".to_owned(), follower.wait_with_output().unwrap()).with(3);
    assert!(said.err.contains("behind all the same"), "{}", said.err);
    assert_eq!(team.states("URL"), ["InSync", "Stale", "Missing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirm_accepts_what_was_seen_and_nothing_later() {
    let team = Team::at_work("seen").await;
    team.set(&team.ana, "URL", "dev", "one").done();
    team.follow(&team.ana, "URL", "staging", "own").done();
    team.set(&team.ana, "URL", "dev", "two").done();
    let seen = team.run(&team.ana, &["status", "URL", "-o", "json"]).json()[0]["lastUpdatedAt"].clone();
    let seen = seen.as_str().unwrap();
    team.set(&team.ana, "URL", "dev", "three").done();

    let confirm = ["secret", "confirm", "URL", "-e", "staging"];
    let said = team.run(&team.ana, &[&confirm[..], &["--at", seen]].concat()).with(3);
    assert!(said.err.contains("changed elsewhere since"), "{}", said.err);
    assert_eq!(team.states("URL")[1], "Stale");
    team.run(&team.ana, &[&confirm[..], &["--at", "2100-01-01T00:00:00Z"]].concat()).with(2);
    team.run(&team.ana, &confirm).done();
    assert_eq!(team.states("URL")[1], "InSync");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_writers_at_once_none_fails_and_exactly_one_is_newest() {
    let team = Team::at_work("writers").await;
    std::thread::scope(|scope| {
        for writer in 0..8 {
            let team = &team;
            scope.spawn(move || {
                let environment = ["dev", "staging", "production"][writer % 3];
                let keys = if writer % 2 == 0 { ["A", "B"] } else { ["B", "A"] };
                for round in 0..4 {
                    for key in keys {
                        team.set(&team.ana, key, environment, &format!("{writer} {round}")).done();
                    }
                }
            });
        }
    });
    let admin = team.database.superuser().await;
    let newest = admin
        .query(
            "SELECT r.key_name, count(*) FROM tidelock.project_secret_registry r
             JOIN tidelock.secrets s ON s.key = r.key_name AND s.updated_at = r.last_updated_at GROUP BY 1 ORDER BY 1",
            &[],
        )
        .await
        .unwrap();
    let newest: Vec<(String, i64)> = newest.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(newest, [("A".to_owned(), 1), ("B".to_owned(), 1)]);
    team.run(&team.ana, &["registry", "check"]).done();
}
