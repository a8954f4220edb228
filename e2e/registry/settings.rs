//! What an administrator sets for a login or a database changes nothing of what is migrated, written or read.

use std::fmt::Write as _;

use futures::StreamExt as _;
use tidelock::registry::{PollResult, Reader, SourceName, differences, migrate};

use super::migrations::settings;
use super::*;

/// Each with a value that reads literals, names, times or rows otherwise, or does not write at all.
const HOSTILE: &[(&str, &str)] = &[
    ("array_nulls", "off"),
    ("backslash_quote", "on"),
    ("bytea_output", "'escape'"),
    ("client_encoding", "'LATIN1'"),
    ("DateStyle", "'German, DMY'"),
    ("default_transaction_deferrable", "on"),
    ("default_transaction_isolation", "'serializable'"),
    ("default_transaction_read_only", "on"),
    ("enable_indexscan", "off"),
    ("escape_string_warning", "on"),
    ("extra_float_digits", "-15"),
    ("IntervalStyle", "'sql_standard'"),
    ("lc_messages", "'C'"),
    ("lock_timeout", "1"),
    ("plan_cache_mode", "force_generic_plan"),
    ("plpgsql.extra_errors", "'all'"),
    ("plpgsql.variable_conflict", "use_column"),
    ("quote_all_identifiers", "on"),
    ("row_security", "off"),
    ("search_path", "evil, pg_catalog"),
    ("standard_conforming_strings", "off"),
    ("synchronous_commit", "off"),
    ("TimeZone", "'Asia/Kathmandu'"),
    ("transform_null_equals", "on"),
    ("xmlbinary", "hex"),
    ("xmloption", "document"),
];

/// Names that a search path could put before those of the catalogs.
const EVIL: &str = "CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC;
    CREATE FUNCTION evil.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS 'SELECT ''nothing''::text';
    CREATE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT ''1999-01-01 00:00+00''::timestamptz';
    CREATE FUNCTION evil.format(text, text, name) RETURNS text LANGUAGE sql AS 'SELECT ''SELECT 1''::text';
    CREATE FUNCTION evil.same(text, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
    CREATE OPERATOR evil.~ (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.same);
    CREATE TABLE evil.pg_roles (rolname name, oid oid, rolsuper boolean, rolbypassrls boolean); GRANT SELECT ON evil.pg_roles TO PUBLIC;
    CREATE TABLE evil.pg_class (oid oid, relname name, relnamespace oid); GRANT SELECT ON evil.pg_class TO PUBLIC;
    CREATE TABLE evil.users (id uuid, name text, db_role text, disabled_at timestamptz); GRANT SELECT ON evil.users TO PUBLIC;";

/// Migrates, writes by command, reads as the operator does, writes in SQL; answers what came of it, without ids and times.
async fn outcome(setting: Option<(&str, &str)>) -> String {
    let (name, value) = setting.unwrap_or(("application_name", "'as it is'"));
    let prepared = format!("{EVIL} ALTER DATABASE {{database}} SET {name} = {value}");
    let team = Team::builder(&format!("set {}", name.to_lowercase())).prepared_by(&prepared).build().await;
    let mut said = String::new();
    // By command; the builder has made users, project, environments and members so, too.
    team.set("dev", "API_KEY", "it's \\ one, \u{e4}").await;
    team.set("production", "API_KEY", "own").await;
    team.set("staging", "API_KEY", "own").await;
    team.done(&team.ana, &["key", "define", "API_KEY", "--description", "C:\\new, \u{e4}", "--reason", "its \\ place"])
        .await;
    team.done(&team.ana, &["member", "add", "eve", "--role", "viewer", "--expires", "2099-02-03"]).await;
    team.run(&team.vic, &["status"]).await.expect(3);
    let value = team.run(&team.bob, &["secret", "get", "API_KEY", "-e", "dev"]).await.expect(0).stdout;
    let members = team.run(&team.ana, &["member", "list", "-o", "json"]).await.expect(0).json();
    let _ = writeln!(said, "{value}\n{:?}\n{members}", team.states("API_KEY").await);

    // As the operator.
    let reader = Reader::new(settings(&team.operator.url), None).unwrap();
    reader.check_login().await.unwrap_or_else(|why| panic!("{name}: {why}"));
    let source = SourceName { project: "shop".to_owned(), environment: "dev".to_owned() };
    let polled = reader.poll(std::slice::from_ref(&source)).await.unwrap_or_else(|why| panic!("{name}: {why}"));
    let snapshot = reader.snapshot(&source, None).await.unwrap_or_else(|why| panic!("{name}: {why}")).answer.unwrap();
    let found = matches!(polled.answer[0], PollResult::Found { production: false, .. });
    let _ = writeln!(said, "{found} {:?} {}", snapshot.keys.counts(), snapshot.hides_rows());

    // In SQL, with what is refused by name taken back by whoever writes.
    let bob = team.session("bob").await;
    if name == "row_security" {
        let why = refusal(&bob, "SELECT count(*) FROM secrets").await;
        assert!(why.contains("row-level security"), "{why}");
        done(&bob, "SET row_security = on").await;
    }
    let write =
        "UPDATE secrets SET value_hash = 'h1:hk:two', encrypted_value = 't1:key-of-default:x' WHERE key = 'API_KEY'
        AND environment_id = (SELECT id FROM environments WHERE name = 'dev')";
    let begin = "BEGIN READ WRITE; SET LOCAL lock_timeout = 0; SELECT begin_change('shop', 'by hand')";
    done(&bob, &format!("{begin}; {write}; COMMIT")).await;
    let follow =
        refusal(&bob, &format!("{begin}; {}", write.replace("SET ", "SET answers = '2999-01-01 00:00:00+00', "))).await;
    let invisible = "SELECT insert_secrets(project_id, id, ARRAY[gen_random_uuid()], ARRAY[U&'A\\200B'], ARRAY['t1:x'], ARRAY['h1:hk:two'], NULL)
        FROM environments WHERE name = 'dev'".replace("U&'A\\200B'", "('A' || chr(8203))");
    let refused = refusal(&bob, &format!("{begin}; {invisible}")).await;
    let _ = writeln!(said, "{follow}\n{}", &refused[..5]);

    // What is there now, looked at without the setting.
    let elsewhere = team.database.postgres().superuser("postgres").await.unwrap();
    done(&elsewhere, &format!("ALTER DATABASE {} RESET ALL", team.database.name)).await;
    let superuser = team.database.superuser().await;
    done(&superuser, "SET search_path = tidelock, tidelock_api").await;
    let logged =
        "SELECT action, coalesce(subject, '-'), reason FROM audit_logs WHERE project_id IS NOT NULL AND action <> 'hashkey.add'
        ORDER BY position";
    let chained =
        "SELECT count(*) FROM audit_logs l LEFT JOIN audit_logs p ON p.chain = l.chain AND p.position = l.position - 1
        WHERE l.link <> audit_link(coalesce(p.link, decode(repeat('00', 32), 'hex')), l)";
    let registered =
        "SELECT key_name, description, last_updated_at > now() - interval '1 hour' FROM project_secret_registry";
    let expires = "SELECT extract(epoch FROM expires_at)::bigint FROM project_members WHERE expires_at IS NOT NULL";
    for look in [logged, chained, registered, expires] {
        let _ = writeln!(said, "{:?}", rows(&superuser, look).await);
    }
    let owner = settings(&team.database.owner.url);
    let different = differences(&owner).await.unwrap();
    assert!(different.is_empty() && migrate(&owner).await.unwrap().migrations.is_empty(), "{name}: {different:?}");
    // Logins have names of their own in each database.
    said.replace(team.ana.role.trim_end_matches("ana"), "")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_login_or_a_database_is_set_to_changes_nothing_of_what_is_migrated_written_or_read() {
    let expected = Box::pin(outcome(None)).await;
    assert!(expected.contains("secret.update API_KEY by hand"), "{expected}");
    let mut outcomes = futures::stream::iter(HOSTILE)
        .map(|setting| Box::pin(async move { (setting, outcome(Some(*setting)).await) }))
        .buffer_unordered(4);
    while let Some((setting, outcome)) = outcomes.next().await {
        assert_eq!(outcome, expected, "{setting:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_in_which_foreign_keys_do_not_hold_is_refused_by_name() {
    let team = Team::builder("set replica").build().await;
    team.set("dev", "API_KEY", "one").await;
    for who in [&team.ana.role, &team.database.owner.role] {
        let set = format!("ALTER ROLE {who} IN DATABASE {} SET session_replication_role = replica", team.database.name);
        team.database.superuser().await.batch_execute(&set).await.unwrap();
    }
    for (who, words) in [
        (&team.ana, &["secret", "rm", "API_KEY", "-e", "dev"][..]),
        (&team.ana, &["key", "exempt", "API_KEY", "-e", "dev", "--reason", "x"]),
        (&team.database.owner, &["user", "add", "mallory"]),
    ] {
        let said = team.run(who, words).await.expect(4);
        assert!(said.stderr.contains("session_replication_role = replica"), "{words:?}: {}", said.stderr);
    }
    let ana = team.session("ana").await;
    let project = cell(&team.database.superuser().await, "SELECT id FROM tidelock.projects").await;
    for sql in [
        "SELECT begin_change('shop', '')",
        "SELECT count(*) FROM secrets",
        // Without the triggers of its views nothing would be written, and PostgreSQL says that it was.
        "UPDATE secrets SET deleted_at = now()",
        &format!("INSERT INTO environments (project_id, name) VALUES ('{project}', 'qa')"),
        &format!("INSERT INTO secrets (project_id, environment_id, key) VALUES ('{project}', '{project}', 'A')"),
        &format!("SELECT insert_secrets('{project}', '{project}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}')"),
    ] {
        let why = refusal(&ana, sql).await;
        assert!(why.starts_with("TL403") && why.contains("session_replication_role is replica"), "{sql}: {why}");
    }
    let owner = team.session("owner").await;
    let why = refusal(&owner, "INSERT INTO tidelock_api.users (name) VALUES ('mallory')").await;
    assert!(why.contains("session_replication_role is replica"), "{why}");
}

/// Since PostgreSQL 16: it would make the owner one who looks past row-level security.
#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_is_set_to_be_a_member_of_what_it_makes_is_none_of_the_definers() {
    let database = TestDatabase::empty_on(fresh_server("postgres-self-grant").await, "self-grant").await;
    let superuser = database.superuser().await;
    let version: u32 = cell(&superuser, "SHOW server_version_num").await.parse().unwrap();
    if version >= 160_000 {
        done(&superuser, &format!("ALTER ROLE {} SET createrole_self_grant = 'set, inherit'", database.owner.role))
            .await;
    }
    migrate(&settings(&database.owner.url)).await.unwrap();
    assert!(differences(&settings(&database.owner.url)).await.unwrap().is_empty());
}
