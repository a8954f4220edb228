//! Which tables the operator finds.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::SchemaKind;
use crate::registry::row::{FromRow, from_row, only};
use crate::registry::{ConnectSettings, Explanation, RegistryError, SCHEMA_VERSION};

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

/// Whose tables are there, and whether this program may read them.
pub(super) async fn schema_kind(client: &Client, settings: &ConnectSettings) -> Result<SchemaKind, RegistryError> {
    let schema = &settings.schema;
    let failed = |error| RegistryError::from_driver("looking for the registry's tables", error);
    // By the catalogs alone, whatever the login's search path puts before them.
    client.batch_execute("BEGIN READ ONLY; SET LOCAL search_path = pg_catalog, pg_temp").await.map_err(failed)?;
    let rows = client
        .query_typed(
            "SELECT coalesce(bool_or(c.relname = 'schema_floor'), false) AS has_floor,
                    coalesce(bool_or(c.relname = 'secrets'), false) AS has_secrets
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = $1 AND c.relname IN ('schema_floor', 'secrets')",
            &[(schema, Type::TEXT)],
        )
        .await
        .map_err(failed)?;
    client.batch_execute("COMMIT").await.map_err(failed)?;
    let found = Tables::from_row(&only(rows, "looking for the registry's tables")?)?;
    if !found.has_secrets {
        let message = format!("schema {schema} of this database has no table secrets");
        let hint = "run `tidelock migrate`, or say --schema";
        return Err(RegistryError::Schema(Explanation::from(message).hint(hint)));
    }
    if !found.has_floor {
        return Ok(SchemaKind::External);
    }
    let rows = client
        .query_typed(&format!("SELECT version, oldest_reader FROM {}.schema_floor", settings.quoted_interface()), &[])
        .await
        .map_err(failed)?;
    let SchemaFloor { version, oldest_reader } = SchemaFloor::from_row(&only(rows, "reading the schema's version")?)?;
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
