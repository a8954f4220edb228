//! What to run so that an object is again what its migration made.

use super::facts::{Object, Properties};
use crate::registry::migrate::made_by;

/// For what no migration made.
pub(super) fn remedy_of_extra(object: &Object) -> String {
    match (object.kind.as_str(), object.name.split_once(" ON ")) {
        ("constraint", Some((constraint, table))) => format!("ALTER TABLE {table} DROP CONSTRAINT {constraint}"),
        (kind, _) => format!("DROP {} {}", kind.to_uppercase(), object.name),
    }
}

/// For what has gone.
pub(super) fn remedy_of_missing(object: &Object, properties: &Properties) -> String {
    let definition = properties.by_name.get("definition").map_or("", String::as_str);
    match (object.kind.as_str(), object.name.split_once(" ON ")) {
        ("trigger", Some((_, table))) if properties.by_name.get("fires").is_some_and(|fires| fires == "ALWAYS") => {
            format!("{definition}; {}", fires_always(object, table))
        }
        ("trigger" | "index" | "rule", _) => definition.to_owned(),
        ("policy", _) => format!("CREATE POLICY {} {definition}", object.name),
        ("constraint", Some((constraint, table))) => {
            format!("ALTER TABLE {table} ADD CONSTRAINT {constraint} {definition}")
        }
        ("role", _) => format!("CREATE ROLE {} NOLOGIN", object.name),
        _ => made_anew(object),
    }
}

/// For what is otherwise than it should be.
pub(super) fn remedy_of_property(
    object: &Object,
    property: &str,
    expected: Option<&str>,
    found: Option<&str>,
) -> String {
    let Object { kind, name } = object;
    let sql_kind = kind.to_uppercase();
    if let Some(who) = property.strip_prefix("granted to ") {
        return of_grant(object, who, expected, found);
    }
    if let Some(group) = property.strip_prefix("member of ") {
        return format!("REVOKE {group} FROM {name}");
    }
    if let (Some(who), Some(privileges)) = (property.strip_prefix("may be granted on by "), found) {
        return format!("REVOKE GRANT OPTION FOR {privileges} ON {} {name} FROM {who}", granted_on(kind));
    }
    match (kind.as_str(), property, expected) {
        (_, "owner", Some(owner)) => format!("ALTER {sql_kind} {name} OWNER TO {owner}"),
        (_, "row-level security", Some("forced")) => {
            format!("ALTER TABLE {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        }
        (_, "row-level security", _) => {
            format!("ALTER TABLE {name} DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY")
        }
        (_, "persistence", _) => format!("ALTER TABLE {name} SET LOGGED"),
        (_, "taken from its owner", _) => {
            format!("GRANT {} ON {} {name} TO @owner@", found.unwrap_or("ALL"), granted_on(kind))
        }
        ("function" | "procedure", "rights", Some(rights)) => format!("ALTER FUNCTION {name} {rights}"),
        ("function" | "procedure", "settings", settings) => {
            let set = settings.into_iter().flat_map(|settings| settings.split("; "));
            let set = set.filter_map(|setting| setting.split_once('='));
            let set = set.map(|(setting, value)| format!("ALTER FUNCTION {name} SET {setting} = {value}"));
            let all: Vec<String> = std::iter::once(format!("ALTER FUNCTION {name} RESET ALL")).chain(set).collect();
            all.join("; ")
        }
        ("trigger", "fires", Some("ALWAYS")) => fires_always(object, object.relation().unwrap_or_default()),
        ("trigger" | "policy" | "constraint" | "index", "definition", Some(_)) => {
            let mut properties = Properties::default();
            properties.by_name.extend(expected.map(|expected| (property.to_owned(), expected.to_owned())));
            if kind == "trigger" && !name.contains(" ON @api@") {
                properties.by_name.insert("fires".to_owned(), "ALWAYS".to_owned());
            }
            format!("{}; {}", remedy_of_extra(object), remedy_of_missing(object, &properties))
        }
        ("role", "attributes", _) => format!("ALTER ROLE {name} NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEROLE"),
        ("table", column, Some(expected)) if Some(expected) == found.map(without_statistics).as_deref() => {
            let column = column.strip_prefix("column ").unwrap_or(column);
            format!("ALTER TABLE {name} ALTER {column} SET STATISTICS 0")
        }
        ("table", column, None) => {
            format!("ALTER TABLE {name} DROP COLUMN {}", column.strip_prefix("column ").unwrap_or(column))
        }
        _ => made_anew(object),
    }
}

fn without_statistics(column: &str) -> String {
    format!("{column} STATISTICS 0")
}

fn fires_always(object: &Object, table: &str) -> String {
    let trigger = object.name.split(" ON ").next().unwrap_or_default();
    format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
}

/// A view is granted on as a table is.
fn granted_on(kind: &str) -> &'static str {
    match kind {
        "schema" => "SCHEMA",
        "function" | "procedure" | "aggregate" => "ROUTINE",
        "sequence" => "SEQUENCE",
        _ => "TABLE",
    }
}

fn of_grant(object: &Object, who: &str, expected: Option<&str>, found: Option<&str>) -> String {
    let Object { kind, name } = object;
    if kind == "role" {
        return format!("REVOKE {name} FROM {who}");
    }
    let privileges = |list: Option<&str>, others: Option<&str>| -> String {
        let others: Vec<&str> = others.into_iter().flat_map(|list| list.split(", ")).collect();
        let left = list.into_iter().flat_map(|list| list.split(", ")).filter(|privilege| !others.contains(privilege));
        left.collect::<Vec<_>>().join(", ")
    };
    let (more, fewer) = (privileges(found, expected), privileges(expected, found));
    let on = granted_on(kind);
    let revoke = (!more.is_empty()).then(|| format!("REVOKE {more} ON {on} {name} FROM {who}"));
    let grant = (!fewer.is_empty()).then(|| format!("GRANT {fewer} ON {on} {name} TO {who}"));
    revoke.into_iter().chain(grant).collect::<Vec<_>>().join("; ")
}

/// For what no statement sets right that fits on a line.
fn made_anew(object: &Object) -> String {
    let bare = object.name.split('(').next().unwrap_or_default();
    match made_by(&object.kind, bare.strip_prefix("@schema@.").unwrap_or(bare)) {
        Some(migration) => format!("have it made anew as migrations/{migration}.sql has it, or restore a backup"),
        None => "have it made anew as migrations/ have it, or restore a backup".to_owned(),
    }
}
