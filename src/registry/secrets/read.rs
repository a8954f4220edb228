//! Reading: one value opened and checked, or all hashes and nothing opened.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;

use crate::core::{KeyName, RegistryTime, SecretId, SecretValue, ValueHash};
use crate::crypto::{HashCheck, Keyring, OpenError, SealContext, key_id_of, verify_text};

use super::state::secret_not_found;
use crate::registry::environments::Environment;
use crate::registry::row::from_row;
use crate::registry::session::{Parameter, Session, Transaction};
use crate::registry::{RegistryError, ValueError, hash_keys};

pub(crate) struct OpenedSecret {
    pub(crate) value: SecretValue,
    pub(crate) version: i64,
    /// When it last changed or caught up.
    pub(crate) updated_at: Option<RegistryTime>,
    /// Whether its hash could be checked; not where the keyring lacks the project's hashing key.
    pub(crate) checked: bool,
}

/// A live secret without its value.
#[derive(Debug)]
pub(crate) struct ListedSecret {
    pub(crate) key: String,
    /// Counts the values of this row, from 1.
    pub(crate) version: i64,
}

from_row!(ListedSecret, "secrets", "key", [key, version]);

struct SealedSecret {
    id: SecretId,
    encrypted_value: String,
    value_hash: String,
    version: i64,
    updated_at: Option<RegistryTime>,
}

from_row!(SealedSecret, "secrets", "id", [id, encrypted_value, value_hash, version, updated_at]);

struct HashOfKey {
    key: KeyName,
    value_hash: Option<String>,
}

from_row!(HashOfKey, "secrets", "key", [key, value_hash]);

impl Session {
    /// Reads, opens and checks one value.
    pub(crate) async fn secret(
        &mut self,
        keyring: &Keyring,
        environment: &Environment,
        key: &KeyName,
    ) -> Result<OpenedSecret, ValueError> {
        environment.require_readable()?;
        let transaction = self.reading("reading the secret").await?;
        let sql = "SELECT id, encrypted_value, value_hash, version, updated_at
             FROM secrets_of($1, $2, ARRAY[$3])";
        let parameters: [Parameter<'_>; 3] =
            [(&environment.project.0, Type::UUID), (&environment.id.0, Type::UUID), (&key.as_str(), Type::TEXT)];
        let found: Option<SealedSecret> = transaction.first(sql, &parameters).await?;
        let sealed = found.ok_or_else(|| secret_not_found(environment, key))?;
        let what = || format!("{key} of {} in project {}", environment.name, environment.project_name);
        let context = SealContext {
            project: environment.project,
            environment: environment.id,
            secret: sealed.id,
            key: key.as_str(),
            version: sealed.version,
        };
        let value = match keyring.open(&context, &sealed.encrypted_value) {
            Ok(value) => value,
            Err(error) => {
                let source = name_ring(&transaction, &sealed.encrypted_value, error).await?;
                return Err(ValueError::Open { what: what(), source });
            }
        };
        let hash_keys = hash_keys::for_reading(&transaction, keyring, environment.project).await?;
        let check = verify_text(&value, &sealed.value_hash, &hash_keys);
        if check == HashCheck::Differs {
            return Err(ValueError::HashMismatch { what: what() });
        }
        let checked = check == HashCheck::Matches;
        Ok(OpenedSecret { value, version: sealed.version, updated_at: sealed.updated_at, checked })
    }

    /// The live secrets that the acting user may read in an environment, without their values.
    pub(crate) async fn secrets(&mut self, environment: &Environment) -> Result<Vec<ListedSecret>, RegistryError> {
        let transaction = self.reading("listing secrets").await?;
        let sql = "SELECT key, version FROM secrets_of($1, $2) ORDER BY key";
        transaction.all(sql, &[(&environment.project.0, Type::UUID), (&environment.id.0, Type::UUID)]).await
    }

    /// The hashes of two environments' live secrets, from one snapshot. A hash in a form that is not understood is
    /// `None`, and so compares as unknown.
    pub(crate) async fn value_hashes(
        &mut self,
        left: &Environment,
        right: &Environment,
    ) -> Result<[BTreeMap<KeyName, Option<ValueHash>>; 2], RegistryError> {
        left.require_readable()?;
        right.require_readable()?;
        let transaction = self.reading("comparing environments").await?;
        Ok([hashes(&transaction, left).await?, hashes(&transaction, right).await?])
    }
}

async fn hashes(
    transaction: &Transaction<'_>,
    environment: &Environment,
) -> Result<BTreeMap<KeyName, Option<ValueHash>>, RegistryError> {
    let sql = "SELECT key, value_hash FROM secrets_of($1, $2)";
    let parameters: [Parameter<'_>; 2] = [(&environment.project.0, Type::UUID), (&environment.id.0, Type::UUID)];
    let rows: Vec<HashOfKey> = transaction.all(sql, &parameters).await?;
    Ok(rows.into_iter().map(|row| (row.key, row.value_hash.and_then(|hash| hash.parse().ok()))).collect())
}

/// The text says which encryption key it needs; the registry knows of which ring that is.
async fn name_ring(transaction: &Transaction<'_>, sealed: &str, error: OpenError) -> Result<OpenError, RegistryError> {
    let (OpenError::KeyNotHeld { .. }, Some(id)) = (&error, key_id_of(sealed)) else { return Ok(error) };
    let sql = "SELECT ring FROM encryption_keys WHERE id = $1";
    let ring: Option<String> = transaction.first_value("encryption_keys", sql, &[(&id, Type::TEXT)]).await?;
    let ring = ring.and_then(|ring| ring.parse().ok());
    Ok(ring.map_or(error.clone(), |ring| error.in_ring(&ring)))
}
