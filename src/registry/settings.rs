//! The settings of a session that change how a statement is read, or what it answers.
//!
//! Whoever administers a login or a database may give it others (`ALTER ROLE … SET`), and a pooler passes on what the session
//! before left. So each transaction has its own.

use tokio_postgres::types::Type;
use tokio_postgres::{Row, Transaction};

use super::{Explanation, RegistryError};

/// How literals, names, times and rows are read and written. Not here: what each user of a connection needs otherwise (the
/// search path, time-outs), and what says so itself in each `BEGIN` (isolation, read-only).
const PINNED: [(&str, &str); 14] = [
    ("array_nulls", "on"),
    ("backslash_quote", "safe_encoding"),
    ("bytea_output", "hex"),
    ("DateStyle", "ISO, YMD"),
    ("escape_string_warning", "off"),
    ("extra_float_digits", "1"),
    ("IntervalStyle", "postgres"),
    ("jit", "off"),
    ("quote_all_identifiers", "off"),
    ("row_security", "on"),
    ("standard_conforming_strings", "on"),
    ("TimeZone", "UTC"),
    ("transform_null_equals", "off"),
    ("xmloption", "content"),
];

/// What no login may change for itself: who has it otherwise is refused.
pub(super) const REPLICATION_ROLE: &str = "pg_catalog.current_setting('session_replication_role') AS replication_role";

/// What a SELECT selects in order to pin them until the end of the transaction.
pub(super) fn pinned() -> String {
    PINNED.map(|(name, value)| format!("pg_catalog.set_config('{name}', '{value}', true)")).join(", ")
}

/// Pins them, and leaves the system catalogs alone in the search path.
pub(super) async fn pin(transaction: &Transaction<'_>, attempt: &str) -> Result<(), RegistryError> {
    let query = format!("SELECT {}, pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)", pinned());
    let parameters: [(&(dyn tokio_postgres::types::ToSql + Sync), Type); 0] = [];
    let pinned = transaction.query_typed(&query, &parameters).await;
    pinned.map(|_| ()).map_err(|error| RegistryError::from_driver(attempt, error))
}

/// Refuses a session in which foreign keys and the triggers of views would not fire.
pub(super) fn require_origin(row: &Row) -> Result<(), RegistryError> {
    match row.try_get::<_, String>("replication_role") {
        Ok(role) if role != "origin" => {
            let message =
                format!("the login or the database has session_replication_role = {role}, in which rules are skipped");
            let hint =
                "have an administrator take it away: ALTER ROLE ... RESET session_replication_role, or ALTER DATABASE";
            Err(RegistryError::Refused(Explanation::from(message).hint(hint)))
        }
        _ => Ok(()),
    }
}
