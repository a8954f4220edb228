//! Everyone at once: sixteen writers, and those who would hold them up, guess, or put something wrong in their way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::*;

const WRITERS: usize = 16;
const ROUNDS: usize = 25;

/// Longest that the program waits for a project's mutex.
const BOUND: Duration = Duration::from_secs(20);

/// What each of them tries, over and over; what comes of it is other tests' matter. `{project}` and `{dev}` are ids.
const ATTACKS: &[(&str, &[&str])] = &[
    (
        "eve",
        &[
            "BEGIN; LOCK TABLE project_members IN ACCESS EXCLUSIVE MODE",
            "SELECT pg_advisory_lock(n) FROM generate_series(0, 200) n",
            "BEGIN; SELECT begin_change('shop', ''); SELECT pg_sleep(0.1)",
            "BEGIN; INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
                 VALUES ('{project}', '{dev}', 'EVES', 't1:k:x', 'h1:hk:x'); SELECT pg_sleep(0.1)",
            "BEGIN; SELECT count(*) FROM secrets; SELECT pg_sleep(0.1)",
        ],
    ),
    (
        "vic",
        &[
            "BEGIN; SELECT * FROM secrets FOR UPDATE; SELECT pg_sleep(0.1)",
            "BEGIN; UPDATE secrets SET deleted_at = now(); SELECT pg_sleep(0.1)",
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM key_states; SELECT pg_sleep(0.2)",
        ],
    ),
    (
        "bob",
        &[
            // Guesses at production's value, which leave no trace.
            "BEGIN; SELECT begin_change('shop', 'a guess'); UPDATE secrets SET value_hash = 'h1:hk:guess', encrypted_value = 't1:key-of-default:g'
                 WHERE key = 'API_KEY' AND environment_id = '{dev}'; ROLLBACK",
            "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed) VALUES ('{project}', 'mine', 'default', 'garbage')",
            "UPDATE secrets SET value_hash = 'hunter2', encrypted_value = 't1:key-of-default:h' WHERE key = 'API_KEY' AND environment_id = '{dev}'",
            "UPDATE secrets SET deleted_at = now() WHERE key = 'API_KEY' AND environment_id = '{dev}'",
        ],
    ),
];

async fn attack(session: Client, statements: Vec<String>, over: Arc<AtomicBool>) -> usize {
    let mut attempts = 0;
    while !over.load(Ordering::Relaxed) {
        for statement in &statements {
            let _ = run(&session, statement).await;
            let _ = run(&session, "ROLLBACK").await;
            attempts += 1;
        }
    }
    attempts
}

/// Answers the longest time that one of its transactions took.
async fn write(session: Client, writer: usize) -> Duration {
    let mut longest = Duration::ZERO;
    for round in 0..ROUNDS {
        let place = ["dev", "staging"][(writer + round) % 2];
        let key = format!("KEY_{}", (writer + round) % 4);
        let write = begun(&update(place, &key, &format!("{writer} {round}"), "NULL"));
        let began = Instant::now();
        done(&session, &format!("BEGIN; {write}; COMMIT")).await;
        longest = longest.max(began.elapsed());
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_go_on_and_leave_nothing_wrong_whatever_others_try() {
    let shop = Shop::with_api_key("mixed-load").await;
    for (place, key) in [0, 1, 2, 3].into_iter().flat_map(|key| ["dev", "staging"].map(|place| (place, key))) {
        shop.ana(&begun(&insert(place, &format!("KEY_{key}"), &format!("first in {place}"), "NULL"))).await;
    }
    let project = shop.cell("SELECT id FROM projects").await;
    let dev = shop.cell(&format!("SELECT {}", environment("dev"))).await;
    let over = Arc::new(AtomicBool::new(false));
    let mut attackers = JoinSet::new();
    for (who, statements) in ATTACKS {
        let named = |statement: &&str| statement.replace("{project}", &project).replace("{dev}", &dev);
        attackers.spawn(attack(shop.another(who).await, statements.iter().map(named).collect(), over.clone()));
    }
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        writers.spawn(write(shop.another("ana").await, writer));
    }
    let longest = writers.join_all().await.into_iter().max().unwrap();
    over.store(true, Ordering::Relaxed);
    let attempts = attackers.join_all().await;
    println!("{attempts:?} attempts; the longest write took {longest:.0?}");
    assert!(longest < BOUND, "{longest:.0?}");
    assert!(attempts.iter().all(|attempts| *attempts > 0), "{attempts:?}");

    assert_eq!(rows(&shop.ana, "SELECT * FROM registry_findings()").await, [""; 0]);
    let superuser = shop.superuser().await;
    assert!(audit::verify(&superuser).await > 0);
    // Each write of theirs is there, and none of the others' was lost on the way.
    let written =
        "SELECT count(*) FROM audit_logs WHERE subject LIKE 'KEY_%' AND action IN ('secret.update', 'secret.follow')";
    assert_eq!(cell(&superuser, written).await, (WRITERS * ROUNDS).to_string());
}
