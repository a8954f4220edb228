//! `migrate`, and what a migrated schema looks like from the catalog.

use std::sync::Arc;

use tidelock::core::Hint as _;
use tidelock::registry::{ConnectSettings, Migrated, RegistryError, SCHEMA_VERSION, migrate, pending};
use tokio::task::JoinSet;

use super::*;
use crate::harness::Postgres;
use crate::harness::pooler::Pooler;
use crate::harness::postgres::connect;

fn all() -> usize {
    usize::try_from(SCHEMA_VERSION).unwrap()
}

fn settings(url: &str) -> ConnectSettings {
    ConnectSettings::new(url)
}

/// A server whose roles nobody has made yet.
async fn fresh_server(name: &'static str) -> Arc<Postgres> {
    tokio::task::spawn_blocking(move || Postgres::start(name).unwrap()).await.unwrap()
}

/// A database with the registry's schema.
async fn migrated(what: &str) -> Arc<TestDatabase> {
    Team::with_shop(what).await.database
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_finds_nothing_to_do_and_a_check_does_nothing() {
    let database = TestDatabase::empty("idempotent").await;
    let session = database.owner.connect().await;
    let owner = settings(&database.owner.url);
    for _ in 0..2 {
        assert_eq!(pending(&owner).await.unwrap().migrations.len(), all());
        assert_eq!(
            cell(&session, "SELECT count(*) FROM pg_namespace WHERE nspname IN ('tidelock', 'tidelock_api', 'vault')")
                .await,
            "0"
        );
    }
    assert_eq!(migrate(&owner).await.unwrap().migrations.len(), all());
    let objects = "SELECT md5(string_agg(x, ',' ORDER BY x)) FROM (SELECT oid || ' ' || xmin AS x FROM pg_class
                   UNION ALL SELECT oid || ' ' || xmin FROM pg_proc UNION ALL SELECT oid || ' ' || xmin FROM pg_trigger) y";
    let before = cell(&session, objects).await;
    assert_eq!(migrate(&owner).await.unwrap(), Migrated { migrations: vec![] });
    assert_eq!(pending(&owner).await.unwrap(), Migrated { migrations: vec![] });
    assert_eq!(cell(&session, objects).await, before, "not an object was touched");
    assert_eq!(cell(&session, "SELECT version FROM tidelock.schema_floor").await, SCHEMA_VERSION.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_at_once_on_one_database_end_like_one() {
    let database = TestDatabase::empty_on(fresh_server("postgres-ten-one").await, "ten-one").await;
    let mut runs = JoinSet::new();
    for _ in 0..10 {
        let owner = settings(&database.owner.url);
        runs.spawn(async move { migrate(&owner).await.unwrap().migrations.len() });
    }
    let mut applied = runs.join_all().await;
    applied.sort_unstable();
    assert_eq!(applied, [vec![0; 9], vec![all()]].concat());
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_at_once_on_ten_databases_of_a_new_server_do_not_trip_over_the_roles() {
    let server = fresh_server("postgres-ten-ten").await;
    for round in 0..3 {
        let mut databases = Vec::new();
        for n in 0..10 {
            databases.push(TestDatabase::empty_on(server.clone(), &format!("ten-{round}-{n}")).await);
        }
        let mut runs = JoinSet::new();
        for database in &databases {
            let owner = settings(&database.owner.url);
            runs.spawn(async move { migrate(&owner).await.map(|done| done.migrations.len()) });
        }
        for run in runs.join_all().await {
            assert_eq!(run.unwrap(), all(), "round {round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_serves_newer_writers_only_is_left_alone() {
    let database = migrated("floor").await;
    let session = database.owner.session().await;
    done(&session, &format!("UPDATE schema_floor SET version = 99, oldest_writer = {}", SCHEMA_VERSION + 1)).await;
    for answer in [migrate(&settings(&database.owner.url)).await, pending(&settings(&database.owner.url)).await] {
        assert!(matches!(answer, Err(RegistryError::Schema(_))), "{answer:?}");
    }
    // A newer schema that still supports this program is used.
    done(&session, &format!("UPDATE schema_floor SET oldest_writer = {SCHEMA_VERSION}")).await;
    assert_eq!(migrate(&settings(&database.owner.url)).await.unwrap(), Migrated { migrations: vec![] });
    assert_eq!(cell(&session, "SELECT version FROM schema_floor").await, "99");
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_vault_is_left_alone() {
    let database = TestDatabase::empty("their-vault").await;
    let theirs = database.owner.connect().await;
    done(
        &theirs,
        "CREATE SCHEMA vault; CREATE TABLE vault.secrets (id uuid PRIMARY KEY, secret text, key_id bigint);
         CREATE VIEW vault.decrypted_secrets AS SELECT * FROM vault.secrets",
    )
    .await;
    let look = "SELECT string_agg(c.oid || c.relname || c.xmin || c.relhastriggers, ' ' ORDER BY 1) FROM pg_class c
                WHERE relnamespace = 'vault'::regnamespace GROUP BY c.oid ORDER BY 1";
    let before = rows(&theirs, look).await;
    migrate(&settings(&database.owner.url)).await.unwrap();
    assert_eq!(rows(&theirs, look).await, before);

    // A schema `vault` without that table is somebody else's, too.
    let database = TestDatabase::empty("their-other-vault").await;
    let theirs = database.owner.connect().await;
    done(&theirs, "CREATE SCHEMA vault").await;
    migrate(&settings(&database.owner.url)).await.unwrap();
    assert_eq!(rows(&theirs, look).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_may_have_any_name_and_two_may_share_a_database() {
    let database = TestDatabase::empty("odd-name").await;
    let owner = database.owner.session().await;
    let ana = database.login("ana").await;
    for schema in ["Tide Lock", "it's \"odd\"", "tidelock"] {
        let mut there = settings(&database.owner.url);
        schema.clone_into(&mut there.schema);
        assert_eq!(migrate(&there).await.unwrap().migrations.len(), all(), "{schema}");
        assert_eq!(migrate(&there).await.unwrap().migrations.len(), 0, "{schema}");
        let path = format!("SET search_path = {}", there.quoted_interface());
        done(
            &owner,
            &format!(
                "{path}; GRANT tidelock_app TO {0}; INSERT INTO users (name, db_role) VALUES ('ana', '{0}')",
                ana.role
            ),
        )
        .await;
        let ana = ana.session().await;
        done(&ana, &path).await;
        done(&ana, "SELECT create_project('shop', '')").await;
        done(&ana, "INSERT INTO environments (project_id, name) SELECT id, 'dev' FROM projects").await;
        done(&ana, &begun(&insert("dev", "A", "one", "NULL"))).await;
        assert_eq!(states(&ana, "A").await, "dev=InSync", "{schema}");
        assert_eq!(cell(&ana, "SELECT count(*) FROM registry_findings()").await, "0");
        catalog_is_sound(&database, schema).await;
    }
}

/// As an administrator would who follows what `migrate` says: lend, have it migrate, take back.
#[tokio::test(flavor = "multi_thread")]
async fn schemas_that_an_administrator_made_are_migrated_and_looked_at_again_without_any_right() {
    let database = TestDatabase::empty("lent-rights").await;
    let superuser = database.superuser().await;
    let plain = database.login("plain").await;
    // The roles belong to the server, and any test makes them.
    migrated("lent-rights-roles").await;
    let role = &plain.role;
    done(
        &superuser,
        &format!("CREATE SCHEMA tidelock AUTHORIZATION {role}; CREATE SCHEMA tidelock_api AUTHORIZATION {role}"),
    )
    .await;
    let settings = settings(&plain.url);
    let missing = pending(&settings).await.unwrap().migrations.len();
    assert_eq!(missing, all(), "to look takes no right");
    let refused = migrate(&settings).await.unwrap_err();
    let hint = refused.hint().unwrap_or_default().into_owned();
    assert!(hint.contains("GRANT tidelock_definer TO"), "{refused}: {hint}");
    done(&superuser, &format!("GRANT tidelock_definer TO {role}")).await;
    assert_eq!(migrate(&settings).await.unwrap().migrations.len(), all());
    done(&superuser, &format!("REVOKE tidelock_definer FROM {role}")).await;
    assert_eq!(migrate(&settings).await.unwrap(), Migrated { migrations: vec![] });
    assert_eq!(pending(&settings).await.unwrap(), Migrated { migrations: vec![] });
    interface_is_sound(&database, "tidelock").await;
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
async fn interface_is_sound(database: &TestDatabase, schema: &str) {
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
async fn catalog_is_sound(database: &TestDatabase, schema: &str) {
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
        "SELECT proname FROM pg_proc WHERE pronamespace = {here} AND proname NOT IN ('audit_field', 'audit_link', 'sealed_under', 'state_of',
                 'is_label', 'is_key_name', 'is_value_hash', 'covers')
             AND NOT EXISTS (SELECT FROM unnest(proconfig) c WHERE c LIKE 'search_path=pg_catalog, %pg_temp')",
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

#[tokio::test(flavor = "multi_thread")]
async fn ten_at_once_through_a_pooler_end_like_one_and_writers_keep_their_order() {
    let database = TestDatabase::empty_on(fresh_server("postgres-pooled").await, "pooled").await;
    let ana = database.login("ana").await;
    let Some(pooler) = Pooler::before(&database, &[&database.owner, &ana]).await else { return };
    let url = pooler.url(&database.owner);

    let mut runs = JoinSet::new();
    for _ in 0..10 {
        let owner = settings(&url);
        runs.spawn(async move { migrate(&owner).await.unwrap().migrations.len() });
    }
    let mut applied = runs.join_all().await;
    applied.sort_unstable();
    assert_eq!(applied, [vec![0; 9], vec![all()]].concat());

    // Settings are the transaction's own, so ten clients on three sessions do not mix their reasons.
    let owner = database.owner.session().await;
    done(
        &owner,
        &format!("GRANT tidelock_app TO {0}; INSERT INTO users (name, db_role) VALUES ('ana', '{0}')", ana.role),
    )
    .await;
    let path = "SELECT set_config('search_path', 'tidelock_api', true)";
    let first = connect(&pooler.url(&ana)).await.unwrap();
    done(&first, &format!("{path}; SELECT create_project('shop', '')")).await;
    done(&first, &format!("{path}; INSERT INTO environments (project_id, name) SELECT id, 'dev' FROM projects")).await;
    let mut writers = JoinSet::new();
    for n in 0..10 {
        let url = pooler.url(&ana);
        writers.spawn(async move {
            let client = connect(&url).await.unwrap();
            for round in 0..10 {
                let key = format!("KEY_{n}_{round}");
                done(
                    &client,
                    &format!(
                        "{path}; SELECT begin_change('shop', 'about {key}'); {}",
                        insert("dev", &key, "one", "NULL")
                    ),
                )
                .await;
            }
        });
    }
    writers.join_all().await;
    let ana = ana.session().await;
    let own = "SELECT count(*) FROM audit_logs WHERE action = 'secret.create' AND reason = 'about ' || subject";
    assert_eq!(cell(&ana, own).await, "100");
    assert_eq!(rows(&ana, "SELECT * FROM registry_findings()").await, [""; 0]);
}
