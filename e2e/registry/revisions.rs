//! The project's counter: one step for each transaction that changes what a reader can see, and what hangs on it.

use std::time::Duration;

use super::*;
use crate::harness::Postgres;

/// Whether the counter stands where its log does.
const LOGGED: &str = "SELECT r.token = l.token AND l.at = r.changed_at FROM project_revisions r JOIN revision_log l USING (project_id, revision)";

async fn revision(shop: &Shop) -> i64 {
    shop.cell("SELECT revision FROM project_revisions").await.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_changes_something_is_one_step_and_one_that_does_not_is_none() {
    let shop = Shop::open("steps").await;
    let exempt = format!(
        "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason) SELECT id, {}, 'A', 'none' FROM projects",
        environment("production")
    );
    let steps: &[(&str, String, i64)] = &[
        ("two rows", insert("dev", "A", "one", "NULL") + ";" + &insert("dev", "B", "one", "NULL"), 1),
        ("a confirm", update("dev", "A", "one", "NULL"), 1),
        ("an exemption", exempt, 1),
        ("a member", "UPDATE project_members SET read_only = true WHERE role = 'VIEWER'".to_owned(), 1),
        ("an environment", "INSERT INTO environments (project_id, name) SELECT id, 'qa' FROM projects".to_owned(), 1),
        ("a definition", "UPDATE project_secret_registry SET description = 'x' WHERE key_name = 'B'".to_owned(), 1),
        (
            "everything at once",
            update("dev", "A", "two", "NULL")
                + "; SELECT unexempt_keys(project_id, environment_id, ARRAY[key_name]) FROM key_exemptions; "
                + &update("dev", "B", "two", "NULL"),
            1,
        ),
        ("the mutex alone", "SELECT 1".to_owned(), 0),
        ("no row", update("dev", "NONE", "one", "NULL"), 0),
        ("the same definition", "UPDATE project_secret_registry SET description = description".to_owned(), 0),
        ("the same environment", "UPDATE environments SET ring = ring".to_owned(), 0),
        (
            "a savepoint that was rolled back",
            format!("SAVEPOINT s; {}; ROLLBACK TO s", update("dev", "A", "three", "NULL")),
            0,
        ),
    ];
    for (what, sql, step) in steps {
        for sql in [sql.clone(), begun(sql)].iter().skip(usize::from(*step > 0)) {
            let before = revision(&shop).await;
            shop.ana(&format!("BEGIN; {sql}; COMMIT")).await;
            assert_eq!(revision(&shop).await - before, *step, "{what}: {sql}");
            assert_eq!(shop.cell(LOGGED).await, "t", "{what}: the log has the step, its token and its time");
        }
    }
    let nothing = insert("dev", "A", "one", "NULL") + " ON CONFLICT DO NOTHING";
    let before = revision(&shop).await;
    done(&shop.tables_as_ana().await, &begun(&nothing)).await;
    assert_eq!(revision(&shop).await, before, "a row that comes to nothing");
    let log =
        "SELECT count(*) = count(DISTINCT token) AND count(*) = max(revision) AND min(revision) = 1 FROM revision_log";
    assert_eq!(shop.cell(log).await, "t");
    let before = revision(&shop).await;
    shop.ana(&format!("BEGIN; {}; ROLLBACK", begun(&update("dev", "A", "four", "NULL")))).await;
    assert_eq!(revision(&shop).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environments_revision_moves_only_with_its_live_values() {
    let shop = Shop::open("environment-revision").await;
    for place in ["dev", "staging"] {
        shop.ana(&begun(&insert(place, "A", "one", "NULL"))).await;
    }
    let of = "SELECT string_agg(name || '=' || revision, ' ' ORDER BY name) FROM environments";
    let exempt = format!(
        "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason) SELECT id, {}, 'A', 'none' FROM projects",
        environment("staging")
    );
    for (what, sql, moves) in [
        ("confirm", update("dev", "A", "one", "NULL"), false),
        ("exempt", exempt, false),
        ("define", "UPDATE project_secret_registry SET description = 'x'".to_owned(), false),
        ("member", "UPDATE project_members SET read_only = true WHERE role = 'VIEWER'".to_owned(), false),
        ("update", update("dev", "A", "two", "NULL"), true),
        ("delete", format!("UPDATE secrets SET deleted_at = now() WHERE {}", live("dev", "A")), true),
        (
            "restore",
            format!("UPDATE secrets SET deleted_at = NULL WHERE environment_id = {}", environment("dev")),
            true,
        ),
        ("create", insert("dev", "B", "one", "NULL"), true),
    ] {
        let before = shop.cell(of).await;
        shop.ana(&begun(&sql)).await;
        let after = shop.cell(of).await;
        if moves {
            let dev = format!("dev={}", revision(&shop).await);
            assert!(after.contains(&dev), "{what}: {after}");
            let others = |text: &str| text.split(' ').skip(1).map(str::to_owned).collect::<Vec<_>>();
            assert_eq!(others(&after), others(&before), "{what}");
        } else {
            assert_eq!(after, before, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn live_secrets_is_right_after_any_mixture_and_is_repaired_when_it_is_not() {
    let shop = Shop::open("live-secrets").await;
    let upsert = |key: &str, value: &str| {
        insert("dev", key, value, "NULL")
            + " ON CONFLICT (environment_id, key) WHERE deleted_at IS NULL
                DO UPDATE SET encrypted_value = excluded.encrypted_value, value_hash = excluded.value_hash"
    };
    let many = "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
         SELECT project_id, id, 'KEY_' || n, 't1:key-of-default:' || gen_random_uuid(), {hash}
         FROM environments, generate_series(1, 20) n WHERE NOT is_production
         ON CONFLICT (environment_id, key) WHERE deleted_at IS NULL DO UPDATE SET encrypted_value = excluded.encrypted_value,
             value_hash = excluded.value_hash";
    let mixed = [
        upsert("A", "one"),
        upsert("A", "two"),
        many.replace("{hash}", &hashes::hash_of("n")),
        "UPDATE secrets SET deleted_at = now() WHERE key LIKE 'KEY_1%' AND deleted_at IS NULL".to_owned(),
        many.replace("{hash}", &hashes::hash_of("'again-' || n")),
        format!(
            "SAVEPOINT a; {}; SAVEPOINT b; {}; ROLLBACK TO a; {}",
            upsert("B", "1"),
            upsert("C", "1"),
            upsert("D", "1")
        ),
        "WITH gone AS (UPDATE secrets SET deleted_at = now() WHERE key = 'KEY_2' AND deleted_at IS NULL RETURNING *)
         INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
         SELECT project_id, environment_id, 'FROM_' || key, encrypted_value, value_hash FROM gone"
            .to_owned(),
        "UPDATE project_secret_registry SET retired_at = now() WHERE key_name = 'KEY_3'".to_owned(),
        "DO $$ BEGIN UPDATE secrets SET deleted_at = now() WHERE deleted_at IS NULL; RAISE division_by_zero;
         EXCEPTION WHEN division_by_zero THEN NULL; END $$"
            .to_owned(),
    ];
    let wrong = "SELECT count(*) FROM environments e WHERE live_secrets <>
                     (SELECT count(*) FROM secrets s WHERE s.environment_id = e.id AND s.deleted_at IS NULL)";
    let tables = shop.tables_as_ana().await;
    for sql in mixed {
        done(&tables, &format!("BEGIN; {}; COMMIT", begun(&sql))).await;
        assert_eq!(shop.cell(wrong).await, "0", "{sql}");
        assert_eq!(rows(&shop.ana, "SELECT * FROM registry_findings()").await, [""; 0], "{sql}");
    }
    assert_eq!(shop.cell("SELECT live_secrets FROM environments WHERE name = 'dev'").await, "21");

    let superuser = shop.superuser().await;
    done(
        &superuser,
        "UPDATE environments SET live_secrets = live_secrets + 3 WHERE name = 'dev';
         UPDATE environments SET live_secrets = 0 WHERE name = 'staging'",
    )
    .await;
    let found = rows(&shop.ana, "SELECT * FROM registry_findings() ORDER BY finding").await;
    assert_eq!(found, ["shop live_secrets of environment dev 24 21", "shop live_secrets of environment staging 0 19"]);
    assert_eq!(rows(&shop.eve, "SELECT * FROM registry_findings()").await, [""; 0]);
    assert_eq!(cell(&shop.bob, "SELECT repair_registry()").await, "0", "only an ADMIN repairs");
    assert_eq!(shop.cell("SELECT repair_registry()").await, "2");
    assert_eq!(rows(&shop.ana, "SELECT * FROM registry_findings()").await, [""; 0]);
    let last = "SELECT action, subject, reason FROM audit_logs ORDER BY position DESC LIMIT 1";
    assert_eq!(shop.cell("SELECT repair_registry()").await, "0");
    assert_eq!(rows(&shop.ana, last).await, ["registry.repair 2 counts registry check --repair"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_survives_a_crash_though_the_session_did_not_ask_for_it() {
    let server = tokio::task::spawn_blocking(|| Postgres::start("postgres-crash").unwrap()).await.unwrap();
    let team = Team::builder("crash").on(server.clone()).build().await;
    // The writer that flushes the log in the background every 200 ms would save what is left to it.
    let superuser = team.database.superuser().await;
    done(&superuser, "CREATE TABLE careless (n int); GRANT ALL ON careless TO PUBLIC").await;
    for setting in ["ALTER SYSTEM SET wal_writer_delay = '10s'", "ALTER SYSTEM SET wal_writer_flush_after = '1GB'"] {
        done(&superuser, setting).await;
    }
    drop(superuser);
    let restart = async |end: fn(&Postgres) -> anyhow::Result<()>| {
        end(&server).unwrap();
        let server = server.clone();
        tokio::task::spawn_blocking(move || server.start_again().unwrap()).await.unwrap();
    };
    restart(Postgres::stop).await;
    let careful = team.session("ana").await;
    done(&careful, "SET synchronous_commit = off").await;
    done(&careful, &begun(&insert("dev", "A", "one", "NULL"))).await;
    let token = cell(&careful, "SELECT token FROM project_revisions").await;
    // The same without our triggers, to see that the crash does take back what was not flushed.
    done(&careful, "INSERT INTO public.careless VALUES (1)").await;
    restart(Postgres::crash).await;
    let after = team.session("ana").await;
    assert_eq!(cell(&after, "SELECT token FROM project_revisions").await, token);
    assert_eq!(
        cell(&after, "SELECT count(*) FROM public.careless").await,
        "0",
        "this crash took nothing back, so it showed nothing"
    );
}

/// A session that listens, and what it hears.
async fn listener(login: &Login) -> (Client, tokio::sync::mpsc::UnboundedReceiver<tokio_postgres::Notification>) {
    let (client, mut connection) = tokio_postgres::connect(&login.url, tokio_postgres::NoTls).await.unwrap();
    let (heard, hearing) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
            if let Ok(tokio_postgres::AsyncMessage::Notification(notification)) = message {
                let _ = heard.send(notification);
            }
        }
    });
    done(&client, "LISTEN tidelock").await;
    (client, hearing)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_hints_to_listeners_and_goes_on_when_somebody_else_is_doing_so() {
    let shop = Shop::open("notify").await;
    let (_session, mut heard) = listener(shop.login("tidelock")).await;
    shop.ana(&begun(&insert("dev", "A", "one", "NULL"))).await;
    let hint = tokio::time::timeout(Duration::from_mins(1), heard.recv()).await.expect("a hint").unwrap();
    assert_eq!((hint.channel(), hint.payload()), ("tidelock", ""), "a hint says nothing but that it is worth looking");

    // Written and not committed yet: the lock behind the hint is free until then.
    done(&shop.ana, &format!("BEGIN; {}", begun(&update("dev", "A", "while open", "NULL")))).await;
    let superuser = shop.superuser().await;
    let free = "SELECT count(*) FROM (SELECT FROM notify_turn FOR UPDATE SKIP LOCKED) t";
    assert_eq!(cell(&superuser, free).await, "1", "who has not committed keeps nobody from hinting");
    done(&shop.ana, "ROLLBACK").await;

    // Another session holds the lock behind the hint: nobody waits for it, and nobody is told.
    done(&superuser, "BEGIN; SELECT FROM notify_turn FOR UPDATE").await;
    done(&shop.ana, "SET lock_timeout = '5s'").await;
    shop.ana(&begun(&update("dev", "A", "two", "NULL"))).await;
    done(&superuser, "COMMIT").await;
    shop.ana("NOTIFY tidelock, 'the end of the test'").await;
    let next = tokio::time::timeout(Duration::from_mins(1), heard.recv()).await.expect("a notification").unwrap();
    assert_eq!(next.payload(), "the end of the test", "nothing was sent in between");
}
