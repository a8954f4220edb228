//! Who is a member of a project, as what, and where.

use jiff::Timestamp;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::core::{EnvironmentName, ProjectId, ProjectName, RegistryTime, UserName};

use super::row::from_row;
use super::session::{Parameter, Session, Transaction};
use super::{Explanation, RegistryError};

/// `project_members.role`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Reads and writes everything, production too.
    Admin,
    /// Reads and writes everything but production.
    Developer,
    /// Reads everything but production, and writes nothing.
    Viewer,
}

impl Role {
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "ADMIN",
            Self::Developer => "DEVELOPER",
            Self::Viewer => "VIEWER",
        }
    }
}

/// A membership as it shall be.
#[derive(Debug)]
pub(crate) struct Membership {
    pub(crate) user: UserName,
    pub(crate) role: Role,
    /// Narrowed to these environments; empty: all.
    pub(crate) only: Vec<EnvironmentName>,
    pub(crate) read_only: bool,
    /// `None`: it does not expire.
    pub(crate) expires_at: Option<Timestamp>,
}

#[derive(Debug)]
pub(crate) struct ListedMember {
    pub(crate) user: String,
    /// `person`, `service` or `owner`.
    pub(crate) kind: String,
    /// `ADMIN`, `DEVELOPER` or `VIEWER`.
    pub(crate) role: String,
    /// The environments that it is narrowed to; `None`: all.
    pub(crate) only: Option<Vec<String>>,
    pub(crate) read_only: bool,
    pub(crate) expires_at: Option<RegistryTime>,
}

from_row!(ListedMember, "project_members", "user", [user, kind, role, only, read_only, expires_at]);

impl Session {
    /// Adds a member, or makes an existing membership this one. Answers whether it is new.
    pub(crate) async fn add_member(
        &mut self,
        project: &ProjectName,
        membership: &Membership,
        reason: &str,
    ) -> Result<bool, RegistryError> {
        let (transaction, project_id) = self.changing("adding the member", project.as_str(), reason).await?;
        transaction.require_admin(project_id, "changes its members").await?;
        let user = user_id(&transaction, &membership.user).await?;
        let only = environment_ids(&transaction, project, project_id, &membership.only).await?;
        let expires_at = membership.expires_at.map(|time| time.to_string());
        let parameters: [Parameter<'_>; 6] = [
            (&project_id.0, Type::UUID),
            (&user, Type::UUID),
            (&membership.role.as_str(), Type::TEXT),
            (&only, Type::UUID_ARRAY),
            (&membership.read_only, Type::BOOL),
            (&expires_at, Type::TEXT),
        ];
        let sql = "SELECT set_member($1, $2, $3, $4, $5, ($6::text)::timestamptz) AS is_new";
        let is_new = transaction.value("project_members", sql, &parameters).await?;
        transaction.commit().await?;
        Ok(is_new)
    }

    /// Ends a membership.
    pub(crate) async fn remove_member(
        &mut self,
        project: &ProjectName,
        user: &UserName,
        reason: &str,
    ) -> Result<(), RegistryError> {
        let (transaction, project_id) = self.changing_archived("removing the member", project.as_str(), reason).await?;
        transaction.require_admin(project_id, "changes its members").await?;
        let gone = || RegistryError::NotFound(format!("{user} is no member of project {project}").into());
        let user_id = find_user(&transaction, user).await?.ok_or_else(gone)?;
        let sql = "SELECT remove_member($1, $2) AS removed";
        let parameters: [Parameter<'_>; 2] = [(&project_id.0, Type::UUID), (&user_id, Type::UUID)];
        if !transaction.value("project_members", sql, &parameters).await? {
            return Err(gone());
        }
        transaction.commit().await
    }

    /// The members of a project, by name.
    pub(crate) async fn members(&mut self, project: &ProjectName) -> Result<Vec<ListedMember>, RegistryError> {
        let transaction = self.reading("listing members").await?;
        let project = transaction.project(project).await?;
        let sql = "SELECT u.name AS user, u.kind::text AS kind, m.role::text AS role, m.read_only, m.expires_at,
                    CASE WHEN m.only_environments IS NOT NULL THEN
                        ARRAY(SELECT e.name FROM environments e WHERE e.id = ANY (m.only_environments) ORDER BY e.name)
                    END AS only
             FROM project_members m JOIN users u ON u.id = m.user_id WHERE m.project_id = $1 ORDER BY u.name";
        transaction.all(sql, &[(&project.0, Type::UUID)]).await
    }
}

async fn user_id(transaction: &Transaction<'_>, name: &UserName) -> Result<Uuid, RegistryError> {
    find_user(transaction, name).await?.ok_or_else(|| {
        let hint = format!("have the registry's owner run `tidelock user add {name} --db-role ROLE`");
        RegistryError::NotFound(Explanation::from(format!("there is no user {name}")).hint(hint))
    })
}

async fn find_user(transaction: &Transaction<'_>, name: &UserName) -> Result<Option<Uuid>, RegistryError> {
    let sql = "SELECT id FROM users WHERE name = $1";
    transaction.first_value("users", sql, &[(&name.as_str(), Type::TEXT)]).await
}

async fn environment_ids(
    transaction: &Transaction<'_>,
    project: &ProjectName,
    project_id: ProjectId,
    names: &[EnvironmentName],
) -> Result<Option<Vec<Uuid>>, RegistryError> {
    if names.is_empty() {
        return Ok(None);
    }
    let mut ids = Vec::with_capacity(names.len());
    for name in names {
        let sql = "SELECT id FROM environments WHERE project_id = $1 AND name = $2 AND deleted_at IS NULL";
        let parameters: [Parameter<'_>; 2] = [(&project_id.0, Type::UUID), (&name.as_str(), Type::TEXT)];
        let id = transaction.first_value("environments", sql, &parameters).await?;
        ids.push(
            id.ok_or_else(|| RegistryError::NotFound(format!("project {project} has no environment {name}").into()))?,
        );
    }
    Ok(Some(ids))
}
