//! The migrations, and which of them a schema has had.

use sha2::{Digest as _, Sha256};
use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::registry::row::{decode, from_row, only, value};
use crate::registry::{Explanation, RegistryError};

/// The number of the newest migration that this program knows.
pub const SCHEMA_VERSION: i32 = 10;

/// In order of their versions, which start at 1. A file that has been released is never edited.
const MIGRATIONS: [Migration; SCHEMA_VERSION as usize] = [
    Migration { name: "V1__tables", sql: include_str!("../../../migrations/V1__tables.sql") },
    Migration { name: "V2__actors", sql: include_str!("../../../migrations/V2__actors.sql") },
    Migration { name: "V3__changes", sql: include_str!("../../../migrations/V3__changes.sql") },
    Migration { name: "V4__audit", sql: include_str!("../../../migrations/V4__audit.sql") },
    Migration { name: "V5__key_states", sql: include_str!("../../../migrations/V5__key_states.sql") },
    Migration { name: "V6__vault", sql: include_str!("../../../migrations/V6__vault.sql") },
    Migration { name: "V7__reading", sql: include_str!("../../../migrations/V7__reading.sql") },
    Migration { name: "V8__writing", sql: include_str!("../../../migrations/V8__writing.sql") },
    Migration { name: "V9__hash_keys", sql: include_str!("../../../migrations/V9__hash_keys.sql") },
    Migration { name: "V10__definer", sql: include_str!("../../../migrations/V10__definer.sql") },
];

pub(super) struct Migration {
    pub(super) name: &'static str,
    /// `@schema@` stands for the quoted name of the schema, `@api@` for that of its interface.
    pub(super) sql: &'static str,
}

impl Migration {
    /// Of the file as it is, so that the schema's name plays no part.
    pub(super) fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.sql))
    }
}

/// A migration that the schema has had.
pub(super) struct AppliedMigration {
    version: i32,
    name: String,
    checksum: String,
}

from_row!(AppliedMigration, "schema_migrations", "name", [version, name, checksum]);

/// What was applied; nothing where there is no schema yet.
pub(super) async fn history(
    transaction: &Transaction<'_>,
    schema: &str,
) -> Result<Vec<AppliedMigration>, RegistryError> {
    let failed = |error| RegistryError::from_driver("reading which migrations were applied", error);
    if !exists(transaction, &format!("{schema}.schema_migrations")).await? {
        return Ok(Vec::new());
    }
    let history = format!("SELECT version, name, checksum FROM {schema}.schema_migrations ORDER BY version");
    decode(&transaction.query_typed(&history, &[]).await.map_err(failed)?)
}

pub(super) async fn exists(transaction: &Transaction<'_>, table: &str) -> Result<bool, RegistryError> {
    let failed = |error| RegistryError::from_driver("looking for the registry's tables", error);
    // By the catalog: who may not use the schema is told so when it is used.
    let query = "SELECT to_regclass($1) IS NOT NULL AS exists";
    let rows = transaction.query_typed(query, &[(&table, Type::TEXT)]).await.map_err(failed)?;
    value(&only(rows, "looking for the registry's tables")?, "pg_class")
}

/// The migrations that come after those that were applied. Refuses a schema that was made in another way than these would
/// make it; what a newer program has applied besides is its own matter.
pub(super) fn missing(applied: &[AppliedMigration]) -> Result<Vec<(i32, &'static Migration)>, RegistryError> {
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

/// Whether a newer program has migrated the schema: what it has to look like then is that program's to know.
pub(super) fn is_newer(applied: &[AppliedMigration]) -> bool {
    applied.iter().any(|applied| applied.version > SCHEMA_VERSION)
}

/// The newest migration that makes a table, a function, … of that name.
pub(in crate::registry) fn made_by(kind: &str, name: &str) -> Option<&'static str> {
    let end = if kind == "function" { "(" } else { " " };
    let making = format!("CREATE {} {name}{end}", kind.to_uppercase());
    MIGRATIONS.iter().rev().find(|migration| migration.sql.contains(&making)).map(|migration| migration.name)
}

/// A schema that a newer program has contracted is not for this one to touch.
pub(super) async fn refuse_older_program(transaction: &Transaction<'_>, schema: &str) -> Result<(), RegistryError> {
    let failed = |error| RegistryError::from_driver("reading the schema's version", error);
    let floor = format!("{schema}.schema_floor");
    if !exists(transaction, &floor).await? {
        return Ok(());
    }
    let query = format!("SELECT oldest_writer FROM {floor}");
    let rows = transaction.query_typed(&query, &[]).await.map_err(failed)?;
    let oldest_writer: i32 = value(&only(rows, "reading the schema's version")?, "schema_floor")?;
    if oldest_writer <= SCHEMA_VERSION {
        return Ok(());
    }
    let message = format!(
        "the schema serves writers from version {oldest_writer} on, and this program knows version {SCHEMA_VERSION}"
    );
    Err(RegistryError::Schema(Explanation::from(message).hint("use a newer tidelock")))
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
        assert_eq!(versions(&applied(1..=5)), (6..=SCHEMA_VERSION).collect::<Vec<_>>());
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
