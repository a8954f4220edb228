//! `tidelock migrate`: brings the schema to what this program knows.
//!
//! Everything happens in one transaction that holds the table of what was applied, so that ten at once, through a pooler
//! in transaction mode too, end like one. Nobody but the owner can lock that table; an advisory lock anyone could take.
//! Before it commits, what is there then is held against what the migrations mean (`catalog`).

mod history;
mod preparation;

use std::time::Duration;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use self::history::{AppliedMigration, Migration, exists, history, is_newer, missing, refuse_older_program};
pub(super) use self::preparation::ROLES;
use self::preparation::{borrow_definer, lent_by_an_administrator, make_roles, make_schema, refuse_other_encodings};
use super::catalog::{self, Difference};
use super::row::value;
use super::{ConnectSettings, Explanation, RegistryError, settings};

pub use self::history::SCHEMA_VERSION;
pub(super) use self::history::made_by;

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

/// Where the schema is not as the migrations of this program make it, with what to do about each; for any login. Empty
/// where there is no schema, or one of another version.
///
/// # Errors
/// Where the database does not answer.
pub async fn differences(settings: &ConnectSettings) -> Result<Vec<Difference>, RegistryError> {
    settings.with_connection(async |client| differences_in(client, settings).await).await
}

async fn differences_in(client: &mut Client, settings: &ConnectSettings) -> Result<Vec<Difference>, RegistryError> {
    let failed = |error| RegistryError::from_driver("comparing the schema with its migrations", error);
    let query = format!("SELECT version FROM {}.schema_floor", settings.quoted_interface());
    // What keeps it from being read is one of the differences, if it is not the whole schema that is missing.
    let rows = client.query_typed(&query, &[]).await.unwrap_or_default();
    let version: Option<i32> = rows.first().and_then(|row| value(row, "schema_floor").ok());
    let transaction = client.build_transaction().read_only(true).start().await.map_err(failed)?;
    let differences =
        if version.is_some_and(|version| version != SCHEMA_VERSION) || !is_there(&transaction, settings).await? {
            Vec::new()
        } else {
            catalog::differences(&transaction, settings, &ROLES, false).await?
        };
    transaction.rollback().await.map_err(failed)?;
    Ok(differences)
}

/// What the catalogs say of a database that has just been migrated, one line for each property. Needs a database without
/// a registry, and leaves it so.
///
/// # Errors
/// As [`migrate`].
pub async fn described(settings: &ConnectSettings) -> Result<String, RegistryError> {
    let failed = |error| RegistryError::from_driver("describing the schema", error);
    let describe = async |client: &mut Client| {
        let transaction = writing(client).await?;
        apply_missing(&transaction, settings).await?;
        let facts = catalog::described(&transaction, settings, &ROLES).await?;
        transaction.rollback().await.map_err(failed)?;
        Ok(facts.to_string())
    };
    settings.with_connection(describe).await
}

async fn run(settings: &ConnectSettings, apply: bool) -> Result<Migrated, RegistryError> {
    settings.with_connection(async |client| run_on(client, settings, apply).await).await
}

async fn run_on(client: &mut Client, settings: &ConnectSettings, apply: bool) -> Result<Migrated, RegistryError> {
    let failed = |error| RegistryError::from_driver("migrating the registry", error);
    let schema = settings.quoted_schema();
    let transaction = writing(client).await?;
    let applied = match looked_up(&transaction, &schema).await {
        Ok(applied) => applied,
        // What is different may be why.
        Err(error @ (RegistryError::Schema(_) | RegistryError::SchemaAltered(_))) => {
            let differences = differences(settings).await.unwrap_or_default();
            return Err(if differences.is_empty() {
                error
            } else {
                RegistryError::SchemaAltered(catalog::explained(&differences))
            });
        }
        Err(error) => return Err(error),
    };
    let names =
        |missing: Vec<(i32, &Migration)>| missing.iter().map(|(_, migration)| migration.name.to_owned()).collect();
    let mut done = Migrated { migrations: names(missing(&applied)?) };
    if apply && !done.migrations.is_empty() {
        done.migrations = apply_missing(&transaction, settings).await?;
        catalog::require_unchanged(&transaction, settings, &ROLES, true).await?;
        transaction.commit().await.map_err(failed)?;
    } else {
        if done.migrations.is_empty() && !is_newer(&applied) {
            catalog::require_unchanged(&transaction, settings, &ROLES, false).await?;
        }
        transaction.rollback().await.map_err(failed)?;
    }
    Ok(done)
}

/// A transaction that reads and writes as this program means it, whatever the login or the database is set to.
async fn writing(client: &mut Client) -> Result<Transaction<'_>, RegistryError> {
    let attempt = "migrating the registry";
    let builder = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
    let transaction = builder.start().await.map_err(|error| RegistryError::from_driver(attempt, error))?;
    settings::pin(&transaction, attempt).await?;
    Ok(transaction)
}

/// What was applied to a schema that this program may migrate.
async fn looked_up(transaction: &Transaction<'_>, schema: &str) -> Result<Vec<AppliedMigration>, RegistryError> {
    refuse_older_program(transaction, schema).await?;
    let applied = history(transaction, schema).await?;
    if applied.is_empty() && exists(transaction, &format!("{schema}.schema_migrations")).await? {
        // It is made together with its first row.
        let message = "the table schema_migrations is there, and shows nothing that was applied";
        return Err(RegistryError::SchemaAltered(Explanation::from(message).hint("restore it from a backup")));
    }
    Ok(applied)
}

/// Whether there is a schema at all.
async fn is_there(transaction: &Transaction<'_>, settings: &ConnectSettings) -> Result<bool, RegistryError> {
    let failed = |error| RegistryError::from_driver("looking for the registry's schema", error);
    // By the catalog itself: to look a name up in a schema takes the right to use that.
    let query = "SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = $1 AND c.relname = 'schema_migrations'";
    let rows = transaction.query_typed(query, &[(&settings.schema, Type::TEXT)]).await.map_err(failed)?;
    Ok(!rows.is_empty())
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
            "SET LOCAL client_min_messages = warning; SET LOCAL lock_timeout = {timeout}; SET LOCAL statement_timeout = 0;
             SET LOCAL check_function_bodies = on;
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
    let event_triggers = catalog::event_triggers(transaction).await?;
    for (version, migration) in &missing {
        let failed = |error| match RegistryError::from_driver(format!("applying migration {}", migration.name), error) {
            RegistryError::SchemaAltered(explained) => {
                RegistryError::SchemaAltered(catalog::suspecting(&event_triggers, explained))
            }
            other => other,
        };
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
