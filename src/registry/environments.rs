//! Environments of a project.

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::core::{EnvironmentId, EnvironmentName, ProjectId, ProjectName, RegistryTime, RingName};
use crate::crypto::Keyring;

use super::row::{Columns, FromRow, from_row};
use super::session::{Parameter, Session, Transaction, project_not_found};
use super::{Explanation, RegistryError, ValueError, hash_keys};

/// An environment as its project names it, and what the acting user may do there.
#[expect(clippy::struct_excessive_bools, reason = "four facts that do not exclude each other")]
#[derive(Debug, Clone)]
pub struct Environment {
    pub(crate) project: ProjectId,
    pub(crate) project_name: String,
    pub(crate) id: EnvironmentId,
    pub(crate) name: String,
    pub(crate) production: bool,
    /// Whether the project is archived, so that nobody reads or writes here.
    pub(crate) archived: bool,
    /// Whether the acting user may read secrets here.
    pub(crate) readable: bool,
    /// Whether the acting user may write secrets here.
    pub(crate) writable: bool,
}

impl Environment {
    /// Refuses, in words, a user who may not read here.
    pub(crate) fn require_readable(&self) -> Result<(), RegistryError> {
        if self.readable { Ok(()) } else { Err(self.refused("read")) }
    }

    /// Refuses, in words, a user who may not write here: a policy alone would answer that nothing was there to change.
    pub(crate) fn require_writable(&self) -> Result<(), RegistryError> {
        if self.writable { Ok(()) } else { Err(self.refused("write")) }
    }

    fn refused(&self, verb: &str) -> RegistryError {
        let why = if self.archived {
            "the project is archived"
        } else if self.production {
            "it is production, which takes the role ADMIN"
        } else {
            "your role or membership does not cover it"
        };
        let message = format!("you may not {verb} secrets of {} in project {}: {why}", self.name, self.project_name);
        let hint = format!("see memberships: tidelock member list -p {}", self.project_name);
        RegistryError::Refused(Explanation::from(message).hint(hint))
    }
}

#[derive(Debug)]
pub(crate) struct ListedEnvironment {
    pub(crate) name: String,
    pub(crate) production: bool,
    pub(crate) ring: String,
    pub(crate) live_secrets: i64,
    /// The project's revision at which the live values here last changed.
    pub(crate) revision: i64,
    pub(crate) created_at: Option<RegistryTime>,
}

from_row!(ListedEnvironment, "environments", "name", [name, production, ring, live_secrets, revision, created_at]);

#[derive(Debug)]
pub(crate) struct NewEnvironment {
    pub(crate) name: EnvironmentName,
    pub(crate) production: bool,
    /// `None`: `production` for production, else `default`.
    pub(crate) ring: Option<RingName>,
}

#[derive(Debug)]
pub(crate) struct CreatedEnvironment {
    pub(crate) id: EnvironmentId,
    pub(crate) ring: String,
    /// Whether the project's hashing key can be opened by who holds just that ring. Where not, the first write here
    /// by someone who holds an older ring of the project as well makes it so.
    pub(crate) hash_key_sealed: bool,
}

impl Session {
    /// An environment by name.
    pub async fn environment(
        &mut self,
        project: &ProjectName,
        name: &EnvironmentName,
    ) -> Result<Environment, RegistryError> {
        let transaction = self.reading("looking for the environment").await?;
        find(&transaction, project, name).await
    }

    /// The environments of a project that are not deleted, by name.
    pub(crate) async fn environments(
        &mut self,
        project: &ProjectName,
    ) -> Result<Vec<ListedEnvironment>, RegistryError> {
        let transaction = self.reading("listing environments").await?;
        let project = transaction.project(project).await?;
        let sql = "SELECT name, is_production AS production, ring, live_secrets, revision, created_at FROM environments
             WHERE project_id = $1 AND deleted_at IS NULL ORDER BY is_production, name";
        transaction.all(sql, &[(&project.0, Type::UUID)]).await
    }

    /// Makes an environment. With a keyring, the project's hashing key is sealed for its ring at once.
    pub(crate) async fn create_environment(
        &mut self,
        project: &ProjectName,
        new: &NewEnvironment,
        keyring: Option<&Keyring>,
        reason: &str,
    ) -> Result<CreatedEnvironment, ValueError> {
        let (transaction, project_id) = self.changing("creating the environment", project.as_str(), reason).await?;
        if new.production {
            transaction.require_admin(project_id, "creates its production environment").await?;
        }
        let id = Uuid::new_v4();
        let ring = new.ring.as_ref().map(RingName::as_str);
        let made = transaction
            .value(
                "environments",
                "INSERT INTO environments (id, project_id, name, is_production, ring) VALUES ($1, $2, $3, $4, $5)
                 RETURNING ring",
                &[
                    (&id, Type::UUID),
                    (&project_id.0, Type::UUID),
                    (&new.name.as_str(), Type::TEXT),
                    (&new.production, Type::BOOL),
                    (&ring, Type::TEXT),
                ],
            )
            .await;
        let ring: String = made.map_err(|error| explain(error, project, new))?;
        let hash_key_sealed = match keyring {
            Some(keyring) => hash_keys::seal_for(&transaction, keyring, project_id, &ring).await?,
            None => false,
        };
        transaction.commit().await?;
        Ok(CreatedEnvironment { id: EnvironmentId(id), ring, hash_key_sealed })
    }
}

pub(super) async fn find(
    transaction: &Transaction<'_>,
    project: &ProjectName,
    name: &EnvironmentName,
) -> Result<Environment, RegistryError> {
    let parameters: [Parameter<'_>; 2] = [(&project.as_str(), Type::TEXT), (&name.as_str(), Type::TEXT)];
    let found: ProjectWithEnvironment = transaction
        .first(
            "SELECT project_id AS project, project_name, is_archived AS archived, id, name, is_production AS production,
                    readable, writable
             FROM environment_named($1, $2)",
            &parameters,
        )
        .await?
        .ok_or_else(|| project_not_found(project.as_str()))?;
    found.0.ok_or_else(|| {
        let message = format!("project {project} has no environment {name}");
        let hint = format!("see: tidelock environment list -p {project}");
        RegistryError::NotFound(Explanation::from(message).hint(hint))
    })
}

/// A project that is there, with the environment where that is, too.
struct ProjectWithEnvironment(Option<Environment>);

impl FromRow for ProjectWithEnvironment {
    fn from_row(row: &Row) -> Result<Self, RegistryError> {
        let columns = Columns::new(row, "environments", "name");
        let Some(id) = columns.get("id")? else { return Ok(Self(None)) };
        Ok(Self(Some(Environment {
            project: columns.get("project")?,
            project_name: columns.get("project_name")?,
            id,
            name: columns.get("name")?,
            production: columns.get("production")?,
            archived: columns.get("archived")?,
            readable: columns.get("readable")?,
            writable: columns.get("writable")?,
        })))
    }
}

/// The database says that it exists already; which of the two rules that was, the names tell.
fn explain(error: RegistryError, project: &ProjectName, new: &NewEnvironment) -> RegistryError {
    let name = &new.name;
    match error {
        RegistryError::Conflict(_) if new.production => RegistryError::Refused(
            Explanation::from(format!(
                "project {project} has a production environment already, or an environment named {name}"
            ))
            .hint(format!("a project has one production environment; see: tidelock environment list -p {project}")),
        ),
        RegistryError::Conflict(_) => {
            RegistryError::Refused(format!("project {project} has an environment named {name} already").into())
        }
        other => other,
    }
}
