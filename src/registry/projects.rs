//! Projects, and the recount of what triggers keep in them (`registry check`).

use tokio_postgres::types::Type;

use crate::core::{ProjectId, ProjectName, RegistryTime};
use crate::crypto::Keyring;

use super::row::from_row;
use super::session::{Parameter, Session};
use super::{RegistryError, ValueError, hash_keys};

#[derive(Debug)]
pub(crate) struct ListedProject {
    pub(crate) name: String,
    /// The acting user's role in it.
    pub(crate) role: String,
    /// How many environments are not deleted.
    pub(crate) environments: i64,
    /// How many transactions have changed the project.
    pub(crate) revision: i64,
    pub(crate) archived_at: Option<RegistryTime>,
}

from_row!(ListedProject, "projects", "name", [name, role, environments, revision, archived_at]);

/// A number that triggers keep and that does not match what it was counted from.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) project: String,
    pub(crate) mismatch: String,
    pub(crate) stored: Option<String>,
    pub(crate) counted: Option<String>,
}

from_row!(Finding, "registry_findings", "project", [project, mismatch, stored, counted]);

impl Session {
    /// Makes a project, whose ADMIN the acting user becomes, and with a keyring its hashing key. Answers for which rings that
    /// is sealed.
    pub(crate) async fn create_project(
        &mut self,
        name: &ProjectName,
        keyring: Option<&Keyring>,
        reason: &str,
    ) -> Result<(ProjectId, Vec<String>), ValueError> {
        let transaction = self.writing("creating the project", reason).await?;
        let parameters: [Parameter<'_>; 2] = [(&name.as_str(), Type::TEXT), (&reason, Type::TEXT)];
        let made = transaction.value("projects", "SELECT create_project($1, $2) AS id", &parameters).await;
        let id = made.map_err(|error| match error {
            RegistryError::Conflict(explained) => RegistryError::Refused(explained),
            other => other,
        })?;
        let sealed = match keyring {
            Some(keyring) => hash_keys::create(&transaction, keyring, id).await?,
            None => Vec::new(),
        };
        transaction.commit().await?;
        Ok((id, sealed))
    }

    /// The projects that the acting user is a member of, by name.
    pub(crate) async fn projects(&mut self) -> Result<Vec<ListedProject>, RegistryError> {
        let transaction = self.reading("listing projects").await?;
        let sql = "SELECT p.name, m.role::text AS role,
                    (SELECT count(*) FROM environments e WHERE e.project_id = p.id AND e.deleted_at IS NULL) AS environments,
                    r.revision, p.archived_at
             FROM projects p JOIN memberships m ON m.project_id = p.id JOIN project_revisions r ON r.project_id = p.id
             ORDER BY p.name";
        transaction.all(sql, &[]).await
    }

    /// Archives a project: what it has stays readable, nothing in it changes any more.
    pub(crate) async fn archive_project(&mut self, name: &ProjectName, reason: &str) -> Result<(), RegistryError> {
        let transaction = self.writing("archiving the project", reason).await?;
        let parameters: [Parameter<'_>; 2] = [(&name.as_str(), Type::TEXT), (&reason, Type::TEXT)];
        transaction.perform("SELECT archive_project($1, $2)::text", &parameters).await?;
        transaction.commit().await
    }

    /// Recounts the projects of the acting user. Nothing is the healthy answer.
    pub(crate) async fn findings(&mut self) -> Result<Vec<Finding>, RegistryError> {
        let transaction = self.reading("checking the registry").await?;
        let sql =
            "SELECT project, finding AS mismatch, stored, counted FROM registry_findings() ORDER BY project, finding";
        transaction.all(sql, &[]).await
    }

    /// Sets the counts right in the projects that the acting user administers; answers how many were wrong.
    pub(crate) async fn repair(&mut self, reason: &str) -> Result<i64, RegistryError> {
        let transaction = self.writing("repairing the registry", reason).await?;
        let corrected = transaction.value("environments", "SELECT repair_registry() AS corrected", &[]).await?;
        transaction.commit().await?;
        Ok(corrected)
    }
}
