//! Many writers at once, in opposite orders: the project's counter row puts them in one order.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio_postgres::error::SqlState;

use super::order::the_last_writer_is_the_newest;
use super::*;
use crate::harness::wait_for;

const WRITERS: usize = 8;
/// What the program does, and scripts that do as it does.
const ROUNDS: usize = 1000;
/// What people do who leave something out.
const FEWER_ROUNDS: usize = 240;
const KEYS: [&str; 3] = ["API_KEY", "DATABASE_URL", "TOKEN"];
const PLACES: [&str; 3] = ["dev", "staging", "production"];

/// How a writer's three statements become transactions.
#[derive(Clone, Copy)]
enum TransactionStyle {
    /// `begin_change` first, three statements, one transaction: as the program does.
    MutexFirst,
    /// Each statement a transaction of its own.
    Autocommit,
    /// One transaction, and nobody took the mutex first.
    WithoutMutex,
    /// As [`TransactionStyle::Autocommit`], by someone who claims to have the mutex and has not.
    FalseClaim,
}
use TransactionStyle::{Autocommit, FalseClaim, MutexFirst, WithoutMutex};

/// Every key in every environment.
async fn stocked(what: &str) -> Shop {
    let shop = Shop::open(what).await;
    for key in KEYS {
        for place in PLACES {
            shop.ana(&begun(&insert(place, key, &format!("{key} in {place}"), "NULL"))).await;
        }
    }
    shop
}

/// Lets eight writers loose, in turn in these styles, and a reader that checks each snapshot it gets. Answers the
/// numbers of transactions committed and of those lost to a deadlock.
async fn race(shop: &Shop, styles: &[TransactionStyle], rounds: usize) -> (u64, u64) {
    let (committed, lost) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let over = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn(read_until(shop.another("ana").await, over.clone()));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let session = shop.another("ana").await;
        let style = styles[writer % styles.len()];
        let (committed, lost) = (committed.clone(), lost.clone());
        writers.spawn(async move {
            for round in 0..rounds / WRITERS {
                for sql in statements(writer, round, style) {
                    match run_again_on_conflict(&session, &sql, style).await {
                        Ok(_) => committed.fetch_add(1, Ordering::Relaxed),
                        Err(why)
                            if why.code() == Some(&SqlState::T_R_DEADLOCK_DETECTED)
                                && matches!(style, WithoutMutex | FalseClaim) =>
                        {
                            lost.fetch_add(1, Ordering::Relaxed)
                        }
                        Err(why) => panic!("writer {writer}, round {round}: {sql}: {why:?}"),
                    };
                }
            }
        });
    }
    // However slow the machine, some writer gets on.
    let mut seen = 0;
    while seen <= rounds as u64 / 2 {
        seen = wait_for("one more commit", Duration::from_mins(2), async || {
            let now = committed.load(Ordering::Relaxed);
            if now > seen { Ok(now) } else { Err(format!("{now} committed")) }
        })
        .await;
    }
    // As far as the registry can tell, the clock is set back by an hour.
    let set_back = "UPDATE project_revisions SET changed_at = clock_timestamp() + interval '1 hour'";
    let superuser = shop.superuser().await;
    // Among writers who wait in a ring it may be the one that is chosen to give way.
    while let Err(why) = run(&superuser, set_back).await {
        assert_eq!(why.code(), Some(&SqlState::T_R_DEADLOCK_DETECTED), "{why:?}");
    }
    while let Some(writer) = writers.join_next().await {
        writer.unwrap();
    }
    over.store(true, Ordering::Relaxed);
    let snapshots = reader.await.unwrap();
    assert!(snapshots > 10, "the reader was there all the time: {snapshots} snapshots");
    (committed.load(Ordering::Relaxed), lost.load(Ordering::Relaxed))
}

/// Who did not take the mutex first has looked before it waited, and is told so where somebody else was faster.
async fn run_again_on_conflict(session: &Client, sql: &str, style: TransactionStyle) -> Result<u64, Error> {
    loop {
        match run(session, sql).await {
            Err(why) if why.code().is_some_and(|code| code.code() == "TL409") && !matches!(style, MutexFirst) => {}
            answer => return answer,
        }
    }
}

/// Three rows, each of another key and another environment, every second writer from the other end; now and then one
/// statement over several rows, or two over one key.
fn statements(writer: usize, round: usize, style: TransactionStyle) -> Vec<String> {
    let mut parts: Vec<String> =
        (0..3).map(|n| update(PLACES[(n + round) % 3], KEYS[n], &format!("{writer}-{round}-{n}"), "NULL")).collect();
    if round.is_multiple_of(5) {
        parts[0] = format!(
            "UPDATE secrets SET encrypted_value = {}, value_hash = 'h1:hk:{writer}-{round}' WHERE key = '{}' AND environment_id <> {}",
            sealed("dev"),
            KEYS[0],
            environment("production")
        );
    }
    if round % 5 == 4 {
        parts[2] = update(PLACES[(round + 2) % 3], KEYS[1], &format!("{writer}-{round}-again"), "NULL");
    }
    if writer % 2 == 1 {
        parts.reverse();
    }
    match style {
        MutexFirst => vec![begun(&parts.join("; "))],
        Autocommit => parts,
        FalseClaim => {
            let claim = "SELECT set_config('tidelock.begun', pg_current_xact_id()::text, true)";
            parts.iter().map(|part| format!("{claim}; {part}")).collect()
        }
        WithoutMutex => vec![parts.join("; ")],
    }
}

/// Who has seen revision R has seen all up to R: in each snapshot the log is whole, its times grow, and no row is newer
/// than the revision says.
async fn read_until(session: Client, over: Arc<AtomicBool>) -> u64 {
    let look = "SELECT r.revision, l.last, l.count, l.growing, a.last,
                    (SELECT count(*) FROM secrets s WHERE s.updated_at > r.changed_at + interval '1 ms')
         FROM project_revisions r,
              (SELECT max(revision) AS last, count(*), bool_and(at > before) AS growing
               FROM (SELECT revision, at, lag(at, 1, '-infinity') OVER (ORDER BY revision) AS before FROM revision_log) x) l,
              (SELECT max(revision) AS last FROM audit_logs) a";
    let (mut seen, mut last) = (0, 0_u64);
    while !over.load(Ordering::Relaxed) {
        let row = cell_row(&session, look).await;
        let revision: u64 = row[0].parse().unwrap();
        assert!(revision >= last, "revisions go forward: {last}, then {row:?}");
        assert_eq!(row[1..], [row[0].as_str(), &row[0], "t", &row[0], "0"], "{row:?}");
        (seen, last) = (seen + 1, revision);
        // A reader that never rests takes the writers' processor.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    seen
}

async fn cell_row(session: &Client, sql: &str) -> Vec<String> {
    rows(session, sql).await[0].split(' ').map(str::to_owned).collect()
}

/// What has to hold after any of it.
async fn check(shop: &Shop, revisions: u64) {
    the_last_writer_is_the_newest(&shop.ana).await;
    let ahead = "SELECT min(last_updated_at) > clock_timestamp() + interval '50 minutes' FROM project_secret_registry";
    assert_eq!(shop.cell(ahead).await, "t", "the clock went back while they wrote");
    assert_eq!(shop.cell("SELECT revision FROM project_revisions").await, revisions.to_string());
    assert_eq!(rows(&shop.ana, "SELECT * FROM registry_findings()").await, [""; 0]);
}

async fn revision(shop: &Shop) -> u64 {
    shop.cell("SELECT revision FROM project_revisions").await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_that_take_the_mutex_first_never_deadlock() {
    let shop = stocked("writers-begun").await;
    let before = revision(&shop).await;
    let (committed, lost) = race(&shop, &[MutexFirst], ROUNDS).await;
    assert_eq!((committed, lost), (ROUNDS as u64, 0));
    check(&shop, before + committed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_people_in_psql_with_single_statements_never_deadlock() {
    let shop = stocked("writers-alone").await;
    let before = revision(&shop).await;
    let (committed, lost) = race(&shop, &[Autocommit], FEWER_ROUNDS).await;
    assert_eq!((committed, lost), (3 * FEWER_ROUNDS as u64, 0));
    check(&shop, before + committed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_leave_the_mutex_out_break_no_order_and_cost_the_program_nothing() {
    let shop = stocked("writers-mixed").await;
    let before = revision(&shop).await;
    let (committed, lost) = race(&shop, &[MutexFirst, WithoutMutex, Autocommit, WithoutMutex], FEWER_ROUNDS).await;
    println!("{committed} transactions committed, {lost} lost to a deadlock");
    check(&shop, before + committed).await;
}

/// To claim the mutex is to give up what it is for, that nobody waits in a ring; the order is kept all the same.
#[tokio::test(flavor = "multi_thread")]
async fn who_claims_the_mutex_and_has_it_not_breaks_no_order() {
    let shop = stocked("writers-claimed").await;
    let before = revision(&shop).await;
    let (committed, lost) = race(&shop, &[FalseClaim], FEWER_ROUNDS).await;
    println!("{committed} transactions committed, {lost} lost to a deadlock");
    check(&shop, before + committed).await;
}

/// The same through psql itself, with a script for each writer.
#[tokio::test(flavor = "multi_thread")]
async fn eight_scripts_in_psql_never_deadlock() {
    let shop = stocked("writers-psql").await;
    let Some(psql) = shop.team.database.postgres().psql() else {
        eprintln!("NOT TESTED: this PostgreSQL has no psql; what it would send is what the tests beside this one send");
        return;
    };
    let login: tokio_postgres::Config = shop.login("ana").url.parse().unwrap();
    let before = revision(&shop).await;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let style = [MutexFirst, MutexFirst, Autocommit, Autocommit][writer % 4];
        let mut transactions: Vec<String> =
            (0..ROUNDS / WRITERS).flat_map(|round| statements(writer, round, style)).collect();
        if matches!(style, Autocommit) {
            // A script has no way to try again.
            transactions = transactions.iter().map(|statement| begun(statement)).collect();
        }
        let mut script = "SET search_path = tidelock_api;\n".to_owned();
        for transaction in &transactions {
            script.extend(["BEGIN; ", &hashes::spelled_out(transaction), "; COMMIT;\n"]);
        }
        let mut command = tokio::process::Command::new(&psql);
        command
            .args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--output=/dev/null"])
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", login.get_ports()[0].to_string())
            .env("PGDATABASE", login.get_dbname().unwrap())
            .env("PGUSER", login.get_user().unwrap())
            .env("PGPASSWORD", String::from_utf8_lossy(login.get_password().unwrap()).into_owned())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        writers.spawn(async move {
            let typed = tokio::spawn(async move { stdin.write_all(script.as_bytes()).await });
            let said = child.wait_with_output().await.unwrap();
            assert!(said.status.success(), "writer {writer}: {}", String::from_utf8_lossy(&said.stderr));
            typed.await.unwrap().unwrap();
            transactions.len() as u64
        });
    }
    let committed: u64 = writers.join_all().await.into_iter().sum();
    assert_eq!(revision(&shop).await, before + committed);
    the_last_writer_is_the_newest(&shop.ana).await;
}

/// What is no secret waits for the mutex, too, before it locks a row of its own: else whoever has the mutex and wants that
/// row would wait for one who waits for the mutex.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_the_mutex_comes_first() {
    let shop = stocked("mutex-first").await;
    let bob = "user_id = (SELECT id FROM users WHERE name = 'bob')";
    let dev = environment("dev");
    let sealed = sealed("dev");
    for sql in [
        "INSERT INTO environments (project_id, name) SELECT id, 'more' FROM projects".to_owned(),
        "UPDATE environments SET deleted_at = now() WHERE name = 'more'".to_owned(),
        "INSERT INTO project_members (project_id, user_id, role)
             SELECT p.id, u.id, 'VIEWER' FROM projects p, users u WHERE u.name = 'eve'"
            .to_owned(),
        format!("UPDATE project_members SET role = 'VIEWER' WHERE {bob}"),
        format!("SELECT remove_member(project_id, user_id) FROM project_members WHERE {bob}"),
        format!(
            "INSERT INTO key_exemptions SELECT project_id, id, 'TOKEN', 'none here' FROM environments WHERE id = {dev}"
        ),
        "SELECT unexempt_keys(project_id, environment_id, ARRAY[key_name]) FROM key_exemptions".to_owned(),
        format!(
            "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed) SELECT id, 'hk', 'default', {sealed} FROM projects"
        ),
        "UPDATE project_secret_registry SET description = 'what it is'".to_owned(),
    ] {
        done(&shop.ana, "BEGIN; SELECT begin_change('shop', 'first')").await;
        let (second, unannounced) = (shop.another("ana").await, sql.clone());
        let second = tokio::spawn(async move { run(&second, &unannounced).await });
        shop.somebody_waits().await;
        done(&shop.ana, &sql).await;
        done(&shop.ana, "COMMIT").await;
        // Its outcome does not matter: it had to wait.
        if let Err(why) = second.await.unwrap() {
            assert_ne!(why.code(), Some(&SqlState::T_R_DEADLOCK_DETECTED), "{sql}");
        }
    }
}
