//! Projects.

use tokio_postgres::types::Type;

use crate::core::{ProjectId, ProjectName, RegistryTime};

use super::RegistryError;
use super::session::{Session, micros, time};

/// One line of a listing.
#[derive(Debug, Clone)]
pub struct ListedProject {
    /// Its name.
    pub name: String,
    /// The acting user's role in it.
    pub role: String,
    /// Its environments that are not deleted.
    pub environments: i64,
    /// How many transactions have changed it.
    pub revision: i64,
    /// When it was archived, if it was.
    pub archived_at: Option<RegistryTime>,
}

impl Session {
    /// Makes a project, whose ADMIN the acting user becomes.
    pub async fn create_project(&mut self, name: &ProjectName, reason: &str) -> Result<ProjectId, RegistryError> {
        let work = self.writing("creating the project", reason).await?;
        let row = work
            .one("SELECT create_project($1, $2)", &[(&name.as_str(), Type::TEXT), (&reason, Type::TEXT)])
            .await
            .map_err(|error| match error {
                RegistryError::Conflict(message) => RegistryError::Refused { message, hint: None },
                other => other,
            })?;
        work.commit().await?;
        Ok(ProjectId(row.get(0)))
    }

    /// The projects that the acting user is a member of, by name.
    pub async fn projects(&mut self) -> Result<Vec<ListedProject>, RegistryError> {
        let work = self.reading("listing projects").await?;
        let sql = format!(
            "SELECT p.name, m.role::text,
                    (SELECT count(*) FROM environments e WHERE e.project_id = p.id AND e.deleted_at IS NULL),
                    r.revision, {}
             FROM projects p JOIN memberships() m ON m.project_id = p.id JOIN project_revisions r ON r.project_id = p.id
             ORDER BY p.name",
            micros("p.archived_at")
        );
        let rows = work.rows(&sql, &[]).await?;
        let listed = rows.iter().map(|row| ListedProject {
            name: row.get(0),
            role: row.get(1),
            environments: row.get(2),
            revision: row.get(3),
            archived_at: time(row, 4),
        });
        Ok(listed.collect())
    }

    /// Archives a project: what it has stays readable, nothing in it changes any more.
    pub async fn archive_project(&mut self, name: &ProjectName, reason: &str) -> Result<(), RegistryError> {
        let work = self.writing("archiving the project", reason).await?;
        work.rows("SELECT archive_project($1, $2)::text", &[(&name.as_str(), Type::TEXT), (&reason, Type::TEXT)])
            .await?;
        work.commit().await
    }
}
