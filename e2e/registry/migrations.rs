//! `migrate`: what it makes, and what it leaves alone.

use std::sync::Arc;

use tidelock::core::Hint as _;
use tidelock::registry::{ConnectSettings, Migrated, RegistryError, SCHEMA_VERSION, migrate, pending};
use tokio::task::JoinSet;

use super::catalog::{catalog_is_sound, interface_is_sound};
use super::*;
use crate::harness::pooler::Pooler;
use crate::harness::postgres::connect;

fn all() -> usize {
    usize::try_from(SCHEMA_VERSION).unwrap()
}

pub(super) fn settings(url: &str) -> ConnectSettings {
    ConnectSettings::new(url)
}

/// A database with the registry's schema.
pub(super) async fn migrated(what: &str) -> Arc<TestDatabase> {
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
    // Roles belong to all of a server, and so does who holds them.
    let database = TestDatabase::empty_on(fresh_server("postgres-lent").await, "lent-rights").await;
    let superuser = database.superuser().await;
    let plain = database.login("plain").await;
    let roles = ["tidelock_app", "tidelock_operator", "tidelock_delegate", "tidelock_backup", "tidelock_definer"];
    done(&superuser, &roles.map(|role| format!("CREATE ROLE {role} NOLOGIN; ")).concat()).await;
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
