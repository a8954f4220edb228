//! Reading: one value opened and checked, or all hashes and nothing opened.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use crate::core::{KeyName, RegistryTime, SecretId, SecretValue, ValueHash};
use crate::crypto::{HashCheck, Keyring, OpenError, SealContext, key_id_of, verify};

use super::state::secret_not_found;
use crate::registry::environments::Environment;
use crate::registry::session::{Session, Transaction, micros, time};
use crate::registry::{RegistryError, ValueError, hash_keys};

/// A value that was opened.
pub struct OpenedSecret {
    /// The value.
    pub value: SecretValue,
    /// Its row's version.
    pub version: i64,
    /// When it last changed or caught up.
    pub updated_at: Option<RegistryTime>,
    /// Whether its hash could be checked; not where the keyring lacks the project's hashing key.
    pub checked: bool,
}

/// A live secret without its value.
#[derive(Debug, Clone)]
pub struct ListedSecret {
    /// The key.
    pub key: String,
    /// Counts the values of this row, from 1.
    pub version: i64,
}

impl Session {
    /// Reads, opens and checks one value.
    pub async fn secret(
        &mut self,
        keyring: &Keyring,
        environment: &Environment,
        key: &KeyName,
    ) -> Result<OpenedSecret, ValueError> {
        environment.require_readable()?;
        let work = self.reading("reading the secret").await?;
        let sql = format!(
            "SELECT id, encrypted_value, value_hash, version, {} FROM secrets
             WHERE environment_id = $1 AND key = $2 AND deleted_at IS NULL",
            micros("updated_at")
        );
        let row = work
            .first(&sql, &[(&environment.id.0, Type::UUID), (&key.as_str(), Type::TEXT)])
            .await?
            .ok_or_else(|| secret_not_found(environment, key))?;
        let (sealed, version): (String, i64) = (row.get(1), row.get(3));
        let what = || format!("{key} of {} in project {}", environment.name, environment.project_name);
        let context = SealContext {
            project: environment.project,
            environment: environment.id,
            secret: SecretId(row.get(0)),
            key: key.as_str(),
            version,
        };
        let value = match keyring.open(&context, &sealed) {
            Ok(value) => value,
            Err(error) => {
                let error = name_ring(&work, &sealed, error).await?;
                return Err(ValueError::Open { what: what(), error });
            }
        };
        let hash_key = hash_keys::for_reading(&work, keyring, environment.project).await?;
        let stored = row.get::<_, String>(2).parse::<ValueHash>().ok();
        let check = stored.map_or(HashCheck::Unknown, |stored| verify(&value, &stored, hash_key.as_ref()));
        if check == HashCheck::Differs {
            return Err(ValueError::HashMismatch { what: what() });
        }
        Ok(OpenedSecret { value, version, updated_at: time(&row, 4), checked: check == HashCheck::Matches })
    }

    /// The live secrets that the acting user may read in an environment, without their values.
    pub async fn secrets(&mut self, environment: &Environment) -> Result<Vec<ListedSecret>, RegistryError> {
        let work = self.reading("listing secrets").await?;
        let rows = work
            .rows(
                "SELECT key, version FROM secrets WHERE environment_id = $1 AND deleted_at IS NULL ORDER BY key",
                &[(&environment.id.0, Type::UUID)],
            )
            .await?;
        Ok(rows.iter().map(|row| ListedSecret { key: row.get(0), version: row.get(1) }).collect())
    }

    /// The hashes of two environments' live secrets, from one snapshot. A hash in a form that is not understood is
    /// `None`, and so compares as unknown.
    pub async fn value_hashes(
        &mut self,
        left: &Environment,
        right: &Environment,
    ) -> Result<[BTreeMap<KeyName, Option<ValueHash>>; 2], RegistryError> {
        left.require_readable()?;
        right.require_readable()?;
        let work = self.reading("comparing environments").await?;
        Ok([hashes(&work, left).await?, hashes(&work, right).await?])
    }
}

async fn hashes(
    work: &Transaction<'_>,
    environment: &Environment,
) -> Result<BTreeMap<KeyName, Option<ValueHash>>, RegistryError> {
    let rows = work
        .rows(
            "SELECT key, value_hash FROM secrets WHERE environment_id = $1 AND deleted_at IS NULL",
            &[(&environment.id.0, Type::UUID)],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let key: String = row.get(0);
            let hash: Option<String> = row.get(1);
            let name = KeyName::try_from(key.clone()).map_err(|_| RegistryError::Inconsistent {
                table: "secrets",
                column: "key",
                row: key,
            })?;
            Ok((name, hash.and_then(|hash| hash.parse().ok())))
        })
        .collect()
}

/// The text says which encryption key it needs; the registry knows of which ring that is.
async fn name_ring(work: &Transaction<'_>, sealed: &str, error: OpenError) -> Result<OpenError, RegistryError> {
    let (OpenError::KeyNotHeld { .. }, Some(id)) = (&error, key_id_of(sealed)) else { return Ok(error) };
    let row = work.first("SELECT ring FROM encryption_keys WHERE id = $1", &[(&id, Type::TEXT)]).await?;
    let ring = row.and_then(|row| row.get::<_, String>(0).parse().ok());
    Ok(ring.map_or(error.clone(), |ring| error.in_ring(&ring)))
}
