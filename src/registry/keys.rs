//! The master list of a project's keys: definitions, exemptions, ends, and their state in each environment.

use tokio_postgres::types::Type;

use crate::core::{EnvironmentId, KeyName, KeyState, ProjectId, ProjectName, RegistryTime};

use super::environments::Environment;
use super::row::from_row;
use super::session::{Parameter, Session, Transaction};
use super::{Explanation, RegistryError};

/// `project_secret_registry.tracking`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tracking {
    /// A change in one environment makes the others stale.
    Tracked,
    /// Only creation, definition and retirement count.
    Independent,
}

impl Tracking {
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tracked => "tracked",
            Self::Independent => "independent",
        }
    }
}

#[derive(Debug)]
pub(crate) struct ListedKey {
    pub(crate) key: String,
    /// `tracked` or `independent`.
    pub(crate) tracking: String,
    /// Empty where nobody has said what it is for.
    pub(crate) description: String,
    /// When it last changed in any environment.
    pub(crate) last_updated_at: Option<RegistryTime>,
    pub(crate) retired_at: Option<RegistryTime>,
    /// The environments that do not need it.
    pub(crate) exempt: Vec<String>,
}

from_row!(
    ListedKey,
    "project_secret_registry",
    "key",
    [key, tracking, description, last_updated_at, retired_at, exempt]
);

/// One key in one environment.
#[derive(Debug)]
pub(crate) struct StateOfKey {
    pub(crate) key: String,
    pub(crate) environment: String,
    pub(crate) state: KeyState,
    /// When the live secret last changed or caught up.
    pub(crate) updated_at: Option<RegistryTime>,
    /// When the key last changed in any environment.
    pub(crate) last_updated_at: Option<RegistryTime>,
}

from_row!(StateOfKey, "key_states", "key", [key, environment, state, updated_at, last_updated_at]);

impl Session {
    /// The keys of a project, by name, retired ones too.
    pub(crate) async fn keys(&mut self, project: &ProjectName) -> Result<Vec<ListedKey>, RegistryError> {
        let transaction = self.reading("listing keys").await?;
        let project = transaction.project(project).await?;
        let sql =
            "SELECT r.key_name AS key, r.tracking::text AS tracking, r.description, r.last_updated_at, r.retired_at,
                    ARRAY(SELECT e.name FROM key_exemptions x JOIN environments e ON e.id = x.environment_id
                          WHERE x.project_id = r.project_id AND x.key_name = r.key_name AND e.deleted_at IS NULL
                          ORDER BY e.name) AS exempt
             FROM keys_of($1) r ORDER BY r.key_name";
        transaction.all(sql, &[(&project.0, Type::UUID)]).await
    }

    /// The states of a project's keys, by key and environment; `keys` empty: of all of them; `environment` absent: in all of
    /// them. The same for every member, whatever they may read.
    pub(crate) async fn key_states(
        &mut self,
        project: &ProjectName,
        keys: &[String],
        environment: Option<EnvironmentId>,
    ) -> Result<Vec<StateOfKey>, RegistryError> {
        let transaction = self.reading("reading the states of keys").await?;
        let project = transaction.project(project).await?;
        let sql = "SELECT s.key_name AS key, s.environment, s.state, s.updated_at, s.last_updated_at
                   FROM key_states_of($1, nullif($2, '{}'), $3) s";
        let environment = environment.map(|environment| environment.0);
        let parameters: [Parameter<'_>; 3] =
            [(&project.0, Type::UUID), (&keys, Type::TEXT_ARRAY), (&environment, Type::UUID)];
        let mut states: Vec<StateOfKey> = transaction.all(sql, &parameters).await?;
        // Hundreds of thousands are sorted faster here than there, by what some collation makes of names.
        states.sort_unstable_by(|one, other| (&one.key, &one.environment).cmp(&(&other.key, &other.environment)));
        Ok(states)
    }

    /// Declares that an environment does not need keys. One that is exempt already stays so.
    pub(crate) async fn exempt_keys(
        &mut self,
        environment: &Environment,
        keys: &[KeyName],
        reason: &str,
    ) -> Result<(), RegistryError> {
        environment.require_writable()?;
        let (transaction, project) =
            self.changing("exempting the environment", &environment.project_name, reason).await?;
        for key in keys {
            require_key(&transaction, project, &environment.project_name, key).await?;
        }
        let keys: Vec<&str> = keys.iter().map(KeyName::as_str).collect();
        let parameters: [Parameter<'_>; 4] = [
            (&environment.project.0, Type::UUID),
            (&environment.id.0, Type::UUID),
            (&keys, Type::TEXT_ARRAY),
            (&reason, Type::TEXT),
        ];
        transaction.perform("SELECT exempt_keys($1, $2, $3, $4)::text", &parameters).await?;
        transaction.commit().await
    }

    /// Takes exemptions back.
    pub(crate) async fn unexempt_keys(
        &mut self,
        environment: &Environment,
        keys: &[KeyName],
        reason: &str,
    ) -> Result<(), RegistryError> {
        environment.require_writable()?;
        let (transaction, _) = self.changing("taking the exemption back", &environment.project_name, reason).await?;
        let names: Vec<&str> = keys.iter().map(KeyName::as_str).collect();
        let parameters: [Parameter<'_>; 3] =
            [(&environment.project.0, Type::UUID), (&environment.id.0, Type::UUID), (&names, Type::TEXT_ARRAY)];
        let sql = "SELECT unexempt_keys($1, $2, $3) AS key";
        let removed: Vec<String> = transaction.values("key_exemptions", sql, &parameters).await?;
        if let Some(key) = keys.iter().find(|key| removed.iter().all(|removed| removed != key.as_str())) {
            return Err(RegistryError::NotFound(format!("{} is not exempt from {key}", environment.name).into()));
        }
        transaction.commit().await
    }

    /// Changes what is said about a key, which makes it stale in every environment.
    pub(crate) async fn define_key(
        &mut self,
        project: &ProjectName,
        key: &KeyName,
        description: Option<&str>,
        tracking: Option<Tracking>,
        reason: &str,
    ) -> Result<(), RegistryError> {
        let (transaction, project_id) = self.changing("defining the key", project.as_str(), reason).await?;
        transaction.require_admin(project_id, "defines its keys").await?;
        let parameters: [Parameter<'_>; 4] = [
            (&project_id.0, Type::UUID),
            (&key.as_str(), Type::TEXT),
            (&description, Type::TEXT),
            (&tracking.map(Tracking::as_str), Type::TEXT),
        ];
        let sql = "SELECT define_key($1, $2, $3, $4) AS found";
        if !transaction.value("project_secret_registry", sql, &parameters).await? {
            return Err(key_not_found(project.as_str(), key));
        }
        transaction.commit().await
    }

    /// Ends a key in the whole project: every live secret of it is soft-deleted.
    pub(crate) async fn retire_key(
        &mut self,
        project: &ProjectName,
        key: &KeyName,
        reason: &str,
    ) -> Result<(), RegistryError> {
        let (transaction, project_id) = self.changing("retiring the key", project.as_str(), reason).await?;
        transaction.require_admin(project_id, "retires its keys").await?;
        let keys = [key.as_str()];
        let keys = keys.as_slice();
        let parameters: [Parameter<'_>; 2] = [(&project_id.0, Type::UUID), (&keys, Type::TEXT_ARRAY)];
        let sql = "SELECT retire_keys($1, $2) AS key";
        if transaction.values::<String>("project_secret_registry", sql, &parameters).await?.is_empty() {
            return Err(key_not_found(project.as_str(), key));
        }
        transaction.commit().await
    }
}

async fn require_key(
    transaction: &Transaction<'_>,
    project: ProjectId,
    project_name: &str,
    key: &KeyName,
) -> Result<(), RegistryError> {
    let sql = "SELECT FROM keys_of($1, ARRAY[$2]) WHERE retired_at IS NULL";
    let parameters: [Parameter<'_>; 2] = [(&project.0, Type::UUID), (&key.as_str(), Type::TEXT)];
    if transaction.exists(sql, &parameters).await? {
        return Ok(());
    }
    Err(key_not_found(project_name, key))
}

fn key_not_found(project_name: &str, key: &KeyName) -> RegistryError {
    let message = format!("project {project_name} has no key {key}");
    let hint = format!("see: tidelock key list -p {project_name}");
    RegistryError::NotFound(Explanation::from(message).hint(hint))
}
