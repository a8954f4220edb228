//! Users and the logins that are theirs: the owner's matter.

use tokio_postgres::types::Type;

use crate::core::UserName;

use super::RegistryError;
use super::session::Session;

/// A user to be added.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Their name.
    pub name: UserName,
    /// The database login that is this user; `None` for one who only acts through a delegate.
    pub db_role: Option<String>,
    /// Whether it is a program, such as the operator.
    pub service: bool,
}

/// What became of the login of a user who was added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginGrant {
    /// There is no login.
    None,
    /// It has the group role.
    Made {
        /// The group role.
        group: &'static str,
    },
    /// The owner's login may not grant it; somebody who may has to run this.
    Needed {
        /// The SQL.
        sql: String,
    },
}

/// One line of a listing.
#[derive(Debug, Clone)]
pub struct ListedUser {
    /// Their name.
    pub name: String,
    /// Their login.
    pub db_role: Option<String>,
    /// `person`, `service` or `owner`.
    pub kind: String,
    /// Whether they may do nothing any more.
    pub disabled: bool,
}

impl Session {
    /// Adds a user, maps the login and gives it the group role.
    pub async fn add_user(&mut self, user: &NewUser, reason: &str) -> Result<LoginGrant, RegistryError> {
        let work = self.writing("adding the user", reason).await?;
        let group = if user.service { "tidelock_operator" } else { "tidelock_app" };
        let kind = if user.service { "service" } else { "person" };
        let grant: Option<String> = match &user.db_role {
            None => None,
            Some(role) => {
                let row = work
                    .first(
                        "SELECT format('GRANT %I TO %I', $1, rolname) FROM pg_roles WHERE rolname = $2",
                        &[(&group, Type::TEXT), (role, Type::TEXT)],
                    )
                    .await?;
                // Not mapped in advance: a name that was mistyped would be waiting for whoever gets it.
                let row = row.ok_or_else(|| {
                    RegistryError::NotFound(format!(
                        "the database has no login {role}: have it made (CREATE ROLE \"{}\" LOGIN ...), then repeat",
                        role.replace('"', "\"\"")
                    ))
                })?;
                Some(row.get(0))
            }
        };
        work.execute(
            "INSERT INTO users (name, db_role, kind) VALUES ($1, $2, ($3::text)::user_kind)",
            &[(&user.name.as_str(), Type::TEXT), (&user.db_role, Type::TEXT), (&kind, Type::TEXT)],
        )
        .await
        .map_err(|error| match error {
            RegistryError::Conflict(_) => RegistryError::Refused {
                message: format!("there is a user {} already, or the login is mapped to another one", user.name),
                hint: Some("see: tidelock user list".to_owned()),
            },
            other => owners_matter(other),
        })?;
        work.commit().await?;
        let Some(sql) = grant else { return Ok(LoginGrant::None) };
        let work = self.writing("granting the group role", reason).await?;
        match work.run(&sql).await {
            Ok(()) => work.commit().await.map(|()| LoginGrant::Made { group }),
            Err(RegistryError::Refused { .. }) => Ok(LoginGrant::Needed { sql }),
            Err(other) => Err(other),
        }
    }

    /// Disables a user, who may do nothing from then on, or enables one again.
    pub async fn set_user_disabled(
        &mut self,
        name: &UserName,
        disabled: bool,
        reason: &str,
    ) -> Result<(), RegistryError> {
        let work = self.writing("changing the user", reason).await?;
        let changed = work
            .execute(
                "UPDATE users SET disabled_at = CASE WHEN $2 THEN clock_timestamp() END
                 WHERE name = $1 AND kind <> 'owner' AND (disabled_at IS NOT NULL) <> $2",
                &[(&name.as_str(), Type::TEXT), (&disabled, Type::BOOL)],
            )
            .await
            .map_err(owners_matter)?;
        if changed == 0 {
            let state = if disabled { "enabled" } else { "disabled" };
            return Err(RegistryError::NotFound(format!(
                "there is no {state} user {name} (the registry's owner stays); see: tidelock user list"
            )));
        }
        work.commit().await
    }

    /// All users, by name.
    pub async fn users(&mut self) -> Result<Vec<ListedUser>, RegistryError> {
        let work = self.reading("listing users").await?;
        let rows = work
            .rows("SELECT name, db_role, kind::text, disabled_at IS NOT NULL FROM users ORDER BY name", &[])
            .await?;
        let listed = rows.iter().map(|row| ListedUser {
            name: row.get(0),
            db_role: row.get(1),
            kind: row.get(2),
            disabled: row.get(3),
        });
        Ok(listed.collect())
    }
}

fn owners_matter(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Refused { .. } => RegistryError::Refused {
            message: "only the registry's owner changes users and maps logins".to_owned(),
            hint: Some("connect as the login that ran `tidelock migrate`".to_owned()),
        },
        other => other,
    }
}
