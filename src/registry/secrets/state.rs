//! Deleting, restoring and confirming: writes that bring no value.

use std::collections::BTreeSet;

use tokio_postgres::types::Type;

use crate::core::KeyName;

use super::write::ObservedTimes;
use crate::registry::environments::Environment;
use crate::registry::session::{Parameter, Session, Transaction};
use crate::registry::{Explanation, RegistryError};

impl Session {
    /// Soft-deletes keys, which counts as a change of each.
    pub(crate) async fn delete_secrets(
        &mut self,
        environment: &Environment,
        keys: &[KeyName],
        reason: &str,
    ) -> Result<(), RegistryError> {
        environment.require_writable()?;
        let keys = &distinct(keys);
        let (transaction, _) = self.changing("deleting secrets", &environment.project_name, reason).await?;
        let sql = "SELECT delete_secrets($1, $2, $3) AS key";
        let parameters: [Parameter<'_>; 3] =
            [(&environment.project.0, Type::UUID), (&environment.id.0, Type::UUID), (&names(keys), Type::TEXT_ARRAY)];
        require_all(environment, keys, &transaction.values("secrets", sql, &parameters).await?)?;
        transaction.commit().await
    }

    /// Brings back the newest deleted row of each key.
    pub(crate) async fn restore_secrets(
        &mut self,
        environment: &Environment,
        keys: &[KeyName],
        reason: &str,
    ) -> Result<(), RegistryError> {
        environment.require_writable()?;
        let (transaction, _) = self.changing("restoring secrets", &environment.project_name, reason).await?;
        let live = live_keys(&transaction, environment, keys).await?;
        if let Some(key) = keys.iter().find(|key| live.iter().any(|live| live == key.as_str())) {
            return Err(RegistryError::Refused(
                format!("{key} is live in {}, so there is nothing to restore", environment.name).into(),
            ));
        }
        let restored: Vec<String> = transaction
            .values(
                "secrets",
                "SELECT restore_secrets($1, $2, $3) AS key",
                &[
                    (&environment.project.0, Type::UUID),
                    (&environment.id.0, Type::UUID),
                    (&names(keys), Type::TEXT_ARRAY),
                ],
            )
            .await?;
        if let Some(key) = keys.iter().find(|key| restored.iter().all(|restored| restored != key.as_str())) {
            let message =
                format!("{key} was never deleted in {} of project {}", environment.name, environment.project_name);
            return Err(RegistryError::NotFound(message.into()));
        }
        transaction.commit().await
    }

    /// Accepts the changes of keys elsewhere, up to the times observed: the values here stay.
    pub(crate) async fn confirm_secrets(
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
                    RegistryError::NotFound(format!("project {} has no key {key}", environment.project_name).into())
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        let (transaction, _) = self.changing("confirming secrets", &environment.project_name, reason).await?;
        let sql = "SELECT confirm_secrets($1, $2, $3, ($4::text[])::timestamptz[]) AS key";
        let parameters: [Parameter<'_>; 4] = [
            (&environment.project.0, Type::UUID),
            (&environment.id.0, Type::UUID),
            (&names(keys), Type::TEXT_ARRAY),
            (&answers, Type::TEXT_ARRAY),
        ];
        require_all(environment, keys, &transaction.values("secrets", sql, &parameters).await?)?;
        transaction.commit().await
    }
}

/// A key that somebody named twice is one key.
fn distinct(keys: &[KeyName]) -> Vec<KeyName> {
    keys.iter().collect::<BTreeSet<_>>().into_iter().cloned().collect()
}

fn names(keys: &[KeyName]) -> Vec<&str> {
    keys.iter().map(KeyName::as_str).collect()
}

async fn live_keys(
    transaction: &Transaction<'_>,
    environment: &Environment,
    keys: &[KeyName],
) -> Result<Vec<String>, RegistryError> {
    let sql = "SELECT key FROM secrets_of($1, $2, $3)";
    let parameters: [Parameter<'_>; 3] =
        [(&environment.project.0, Type::UUID), (&environment.id.0, Type::UUID), (&names(keys), Type::TEXT_ARRAY)];
    transaction.values("secrets", sql, &parameters).await
}

/// All that were named, or nothing: the first key that was not live here is told.
fn require_all(environment: &Environment, keys: &[KeyName], written: &[String]) -> Result<(), RegistryError> {
    match keys.iter().find(|key| written.iter().all(|written| written != key.as_str())) {
        None => Ok(()),
        Some(key) => Err(secret_not_found(environment, key)),
    }
}

pub(crate) fn secret_not_found(environment: &Environment, key: &KeyName) -> RegistryError {
    let message = format!("{} in project {} has no secret {key}", environment.name, environment.project_name);
    let hint = format!("see: tidelock status -p {}", environment.project_name);
    RegistryError::NotFound(Explanation::from(message).hint(hint))
}
