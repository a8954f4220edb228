//! Users and the logins that are theirs: the owner's matter.

use tokio_postgres::types::Type;

use crate::core::UserName;

use super::row::from_row;
use super::session::{Parameter, Session};
use super::{Explanation, RegistryError};

#[derive(Debug)]
pub(crate) struct NewUser {
    pub(crate) name: UserName,
    /// The database login that is this user; `None` for one who only acts through a delegate.
    pub(crate) db_role: Option<String>,
    /// Whether it is a program, such as the operator.
    pub(crate) service: bool,
}

/// What became of the login of a user who was added.
#[derive(Debug)]
pub(crate) enum LoginGrant {
    /// The user has no login.
    None,
    /// The login has the group role.
    Made { group: &'static str },
    /// The owner's login may not grant it: somebody who may has to run this.
    Needed { sql: String },
}

#[derive(Debug)]
pub(crate) struct ListedUser {
    pub(crate) name: String,
    pub(crate) db_role: Option<String>,
    /// `person`, `service` or `owner`.
    pub(crate) kind: String,
    pub(crate) disabled: bool,
    /// Whether the login of that name is the one that was mapped: it may have been dropped and made again, or the registry
    /// may have come from another server.
    pub(crate) confirmed: bool,
}

from_row!(ListedUser, "users", "name", [name, db_role, kind, disabled, confirmed]);

/// A user whose login is to be confirmed.
struct Unconfirmed {
    name: String,
    kind: String,
    grant: Option<String>,
}

from_row!(Unconfirmed, "users", "name", [name, kind, grant]);

/// Of a user: there is a login for them, and not the one of that name here, if there is one.
const UNCONFIRMED: &str = "(db_role IS NOT NULL AND (db_role_oid = to_regrole(quote_ident(db_role))) IS NOT TRUE)";

impl Session {
    /// Adds a user, maps the login and gives it the group role.
    pub(crate) async fn add_user(&mut self, user: &NewUser, reason: &str) -> Result<LoginGrant, RegistryError> {
        let transaction = self.writing("adding the user", reason).await?;
        let group = if user.service { "tidelock_operator" } else { "tidelock_app" };
        let kind = if user.service { "service" } else { "person" };
        let grant: Option<String> = match &user.db_role {
            None => None,
            Some(role) => {
                let sql = "SELECT format('GRANT %I TO %I', $1, rolname) AS grant FROM pg_roles WHERE rolname = $2";
                let parameters: [Parameter<'_>; 2] = [(&group, Type::TEXT), (role, Type::TEXT)];
                let grant = transaction.first_value("pg_roles", sql, &parameters).await?;
                // Not mapped in advance: a name that was mistyped would be waiting for whoever gets it.
                Some(grant.ok_or_else(|| no_login(role))?)
            }
        };
        // Said again, it only grants: the first time may have been interrupted before that.
        let sql = format!(
            "SELECT FROM users WHERE name = $1 AND db_role IS NOT DISTINCT FROM $2 AND kind = '{kind}' AND disabled_at IS NULL"
        );
        let parameters: [Parameter<'_>; 2] = [(&user.name.as_str(), Type::TEXT), (&user.db_role, Type::TEXT)];
        if user.db_role.is_none() || !transaction.exists(&sql, &parameters).await? {
            let sql = format!("INSERT INTO users (name, db_role, kind) VALUES ($1, $2, '{kind}')");
            transaction.execute(&sql, &parameters).await.map_err(|error| match error {
                RegistryError::Conflict(_) => {
                    let message =
                        format!("there is a user {} already, or the login is mapped to another one", user.name);
                    RegistryError::Refused(Explanation::from(message).hint("see: tidelock user list"))
                }
                other => owners_matter(other),
            })?;
        }
        transaction.commit().await?;
        let Some(sql) = grant else { return Ok(LoginGrant::None) };
        self.grant(sql, group, reason).await
    }

    async fn grant(&mut self, sql: String, group: &'static str, reason: &str) -> Result<LoginGrant, RegistryError> {
        let transaction = self.writing("granting the group role", reason).await?;
        match transaction.run(&sql).await {
            Ok(()) => transaction.commit().await.map(|()| LoginGrant::Made { group }),
            Err(RegistryError::Refused(_)) => Ok(LoginGrant::Needed { sql }),
            Err(other) => Err(other),
        }
    }

    /// Says that the logins which users are mapped to by name are theirs, and gives them the group roles: of some users, or of
    /// all whose login was dropped and made again, or who came with a dump from another server. Answers whose.
    pub(crate) async fn confirm_users(
        &mut self,
        names: Option<&[UserName]>,
        reason: &str,
    ) -> Result<Vec<(String, LoginGrant)>, RegistryError> {
        let transaction = self.writing("confirming logins", reason).await?;
        let wanted: Option<Vec<&str>> = names.map(|names| names.iter().map(UserName::as_str).collect());
        let parameters: [Parameter<'_>; 1] = [(&wanted, Type::TEXT_ARRAY)];
        // One who has no login here is left as they are, unless named.
        let sql = format!(
            "SELECT u.name, u.kind::text AS kind, CASE WHEN r.oid IS NOT NULL THEN format('GRANT %I TO %I',
                        CASE u.kind WHEN 'service' THEN 'tidelock_operator' ELSE 'tidelock_app' END, r.rolname) END AS grant
             FROM users u LEFT JOIN pg_roles r ON r.rolname = u.db_role
             WHERE {UNCONFIRMED} AND u.disabled_at IS NULL
                AND CASE WHEN $1 IS NULL THEN r.oid IS NOT NULL ELSE u.name = ANY ($1) END ORDER BY u.name"
        );
        let found: Vec<Unconfirmed> = transaction.all(&sql, &parameters).await?;
        if let Some(name) = wanted.iter().flatten().find(|name| found.iter().all(|user| user.name != **name)) {
            let hint = "see: tidelock user list";
            let message = format!("there is no user {name} whose login waits to be confirmed");
            return Err(RegistryError::NotFound(Explanation::from(message).hint(hint)));
        }
        // Which number it has is the database's word; this one only says that it is to be looked at.
        let sql = "UPDATE users SET db_role_oid = 0 WHERE name = $1";
        for Unconfirmed { name, .. } in &found {
            transaction.execute(sql, &[(name, Type::TEXT)]).await.map_err(owners_matter)?;
        }
        transaction.commit().await?;
        let mut confirmed = Vec::new();
        for Unconfirmed { name, kind, grant } in found {
            let group = if kind == "service" { "tidelock_operator" } else { "tidelock_app" };
            let granted = match grant.filter(|_| kind != "owner") {
                Some(sql) => self.grant(sql, group, reason).await?,
                None => LoginGrant::None,
            };
            confirmed.push((name, granted));
        }
        Ok(confirmed)
    }

    /// Disables a user, who may do nothing from then on, or enables one again.
    pub(crate) async fn set_user_disabled(
        &mut self,
        name: &UserName,
        disabled: bool,
        reason: &str,
    ) -> Result<(), RegistryError> {
        let transaction = self.writing("changing the user", reason).await?;
        let changed = transaction
            .execute(
                "UPDATE users SET disabled_at = CASE WHEN $2 THEN clock_timestamp() END
                 WHERE name = $1 AND kind <> 'owner' AND (disabled_at IS NOT NULL) <> $2",
                &[(&name.as_str(), Type::TEXT), (&disabled, Type::BOOL)],
            )
            .await
            .map_err(owners_matter)?;
        if changed == 0 {
            let state = if disabled { "enabled" } else { "disabled" };
            let hint = "the registry's owner stays; see: tidelock user list";
            return Err(RegistryError::NotFound(
                Explanation::from(format!("there is no {state} user {name}")).hint(hint),
            ));
        }
        transaction.commit().await
    }

    /// All users, by name.
    pub(crate) async fn users(&mut self) -> Result<Vec<ListedUser>, RegistryError> {
        let transaction = self.reading("listing users").await?;
        let sql = format!(
            "SELECT name, db_role, kind::text AS kind, disabled_at IS NOT NULL AS disabled, NOT {UNCONFIRMED} AS confirmed
             FROM users ORDER BY name"
        );
        transaction.all(&sql, &[]).await
    }
}

fn no_login(role: &str) -> RegistryError {
    let hint = format!("have it made (CREATE ROLE \"{}\" LOGIN ...), then repeat", role.replace('"', "\"\""));
    RegistryError::NotFound(Explanation::from(format!("the database has no login {role}")).hint(hint))
}

fn owners_matter(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Refused(_) => RegistryError::Refused(
            Explanation::from("only the registry's owner changes users and maps logins")
                .hint("connect as the login that ran `tidelock migrate`"),
        ),
        other => other,
    }
}
