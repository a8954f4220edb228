//! The rows that both kinds of schema answer with, under the same names.

use tokio_postgres::Row;

use crate::core::{RegistryTime, SecretId};
use crate::registry::row::{Columns, FromRow, decode, from_row};
use crate::registry::{RegisteredKey, RegistryError, SecretRow, Snapshot, Tombstone};

enum StoredSecret {
    Live(String, SecretRow),
    Deleted(SecretId, Tombstone),
}

impl FromRow for StoredSecret {
    fn from_row(row: &Row) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, "secrets", "id");
        let (id, key) = (columns.get("id")?, columns.get("key")?);
        if let Some(deleted_at) = columns.get("deleted_at")? {
            return Ok(Self::Deleted(id, Tombstone { key, deleted_at }));
        }
        let secret = SecretRow {
            id,
            encrypted_value: columns.get("encrypted_value")?,
            value_hash: columns.get("value_hash")?,
            version: columns.get("version")?,
            updated_at: columns.get("updated_at")?,
        };
        Ok(Self::Live(key, secret))
    }
}

struct RegisteredRow {
    key: String,
    last_updated_at: RegistryTime,
}

from_row!(RegisteredRow, "project_secret_registry", "key", [key, last_updated_at]);

/// Puts rows of `secrets` and of the registry where they belong.
pub(super) fn fill(snapshot: &mut Snapshot, secrets: &[Row], registry: &[Row]) -> Result<(), RegistryError> {
    for stored in decode(secrets)? {
        match stored {
            StoredSecret::Deleted(id, tombstone) => {
                snapshot.tombstones.insert(id, tombstone);
            }
            StoredSecret::Live(key, secret) => {
                if let Some(other) = snapshot.secrets.insert(key, secret) {
                    return Err(RegistryError::Inconsistent {
                        table: "secrets",
                        column: "key".to_owned(),
                        row: other.id.to_string(),
                        cause: "another live row has the same key".into(),
                    });
                }
            }
        }
    }
    for RegisteredRow { key, last_updated_at } in decode(registry)? {
        snapshot.registry.insert(key, RegisteredKey { last_updated_at });
    }
    Ok(())
}
