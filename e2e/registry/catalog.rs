//! What a migrated schema looks like from the system catalogs.

use std::path::Path;

use tidelock::registry::described;

use super::migrations::{migrated, settings};
use super::*;

/// `migrate` and `registry check` hold databases against this file; written where `UPDATE_GENERATED` is set.
#[tokio::test(flavor = "multi_thread")]
async fn the_catalog_that_is_checked_in_is_what_the_migrations_make() {
    let database = TestDatabase::empty("described").await;
    let mut odd = settings(&database.owner.url);
    "it's \"odd\"".clone_into(&mut odd.schema);
    let made = described(&odd).await.unwrap_or_else(|why| panic!("{why}"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations/catalog.tsv");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&file, &made).unwrap_or_else(|why| panic!("writing {}: {why}", file.display()));
    }
    let known = std::fs::read_to_string(&file).unwrap_or_else(|why| panic!("reading {}: {why}", file.display()));
    let other =
        known.lines().find(|line| !made.contains(line)).or_else(|| made.lines().find(|line| !known.contains(line)));
    assert!(
        known == made,
        "migrations/catalog.tsv is not what the migrations make: `make catalog` writes it anew: {other:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_is_left_without_the_role_that_looks_past_row_security() {
    let database = migrated("definer").await;
    let superuser = database.superuser().await;
    let version: u32 = cell(&superuser, "SHOW server_version_num").await.parse().unwrap();
    let kinds: &[&str] = if version < 160_000 { &["MEMBER", "USAGE"] } else { &["USAGE", "SET"] };
    for kind in kinds {
        for role in ["tidelock_definer", "tidelock_delegate", "tidelock_app", "tidelock_operator", "tidelock_backup"] {
            let held = cell(&superuser, &format!("SELECT pg_has_role('team_owner', '{role}', '{kind}')")).await;
            assert_eq!(held, "f", "{kind} of {role}");
        }
    }
    let roles = "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tidelock%' AND NOT rolcanlogin AND NOT rolsuper AND NOT rolbypassrls";
    assert_eq!(cell(&superuser, roles).await, "5");
    assert_eq!(
        cell(
            &superuser,
            "SELECT count(*) FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner WHERE rolname LIKE 'tidelock%'"
        )
        .await,
        "0",
        "the application's roles own no table"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_trigger_and_function_is_made_safe() {
    let database = migrated("catalog").await;
    catalog_is_sound(&database, "tidelock").await;
}

/// Whatever is there may be used by the application's roles, and nothing in it is a table.
pub(super) async fn interface_is_sound(database: &TestDatabase, schema: &str) {
    let superuser = database.superuser().await;
    let quoted = schema.replace('\'', "''");
    let none = async |what: &str, sql: &str| {
        let sql = sql.replace("{api}", &format!("(SELECT oid FROM pg_namespace WHERE nspname = '{quoted}_api')"));
        let sql = sql.replace("{tables}", &format!("(SELECT oid FROM pg_namespace WHERE nspname = '{quoted}')"));
        assert_eq!(rows(&superuser, &sql).await, [""; 0], "{schema}: {what}");
    };
    none("tables in the interface", "SELECT relname FROM pg_class WHERE relnamespace = {api} AND relkind NOT IN ('v')")
        .await;
    none(
        "views over tables, which a condition gets into",
        "SELECT DISTINCT v.relname FROM pg_class v JOIN pg_rewrite r ON r.ev_class = v.oid,
             regexp_matches(r.ev_action::text, ':rtekind 0 :relid (\\d+)', 'g') used
         WHERE v.relnamespace = {api} AND v.relname <> 'schema_floor' AND used[1]::oid <> v.oid",
    )
    .await;
    none(
        "privileges of the application's roles, or of everyone, on tables, columns and sequences",
        "SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.relnamespace = {tables} AND (a.grantee = 0 OR a.grantee::regrole::text IN ('tidelock_app', 'tidelock_operator', 'tidelock_delegate'))
         UNION ALL
         SELECT c.relname, a.privilege_type FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid, aclexplode(t.attacl) a
         WHERE c.relnamespace = {tables} AND (a.grantee = 0 OR a.grantee::regrole::text IN ('tidelock_app', 'tidelock_operator', 'tidelock_delegate'))",
    )
    .await;
    // The one role besides the owner's and the definer's that has a right to tables: pg_dump reads these, and nothing else.
    none(
        "rights of the backup's role but to read tables",
        "SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
         WHERE a.grantee = 'tidelock_backup'::regrole AND (c.relkind <> 'r' OR a.privilege_type <> 'SELECT')
         UNION ALL
         SELECT proname, a.privilege_type FROM pg_proc, aclexplode(proacl) a WHERE a.grantee = 'tidelock_backup'::regrole
         UNION ALL
         SELECT nspname, a.privilege_type FROM pg_namespace n, aclexplode(nspacl) a
         WHERE a.grantee = 'tidelock_backup'::regrole AND (n.oid = {api} OR a.privilege_type <> 'USAGE')
         UNION ALL
         SELECT c.relname, t.attname FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid, aclexplode(t.attacl) a
         WHERE a.grantee = 'tidelock_backup'::regrole
         UNION ALL
         SELECT r.rolname, g.rolname FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.member JOIN pg_roles g ON g.oid = m.roleid
         WHERE r.rolname = 'tidelock_backup'",
    )
    .await;
    none(
        "tables of which a backup would not have every row",
        "SELECT relname FROM pg_class c WHERE relnamespace = {tables} AND relkind = 'r' AND NOT (
             has_table_privilege('tidelock_backup', c.oid, 'SELECT') AND (NOT relrowsecurity OR (
                 EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = 'backup' AND pg_get_expr(polqual, polrelid) = 'true')
                 AND EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid AND polname = 'hidden' AND polroles = '{0}'))))",
    )
    .await;
    none(
        "tables that logical replication cannot change rows of",
        "SELECT relname FROM pg_class c WHERE relnamespace = {tables} AND relkind = 'r'
             AND NOT EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary)",
    )
    .await;
    none(
        "the use of the tables' schema",
        "SELECT rolname FROM pg_roles WHERE rolname IN ('tidelock_app', 'tidelock_operator', 'tidelock_delegate')
             AND has_schema_privilege(oid, {tables}, 'USAGE')",
    )
    .await;
    none(
        "rights to a whole view, by which it can be locked against others",
        "SELECT c.relname, a.privilege_type FROM pg_class c, aclexplode(c.relacl) a
         WHERE c.relnamespace = {api} AND a.grantee <> c.relowner AND a.privilege_type <> 'SELECT'",
    )
    .await;
    none(
        "functions of the interface that look as who calls them",
        "SELECT proname FROM pg_proc WHERE pronamespace = {api} AND NOT prosecdef",
    )
    .await;
}

/// What has to hold for each object of the schema, so that one that a later migration adds is not forgotten.
pub(super) async fn catalog_is_sound(database: &TestDatabase, schema: &str) {
    let superuser = database.superuser().await;
    interface_is_sound(database, schema).await;
    let quoted = schema.replace('\'', "''");
    let here = format!("ANY (SELECT oid FROM pg_namespace WHERE nspname IN ('{quoted}', '{quoted}_api'))");
    let none = async |what: &str, sql: &str| {
        assert_eq!(rows(&superuser, &sql.replace("{here}", &here)).await, [""; 0], "{schema}: {what}");
    };
    none(
        "tables without forced row-level security",
        "SELECT relname FROM pg_class WHERE relnamespace = {here} AND relkind = 'r' AND NOT (relrowsecurity AND relforcerowsecurity)
             AND relname NOT IN ('schema_floor', 'schema_migrations')",
    )
    .await;
    none(
        "triggers that a session can skip; without those of a view nothing is written at all",
        "SELECT c.relname, tgname FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
         WHERE relnamespace = {here} AND relkind = 'r' AND NOT tgisinternal AND tgenabled <> 'A'",
    )
    .await;
    none(
        "functions that look past row-level security as somebody else",
        "SELECT proname FROM pg_proc WHERE pronamespace = {here} AND prosecdef AND proowner <> 'tidelock_definer'::regrole",
    )
    .await;
    none(
        "functions whose search path a session chooses",
        "SELECT proname FROM pg_proc WHERE pronamespace = {here} AND proname NOT IN ('audit_field', 'audit_link', 'sealed_under', 'hash_key_of', 'state_of',
                 'is_label', 'is_blank', 'is_key_name', 'is_allowable_name', 'is_purged_name', 'is_value_hash', 'covers')
             AND NOT EXISTS (SELECT FROM unnest(proconfig) c WHERE c LIKE 'search_path=pg_catalog, %pg_temp')",
    )
    .await;
    none(
        "patterns that count, which take a thousand times as long as others",
        "SELECT proname FROM pg_proc WHERE pronamespace = {here} AND prosrc ~ '[{][0-9]+,[0-9]*[}]'",
    )
    .await;
    none(
        "functions that anyone may call",
        "SELECT proname FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
         WHERE pronamespace = {here} AND a.grantee = 0",
    )
    .await;
    none(
        "tables of the application's own",
        "SELECT relname FROM pg_class c JOIN pg_roles r ON r.oid = relowner WHERE relnamespace = {here} AND rolname LIKE 'tidelock%'",
    )
    .await;
    none(
        "tables that can be emptied",
        "SELECT relname FROM pg_class c WHERE relnamespace = {here} AND relkind = 'r'
             AND relname NOT IN ('schema_floor', 'schema_migrations')
             AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgtype & 32 = 32)",
    )
    .await;
    none(
        "the right to make things",
        "SELECT rolname FROM pg_roles WHERE rolname LIKE 'tidelock%' AND EXISTS (
             SELECT FROM pg_namespace n WHERE n.oid = {here} AND has_schema_privilege(pg_roles.oid, n.oid, 'CREATE'))",
    )
    .await;
}
