//! What has to be there before the first migration: schemas, roles, and the right to hand things over.

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use crate::registry::row::{only, value};
use crate::registry::{ConnectSettings, Explanation, RegistryError};

/// The group roles, which belong to the whole server.
pub(in crate::registry) const ROLES: [&str; 5] =
    ["tidelock_app", "tidelock_operator", "tidelock_delegate", "tidelock_backup", "tidelock_definer"];

/// Makes a schema where there is none. To ask for one that exists takes the right to make it, too.
pub(super) async fn make_schema(transaction: &Transaction<'_>, quoted: &str) -> Result<(), RegistryError> {
    let failed = |error| RegistryError::from_driver("making the registry's schemas", error);
    let query = "SELECT to_regnamespace($1) IS NULL AS missing";
    let rows = transaction.query_typed(query, &[(&quoted, Type::TEXT)]).await.map_err(failed)?;
    if value(&only(rows, "making the registry's schemas")?, "pg_namespace")? {
        transaction.batch_execute(&format!("CREATE SCHEMA {quoted}")).await.map_err(for_an_administrator)?;
    }
    Ok(())
}

/// Patterns for names are about characters, which other encodings do not have.
pub(super) async fn refuse_other_encodings(transaction: &Transaction<'_>) -> Result<(), RegistryError> {
    let failed = |error| RegistryError::from_driver("reading the database's encoding", error);
    let query =
        "SELECT pg_encoding_to_char(encoding)::text AS encoding FROM pg_database WHERE datname = current_database()";
    let rows = transaction.query_typed(query, &[]).await.map_err(failed)?;
    let encoding: String = value(&only(rows, "reading the database's encoding")?, "pg_database")?;
    if encoding == "UTF8" {
        return Ok(());
    }
    let message = format!("the database has the encoding {encoding}, and a registry needs UTF8");
    let hint = "make another: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0";
    Err(RegistryError::Schema(Explanation::from(message).hint(hint)))
}

pub(super) async fn make_roles(transaction: &Transaction<'_>) -> Result<(), RegistryError> {
    // Since PostgreSQL 16 a login may be set to be a member of every role that it makes; of these nobody shall be.
    transaction
        .batch_execute(
            "SELECT set_config(name, '', true) FROM pg_settings WHERE name = 'createrole_self_grant' AND setting <> ''",
        )
        .await
        .map_err(for_an_administrator)?;
    for role in ROLES {
        // Another database of this server may be making it now: the exception is that one having been first.
        let made = transaction
            .batch_execute(&format!(
                "DO $$ BEGIN
                    IF to_regrole('{role}') IS NULL THEN CREATE ROLE {role} NOLOGIN; END IF;
                 EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
                 END $$"
            ))
            .await;
        made.map_err(for_an_administrator)?;
    }
    Ok(())
}

/// Lets the owner hand functions to the role that looks past row-level security, for this transaction only: a lasting
/// member of it would see everything. Answers whether the loan has to be given back.
pub(super) async fn borrow_definer(transaction: &Transaction<'_>) -> Result<bool, RegistryError> {
    // From PostgreSQL 16 on, who made a role is a member that may grant it and nothing else; only SET lets it hand
    // anything over. Before, there is no SET to ask for.
    let query = "SELECT pg_has_role(CURRENT_USER, 'tidelock_definer', CASE
                     WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END) AS is_member";
    let failed = |error| RegistryError::from_driver("migrating the registry", error);
    let rows = transaction.query_typed(query, &[]).await.map_err(failed)?;
    if value(&only(rows, "migrating the registry")?, "pg_roles")? {
        return Ok(false);
    }
    transaction.batch_execute("GRANT tidelock_definer TO CURRENT_USER").await.map_err(for_an_administrator)?;
    Ok(true)
}

fn for_an_administrator(error: tokio_postgres::Error) -> RegistryError {
    RegistryError::from_driver("making schemas and group roles", error)
}

/// What an administrator runs for a login that may not make what is needed. Nothing of it is needed for a later run that
/// finds nothing to do.
pub(super) async fn lent_by_an_administrator(settings: &ConnectSettings, refused: Explanation) -> RegistryError {
    let login = match settings.connect(None).await {
        Ok(client) => {
            let query = "SELECT quote_ident(current_user) AS login";
            let rows = client.query_typed(query, &[]).await.unwrap_or_default();
            rows.first().and_then(|row| value::<String>(row, "pg_roles").ok())
        }
        Err(_) => None,
    };
    let login = login.unwrap_or_else(|| "THE_LOGIN".to_owned());
    let roles = ROLES.map(|role| format!("CREATE ROLE {role} NOLOGIN; ")).concat();
    let schemas = [settings.quoted_schema(), settings.quoted_interface()]
        .map(|schema| format!("CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {login}; "))
        .concat();
    RegistryError::Refused(refused.hint(format!(
        "migrate as the login that owns the schema; where that may not make schemas and roles, have an administrator run \
         once, without the roles that are there already: {roles}{schemas}GRANT tidelock_definer TO {login}; then run \
         `tidelock migrate` again; then: REVOKE tidelock_definer FROM {login}"
    )))
}
