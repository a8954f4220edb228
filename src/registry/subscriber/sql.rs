//! The statements that turn the mode on and off, for the tables that replication writes to.

use std::fmt::Write as _;

use tokio_postgres::Transaction;

use super::super::row::{decode, from_row};
use super::super::{ConnectSettings, RegistryError};

/// The trigger that lets nothing in but replication. Its name comes before those of all other triggers, and so does it.
const GATE: &str = "by_replication_alone";

/// Since when the registry was a subscriber, as the cut-over puts it into the audit log.
const TOLD: &str = "INSERT INTO audit_logs (action, subject) SELECT 'registry.subscriber-off', \
    'since ' || to_char(subscriber_since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS.US\"+00\"') FROM schema_floor";

/// A table that has the publisher's rows.
pub(super) struct ReplicatedTable {
    /// As SQL spells it, with its schema.
    pub(super) name: String,
    row_security: bool,
    /// As SQL spells them.
    triggers: Vec<String>,
}

from_row!(ReplicatedTable, "pg_class", "name", [name, row_security, triggers]);

/// All tables of the registry but those whose rows are this database's own affair; and the vault's, if it is the registry's.
pub(super) async fn replicated(transaction: &Transaction<'_>) -> Result<Vec<ReplicatedTable>, RegistryError> {
    let sql = "SELECT format('%I.%I', n.nspname, c.relname) AS name, c.relrowsecurity AS row_security,
            ARRAY(SELECT quote_ident(t.tgname) FROM pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal ORDER BY 1) AS triggers
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND (
            (n.oid = current_schema()::regnamespace AND c.relname NOT IN ('schema_floor', 'schema_migrations', 'notify_turn'))
            OR (n.nspname = 'vault' AND c.relname = 'secrets' AND EXISTS (
                SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                WHERE t.tgrelid = c.oid AND p.pronamespace = current_schema()::regnamespace)))
        ORDER BY 1";
    let failed = |error| RegistryError::from_driver("looking for the registry's tables", error);
    decode(&transaction.query_typed(sql, &[]).await.map_err(failed)?)
}

pub(super) fn locked(tables: &[ReplicatedTable]) -> String {
    format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", names(tables))
}

/// The apply worker writes as the tables' owner, where it is not told to as the subscription's.
pub(super) fn not_forced(tables: &[ReplicatedTable]) -> String {
    row_security(tables, "NO FORCE")
}

fn row_security(tables: &[ReplicatedTable], forced: &str) -> String {
    each(tables.iter().filter(|table| table.row_security), |table| {
        format!("ALTER TABLE {} {forced} ROW LEVEL SECURITY", table.name)
    })
}

/// Empties it of what `migrate` put there, if it is to get the publisher's.
pub(super) fn on(tables: &[ReplicatedTable], emptied: bool) -> String {
    let mut sql = set_triggers(tables, "DISABLE");
    if emptied {
        // The owner, who comes with the publisher's rows, and the row of the audit log that tells of them.
        sql += "DELETE FROM audit_logs; DELETE FROM users; ";
    }
    // Of use again where session_replication_role is not replica, and where it is, at rest.
    sql += &set_triggers(tables, "ENABLE");
    sql += &each(tables.iter(), |table| {
        let name = &table.name;
        format!(
            "CREATE TRIGGER {GATE} BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {name}
                 FOR EACH STATEMENT EXECUTE FUNCTION refuse_by_hand();
             ALTER TABLE {name} ENABLE ALWAYS TRIGGER {GATE}"
        )
    });
    sql + "UPDATE schema_floor SET subscriber_since = clock_timestamp()"
}

/// The row of the audit log that tells of it comes once the triggers are on that link it, and before row-level security is
/// forced on the owner, who writes it. There is none from the start: until here the log is the publisher's, row by row.
pub(super) fn off(tables: &[ReplicatedTable]) -> String {
    let gates = each(tables.iter(), |table| format!("DROP TRIGGER {GATE} ON {}", table.name));
    let guards = set_triggers(tables, "ENABLE ALWAYS");
    let forced = row_security(tables, "FORCE");
    format!("{gates}{guards}{TOLD}; {forced}UPDATE schema_floor SET subscriber_since = NULL")
}

/// Of all triggers but the gate.
fn set_triggers(tables: &[ReplicatedTable], how: &str) -> String {
    each(tables.iter(), |table| {
        let triggers = table.triggers.iter().filter(|trigger| *trigger != GATE);
        let set: Vec<String> = triggers.map(|trigger| format!("{how} TRIGGER {trigger}")).collect();
        if set.is_empty() { String::new() } else { format!("ALTER TABLE {} {}", table.name, set.join(", ")) }
    })
}

fn each<'t>(
    tables: impl Iterator<Item = &'t ReplicatedTable>,
    statement: impl Fn(&ReplicatedTable) -> String,
) -> String {
    let mut sql = String::new();
    for statement in tables.map(statement).filter(|statement| !statement.is_empty()) {
        let _ = write!(sql, "{statement}; ");
    }
    sql
}

fn names(tables: &[ReplicatedTable]) -> String {
    tables.iter().map(|table| table.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// What is run on the publisher and here.
pub(super) fn for_both_sides(settings: &ConnectSettings, tables: &[ReplicatedTable], copies: bool) -> (String, String) {
    let name = settings.quoted_schema();
    let publisher = format!(
        "CREATE PUBLICATION {name} FOR TABLE {} WITH (publish = 'insert, update, delete');\n\
         CREATE ROLE tidelock_replication LOGIN REPLICATION PASSWORD '...';\n\
         GRANT tidelock_backup TO tidelock_replication;\n",
        names(tables)
    );
    let subscriber = format!(
        "CREATE SUBSCRIPTION {name} CONNECTION 'host=... dbname=... user=tidelock_replication password=...'\n    \
         PUBLICATION {name} WITH (copy_data = {copies});\n"
    );
    (publisher, subscriber)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_guard_is_back_on_afterwards_and_the_gate_is_gone() {
        let before = ReplicatedTable {
            name: "tidelock.users".to_owned(),
            row_security: true,
            triggers: vec!["audit".to_owned(), "refuse_removal".to_owned()],
        };
        let on = on(&[before], true);
        assert!(on.contains("ALTER TABLE tidelock.users ENABLE TRIGGER audit, ENABLE TRIGGER refuse_removal;"), "{on}");
        assert!(on.contains("ALTER TABLE tidelock.users ENABLE ALWAYS TRIGGER by_replication_alone;"), "{on}");
        let during = ReplicatedTable {
            name: "tidelock.users".to_owned(),
            row_security: true,
            triggers: vec!["audit".to_owned(), GATE.to_owned(), "refuse_removal".to_owned()],
        };
        assert_eq!(
            off(&[during]),
            format!(
                "DROP TRIGGER by_replication_alone ON tidelock.users; \
                 ALTER TABLE tidelock.users ENABLE ALWAYS TRIGGER audit, ENABLE ALWAYS TRIGGER refuse_removal; {TOLD}; \
                 ALTER TABLE tidelock.users FORCE ROW LEVEL SECURITY; UPDATE schema_floor SET subscriber_since = NULL"
            )
        );
    }
}
