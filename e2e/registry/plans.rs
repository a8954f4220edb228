//! What a large change costs in a session whose plans are as bad as they get.
//!
//! PostgreSQL plans a statement of a trigger once in a session and keeps the plan. Made while a table is one page, it
//! reads all of it; made while one row is written, it compares each row with each. Both are right then and quadratic for
//! an import, so the functions that an import calls say what they do not want.

use std::collections::BTreeMap;

use super::*;

/// A session on the tables themselves that acts for ana, where each statement of a trigger has the plan for one row in
/// tables of one page.
async fn session_with_the_worst_plans(shop: &Shop) -> Client {
    let superuser = shop.superuser().await;
    // Statistics that come later would have plans made anew.
    done(
        &superuser,
        "DO $$ DECLARE kept regclass; BEGIN
             FOR kept IN SELECT oid FROM pg_class WHERE relnamespace = 'tidelock'::regnamespace AND relkind = 'r' LOOP
                 EXECUTE format('ALTER TABLE %s SET (autovacuum_enabled = false)', kept);
             END LOOP; END $$",
    )
    .await;
    shop.ana(&begun(&insert("dev", "FIRST", "one", "NULL"))).await;
    shop.ana(&begun(&update("dev", "FIRST", "two", "NULL"))).await;
    done(&superuser, "ANALYZE").await;
    let session = shop.tables_as_ana().await;
    let costly_indexes = "SET random_page_cost = 1000";
    done(&session, &format!("SET track_functions = 'all'; SET plan_cache_mode = force_generic_plan; {costly_indexes}"))
        .await;
    // The plans of a trigger are made at its first run in the session, so every kind of write to the audit log runs once.
    for name in ["first", "second"] {
        let make = format!("INSERT INTO environments (project_id, name) SELECT id, '{name}' FROM projects");
        done(&session, &begun(&make)).await;
    }
    for n in 0..8 {
        done(&session, &begun(&insert("dev", &format!("FIRST_{n}"), "one", "NULL"))).await;
        done(&session, &begun(&update("dev", &format!("FIRST_{n}"), "two", "NULL"))).await;
        done(&session, &begun(&confirm_of(&format!("FIRST_{n}")))).await;
    }
    done(&session, "RESET random_page_cost").await;
    session
}

fn confirm_of(key: &str) -> String {
    format!("UPDATE secrets SET answers = updated_at WHERE {}", live("dev", key))
}

/// A large change of `count` rows whose keys begin with `name`: an import, another value for each, a look at each.
fn changes(name: &str, count: u64) -> [(&'static str, String); 3] {
    let import = format!(
        "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
         SELECT project_id, id, '{name}_' || n, {}, {} FROM environments, generate_series(1, {count}) n
         WHERE name = 'dev'",
        sealed("dev"),
        hashes::hash_of("n")
    );
    let change = format!(
        "UPDATE secrets SET encrypted_value = {}, value_hash = {} WHERE key LIKE '{name}_%'",
        sealed("dev"),
        hashes::hash_of("value_hash")
    );
    let confirm = format!("UPDATE secrets SET answers = updated_at WHERE key LIKE '{name}_%'");
    [("import", import), ("change", change), ("confirm", confirm)]
}

/// What one statement cost.
struct Cost {
    /// Rows read, of whatever table, by whatever trigger.
    read: u64,
    /// How often each function was called.
    calls: BTreeMap<String, u64>,
}

async fn cost(session: &Client, what: &str, sql: &str, count: u64) -> Cost {
    // So that the statistics of earlier transactions are not counted.
    done(session, "SELECT pg_stat_force_next_flush()").await;
    done(session, "BEGIN").await;
    assert_eq!(done(session, &begun(sql)).await, count, "{what}");
    let calls = rows(session, "SELECT funcname, calls FROM pg_stat_xact_user_functions").await;
    let calls = calls
        .iter()
        .filter_map(|row| row.split_once(' '))
        .map(|(function, calls)| (function.to_owned(), calls.parse().unwrap()))
        .collect();
    let read = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables WHERE schemaname = 'tidelock'";
    let read = cell(session, read).await.parse().unwrap();
    done(session, "COMMIT").await;
    Cost { read, calls }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_ten_thousand_keys_is_one_revision_and_reads_in_proportion() {
    const KEYS: u64 = 10_000;
    let shop = Shop::open("import").await;
    let session = session_with_the_worst_plans(&shop).await;
    for (what, sql) in changes("KEY", KEYS) {
        let before: i64 = shop.cell("SELECT revision FROM project_revisions").await.parse().unwrap();
        let cost = cost(&session, what, &sql, KEYS).await;
        for once in ["settle_secrets", "settle_writes", "append_audit", "end_of_chain"] {
            assert_eq!(cost.calls[once], 1, "{what}: {once}, once per statement");
        }
        for inlined in ["audit_link", "audit_field", "sealed_under"] {
            assert_eq!(cost.calls.get(inlined), None, "{what}: {inlined}, a part of what calls it");
        }
        println!("{what}: {} rows read for {KEYS} written", cost.read);
        assert!(cost.read < 60 * KEYS, "{what}: {} rows read for {KEYS} written: not in proportion", cost.read);
        assert_eq!(shop.cell("SELECT revision FROM project_revisions").await, (before + 1).to_string(), "{what}");
    }
    // Single rows are also put into the audit log by index.
    let exempt = format!(
        "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason)
         SELECT project_id, {}, key_name, 'mine' FROM project_secret_registry WHERE key_name LIKE 'KEY_1%'",
        environment("staging")
    );
    let exempted = cost(&session, "exempt", &exempt, 1_112).await.read;
    println!("exempt: {exempted} rows read for 1112 written");
    assert!(exempted < 60 * 1_112, "exempt: {exempted} rows read for 1112 written: not in proportion");

    // Writing one row does not depend on the number of keys.
    done(&shop.superuser().await, "ANALYZE").await;
    let fresh = shop.tables_as_ana().await;
    done(&fresh, "SET track_functions = 'all'").await;
    for (what, sql) in [("change", update("dev", "KEY_7", "one", "NULL")), ("confirm", confirm_of("KEY_7"))] {
        let cost = cost(&fresh, what, &sql, 1).await;
        println!("{what}: {} rows read for one written", cost.read);
        assert!(cost.read < 200, "{what}: {} rows read for one written", cost.read);
    }
    assert_eq!(shop.cell("SELECT live_secrets FROM environments WHERE name = 'dev'").await, (KEYS + 9).to_string());
    let audited = "SELECT action, count(*) FROM audit_logs WHERE action LIKE 'secret.%' AND subject LIKE 'KEY%' GROUP BY 1 ORDER BY 1";
    assert_eq!(rows(&shop.ana, audited).await, ["secret.confirm 10001", "secret.create 10000", "secret.update 10001"]);
}

/// Foreign keys and triggers of what a function writes run under its settings: this one would have each of their look-ups
/// planned anew for each row, which no count of rows or calls shows.
#[tokio::test(flavor = "multi_thread")]
async fn no_function_has_plans_made_anew_for_what_runs_inside_it() {
    let shop = Shop::open("settings").await;
    let functions =
        "SELECT proname FROM pg_proc WHERE pronamespace = 'tidelock'::regnamespace AND proconfig::text LIKE";
    let superuser = shop.superuser().await;
    assert_eq!(rows(&superuser, &format!("{functions} '%plan_cache_mode%'")).await, Vec::<String>::new());
    assert_ne!(rows(&superuser, &format!("{functions} '%enable_seqscan=off%'")).await, Vec::<String>::new());
}

/// Comparisons of rows at hand are no reading, so these are told by time: four times as many rows may take some four
/// times as long, and not sixteen. What counts is the time that the server's process was on a processor, in the fastest
/// of several runs: nothing else on the machine makes that shorter.
#[tokio::test(flavor = "multi_thread")]
async fn four_times_the_rows_take_some_four_times_as_long() {
    const FEW: u64 = 2_000;
    let shop = Shop::open("proportion").await;
    let session = session_with_the_worst_plans(&shop).await;
    let process: u32 = cell(&session, "SELECT pg_backend_pid()").await.parse().unwrap();
    let mut fastest: BTreeMap<(&str, u64), u64> = BTreeMap::new();
    for (run, count) in [FEW, 4 * FEW, FEW, 4 * FEW].into_iter().enumerate() {
        for (what, sql) in changes(&format!("KEY_{run}"), count) {
            let before = processor_time(process);
            assert_eq!(done(&session, &begun(&sql)).await, count, "{what}");
            let took = processor_time(process) - before;
            let fastest = fastest.entry((what, count)).or_insert(u64::MAX);
            *fastest = took.min(*fastest);
        }
    }
    for what in ["import", "change", "confirm"] {
        let (few, many) = (fastest[&(what, FEW)], fastest[&(what, 4 * FEW)]);
        println!("{what}: {few} ticks for {FEW} rows, {many} for {}", 4 * FEW);
        assert!(many < 7 * few, "{what}: {few} ticks for {FEW} rows, {many} for four times as many");
    }
}

/// How long a process has been on a processor, in the kernel's ticks of some 10 ms.
fn processor_time(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // The name in parentheses may hold anything; user and system time are the 14th and 15th field of all.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    [11, 12].map(|field| fields[field].parse::<u64>().unwrap()).iter().sum()
}

/// For each row that is audited: nothing may read a table whole, however small it was when the plan was made.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_asking_is_looked_up_by_index() {
    let shop = Shop::open("actor-by-index").await;
    let session = shop.another("ana").await;
    done(&session, "SET enable_seqscan = off; SELECT pg_stat_force_next_flush()").await;
    done(&session, "BEGIN; SELECT count(*) FROM memberships").await;
    let scans = "SELECT sum(seq_scan), sum(idx_scan) > 0 FROM pg_stat_xact_user_tables WHERE schemaname = 'tidelock'";
    assert_eq!(rows(&session, scans).await, ["0 t"]);
    let forbidding =
        "SELECT proname FROM pg_proc WHERE proconfig::text LIKE '%enable_%' AND proconfig::text NOT LIKE '%jit=off%'";
    assert_eq!(
        rows(&session, forbidding).await,
        [""; 0],
        "a plan that is used although it is forbidden would be compiled"
    );
}
