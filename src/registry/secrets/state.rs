//! Deleting, restoring and confirming: writes that bring no value.

use std::collections::BTreeSet;

use tokio_postgres::types::Type;

use crate::core::KeyName;

use super::batch::require_all;
use super::write::ObservedTimes;
use crate::registry::RegistryError;
use crate::registry::environments::Environment;
use crate::registry::session::{Session, Transaction};

impl Session {
    /// Soft-deletes keys, which counts as a change of each.
    pub async fn delete_secrets(
        &mut self,
        environment: &Environment,
        keys: &[KeyName],
        reason: &str,
    ) -> Result<(), RegistryError> {
        environment.require_writable()?;
        let keys = &distinct(keys);
        let (work, _) = self.changing("deleting secrets", &environment.project_name, reason).await?;
        require_live(&work, environment, keys).await?;
        let deleted = work
            .execute(
                "UPDATE secrets SET deleted_at = clock_timestamp()
                 WHERE environment_id = $1 AND key = ANY ($2) AND deleted_at IS NULL",
                &[(&environment.id.0, Type::UUID), (&names(keys), Type::TEXT_ARRAY)],
            )
            .await?;
        require_all(environment, keys.len(), deleted)?;
        work.commit().await
    }

    /// Brings back the newest deleted row of each key.
    pub async fn restore_secrets(
        &mut self,
        environment: &Environment,
        keys: &[KeyName],
        reason: &str,
    ) -> Result<(), RegistryError> {
        environment.require_writable()?;
        let (work, _) = self.changing("restoring secrets", &environment.project_name, reason).await?;
        let live = live_keys(&work, environment, keys).await?;
        if let Some(key) = keys.iter().find(|key| live.iter().any(|live| live == key.as_str())) {
            return Err(RegistryError::Refused {
                message: format!("{key} is live in {}, so there is nothing to restore", environment.name),
                hint: None,
            });
        }
        let restored = work
            .rows(
                "UPDATE secrets SET deleted_at = NULL WHERE id IN (
                     SELECT DISTINCT ON (key) id FROM secrets
                     WHERE environment_id = $1 AND key = ANY ($2) AND deleted_at IS NOT NULL
                     ORDER BY key, deleted_at DESC)
                 RETURNING key",
                &[(&environment.id.0, Type::UUID), (&names(keys), Type::TEXT_ARRAY)],
            )
            .await?;
        let restored: Vec<String> = restored.iter().map(|row| row.get(0)).collect();
        if let Some(key) = keys.iter().find(|key| restored.iter().all(|restored| restored != key.as_str())) {
            return Err(RegistryError::NotFound(format!(
                "{key} was never deleted in {} of project {}",
                environment.name, environment.project_name
            )));
        }
        work.commit().await
    }

    /// Accepts what was observed of keys elsewhere: the values here stay.
    pub async fn confirm_secrets(
        &mut self,
        environment: &Environment,
        keys: &[KeyName],
        observed: &ObservedTimes,
        reason: &str,
    ) -> Result<(), RegistryError> {
        environment.require_writable()?;
        let keys = &distinct(keys);
        let answers = keys
            .iter()
            .map(|key| {
                observed.time(key).map(|time| time.to_string()).ok_or_else(|| {
                    RegistryError::NotFound(format!("project {} has no key {key}", environment.project_name))
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (work, _) = self.changing("confirming secrets", &environment.project_name, reason).await?;
        require_live(&work, environment, keys).await?;
        let confirmed = work
            .execute(
                "UPDATE secrets s SET value_hash = s.value_hash, answers = n.answers::timestamptz
                 FROM unnest($2::text[], $3::text[]) AS n (key, answers)
                 WHERE s.environment_id = $1 AND s.key = n.key AND s.deleted_at IS NULL",
                &[(&environment.id.0, Type::UUID), (&names(keys), Type::TEXT_ARRAY), (&answers, Type::TEXT_ARRAY)],
            )
            .await?;
        require_all(environment, keys.len(), confirmed)?;
        work.commit().await
    }
}

/// A key that somebody named twice is one key.
pub(crate) fn distinct(keys: &[KeyName]) -> Vec<KeyName> {
    keys.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

fn names(keys: &[KeyName]) -> Vec<&str> {
    keys.iter().map(KeyName::as_str).collect()
}

async fn live_keys(
    work: &Transaction<'_>,
    environment: &Environment,
    keys: &[KeyName],
) -> Result<Vec<String>, RegistryError> {
    let rows = work
        .rows(
            "SELECT key FROM secrets WHERE environment_id = $1 AND key = ANY ($2) AND deleted_at IS NULL",
            &[(&environment.id.0, Type::UUID), (&names(keys), Type::TEXT_ARRAY)],
        )
        .await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn require_live(
    work: &Transaction<'_>,
    environment: &Environment,
    keys: &[KeyName],
) -> Result<(), RegistryError> {
    let live = live_keys(work, environment, keys).await?;
    match keys.iter().find(|key| live.iter().all(|live| live != key.as_str())) {
        None => Ok(()),
        Some(key) => Err(secret_not_found(environment, key)),
    }
}

pub(crate) fn secret_not_found(environment: &Environment, key: &KeyName) -> RegistryError {
    RegistryError::NotFound(format!(
        "{} in project {} has no secret {key}; see: tidelock status -p {}",
        environment.name, environment.project_name, environment.project_name
    ))
}
