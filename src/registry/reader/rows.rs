//! Cells of rows as our types.

use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::core::{RegistryTime, SecretId};
use crate::registry::{RegisteredKey, RegistryError, SecretRow, Snapshot, Tombstone};

/// One cell. A cell of another type or NULL where there may be none is the row's inconsistency, not a panic.
pub(super) fn cell<'a, T: FromSql<'a>>(
    row: &'a Row,
    index: usize,
    table: &'static str,
    column: &'static str,
) -> Result<T, RegistryError> {
    row.try_get(index).map_err(|_| RegistryError::Inconsistent {
        table,
        column,
        row: "type or NULL unexpected".to_owned(),
    })
}

/// A time, selected as microseconds since 1970.
fn time(row: &Row, index: usize, table: &'static str, column: &'static str) -> Result<RegistryTime, RegistryError> {
    cell(row, index, table, column).map(RegistryTime::from_micros)
}

/// Puts rows of `secrets` (id, key, `deleted_at`, `encrypted_value`, `value_hash`, version, `updated_at`) and of the
/// registry (key, `last_updated_at`) where they belong.
pub(super) fn fill(snapshot: &mut Snapshot, secrets: &[Row], registry: &[Row]) -> Result<(), RegistryError> {
    for row in secrets {
        let id = SecretId(cell(row, 0, "secrets", "id")?);
        let key: String = cell(row, 1, "secrets", "key")?;
        if cell::<Option<i64>>(row, 2, "secrets", "deleted_at")?.is_some() {
            snapshot.tombstones.insert(id, Tombstone { key, deleted_at: time(row, 2, "secrets", "deleted_at")? });
            continue;
        }
        let secret = SecretRow {
            id,
            encrypted_value: cell(row, 3, "secrets", "encrypted_value")?,
            value_hash: cell(row, 4, "secrets", "value_hash")?,
            version: cell(row, 5, "secrets", "version")?,
            updated_at: time(row, 6, "secrets", "updated_at")?,
        };
        if snapshot.secrets.insert(key.clone(), secret).is_some() {
            return Err(RegistryError::Inconsistent {
                table: "secrets",
                column: "key",
                row: format!("{key} is live twice"),
            });
        }
    }
    for row in registry {
        let last_updated_at = time(row, 1, "project_secret_registry", "last_updated_at")?;
        snapshot
            .registry
            .insert(cell(row, 0, "project_secret_registry", "key_name")?, RegisteredKey { last_updated_at });
    }
    Ok(())
}
