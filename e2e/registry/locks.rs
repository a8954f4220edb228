//! Who can make whom wait, and what somebody may by the time that the waiting is over.

use super::*;

const MODES: [&str; 7] = [
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_login_locks_a_table_or_a_view_against_anyone() {
    let shop = Shop::open("lock-tables").await;
    let superuser = shop.superuser().await;
    let all = "SELECT c.oid::regclass FROM pg_class c WHERE relkind IN ('r', 'v')
                   AND relnamespace IN ('tidelock'::regnamespace, 'tidelock_api'::regnamespace, 'vault'::regnamespace)";
    for relation in rows(&superuser, all).await {
        // What PostgreSQL lets a login lock in this mode blocks nobody but who alters the relation.
        for mode in MODES {
            for session in [&shop.eve, &shop.vic, &shop.bob, &shop.ana, &shop.operator] {
                let why = refusal(session, &format!("BEGIN; LOCK TABLE {relation} IN {mode} MODE")).await;
                assert!(is_out_of_reach(&why), "{relation} {mode}: {why}");
            }
        }
    }
    let advisory =
        "SELECT proname FROM pg_proc WHERE pronamespace IN ('tidelock'::regnamespace, 'tidelock_api'::regnamespace)
                        AND prosrc ~ 'advisory'";
    assert_eq!(rows(&superuser, advisory).await, [""; 0], "an advisory lock is anyone's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_who_was_refused_and_stays_in_the_transaction_holds_nobody_up() {
    let shop = Shop::with_api_key("lock-strangers").await;
    let project = shop.cell("SELECT id FROM projects").await;
    let dev = shop.cell(&format!("SELECT {}", environment("dev"))).await;
    done(&shop.eve, "BEGIN").await;
    for sql in [
        format!("INSERT INTO environments (project_id, name) VALUES ('{project}', 'eves')"),
        format!(
            "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
             VALUES ('{project}', '{dev}', 'EVES', 't1:k:x', 'h1:hk:x')"
        ),
        // A project of hers that is none, with an environment that is.
        format!(
            "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
             VALUES (gen_random_uuid(), '{dev}', 'EVES', 't1:k:x', 'h1:hk:x')"
        ),
        format!("SELECT delete_secrets('{project}', '{dev}', ARRAY['API_KEY'])"),
        format!("SELECT define_key('{project}', 'API_KEY', 'x', NULL)"),
        "SELECT begin_change('shop', '')".to_owned(),
    ] {
        done(&shop.eve, "SAVEPOINT before").await;
        let why = run(&shop.eve, &sql).await.unwrap_err();
        let code = why.code().unwrap_or_else(|| panic!("{sql}: {why:?}")).code().to_owned();
        assert!(["42501", "TL404"].contains(&code.as_str()), "{sql}: {why:?}");
        done(&shop.eve, "ROLLBACK TO before").await;
    }
    done(&shop.ana, "SET lock_timeout = '10s'").await;
    shop.ana(&begun(&update("dev", "API_KEY", "nobody waits", "NULL"))).await;
    done(&shop.eve, "ROLLBACK").await;
}

/// bob's statement waits for the transaction that makes him a VIEWER.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_writer_may_is_judged_when_the_waiting_is_over() {
    let shop = Shop::with_api_key("judged-late").await;
    let project = shop.cell("SELECT id FROM projects").await;
    let dev = shop.cell(&format!("SELECT {}", environment("dev"))).await;
    let bob = |role: &str| {
        format!("UPDATE project_members SET role = '{role}' WHERE user_id = (SELECT id FROM users WHERE name = 'bob')")
    };
    let hash_key = "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed) SELECT id, 'hk', 'default', 'x' FROM projects";
    for sql in [
        insert("dev", "NEW", "by bob", "NULL"),
        update("dev", "API_KEY", "by bob", "NULL"),
        begun("SELECT 1"),
        begun(&insert("dev", "NEW", "by bob", "NULL")),
        "INSERT INTO environments (project_id, name) SELECT id, 'bobs' FROM projects".to_owned(),
        hash_key.to_owned(),
        format!("SELECT delete_secrets('{project}', '{dev}', ARRAY['API_KEY'])"),
        format!("SELECT confirm_secrets('{project}', '{dev}', ARRAY['API_KEY'], ARRAY[NULL::timestamptz])"),
        format!(
            "SELECT insert_secrets('{project}', '{dev}', ARRAY[gen_random_uuid()], ARRAY['NEW'], ARRAY['t1:key-of-default:x'],
                                   ARRAY['h1:hk:by bob'], ARRAY[NULL::timestamptz])"
        ),
        format!("SELECT exempt_keys('{project}', '{dev}', ARRAY['API_KEY'], 'by bob')"),
    ] {
        shop.ana(&format!("BEGIN; {}", begun(&bob("VIEWER")))).await;
        let session = shop.another("bob").await;
        let asked = sql.clone();
        let waiting = tokio::spawn(async move { run(&session, &asked).await });
        shop.somebody_waits().await;
        shop.ana("COMMIT").await;
        match waiting.await.unwrap() {
            Ok(written) => assert_eq!((written, sql.starts_with("UPDATE")), (0, true), "{sql}"),
            Err(why) => {
                let code = why.code().unwrap_or_else(|| panic!("{sql}: {why:?}")).code().to_owned();
                assert!(["42501", "TL403"].contains(&code.as_str()), "{sql}: {why:?}");
            }
        }
        shop.ana(&begun(&bob("DEVELOPER"))).await;
    }
}

/// A view was read before the mutex was waited for: to set one column of a row takes back nothing that somebody else did to
/// another one meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_did_meanwhile_is_not_taken_back() {
    let shop = Shop::with_api_key("overtaken").await;
    let bob = "user_id = (SELECT id FROM users WHERE name = 'bob')";
    for (first, second, kept) in [
        (
            format!("UPDATE project_members SET role = 'VIEWER' WHERE {bob}"),
            format!("UPDATE project_members SET expires_at = '2099-01-01' WHERE {bob}"),
            format!("SELECT role = 'VIEWER' FROM project_members WHERE {bob}"),
        ),
        (
            "UPDATE environments SET deleted_at = now() WHERE name = 'staging'".to_owned(),
            "UPDATE environments SET ring = 'other' WHERE name = 'staging'".to_owned(),
            "SELECT deleted_at IS NOT NULL FROM environments WHERE name = 'staging'".to_owned(),
        ),
        (
            "UPDATE project_secret_registry SET description = 'what for'".to_owned(),
            "UPDATE project_secret_registry SET tracking = 'independent'".to_owned(),
            "SELECT description = 'what for' FROM project_secret_registry".to_owned(),
        ),
        (
            format!("UPDATE secrets SET deleted_at = now() WHERE {}", live("dev", "API_KEY")),
            update("dev", "API_KEY", "too late", "NULL"),
            "SELECT bool_or(deleted_at IS NOT NULL) FROM secrets WHERE key = 'API_KEY'".to_owned(),
        ),
    ] {
        shop.ana(&format!("BEGIN; {}", begun(&first))).await;
        let session = shop.another("ana").await;
        let asked = second.clone();
        let waiting = tokio::spawn(async move { refusal(&session, &asked).await });
        shop.somebody_waits().await;
        shop.ana("COMMIT").await;
        let why = waiting.await.unwrap();
        assert!(why.starts_with("TL409") && why.contains("by somebody else meanwhile"), "{second}: {why}");
        assert_eq!(shop.cell(&kept).await, "t", "{second}");
    }
}
