//! `tidelock migrate`: brings the schema to what this program knows.
//!
//! Everything happens in one transaction under a transaction's advisory lock, so that ten at once, through a pooler in
//! transaction mode too, end like one.

use refinery_core::traits::r#async::{AsyncQuery, AsyncTransaction};
use refinery_core::{AsyncMigrate, Migration, Runner};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_postgres::{SimpleQueryMessage, Transaction};

use super::{ConnectSettings, RegistryError};

/// The number of the newest migration that this program knows.
pub const SCHEMA_VERSION: i32 = 7;

/// In order; a file that has been released is never edited.
const MIGRATIONS: [(&str, &str); SCHEMA_VERSION as usize] = [
    ("V1__tables", include_str!("../../migrations/V1__tables.sql")),
    ("V2__actors", include_str!("../../migrations/V2__actors.sql")),
    ("V3__changes", include_str!("../../migrations/V3__changes.sql")),
    ("V4__audit", include_str!("../../migrations/V4__audit.sql")),
    ("V5__key_states", include_str!("../../migrations/V5__key_states.sql")),
    ("V6__vault", include_str!("../../migrations/V6__vault.sql")),
    ("V7__definer", include_str!("../../migrations/V7__definer.sql")),
];

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
    let failed = |error: tokio_postgres::Error| RegistryError::from_driver("migrating the registry", &error);
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
    let migrations = MIGRATIONS
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, &sql.replace("@schema@", &schema)))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| RegistryError::Schema(format!("the embedded migrations cannot be read: {error}")))?;
    let report = Runner::new(&migrations)
        .set_abort_missing(false)
        .run_async(&mut UnderLock(&transaction))
        .await
        .map_err(|error| from_refinery(&error))?;
    let applied = report.applied_migrations().iter().map(ToString::to_string).collect();
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
    Ok(Migrated { migrations: applied })
}

/// A schema that a newer program has contracted is not for this one to touch.
async fn refuse_older_program(transaction: &Transaction<'_>, schema: &str) -> Result<(), RegistryError> {
    let failed = |error: tokio_postgres::Error| RegistryError::from_driver("reading the schema's version", &error);
    let exists = format!("SELECT to_regclass('{}.schema_floor') IS NOT NULL", schema.replace('\'', "''"));
    let floor = match first_cell(&transaction.simple_query(&exists).await.map_err(failed)?).as_deref() {
        Some("t") => {
            let query = format!("SELECT oldest_writer FROM {schema}.schema_floor");
            first_cell(&transaction.simple_query(&query).await.map_err(failed)?)
        }
        _ => None,
    };
    match floor.and_then(|floor| floor.parse::<i32>().ok()) {
        Some(floor) if floor > SCHEMA_VERSION => Err(RegistryError::Schema(format!(
            "the schema serves writers from version {floor} on, and this program knows version {SCHEMA_VERSION}: use a newer tidelock"
        ))),
        _ => Ok(()),
    }
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
        made.map_err(|error| for_an_administrator(&error))?;
    }
    Ok(())
}

/// Lets the owner hand functions to the role that looks past row-level security, for this transaction only: a lasting
/// member of it would see everything. Answers whether the loan has to be given back.
async fn borrow_definer(transaction: &Transaction<'_>) -> Result<bool, RegistryError> {
    // From PostgreSQL 16 on, who made a role is a member that may grant it and nothing else; only SET lets it hand
    // anything over. Before, there is no SET to ask for.
    let member = transaction
        .simple_query(
            "SELECT pg_has_role(CURRENT_USER, 'tidelock_definer',
                CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)",
        )
        .await
        .map_err(|error| RegistryError::from_driver("migrating the registry", &error))?;
    if first_cell(&member).as_deref() == Some("t") {
        return Ok(false);
    }
    transaction
        .batch_execute("GRANT tidelock_definer TO CURRENT_USER")
        .await
        .map_err(|error| for_an_administrator(&error))?;
    Ok(true)
}

fn for_an_administrator(error: &tokio_postgres::Error) -> RegistryError {
    match RegistryError::from_driver("making the group roles", error) {
        RegistryError::Refused { message, .. } => {
            let roles = ROLES.map(|role| format!("CREATE ROLE {role} NOLOGIN; ")).concat();
            RegistryError::Refused {
                message,
                hint: Some(format!(
                    "migrate as the login that owns the schema; where that may not make roles, have an administrator run once: {roles}GRANT tidelock_definer TO <this login>; \
                     then run migrate again, and revoke that grant"
                )),
            }
        }
        other => other,
    }
}

fn from_refinery(error: &refinery_core::Error) -> RegistryError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(driver) = inner.downcast_ref::<tokio_postgres::Error>() {
            return RegistryError::from_driver(error.to_string(), driver);
        }
        cause = inner.source();
    }
    RegistryError::Schema(error.to_string())
}

fn first_cell(messages: &[SimpleQueryMessage]) -> Option<String> {
    messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    })
}

/// The migrator's connection, inside our transaction and with simple queries only: no prepared statement outlives a
/// pooler's turn.
struct UnderLock<'t>(&'t Transaction<'t>);

impl AsyncTransaction for UnderLock<'_> {
    type Error = tokio_postgres::Error;

    async fn execute<'a, T: Iterator<Item = &'a str> + Send + 'a>(
        &'a mut self,
        queries: T,
    ) -> Result<usize, Self::Error> {
        let mut count = 0;
        for query in queries {
            self.0.batch_execute(query).await?;
            count += 1;
        }
        Ok(count)
    }
}

impl AsyncQuery<Vec<Migration>> for UnderLock<'_> {
    async fn query<'a>(&'a mut self, query: &'a str) -> Result<Vec<Migration>, Self::Error> {
        let messages = self.0.simple_query(query).await?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(Migration::applied(
                    row.get(0)?.parse().ok()?,
                    row.get(1)?.to_owned(),
                    OffsetDateTime::parse(row.get(2)?, &Rfc3339).ok()?,
                    row.get(3)?.parse().ok()?,
                )),
                _ => None,
            })
            .collect())
    }
}

impl AsyncMigrate for UnderLock<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_newest_migration() {
        let numbers: Vec<i32> =
            MIGRATIONS.iter().map(|(name, sql)| Migration::unapplied(name, sql).unwrap().version()).collect();
        assert_eq!(numbers, (1..=SCHEMA_VERSION).collect::<Vec<_>>());
    }
}
