//! The rows that both kinds of schema answer with, under the same names.

use std::sync::Arc;

use tokio_postgres::Row;

use crate::core::{SecretId, first_bytes};
use crate::registry::row::{Columns, FromRow, decode, from_row};
use crate::registry::{KeyEntry, RegistryError, SealedValue, SecretRow, Snapshot, Tombstone, ValueId};

/// What an environment has of one key.
struct KeyRow {
    key: Arc<str>,
    entry: KeyEntry,
}

impl FromRow for KeyRow {
    fn from_row(row: &Row) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, "secrets", "id");
        let secret = match columns.get::<Option<SecretId>>("id")? {
            None => None,
            Some(id) => {
                let value_hash = columns.get::<Option<&str>>("value_hash")?.map(Arc::from);
                let value_version = columns.get::<Option<&str>>("value_version")?.map(Arc::from);
                Some(SecretRow {
                    id,
                    // Mostly one text: the hash is what changes with the value.
                    value_version: value_version.or_else(|| value_hash.clone()).unwrap_or_default(),
                    value_hash,
                    version: columns.get("version")?,
                    updated_at: columns.get("updated_at")?,
                })
            }
        };
        Ok(Self {
            key: columns.get::<&str>("key")?.into(),
            entry: KeyEntry {
                secret,
                last_updated_at: columns.get("last_updated_at")?,
                exempt: columns.get("is_exempt")?,
            },
        })
    }
}

/// Puts what is there of some keys, or is not there any more, in the place of what was. Answers which.
pub(super) fn replace_keys(snapshot: &mut Snapshot, rows: &[Row]) -> Result<Vec<Arc<str>>, RegistryError> {
    let rows = decode::<KeyRow>(rows)?.into_iter();
    let replaced = rows.map(|KeyRow { key, entry }| {
        snapshot.keys.set(Arc::clone(&key), entry);
        key
    });
    Ok(replaced.collect())
}

/// Puts the rows of all keys where nothing was.
pub(super) fn fill(snapshot: &mut Snapshot, rows: &[Row]) -> Result<(), RegistryError> {
    let live = rows.iter().filter(|row| row.try_get::<_, Option<SecretId>>("id").is_ok_and(|id| id.is_some())).count();
    replace_keys(snapshot, rows)?;
    if live == snapshot.keys.live() {
        return Ok(());
    }
    Err(RegistryError::Inconsistent {
        table: "secrets",
        column: "key".to_owned(),
        row: snapshot.environment.to_string(),
        cause: "two live rows of the environment have the same key".into(),
    })
}

impl FromRow for SealedValue {
    fn from_row(row: &Row) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, "secrets", "id");
        let id = ValueId {
            row: columns.get("id")?,
            version: columns.get("version")?,
            value_version: columns.get::<Option<&str>>("value_version")?.unwrap_or_default().into(),
        };
        Ok(Self { id, text: columns.get::<&str>("encrypted_value")?.into() })
    }
}

/// Nothing in a row that stands for none.
struct TombstoneRow {
    digest: Option<Vec<u8>>,
    key: Option<String>,
}

from_row!(TombstoneRow, "secrets", "key", [digest, key]);

pub(super) fn tombstones(rows: &[Row]) -> Result<Vec<Tombstone>, RegistryError> {
    let tombstones = decode::<TombstoneRow>(rows)?;
    let found = tombstones.into_iter().filter_map(|row| Some((row.digest?, row.key?)));
    Ok(found.map(|(digest, key)| Tombstone { row: first_bytes(&digest), key }).collect())
}
