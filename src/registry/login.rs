//! What the operator's login may be.

use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::row::{FromRow, from_row};
use super::{Explanation, RegistryError};

/// What to do about a login that may too much.
const OWN_LOGIN: &str = "give the operator a login of its own: tidelock user add NAME --db-role ROLE --service";

/// Of each privilege that an operator must not have, a role by which it has it: the login itself, the role that a setting
/// of the login puts in its place, or one that it may become without a password.
struct Login {
    name: String,
    superuser: Option<String>,
    bypasses_row_security: Option<String>,
    owns_tables: Option<String>,
    is_definer: Option<String>,
    is_backup: Option<String>,
}

from_row!(Login, "pg_roles", "name", [name, superuser, bypasses_row_security, owns_tables, is_definer, is_backup]);

/// Refuses the privileges that would lift row-level security off whoever holds them. A database that does not answer, or
/// breaks off, refuses nobody.
pub(super) async fn check(client: &Client, schema: &str) -> Result<(), RegistryError> {
    let failed = |error| RegistryError::from_driver("checking what the login may", error);
    // A search path of the login's own could put other tables in the catalogs' place.
    client.batch_execute("BEGIN READ ONLY; SET LOCAL search_path = pg_catalog, pg_temp").await.map_err(failed)?;
    let row = client
        .query_typed_one(
            "SELECT session_user::text AS name,
                    min(r.rolname::text) FILTER (WHERE r.rolsuper) AS superuser,
                    min(r.rolname::text) FILTER (WHERE r.rolbypassrls) AS bypasses_row_security,
                    min(r.rolname::text) FILTER (WHERE r.oid = (
                        SELECT c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                        WHERE n.nspname = $1 AND c.relname = 'secrets')) AS owns_tables,
                    min(r.rolname::text) FILTER (WHERE r.rolname = 'tidelock_definer') AS is_definer,
                    min(r.rolname::text) FILTER (WHERE r.rolname = 'tidelock_backup') AS is_backup
             FROM pg_roles r
             WHERE r.rolname IN (session_user, current_user)
                OR pg_has_role(session_user, r.oid, 'MEMBER') OR pg_has_role(current_user, r.oid, 'MEMBER')",
            &[(&schema, Type::TEXT)],
        )
        .await
        .map_err(failed)?;
    client.batch_execute("COMMIT").await.map_err(failed)?;
    let login = Login::from_row(&row)?;
    let too_much = [
        (login.superuser, "is a superuser"),
        (login.bypasses_row_security, "has BYPASSRLS"),
        (login.owns_tables, "owns the registry's tables"),
        (login.is_definer, "looks past row-level security"),
        (login.is_backup, "reads every row"),
    ];
    match too_much.into_iter().find_map(|(role, what)| role.map(|role| (role, what))) {
        None => Ok(()),
        Some((role, what)) => {
            let name = login.name;
            let held = if role == name { what.to_owned() } else { format!("is or may become {role}, which {what}") };
            let message = format!("the login {name} {held}, so row-level security would not hold the operator");
            Err(RegistryError::Refused(Explanation::from(message).hint(OWN_LOGIN)))
        }
    }
}
