//! `tidelock migrate`: brings the schema to what this program knows.
//!
//! Everything happens in one transaction under a transaction's advisory lock, so that ten at once, through a pooler in
//! transaction mode too, end like one.

use sha2::{Digest as _, Sha256};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::row::{decode, from_row, value};
use super::{ConnectSettings, Explanation, RegistryError};

/// The number of the newest migration that this program knows.
pub const SCHEMA_VERSION: i32 = 7;

/// In order of their versions, which start at 1. A file that has been released is never edited.
const MIGRATIONS: [Migration; SCHEMA_VERSION as usize] = [
    Migration { name: "V1__tables", sql: include_str!("../../migrations/V1__tables.sql") },
    Migration { name: "V2__actors", sql: include_str!("../../migrations/V2__actors.sql") },
    Migration { name: "V3__changes", sql: include_str!("../../migrations/V3__changes.sql") },
    Migration { name: "V4__audit", sql: include_str!("../../migrations/V4__audit.sql") },
    Migration { name: "V5__key_states", sql: include_str!("../../migrations/V5__key_states.sql") },
    Migration { name: "V6__vault", sql: include_str!("../../migrations/V6__vault.sql") },
    Migration { name: "V7__definer", sql: include_str!("../../migrations/V7__definer.sql") },
];

struct Migration {
    name: &'static str,
    /// `@schema@` stands for the quoted name of the schema.
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
const ROLES: [&str; 4] = ["tidelock_app", "tidelock_operator", "tidelock_delegate", "tidelock_definer"];

/// What `migrate` did or, asked only to check, would do: the names of migrations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// In order; empty when the schema is as this program knows it.
    pub migrations: Vec<String>,
}

/// Applies what is missing, as the login that owns the schema or will own it.
///
/// # Errors
/// [`RegistryError::Refused`] with the SQL for a database administrator where the login may not make the group roles.
pub async fn migrate(settings: &ConnectSettings) -> Result<Migrated, RegistryError> {
    run(settings, true).await
}

/// What [`migrate`] would apply.
pub async fn pending(settings: &ConnectSettings) -> Result<Migrated, RegistryError> {
    run(settings, false).await
}

async fn run(settings: &ConnectSettings, apply: bool) -> Result<Migrated, RegistryError> {
    let failed = |error| RegistryError::from_driver("migrating the registry", error);
    let (mut client, connection) = settings.connect().await?;
    let connection = tokio::spawn(connection);
    let schema = settings.quoted_schema();
    let transaction = client.transaction().await.map_err(failed)?;
    // Roles belong to the server, so the lock has one key for all schemas of this database.
    transaction
        .batch_execute("SELECT pg_advisory_xact_lock(hashtextextended('tidelock.migrate', 0)); SET LOCAL client_min_messages = warning")
        .await
        .map_err(failed)?;
    refuse_older_program(&transaction, &schema).await?;
    make_roles(&transaction).await?;
    let borrowed = borrow_definer(&transaction).await?;
    transaction
        .batch_execute(&format!(
            "CREATE SCHEMA IF NOT EXISTS {schema}; SET LOCAL search_path = {schema}, pg_catalog, pg_temp"
        ))
        .await
        .map_err(failed)?;
    let applied = apply_missing(&transaction, &schema).await?;
    transaction
        .batch_execute(&format!("UPDATE schema_floor SET version = {SCHEMA_VERSION} WHERE version < {SCHEMA_VERSION}"))
        .await
        .map_err(failed)?;
    if borrowed {
        transaction.batch_execute("REVOKE tidelock_definer FROM CURRENT_USER").await.map_err(failed)?;
    }
    if apply {
        transaction.commit().await.map_err(failed)?;
    } else {
        transaction.rollback().await.map_err(failed)?;
    }
    drop(client);
    // Ends by itself once the client is gone; its error, if any, has reached the client's calls already.
    let _ = connection.await;
    Ok(Migrated { migrations: applied.into_iter().map(str::to_owned).collect() })
}

/// Applies what the schema has not had yet; answers the names.
async fn apply_missing(transaction: &Transaction<'_>, schema: &str) -> Result<Vec<&'static str>, RegistryError> {
    let failed = |error| RegistryError::from_driver("reading which migrations were applied", error);
    transaction
        .batch_execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (
                version    integer PRIMARY KEY,
                name       text NOT NULL,
                checksum   text NOT NULL,
                applied_at timestamptz NOT NULL DEFAULT clock_timestamp())",
        )
        .await
        .map_err(failed)?;
    let history = "SELECT version, name, checksum FROM schema_migrations ORDER BY version";
    let missing = missing(&decode(&transaction.query_typed(history, &[]).await.map_err(failed)?)?)?;
    for (version, migration) in &missing {
        let failed = |error| RegistryError::from_driver(format!("applying migration {}", migration.name), error);
        transaction.batch_execute(&migration.sql.replace("@schema@", schema)).await.map_err(failed)?;
        transaction
            .execute_typed(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
                &[(version, Type::INT4), (&migration.name, Type::TEXT), (&migration.checksum(), Type::TEXT)],
            )
            .await
            .map_err(failed)?;
    }
    Ok(missing.into_iter().map(|(_, migration)| migration.name).collect())
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
    let exists = "SELECT to_regclass($1) IS NOT NULL AS exists";
    let floor = format!("{schema}.schema_floor");
    let row = transaction.query_typed_one(exists, &[(&floor, Type::TEXT)]).await.map_err(failed)?;
    if !value(&row, "schema_floor")? {
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
    match RegistryError::from_driver("making the group roles", error) {
        RegistryError::Refused(explained) => {
            let roles = ROLES.map(|role| format!("CREATE ROLE {role} NOLOGIN; ")).concat();
            RegistryError::Refused(explained.hint(format!(
                "migrate as the login that owns the schema; where that may not make roles, have an administrator run once: {roles}GRANT tidelock_definer TO <this login>; \
                 then run migrate again, and revoke that grant"
            )))
        }
        other => other,
    }
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
        assert_eq!(versions(&applied(1..=5)), [6, 7]);
        assert_eq!(versions(&applied(1..=7)), [0; 0]);
    }

    #[test]
    fn what_a_newer_program_applied_besides_is_left_to_it() {
        let mut newer = applied(1..=7);
        newer.push(AppliedMigration { version: 8, name: "V8__later".to_owned(), checksum: "08".to_owned() });
        assert_eq!(versions(&newer), [0; 0]);
    }

    #[test]
    fn a_migration_that_was_edited_or_renamed_or_left_out_is_refused_by_name() {
        let mut edited = applied(1..=7);
        edited[2].checksum = "00".to_owned();
        assert!(refusal(&edited).contains("V3__changes"));
        let mut renamed = applied(1..=7);
        renamed[2].name = "V3__other".to_owned();
        assert!(refusal(&renamed).contains("V3__other"));
        assert!(refusal(&applied([1, 2, 4])).contains("lacks migration V3__changes"));
    }
}
