//! Every table and every view, by every login: what a direct look or write comes to. `e2e/command_line/roles.rs` is the same
//! by command.
//!
//! The logins of a team find the views of the interface under the tables' names, the owner the tables themselves.

use super::*;

/// What eve (no member), vic (VIEWER), tidelock (the operator), bob (DEVELOPER), ana (ADMIN) and the registry's owner get: how
/// many rows, `-` where they lack the right or there is nothing by which to do it, or the SQLSTATE of the rule that says no.
type Answers = [&'static str; 6];

const NOBODY: Answers = ["-"; 6];
/// The owner of the tables has the right, and no policy shows a row.
const NO_ROW: Answers = ["-", "-", "-", "-", "-", "0"];
const KEPT: Answers = ["-", "-", "-", "-", "-", "TL403"];
const OWNER: Answers = ["-", "-", "-", "-", "-", "1"];
const ADMIN: Answers = ["0", "0", "-", "0", "1", "0"];
const WRITERS: Answers = ["0", "0", "-", "1", "1", "0"];
const ADMIN_ADDS: Answers = ["-", "-", "-", "-", "1", "-"];
const WRITERS_ADD: Answers = ["-", "-", "-", "1", "1", "-"];

/// Writes that would do something for whoever may. `{dev}`, `{production}`, `{project}` and `{vic}` are ids.
const WRITES: &[(&str, Answers)] = &[
    ("INSERT INTO users (name) VALUES ('mallory')", OWNER),
    ("UPDATE users SET db_role = NULL WHERE name = 'eve'", OWNER),
    ("INSERT INTO projects (name) VALUES ('mine')", NOBODY),
    ("UPDATE projects SET archived_at = NULL", NO_ROW),
    ("INSERT INTO project_revisions (project_id) VALUES ('{project}')", NOBODY),
    ("UPDATE project_revisions SET revision = 0", NO_ROW),
    ("INSERT INTO revision_log VALUES ('{project}', 999, gen_random_uuid(), now())", NOBODY),
    ("UPDATE revision_log SET at = now()", KEPT),
    ("INSERT INTO environments (project_id, name) VALUES ('{project}', 'mine')", ["-", "-", "-", "1", "1", "TL404"]),
    (
        "INSERT INTO environments (project_id, name, is_production) VALUES ('{project}', 'mine', true)",
        ["-", "-", "-", "-", "23505", "TL404"],
    ),
    ("UPDATE environments SET deleted_at = now() WHERE id = '{dev}'", ADMIN),
    ("UPDATE environments SET live_secrets = 0", NO_ROW),
    ("UPDATE environments SET name = 'mine'", NO_ROW),
    ("INSERT INTO project_members (project_id, user_id, role) VALUES ('{project}', '{eve}', 'VIEWER')", ADMIN_ADDS),
    ("UPDATE project_members SET role = 'ADMIN' WHERE user_id = '{vic}'", ADMIN),
    ("UPDATE project_members SET user_id = '{eve}' WHERE user_id = '{vic}'", NO_ROW),
    (
        "SELECT remove_member(project_id, user_id) FROM project_members WHERE user_id = '{vic}'",
        ["0", "-", "-", "-", "1", "-"],
    ),
    (
        "INSERT INTO project_secret_registry (project_id, key_name, last_updated_at) VALUES ('{project}', 'MINE', now())",
        NOBODY,
    ),
    ("UPDATE project_secret_registry SET description = 'mine'", ADMIN),
    ("UPDATE project_secret_registry SET last_updated_at = now()", NO_ROW),
    (
        "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
             VALUES ('{project}', '{dev}', 'MINE', 't1:key-of-default:x', 'h1:hk:x')",
        WRITERS_ADD,
    ),
    (
        "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
             VALUES ('{project}', '{production}', 'MINE', 't1:key-of-production:x', 'h1:hk:x')",
        ADMIN_ADDS,
    ),
    (
        "UPDATE secrets SET encrypted_value = 't1:key-of-default:x', value_hash = 'h1:hk:x' WHERE environment_id = '{dev}'",
        WRITERS,
    ),
    (
        "UPDATE secrets SET encrypted_value = 't1:key-of-production:x', value_hash = 'h1:hk:x'
             WHERE environment_id = '{production}'",
        ADMIN,
    ),
    ("UPDATE secrets SET deleted_at = now() WHERE environment_id = '{production}'", ADMIN),
    ("UPDATE secrets SET answers = updated_at WHERE environment_id = '{production}'", ADMIN),
    ("UPDATE secrets SET environment_id = '{dev}' WHERE environment_id = '{production}'", NO_ROW),
    ("INSERT INTO secret_versions SELECT id, 9, environment_id, 't1:x', 'h1:x', now() FROM secrets", NOBODY),
    ("UPDATE secret_versions SET encrypted_value = 't1:x'", NO_ROW),
    (
        "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason)
             VALUES ('{project}', '{dev}', 'API_KEY', 'mine')",
        WRITERS_ADD,
    ),
    (
        "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason)
             VALUES ('{project}', '{production}', 'API_KEY', 'mine')",
        ADMIN_ADDS,
    ),
    ("UPDATE key_exemptions SET reason = 'mine'", NO_ROW),
    (
        "SELECT unexempt_keys(project_id, environment_id, ARRAY[key_name]) FROM key_exemptions",
        ["0", "-", "-", "1", "1", "-"],
    ),
    ("INSERT INTO encryption_keys (id, ring) VALUES ('mine', 'default')", NOBODY),
    ("UPDATE encryption_keys SET ring = 'default'", NO_ROW),
    (
        "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed) VALUES ('{project}', 'hk', 'default', 'x')",
        ADMIN_ADDS,
    ),
    (
        "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed) VALUES ('{project}', 'hk', 'other', 'x')",
        ADMIN_ADDS,
    ),
    (
        "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed) VALUES ('{project}', 'mine', 'default', 'x')",
        ADMIN_ADDS,
    ),
    ("UPDATE project_hash_keys SET sealed = 'x'", NO_ROW),
    ("INSERT INTO audit_logs (project_id, action) VALUES ('{project}', 'mine')", ["-", "-", "-", "-", "-", "TL404"]),
    ("INSERT INTO audit_logs (action) VALUES ('mine')", NOBODY),
    ("UPDATE audit_logs SET reason = 'mine'", KEPT),
    ("INSERT INTO audit_seals VALUES ('{project}', 9, '', 'mine', '', '{eve}')", NOBODY),
    ("UPDATE audit_seals SET seal = ''", KEPT),
    ("INSERT INTO deliveries VALUES ('mine', 'mine', 'mine', '{dev}', 1)", NOBODY),
    ("UPDATE deliveries SET revision = 9", NO_ROW),
    ("DELETE FROM deliveries", NO_ROW),
    ("INSERT INTO notify_turn VALUES (true)", NOBODY),
    ("UPDATE notify_turn SET only_row = true", NO_ROW),
    ("INSERT INTO vault_tombstones (id) VALUES ('{project}')", NOBODY),
    ("UPDATE vault_tombstones SET deleted_at = now()", NO_ROW),
    ("UPDATE schema_floor SET oldest_writer = 1", OWNER),
    ("INSERT INTO vault.secrets (secret) VALUES ('mine')", OWNER),
    ("UPDATE vault.secrets SET secret = 'mine'", OWNER),
    ("DELETE FROM vault.secrets", OWNER),
];

/// How much of a table each of them sees.
const SEES: &[(&str, Answers)] = &[
    ("users", ["all"; 6]),
    ("projects", MEMBERS),
    ("project_revisions", MEMBERS),
    ("revision_log", MEMBERS),
    ("environments", MEMBERS),
    ("project_members", MEMBERS),
    ("project_secret_registry", MEMBERS),
    ("key_exemptions", MEMBERS),
    ("project_hash_keys", MEMBERS),
    ("key_states", ["0", "all", "all", "all", "all", "-"]),
    ("secrets", ["0", "some", "all", "some", "all", "-"]),
    ("secret_versions", ["0", "some", "all", "some", "all", "-"]),
    // Rows about users are visible only past row-level security.
    ("audit_logs", ["0", "some", "some", "some", "some", "-"]),
    ("encryption_keys", MEMBERS),
    ("memberships", ["0", "some", "some", "some", "some", "-"]),
    ("audit_seals", NOBODY),
    ("deliveries", NOBODY),
    ("notify_turn", NOBODY),
    ("vault_tombstones", NOBODY),
    ("schema_floor", ["all"; 6]),
    ("schema_migrations", ["-", "-", "-", "-", "-", "all"]),
    ("vault.secrets", ["-", "-", "-", "-", "-", "all"]),
];
/// The owner of the tables is told that there is something to be hidden: whoever took none for all made an empty backup.
const MEMBERS: Answers = ["0", "all", "all", "all", "all", "-"];

/// A shop with a row in every table.
async fn stocked(what: &str) -> Shop {
    let shop = Shop::open(what).await;
    for place in ["dev", "production"] {
        for value in ["one", "two"] {
            let write = if value == "one" { insert } else { update };
            shop.ana(&begun(&write(place, "API_KEY", &format!("{value} of {place}"), "NULL"))).await;
        }
    }
    let exempt = format!(
        "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason) SELECT id, {}, 'API_KEY', 'mine' FROM projects",
        environment("staging")
    );
    let hash_key = "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed) SELECT id, 'hk', 'production', 'x' FROM projects";
    shop.ana(&begun(&format!("{exempt}; {hash_key}"))).await;
    done(&shop.owner, "INSERT INTO vault.secrets (name, secret) VALUES ('gone', 'x'), ('kept', 'x')").await;
    done(&shop.owner, "DELETE FROM vault.secrets WHERE name = 'gone'").await;
    done(
        &shop.superuser().await,
        &format!(
            "INSERT INTO audit_seals SELECT chain, position, link, 'key', '', user_id FROM audit_logs LIMIT 1;
             INSERT INTO deliveries VALUES ('cluster', 'namespace', 'binding', {}, 1)",
            environment("dev")
        ),
    )
    .await;
    shop
}

/// With the ids that a text asks for: what is hidden is hidden from those who can name it, too.
async fn with_ids(shop: &Shop, sql: &str) -> String {
    let superuser = shop.superuser().await;
    let mut sql = sql.to_owned();
    for (name, id) in [
        ("{project}", "SELECT id FROM projects"),
        ("{dev}", "SELECT id FROM environments WHERE name = 'dev'"),
        ("{production}", "SELECT id FROM environments WHERE name = 'production'"),
        ("{vic}", "SELECT id FROM users WHERE name = 'vic'"),
        ("{eve}", "SELECT id FROM users WHERE name = 'eve'"),
    ] {
        if sql.contains(name) {
            sql = sql.replace(name, &cell(&superuser, id).await);
        }
    }
    sql
}

/// What a statement comes to, which is then undone.
async fn answer(session: &Client, sql: &str) -> String {
    let answer = match run(session, &format!("BEGIN; SET LOCAL tidelock.reason = 'a test'; {sql}")).await {
        Ok(count) => count.to_string(),
        Err(why) if why.code().is_some_and(is_no_way) => "-".to_owned(),
        Err(why) => why.code().unwrap_or_else(|| panic!("{sql}: {why:?}")).code().to_owned(),
    };
    done(session, "ROLLBACK").await;
    answer
}

/// The right is missing, the view is not one to be written so, or there is no such view.
fn is_no_way(code: &SqlState) -> bool {
    [
        SqlState::INSUFFICIENT_PRIVILEGE,
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE,
        SqlState::WRONG_OBJECT_TYPE,
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_FUNCTION,
    ]
    .contains(code)
}

fn sessions(shop: &Shop) -> [&Client; 6] {
    [&shop.eve, &shop.vic, &shop.operator, &shop.bob, &shop.ana, &shop.owner]
}

#[tokio::test(flavor = "multi_thread")]
async fn each_login_writes_to_each_table_what_is_its_own_and_no_more() {
    let shop = stocked("rights-write").await;
    for (sql, expected) in WRITES {
        let sql = with_ids(&shop, sql).await;
        let mut answers = Vec::new();
        for session in sessions(&shop) {
            answers.push(answer(session, &sql).await);
        }
        assert_eq!(answers, *expected, "eve, vic, tidelock, bob, ana, owner: {sql}");
    }
    for table in NEVER_DELETED_FROM {
        for sql in [format!("DELETE FROM {table}"), format!("TRUNCATE {table} CASCADE")] {
            for (session, expected) in sessions(&shop).into_iter().zip(KEPT) {
                assert_eq!(answer(session, &sql).await, expected, "{sql}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_login_sees_of_each_table_what_is_its_own_and_no_more() {
    let shop = stocked("rights-read").await;
    let superuser = shop.superuser().await;
    for (table, expected) in SEES {
        let all = match *table {
            "key_states" => "3".to_owned(),
            "memberships" => "4".to_owned(),
            table => cell(&superuser, &format!("SELECT count(*) FROM {table}")).await,
        };
        assert_ne!(all, "0", "{table} has nothing to see");
        let mut seen = Vec::new();
        for session in sessions(&shop) {
            let look = run(session, &format!("SELECT FROM {table}")).await;
            seen.push(match look.map_err(|why| why.code().cloned()) {
                Ok(0) => "0",
                Ok(count) if count.to_string() == all => "all",
                Ok(_) => "some",
                Err(Some(code)) if is_no_way(&code) => "-",
                Err(why) => panic!("{table}: {why:?}"),
            });
        }
        assert_eq!(seen, *expected, "eve, vic, tidelock, bob, ana, owner: {table}");
    }
    // A table that a later migration adds has to be thought of here.
    let tables = "SELECT CASE nspname WHEN 'vault' THEN 'vault.' ELSE '' END || relname FROM pg_class c
                  JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname IN ('tidelock', 'tidelock_api', 'vault') AND relkind IN ('r', 'v')";
    for table in rows(&superuser, tables).await {
        assert!(SEES.iter().any(|(known, _)| *known == table), "who sees {table}?");
        let written = |sql: &str| sql.contains(&format!("INTO {table} ")) || sql.contains(&format!("UPDATE {table} "));
        let exempt = ["key_states", "memberships", "schema_migrations"].contains(&table.as_str());
        assert!(exempt || WRITES.iter().any(|(sql, _)| written(sql)), "who writes {table}?");
    }
}

/// Two locks: without the right nothing is written, and with it the membership is still read-only.
#[tokio::test(flavor = "multi_thread")]
async fn an_operators_login_writes_neither_with_more_rights_nor_with_a_wider_membership() {
    let shop = stocked("rights-operator").await;
    let writes = || WRITES.iter().filter(|(_, answers)| answers[4] == "1");
    shop.ana(&begun(
        "UPDATE project_members SET read_only = false WHERE user_id = (SELECT id FROM users WHERE name = 'tidelock')",
    ))
    .await;
    for (sql, _) in writes() {
        assert_eq!(answer(&shop.operator, &with_ids(&shop, sql).await).await, "-", "{sql}");
    }
    assert_eq!(answer(&shop.operator, "SELECT begin_change('shop', '')").await, "-");
    shop.ana(&begun(
        "UPDATE project_members SET read_only = true WHERE user_id = (SELECT id FROM users WHERE name = 'tidelock')",
    ))
    .await;
    done(&shop.owner, &format!("GRANT tidelock_app TO {}", shop.login("tidelock").role)).await;
    for (sql, _) in writes() {
        let expected = if sql.starts_with("UPDATE") { "0" } else { "-" };
        assert_eq!(answer(&shop.operator, &with_ids(&shop, sql).await).await, expected, "{sql}");
    }
    assert_eq!(answer(&shop.operator, "SELECT begin_change('shop', '')").await, "TL403");
}
