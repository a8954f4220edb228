//! What the operator's login may be, and which tables it finds.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::Schema;
use super::rows::cell;
use crate::registry::{RegistryError, SCHEMA_VERSION};

/// The privileges that would lift row-level security off whoever holds them.
pub(super) async fn check(client: &Client, schema: &str) -> Result<(), RegistryError> {
    let row = client
        .query_typed_one(
            "SELECT session_user::text, r.rolsuper, r.rolbypassrls,
                    EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                            WHERE n.nspname = $1 AND c.relname = 'secrets' AND pg_has_role(session_user, c.relowner, 'USAGE'))
             FROM pg_roles r WHERE r.rolname = session_user",
            &[(&schema, Type::TEXT)],
        )
        .await
        .map_err(|error| RegistryError::from_driver("checking the operator's login", &error))?;
    let login: String = cell(&row, 0, "pg_roles", "rolname")?;
    let too_much = [(1, "is a superuser"), (2, "has BYPASSRLS"), (3, "owns the registry's tables")];
    for (column, what) in too_much {
        if cell::<bool>(&row, column, "pg_roles", "rolsuper")? {
            return Err(RegistryError::Refused {
                message: format!("the login {login} {what}, so row-level security would not hold the operator"),
                hint: Some(
                    "give the operator a login of its own: tidelock user add NAME --db-role ROLE --service".to_owned(),
                ),
            });
        }
    }
    Ok(())
}

/// Whose tables are there, and whether this program may read them.
pub(super) async fn tables(client: &Client, schema: &str, quoted: &str) -> Result<Schema, RegistryError> {
    let attempt = "looking for the registry's tables";
    let failed = |error: tokio_postgres::Error| RegistryError::from_driver(attempt, &error);
    let row = client
        .query_typed_one(
            "SELECT coalesce(bool_or(c.relname = 'schema_floor'), false), coalesce(bool_or(c.relname = 'secrets'), false)
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname IN ('schema_floor', 'secrets')",
            &[(&schema, Type::TEXT)],
        )
        .await
        .map_err(failed)?;
    if !cell::<bool>(&row, 1, "pg_class", "relname")? {
        return Err(RegistryError::Schema(format!(
            "schema {schema} of this database has no table secrets: run `tidelock migrate`, or say --schema"
        )));
    }
    if !cell::<bool>(&row, 0, "pg_class", "relname")? {
        return Ok(Schema::External);
    }
    let row = client
        .query_typed_one(&format!("SELECT version, oldest_reader FROM {quoted}.schema_floor"), &[])
        .await
        .map_err(failed)?;
    let (version, oldest_reader): (i32, i32) =
        (cell(&row, 0, "schema_floor", "version")?, cell(&row, 1, "schema_floor", "oldest_reader")?);
    if version < SCHEMA_VERSION {
        return Err(RegistryError::Schema(format!(
            "the schema is at version {version}, and this program reads version {SCHEMA_VERSION}: run `tidelock migrate`"
        )));
    }
    require_served(oldest_reader)?;
    Ok(Schema::Native)
}

/// Whether the schema still serves readers of this version.
pub(super) fn require_served(oldest_reader: i32) -> Result<(), RegistryError> {
    if oldest_reader <= SCHEMA_VERSION {
        return Ok(());
    }
    Err(RegistryError::Schema(format!(
        "the schema serves readers from version {oldest_reader} on, and this program knows version {SCHEMA_VERSION}: use a newer tidelock"
    )))
}
