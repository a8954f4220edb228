//! `registry check`: what triggers keep, counted again.

use super::RegistryError;
use super::session::Session;

/// Something that is kept and does not match what it was counted from.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The project.
    pub project: String,
    /// What does not match.
    pub finding: String,
    /// What is kept.
    pub stored: Option<String>,
    /// What it should be.
    pub counted: Option<String>,
}

impl Session {
    /// Recounts the projects of the acting user. Nothing is the healthy answer.
    pub async fn findings(&mut self) -> Result<Vec<Finding>, RegistryError> {
        let work = self.reading("checking the registry").await?;
        let rows = work
            .rows("SELECT project, finding, stored, counted FROM registry_findings() ORDER BY project, finding", &[])
            .await?;
        let findings = rows.iter().map(|row| Finding {
            project: row.get(0),
            finding: row.get(1),
            stored: row.get(2),
            counted: row.get(3),
        });
        Ok(findings.collect())
    }

    /// Sets the counts right in the projects that the acting user administers; answers how many were wrong.
    pub async fn repair(&mut self, reason: &str) -> Result<i64, RegistryError> {
        let work = self.writing("repairing the registry", reason).await?;
        let row = work.one("SELECT repair_registry()", &[]).await?;
        work.commit().await?;
        Ok(row.get(0))
    }
}
