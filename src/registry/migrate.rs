//! `tidelock migrate`: brings the schema to what this program knows.
//!
//! Everything happens in one transaction that holds the table of what was applied, so that ten at once, through a pooler
//! in transaction mode too, end like one. Nobody but the owner can lock that table; an advisory lock anyone could take.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::row::{decode, from_row, value};
use super::{ConnectSettings, Explanation, RegistryError};

/// The number of the newest migration that this program knows.
pub const SCHEMA_VERSION: i32 = 9;

/// In order of their versions, which start at 1. A file that has been released is never edited.
const MIGRATIONS: [Migration; SCHEMA_VERSION as usize] = [
    Migration { name: "V1__tables", sql: include_str!("../../migrations/V1__tables.sql") },
    Migration { name: "V2__actors", sql: include_str!("../../migrations/V2__actors.sql") },
    Migration { name: "V3__changes", sql: include_str!("../../migrations/V3__changes.sql") },
    Migration { name: "V4__audit", sql: include_str!("../../migrations/V4__audit.sql") },
    Migration { name: "V5__key_states", sql: include_str!("../../migrations/V5__key_states.sql") },
    Migration { name: "V6__vault", sql: include_str!("../../migrations/V6__vault.sql") },
    Migration { name: "V7__reading", sql: include_str!("../../migrations/V7__reading.sql") },
    Migration { name: "V8__writing", sql: include_str!("../../migrations/V8__writing.sql") },
    Migration { name: "V9__definer", sql: include_str!("../../migrations/V9__definer.sql") },
];

struct Migration {
    name: &'static str,
    /// `@schema@` stands for the quoted name of the schema, `@api@` for that of its interface.
    sql: &'static str,
}

impl Migration {
    /// Of the file as it is, so that the schema's name plays no part.
    fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.sql))
    }
}

/// A migration that the schema has had.
struct AppliedMigration {
    version: i32,
    name: String,
    checksum: String,
}

from_row!(AppliedMigration, "schema_migrations", "name", [version, name, checksum]);

/// The group roles, which belong to the whole server.
pub(super) const ROLES: [&str; 5] =
    ["tidelock_app", "tidelock_operator", "tidelock_delegate", "tidelock_backup", "tidelock_definer"];

/// What `migrate` did or, asked only to check, would do: the names of migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// In order; empty when the schema is as this program knows it.
    pub migrations: Vec<String>,
}

/// How long it waits for another migration, or for whoever uses what it has to change.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// How often it begins again where another one was first to make something.
const ATTEMPTS: usize = 5;

/// Applies what is missing, as the login that owns the schema or will own it. Where nothing is, it needs no right but to
/// read the schema's history.
///
/// # Errors
/// [`RegistryError::Refused`] with the SQL for a database administrator where the login may not make what is needed.
pub async fn migrate(settings: &ConnectSettings) -> Result<Migrated, RegistryError> {
    let mut attempts = 1;
    loop {
        match run(settings, true).await {
            // Two that make the same schema or table: the second finds it made.
            Err(RegistryError::Conflict(_)) if attempts < ATTEMPTS => attempts += 1,
            Err(RegistryError::Refused(refused)) => return Err(lent_by_an_administrator(settings, refused).await),
            done => return done,
        }
    }
}

/// What [`migrate`] would apply. Changes nothing, and needs no right to.
pub async fn pending(settings: &ConnectSettings) -> Result<Migrated, RegistryError> {
    run(settings, false).await
}

async fn run(settings: &ConnectSettings, apply: bool) -> Result<Migrated, RegistryError> {
    let failed = |error| RegistryError::from_driver("migrating the registry", error);
    let (mut client, connection) = settings.connect().await?;
    let connection = tokio::spawn(connection);
    let schema = settings.quoted_schema();
    let transaction = client.transaction().await.map_err(failed)?;
    refuse_older_program(&transaction, &schema).await?;
    let names =
        |missing: Vec<(i32, &Migration)>| missing.iter().map(|(_, migration)| migration.name.to_owned()).collect();
    let mut done = Migrated { migrations: names(missing(&history(&transaction, &schema).await?)?) };
    if apply && !done.migrations.is_empty() {
        done.migrations = apply_missing(&transaction, settings).await?;
        transaction.commit().await.map_err(failed)?;
    } else {
        transaction.rollback().await.map_err(failed)?;
    }
    drop(client);
    // Ends by itself once the client is gone; its error, if any, has reached the client's calls already.
    let _ = connection.await;
    Ok(done)
}

/// What was applied; nothing where there is no schema yet.
async fn history(transaction: &Transaction<'_>, schema: &str) -> Result<Vec<AppliedMigration>, RegistryError> {
    let failed = |error| RegistryError::from_driver("reading which migrations were applied", error);
    if !exists(transaction, &format!("{schema}.schema_migrations")).await? {
        return Ok(Vec::new());
    }
    let history = format!("SELECT version, name, checksum FROM {schema}.schema_migrations ORDER BY version");
    decode(&transaction.query_typed(&history, &[]).await.map_err(failed)?)
}

async fn exists(transaction: &Transaction<'_>, table: &str) -> Result<bool, RegistryError> {
    let failed = |error| RegistryError::from_driver("looking for the registry's tables", error);
    // By the catalog: who may not use the schema is told so when it is used.
    let query = "SELECT to_regclass($1) IS NOT NULL AS exists";
    value(&transaction.query_typed_one(query, &[(&table, Type::TEXT)]).await.map_err(failed)?, "pg_class")
}

/// Makes a schema where there is none. To ask for one that exists takes the right to make it, too.
async fn make_schema(transaction: &Transaction<'_>, quoted: &str) -> Result<(), RegistryError> {
    let failed = |error| RegistryError::from_driver("making the registry's schemas", error);
    let query = "SELECT to_regnamespace($1) IS NULL AS missing";
    let row = transaction.query_typed_one(query, &[(&quoted, Type::TEXT)]).await.map_err(failed)?;
    if value(&row, "pg_namespace")? {
        transaction.batch_execute(&format!("CREATE SCHEMA {quoted}")).await.map_err(for_an_administrator)?;
    }
    Ok(())
}

/// Applies what the schema has not had yet; answers the names.
async fn apply_missing(
    transaction: &Transaction<'_>,
    settings: &ConnectSettings,
) -> Result<Vec<String>, RegistryError> {
    let failed = |error| RegistryError::from_driver("migrating the registry", error);
    let (schema, interface) = (settings.quoted_schema(), settings.quoted_interface());
    let timeout = LOCK_TIMEOUT.as_millis();
    transaction
        .batch_execute(&format!(
            "SET LOCAL client_min_messages = warning; SET LOCAL lock_timeout = {timeout};
             SET LOCAL standard_conforming_strings = on; SET LOCAL row_security = on; SET LOCAL check_function_bodies = on;
             SET LOCAL default_tablespace = ''; SET LOCAL default_table_access_method = heap"
        ))
        .await
        .map_err(failed)?;
    refuse_other_encodings(transaction).await?;
    make_schema(transaction, &schema).await?;
    make_schema(transaction, &interface).await?;
    transaction
        .batch_execute(&format!(
            "SET LOCAL search_path = {schema}, pg_catalog, pg_temp;
             CREATE TABLE IF NOT EXISTS schema_migrations (
                version    integer PRIMARY KEY,
                name       text NOT NULL,
                checksum   text NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT clock_timestamp());
             LOCK TABLE schema_migrations IN ACCESS EXCLUSIVE MODE"
        ))
        .await
        .map_err(failed)?;
    // Under the lock: another run may have been first.
    let applied = history(transaction, &schema).await?;
    let missing = missing(&applied)?;
    if missing.is_empty() {
        return Ok(Vec::new());
    }
    make_roles(transaction).await?;
    let borrowed = borrow_definer(transaction).await?;
    for (version, migration) in &missing {
        let failed = |error| RegistryError::from_driver(format!("applying migration {}", migration.name), error);
        let sql = migration.sql.replace("@schema@", &schema).replace("@api@", &interface);
        transaction.batch_execute(&sql).await.map_err(failed)?;
        transaction
            .execute_typed(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                &[(version, Type::INT4), (&migration.name, Type::TEXT), (&migration.checksum(), Type::TEXT)],
            )
            .await
            .map_err(failed)?;
    }
    transaction
        .batch_execute(&format!("UPDATE schema_floor SET version = {SCHEMA_VERSION} WHERE version < {SCHEMA_VERSION}"))
        .await
        .map_err(failed)?;
    if borrowed {
        transaction.batch_execute("REVOKE tidelock_definer FROM CURRENT_USER").await.map_err(failed)?;
    }
    Ok(missing.into_iter().map(|(_, migration)| migration.name.to_owned()).collect())
}

/// The migrations that come after those that were applied. Refuses a schema that was made in another way than these would
/// make it; what a newer program has applied besides is its own matter.
fn missing(applied: &[AppliedMigration]) -> Result<Vec<(i32, &'static Migration)>, RegistryError> {
    let newest = applied.iter().map(|applied| applied.version).max().unwrap_or_default();
    let mut missing = Vec::new();
    for (version, migration) in (1..).zip(&MIGRATIONS) {
        let name = migration.name;
        match applied.iter().find(|applied| applied.version == version) {
            Some(applied) if applied.name == name && applied.checksum == migration.checksum() => {}
            Some(applied) => {
                let message = format!("the schema was made by another {} than this program's {name}", applied.name);
                let hint = "use the tidelock that made it, or one released later";
                return Err(RegistryError::Schema(Explanation::from(message).hint(hint)));
            }
            None if version < newest => {
                let message = format!("the schema lacks migration {name}, though later ones were applied");
                return Err(RegistryError::Schema(Explanation::from(message).hint("restore it from a backup")));
            }
            None => missing.push((version, migration)),
        }
    }
    Ok(missing)
}

/// A schema that a newer program has contracted is not for this one to touch.
async fn refuse_older_program(transaction: &Transaction<'_>, schema: &str) -> Result<(), RegistryError> {
    let failed = |error| RegistryError::from_driver("reading the schema's version", error);
    let floor = format!("{schema}.schema_floor");
    if !exists(transaction, &floor).await? {
        return Ok(());
    }
    let query = format!("SELECT oldest_writer FROM {floor}");
    let row = transaction.query_typed_one(&query, &[]).await.map_err(failed)?;
    let oldest_writer: i32 = value(&row, "schema_floor")?;
    if oldest_writer <= SCHEMA_VERSION {
        return Ok(());
    }
    let message = format!(
        "the schema serves writers from version {oldest_writer} on, and this program knows version {SCHEMA_VERSION}"
    );
    Err(RegistryError::Schema(Explanation::from(message).hint("use a newer tidelock")))
}

/// Patterns for names are about characters, which other encodings do not have.
async fn refuse_other_encodings(transaction: &Transaction<'_>) -> Result<(), RegistryError> {
    let failed = |error| RegistryError::from_driver("reading the database's encoding", error);
    let query =
        "SELECT pg_encoding_to_char(encoding)::text AS encoding FROM pg_database WHERE datname = current_database()";
    let encoding: String = value(&transaction.query_typed_one(query, &[]).await.map_err(failed)?, "pg_database")?;
    if encoding == "UTF8" {
        return Ok(());
    }
    let message = format!("the database has the encoding {encoding}, and a registry needs UTF8");
    let hint = "make another: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0";
    Err(RegistryError::Schema(Explanation::from(message).hint(hint)))
}

async fn make_roles(transaction: &Transaction<'_>) -> Result<(), RegistryError> {
    for role in ROLES {
        // Another database of this server may be making it now: the exception is that one having been first.
        let made = transaction
            .batch_execute(&format!(
                "DO $$ BEGIN
                    IF to_regrole('{role}') IS NULL THEN CREATE ROLE {role} NOLOGIN; END IF;
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
                 END $$"
            ))
            .await;
        made.map_err(for_an_administrator)?;
    }
    Ok(())
}

/// Lets the owner hand functions to the role that looks past row-level security, for this transaction only: a lasting
/// member of it would see everything. Answers whether the loan has to be given back.
async fn borrow_definer(transaction: &Transaction<'_>) -> Result<bool, RegistryError> {
    // From PostgreSQL 16 on, who made a role is a member that may grant it and nothing else; only SET lets it hand
    // anything over. Before, there is no SET to ask for.
    let query = "SELECT pg_has_role(CURRENT_USER, 'tidelock_definer', CASE
                     WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) AS is_member";
    let failed = |error| RegistryError::from_driver("migrating the registry", error);
    let row = transaction.query_typed_one(query, &[]).await.map_err(failed)?;
    if value(&row, "pg_roles")? {
        return Ok(false);
    }
    transaction.batch_execute("GRANT tidelock_definer TO CURRENT_USER").await.map_err(for_an_administrator)?;
    Ok(true)
}

fn for_an_administrator(error: tokio_postgres::Error) -> RegistryError {
    RegistryError::from_driver("making schemas and group roles", error)
}

/// What an administrator runs for a login that may not make what is needed. Nothing of it is needed for a later run that
/// finds nothing to do.
async fn lent_by_an_administrator(settings: &ConnectSettings, refused: Explanation) -> RegistryError {
    let login = match settings.connect().await {
        Ok((client, connection)) => {
            tokio::spawn(connection);
            let query = "SELECT quote_ident(current_user) AS login";
            client.query_typed_one(query, &[]).await.ok().and_then(|row| value::<String>(&row, "pg_roles").ok())
        }
        Err(_) => None,
    };
    let login = login.unwrap_or_else(|| "THE_LOGIN".to_owned());
    let roles = ROLES.map(|role| format!("CREATE ROLE {role} NOLOGIN; ")).concat();
    let schemas = [settings.quoted_schema(), settings.quoted_interface()]
        .map(|schema| format!("CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {login}; "))
        .concat();
    RegistryError::Refused(refused.hint(format!(
        "migrate as the login that owns the schema; where that may not make schemas and roles, have an administrator run \
         once, without the roles that are there already: {roles}{schemas}GRANT tidelock_definer TO {login}; then run \
         `tidelock migrate` again; then: REVOKE tidelock_definer FROM {login}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(versions: impl IntoIterator<Item = usize>) -> Vec<AppliedMigration> {
        let one = |version: usize| AppliedMigration {
            version: i32::try_from(version).unwrap(),
            name: MIGRATIONS[version - 1].name.to_owned(),
            checksum: MIGRATIONS[version - 1].checksum(),
        };
        versions.into_iter().map(one).collect()
    }

    fn versions(applied: &[AppliedMigration]) -> Vec<i32> {
        missing(applied).unwrap().into_iter().map(|(version, _)| version).collect()
    }

    fn refusal(applied: &[AppliedMigration]) -> String {
        match missing(applied) {
            Err(error @ RegistryError::Schema(_)) => error.to_string(),
            other => panic!("{}", other.map_or_else(|error| error.to_string(), |_| "no refusal".to_owned())),
        }
    }

    #[test]
    fn the_version_is_that_of_the_newest_migration_and_there_is_no_gap() {
        for (version, migration) in (1..=SCHEMA_VERSION).zip(&MIGRATIONS) {
            assert!(migration.name.starts_with(&format!("V{version}__")), "{}", migration.name);
        }
    }

    #[test]
    fn what_comes_after_the_applied_migrations_is_missing() {
        assert_eq!(versions(&[]), (1..=SCHEMA_VERSION).collect::<Vec<_>>());
        assert_eq!(versions(&applied(1..=5)), [6, 7, 8, 9]);
        assert_eq!(versions(&applied(1..=MIGRATIONS.len())), [0; 0]);
    }

    #[test]
    fn what_a_newer_program_applied_besides_is_left_to_it() {
        let mut newer = applied(1..=MIGRATIONS.len());
        newer.push(AppliedMigration { version: 99, name: "V99__later".to_owned(), checksum: "99".to_owned() });
        assert_eq!(versions(&newer), [0; 0]);
    }

    #[test]
    fn a_migration_that_was_edited_or_renamed_or_left_out_is_refused_by_name() {
        let mut edited = applied(1..=MIGRATIONS.len());
        edited[2].checksum = "00".to_owned();
        assert!(refusal(&edited).contains("V3__changes"));
        let mut renamed = applied(1..=MIGRATIONS.len());
        renamed[2].name = "V3__other".to_owned();
        assert!(refusal(&renamed).contains("V3__other"));
        assert!(refusal(&applied([1, 2, 4])).contains("lacks migration V3__changes"));
    }
}
