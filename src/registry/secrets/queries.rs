//! What a write reads: its environment and the rows that it goes over, and afterwards what the audit log made of it.

use std::collections::BTreeMap;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use crate::core::{KeyName, ProjectId, RegistryTime, RingName, SecretId, SecretValue};

use crate::registry::RegistryError;
use crate::registry::environments::Environment;
use crate::registry::row::{Columns, FromRow, from_row};
use crate::registry::session::{Parameter, Transaction};

/// What a write was, in the database's own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WriteOutcome {
    /// A key that was not live here; other environments are behind now.
    Created,
    /// A new value; other environments are behind now.
    Changed,
    /// A value that only catches up with a change elsewhere.
    Followed,
    /// The value that was there, which stays in spite of a change elsewhere.
    Confirmed,
    /// The value that was there, whose stored text was damaged: sealed anew, as the next version.
    Repaired,
    /// The value that was there, and nothing to catch up with: nothing was written.
    Unchanged,
}

/// What a value is written over. Nobody changes it meanwhile: the project's mutex is held.
pub(super) struct Current {
    /// The live row, where there is one.
    pub(super) live: Option<Live>,
    /// The key's time in the registry, where it is registered and not retired.
    pub(super) registered: Option<RegistryTime>,
}

pub(super) struct Live {
    pub(super) id: SecretId,
    pub(super) version: i64,
    pub(super) encrypted_value: String,
    pub(super) value_hash: String,
    pub(super) updated_at: RegistryTime,
}

impl FromRow for Current {
    fn from_row(row: &Row) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, "secrets", "key");
        let live = match columns.get("id")? {
            None => None,
            Some(id) => Some(Live {
                id,
                version: columns.get("version")?,
                encrypted_value: columns.get("encrypted_value")?,
                value_hash: columns.get("value_hash")?,
                updated_at: columns.get("updated_at")?,
            }),
        };
        Ok(Self { live, registered: columns.get("last_updated_at")? })
    }
}

/// What a write has to know of its environment.
pub(super) struct Before {
    pub(super) ring: RingName,
    /// The newest audit row of the project: the rows after it are this write's own.
    pub(super) audit_position: i64,
}

from_row!(Before, "environments", "ring", [ring, audit_position]);

struct AuditedWrite {
    subject: String,
    action: String,
}

from_row!(AuditedWrite, "audit_logs", "subject", [subject, action]);

pub(super) async fn before(transaction: &Transaction<'_>, environment: &Environment) -> Result<Before, RegistryError> {
    let sql = "SELECT ring, audit_position($2) AS audit_position FROM environment_of($2, $1)";
    let parameters: [Parameter<'_>; 2] = [(&environment.id.0, Type::UUID), (&environment.project.0, Type::UUID)];
    transaction.one(sql, &parameters).await
}

/// One row for each value, in their order.
pub(super) async fn current(
    transaction: &Transaction<'_>,
    project: ProjectId,
    environment: &Environment,
    values: &[(KeyName, SecretValue)],
) -> Result<Vec<Current>, RegistryError> {
    let keys: Vec<&str> = values.iter().map(|(key, _)| key.as_str()).collect();
    let sql = "SELECT k.key, s.id, s.version, s.encrypted_value, s.value_hash, s.updated_at, r.last_updated_at
         FROM unnest($1::text[]) WITH ORDINALITY AS k (key, place)
         LEFT JOIN secrets_of($3, $2, $1) s ON s.key = k.key
         LEFT JOIN keys_of($3, $1) r ON r.key_name = k.key AND r.retired_at IS NULL
         ORDER BY k.place";
    let parameters: [Parameter<'_>; 3] =
        [(&keys, Type::TEXT_ARRAY), (&environment.id.0, Type::UUID), (&project.0, Type::UUID)];
    transaction.all(sql, &parameters).await
}

struct HashKeyInUse {
    key: String,
    hash_key_id: String,
}

from_row!(HashKeyInUse, "secrets", "key", [key, hash_key_id]);

/// Under which hashing key the keys are hashed, those of them that are live anywhere in the project.
pub(super) async fn hash_keys_in_use(
    transaction: &Transaction<'_>,
    project: ProjectId,
    values: &[(KeyName, SecretValue)],
) -> Result<BTreeMap<String, String>, RegistryError> {
    let keys: Vec<&str> = values.iter().map(|(key, _)| key.as_str()).collect();
    let parameters: [Parameter<'_>; 2] = [(&project.0, Type::UUID), (&keys, Type::TEXT_ARRAY)];
    let rows: Vec<HashKeyInUse> =
        transaction.all("SELECT key, hash_key_id FROM hash_keys_in_use($1, $2)", &parameters).await?;
    Ok(rows.into_iter().map(|row| (row.key, row.hash_key_id)).collect())
}

/// What this transaction's audit rows say about one environment.
pub(super) async fn audited(
    transaction: &Transaction<'_>,
    project: ProjectId,
    environment: &Environment,
    after: i64,
) -> Result<Vec<(String, WriteOutcome)>, RegistryError> {
    let sql = "SELECT subject, action FROM audit_after($1, $2) WHERE environment_id = $3 ORDER BY position";
    let parameters: [Parameter<'_>; 3] =
        [(&project.0, Type::UUID), (&after, Type::INT8), (&environment.id.0, Type::UUID)];
    let rows: Vec<AuditedWrite> = transaction.all(sql, &parameters).await?;
    let outcomes = rows.into_iter().filter_map(|row| {
        let outcome = match row.action.as_str() {
            "secret.create" => WriteOutcome::Created,
            "secret.update" => WriteOutcome::Changed,
            "secret.follow" => WriteOutcome::Followed,
            "secret.confirm" => WriteOutcome::Confirmed,
            "secret.repair" => WriteOutcome::Repaired,
            _ => return None,
        };
        Some((row.subject, outcome))
    });
    Ok(outcomes.collect())
}
