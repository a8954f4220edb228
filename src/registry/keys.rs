//! The master list of a project's keys: definitions, exemptions, ends.

use tokio_postgres::types::Type;

use crate::core::{KeyName, ProjectId, ProjectName, RegistryTime};

use super::RegistryError;
use super::environments::Environment;
use super::secrets::distinct;
use super::session::{Session, Transaction, micros, time};

/// `project_secret_registry.tracking`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracking {
    /// A change in one environment makes the others stale.
    Tracked,
    /// Only creation, definition and retirement count.
    Independent,
}

impl Tracking {
    /// The name, as the database has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tracked => "tracked",
            Self::Independent => "independent",
        }
    }
}

/// One line of a listing.
#[derive(Debug, Clone)]
pub struct ListedKey {
    /// The key.
    pub key: String,
    /// `tracked` or `independent`.
    pub tracking: String,
    /// What it is for, if somebody said.
    pub description: String,
    /// When it last changed anywhere.
    pub last_updated_at: Option<RegistryTime>,
    /// When it was retired, if it was.
    pub retired_at: Option<RegistryTime>,
    /// The environments that do not need it.
    pub exempt: Vec<String>,
}

impl Session {
    /// The keys of a project, by name, retired ones too.
    pub async fn keys(&mut self, project: &ProjectName) -> Result<Vec<ListedKey>, RegistryError> {
        let work = self.reading("listing keys").await?;
        let project = work.project(project).await?;
        let sql = format!(
            "SELECT r.key_name, r.tracking::text, r.description, {}, {},
                    ARRAY(SELECT e.name FROM key_exemptions x JOIN environments e ON e.id = x.environment_id
                          WHERE x.project_id = r.project_id AND x.key_name = r.key_name AND e.deleted_at IS NULL
                          ORDER BY e.name)
             FROM project_secret_registry r WHERE r.project_id = $1 ORDER BY r.key_name",
            micros("r.last_updated_at"),
            micros("r.retired_at")
        );
        let rows = work.rows(&sql, &[(&project.0, Type::UUID)]).await?;
        let listed = rows.iter().map(|row| ListedKey {
            key: row.get(0),
            tracking: row.get(1),
            description: row.get(2),
            last_updated_at: time(row, 3),
            retired_at: time(row, 4),
            exempt: row.get(5),
        });
        Ok(listed.collect())
    }

    /// Declares that an environment does not need keys. One that is exempt already stays so.
    pub async fn exempt_keys(
        &mut self,
        environment: &Environment,
        keys: &[KeyName],
        reason: &str,
    ) -> Result<(), RegistryError> {
        environment.require_writable()?;
        let (work, project) = self.changing("exempting the environment", &environment.project_name, reason).await?;
        for key in keys {
            require_key(&work, project, &environment.project_name, key).await?;
            work.execute(
                "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason)
                 SELECT $1, $2, $3, $4 WHERE NOT EXISTS (
                     SELECT FROM key_exemptions WHERE environment_id = $2 AND key_name = $3)",
                &[
                    (&project.0, Type::UUID),
                    (&environment.id.0, Type::UUID),
                    (&key.as_str(), Type::TEXT),
                    (&reason, Type::TEXT),
                ],
            )
            .await?;
        }
        work.commit().await
    }

    /// Takes exemptions back.
    pub async fn unexempt_keys(
        &mut self,
        environment: &Environment,
        keys: &[KeyName],
        reason: &str,
    ) -> Result<(), RegistryError> {
        environment.require_writable()?;
        let (work, _) = self.changing("taking the exemption back", &environment.project_name, reason).await?;
        for key in &distinct(keys) {
            let removed = work
                .execute(
                    "DELETE FROM key_exemptions WHERE environment_id = $1 AND key_name = $2",
                    &[(&environment.id.0, Type::UUID), (&key.as_str(), Type::TEXT)],
                )
                .await?;
            if removed == 0 {
                return Err(RegistryError::NotFound(format!("{} is not exempt from {key}", environment.name)));
            }
        }
        work.commit().await
    }

    /// Changes what is said about a key; every environment then has to look.
    pub async fn define_key(
        &mut self,
        project: &ProjectName,
        key: &KeyName,
        description: Option<&str>,
        tracking: Option<Tracking>,
        reason: &str,
    ) -> Result<(), RegistryError> {
        let (work, project_id) = self.changing("defining the key", project.as_str(), reason).await?;
        work.require_admin(project_id, "defines its keys").await?;
        require_key(&work, project_id, project.as_str(), key).await?;
        work.execute(
            "UPDATE project_secret_registry SET description = coalesce($3::text, description),
                    tracking = coalesce(($4::text)::key_tracking, tracking)
             WHERE project_id = $1 AND key_name = $2 AND (
                 description IS DISTINCT FROM coalesce($3::text, description)
                 OR tracking IS DISTINCT FROM coalesce(($4::text)::key_tracking, tracking))",
            &[
                (&project_id.0, Type::UUID),
                (&key.as_str(), Type::TEXT),
                (&description, Type::TEXT),
                (&tracking.map(Tracking::as_str), Type::TEXT),
            ],
        )
        .await?;
        work.commit().await
    }

    /// Ends a key in the whole project: every live secret of it is soft-deleted.
    pub async fn retire_key(
        &mut self,
        project: &ProjectName,
        key: &KeyName,
        reason: &str,
    ) -> Result<(), RegistryError> {
        let (work, project_id) = self.changing("retiring the key", project.as_str(), reason).await?;
        work.require_admin(project_id, "retires its keys").await?;
        require_key(&work, project_id, project.as_str(), key).await?;
        work.execute(
            "UPDATE project_secret_registry SET retired_at = clock_timestamp()
             WHERE project_id = $1 AND key_name = $2 AND retired_at IS NULL",
            &[(&project_id.0, Type::UUID), (&key.as_str(), Type::TEXT)],
        )
        .await?;
        work.commit().await
    }
}

async fn require_key(
    work: &Transaction<'_>,
    project: ProjectId,
    project_name: &str,
    key: &KeyName,
) -> Result<(), RegistryError> {
    let found = work
        .first(
            "SELECT 1 FROM project_secret_registry WHERE project_id = $1 AND key_name = $2 AND retired_at IS NULL",
            &[(&project.0, Type::UUID), (&key.as_str(), Type::TEXT)],
        )
        .await?;
    match found {
        Some(_) => Ok(()),
        None => Err(RegistryError::NotFound(format!(
            "project {project_name} has no key {key}; see: tidelock key list -p {project_name}"
        ))),
    }
}
