//! Who is a member of a project, as what, and where.

use jiff::Timestamp;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::core::{EnvironmentName, ProjectId, ProjectName, RegistryTime, UserName};

use super::RegistryError;
use super::session::{Session, Transaction, micros, time};

/// `project_members.role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Reads and writes everything, production too.
    Admin,
    /// Reads and writes everything but production.
    Developer,
    /// Reads everything but production.
    Viewer,
}

impl Role {
    /// The name, as the database has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "ADMIN",
            Self::Developer => "DEVELOPER",
            Self::Viewer => "VIEWER",
        }
    }
}

/// A membership as it is to be.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Whose.
    pub user: UserName,
    /// As what.
    pub role: Role,
    /// Narrowed to these environments; empty: all.
    pub only: Vec<EnvironmentName>,
    /// Whether it only reads.
    pub read_only: bool,
    /// Until when it counts; `None`: for good.
    pub expires_at: Option<Timestamp>,
}

/// One line of a listing.
#[derive(Debug, Clone)]
pub struct ListedMember {
    /// The user's name.
    pub user: String,
    /// `person`, `service` or `owner`.
    pub kind: String,
    /// `ADMIN`, `DEVELOPER` or `VIEWER`.
    pub role: String,
    /// The environments that it is narrowed to, if it is.
    pub only: Option<Vec<String>>,
    /// Whether it only reads.
    pub read_only: bool,
    /// Until when it counts.
    pub expires_at: Option<RegistryTime>,
}

impl Session {
    /// Adds a member, or makes an existing membership this one. Answers whether it is new.
    pub async fn add_member(
        &mut self,
        project: &ProjectName,
        membership: &Membership,
        reason: &str,
    ) -> Result<bool, RegistryError> {
        let (work, project_id) = self.changing("adding the member", project.as_str(), reason).await?;
        work.require_admin(project_id, "changes its members").await?;
        let user = user_id(&work, &membership.user).await?;
        let only = environment_ids(&work, project, project_id, &membership.only).await?;
        let expires_at = membership.expires_at.map(|time| time.to_string());
        let updated = work
            .execute(
                "UPDATE project_members SET role = ($3::text)::project_role, only_environments = $4, read_only = $5,
                        expires_at = ($6::text)::timestamptz
                 WHERE project_id = $1 AND user_id = $2",
                &[
                    (&project_id.0, Type::UUID),
                    (&user, Type::UUID),
                    (&membership.role.as_str(), Type::TEXT),
                    (&only, Type::UUID_ARRAY),
                    (&membership.read_only, Type::BOOL),
                    (&expires_at, Type::TEXT),
                ],
            )
            .await?;
        if updated == 0 {
            work.execute(
                "INSERT INTO project_members (project_id, user_id, role, only_environments, read_only, expires_at)
                 VALUES ($1, $2, ($3::text)::project_role, $4, $5, ($6::text)::timestamptz)",
                &[
                    (&project_id.0, Type::UUID),
                    (&user, Type::UUID),
                    (&membership.role.as_str(), Type::TEXT),
                    (&only, Type::UUID_ARRAY),
                    (&membership.read_only, Type::BOOL),
                    (&expires_at, Type::TEXT),
                ],
            )
            .await?;
        }
        work.commit().await?;
        Ok(updated == 0)
    }

    /// Ends a membership.
    pub async fn remove_member(
        &mut self,
        project: &ProjectName,
        user: &UserName,
        reason: &str,
    ) -> Result<(), RegistryError> {
        let (work, project_id) = self.changing("removing the member", project.as_str(), reason).await?;
        work.require_admin(project_id, "changes its members").await?;
        let gone = || RegistryError::NotFound(format!("{user} is no member of project {project}"));
        let user_id = find_user(&work, user).await?.ok_or_else(gone)?;
        let removed = work
            .execute(
                "DELETE FROM project_members WHERE project_id = $1 AND user_id = $2",
                &[(&project_id.0, Type::UUID), (&user_id, Type::UUID)],
            )
            .await?;
        if removed == 0 {
            return Err(gone());
        }
        work.commit().await
    }

    /// The members of a project, by name.
    pub async fn members(&mut self, project: &ProjectName) -> Result<Vec<ListedMember>, RegistryError> {
        let work = self.reading("listing members").await?;
        let project = work.project(project).await?;
        let sql = format!(
            "SELECT u.name, u.kind::text, m.role::text, m.read_only, {},
                    CASE WHEN m.only_environments IS NOT NULL THEN
                        ARRAY(SELECT e.name FROM environments e WHERE e.id = ANY (m.only_environments) ORDER BY e.name) END
             FROM project_members m JOIN users u ON u.id = m.user_id WHERE m.project_id = $1 ORDER BY u.name",
            micros("m.expires_at")
        );
        let rows = work.rows(&sql, &[(&project.0, Type::UUID)]).await?;
        let listed = rows.iter().map(|row| ListedMember {
            user: row.get(0),
            kind: row.get(1),
            role: row.get(2),
            read_only: row.get(3),
            expires_at: time(row, 4),
            only: row.get(5),
        });
        Ok(listed.collect())
    }
}

async fn user_id(work: &Transaction<'_>, name: &UserName) -> Result<Uuid, RegistryError> {
    find_user(work, name).await?.ok_or_else(|| {
        RegistryError::NotFound(format!(
            "there is no user {name}: have the registry's owner run `tidelock user add {name} --db-role ROLE`"
        ))
    })
}

async fn find_user(work: &Transaction<'_>, name: &UserName) -> Result<Option<Uuid>, RegistryError> {
    let found = work.first("SELECT id FROM users WHERE name = $1", &[(&name.as_str(), Type::TEXT)]).await?;
    Ok(found.map(|row| row.get(0)))
}

async fn environment_ids(
    work: &Transaction<'_>,
    project: &ProjectName,
    project_id: ProjectId,
    names: &[EnvironmentName],
) -> Result<Option<Vec<Uuid>>, RegistryError> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let row = work
            .first(
                "SELECT id FROM environments WHERE project_id = $1 AND name = $2 AND deleted_at IS NULL",
                &[(&project_id.0, Type::UUID), (&name.as_str(), Type::TEXT)],
            )
            .await?;
        let row = row.ok_or_else(|| RegistryError::NotFound(format!("project {project} has no environment {name}")))?;
        ids.push(row.get(0));
    }
    Ok(Some(ids))
}
