//! What the operator's login may be, and which tables it finds.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::SchemaKind;
use crate::registry::row::{FromRow, from_row};
use crate::registry::{Explanation, RegistryError, SCHEMA_VERSION};

struct Login {
    name: String,
    superuser: bool,
    bypasses_row_security: bool,
    owns_tables: bool,
}

from_row!(Login, "pg_roles", "name", [name, superuser, bypasses_row_security, owns_tables]);

struct Tables {
    has_floor: bool,
    has_secrets: bool,
}

from_row!(Tables, "pg_class", "has_floor", [has_floor, has_secrets]);

struct SchemaFloor {
    version: i32,
    oldest_reader: i32,
}

from_row!(SchemaFloor, "schema_floor", "version", [version, oldest_reader]);

/// Refuses the privileges that would lift row-level security off whoever holds them.
pub(super) async fn check(client: &Client, schema: &str) -> Result<(), RegistryError> {
    let row = client
        .query_typed_one(
            "SELECT session_user::text AS name, r.rolsuper AS superuser, r.rolbypassrls AS bypasses_row_security,
                    EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                            WHERE n.nspname = $1 AND c.relname = 'secrets' AND pg_has_role(session_user, c.relowner, 'USAGE'))
                        AS owns_tables
             FROM pg_roles r WHERE r.rolname = session_user",
            &[(&schema, Type::TEXT)],
        )
        .await
        .map_err(|error| RegistryError::from_driver("checking the operator's login", error))?;
    let login = Login::from_row(&row)?;
    let too_much = [
        (login.superuser, "is a superuser"),
        (login.bypasses_row_security, "has BYPASSRLS"),
        (login.owns_tables, "owns the registry's tables"),
    ];
    match too_much.iter().find(|(held, _)| *held) {
        None => Ok(()),
        Some((_, what)) => {
            let message = format!("the login {} {what}, so row-level security would not hold the operator", login.name);
            let hint = "give the operator a login of its own: tidelock user add NAME --db-role ROLE --service";
            Err(RegistryError::Refused(Explanation::from(message).hint(hint)))
        }
    }
}

/// Whose tables are there, and whether this program may read them.
pub(super) async fn schema_kind(client: &Client, schema: &str, quoted: &str) -> Result<SchemaKind, RegistryError> {
    let failed = |error| RegistryError::from_driver("looking for the registry's tables", error);
    let row = client
        .query_typed_one(
            "SELECT coalesce(bool_or(c.relname = 'schema_floor'), false) AS has_floor,
                    coalesce(bool_or(c.relname = 'secrets'), false) AS has_secrets
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname IN ('schema_floor', 'secrets')",
            &[(&schema, Type::TEXT)],
        )
        .await
        .map_err(failed)?;
    let found = Tables::from_row(&row)?;
    if !found.has_secrets {
        let message = format!("schema {schema} of this database has no table secrets");
        let hint = "run `tidelock migrate`, or say --schema";
        return Err(RegistryError::Schema(Explanation::from(message).hint(hint)));
    }
    if !found.has_floor {
        return Ok(SchemaKind::External);
    }
    let row = client
        .query_typed_one(&format!("SELECT version, oldest_reader FROM {quoted}.schema_floor"), &[])
        .await
        .map_err(failed)?;
    let SchemaFloor { version, oldest_reader } = SchemaFloor::from_row(&row)?;
    if version < SCHEMA_VERSION {
        let message = format!("the schema is at version {version}, and this program reads version {SCHEMA_VERSION}");
        return Err(RegistryError::Schema(Explanation::from(message).hint("run `tidelock migrate`")));
    }
    require_served(oldest_reader)?;
    Ok(SchemaKind::Native)
}

/// Whether the schema still serves readers of this version.
pub(super) fn require_served(oldest_reader: i32) -> Result<(), RegistryError> {
    if oldest_reader <= SCHEMA_VERSION {
        return Ok(());
    }
    let message = format!(
        "the schema serves readers from version {oldest_reader} on, and this program knows version {SCHEMA_VERSION}"
    );
    Err(RegistryError::Schema(Explanation::from(message).hint("use a newer tidelock")))
}
