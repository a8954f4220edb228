//! Whether the schema is as its migrations make it.
//!
//! `migrations/catalog.tsv` is what a database says of itself that has just been migrated; here a database's own words are
//! held against it. An event trigger, an administrator or a restored dump may have made it another one, in which rows
//! vanish or rules do not hold and no statement fails.

mod difference;
mod facts;
mod remedy;

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use self::difference::differences_between;
use self::facts::Facts;
use super::row::{decode, from_row};
use super::session::Parameter;
use super::{ConnectSettings, Explanation, RegistryError, settings};

pub use self::difference::Difference;

/// What the migrations of this program make, written by the test that compares.
const EXPECTED: &str = include_str!("../../../migrations/catalog.tsv");

const DESCRIBE: &str = include_str!("describe.sql");

/// One property of one object.
struct Described {
    kind: String,
    name: String,
    property: String,
    value: String,
    may_be_more: bool,
}

from_row!(Described, "pg_catalog", "name", [kind, name, property, value, may_be_more]);

struct EventTrigger {
    name: String,
}

from_row!(EventTrigger, "pg_event_trigger", "name", [name]);

/// Whose the registry is.
struct Owner {
    name: String,
}

from_row!(Owner, "pg_class", "name", [name]);

/// What the catalogs say of the registry. Reading them takes no right.
pub(super) async fn described(
    transaction: &Transaction<'_>,
    registry: &ConnectSettings,
    roles: &[&str],
) -> Result<Facts, RegistryError> {
    let failed = |error| RegistryError::from_driver("reading the system catalogs", error);
    // Names and expressions are printed as these say.
    settings::pin(transaction, "reading the system catalogs").await?;
    let parameters: [Parameter<'_>; 3] =
        [(&registry.schema, Type::TEXT), (&registry.interface(), Type::TEXT), (&roles, Type::TEXT_ARRAY)];
    let rows = transaction.query_typed(DESCRIBE, &parameters).await.map_err(failed)?;
    let mut facts = Facts::default();
    for Described { kind, name, property, value, may_be_more } in decode::<Described>(&rows)? {
        facts.insert(&kind, &name, &property, &value, may_be_more);
    }
    Ok(facts)
}

/// Where the schema is not as the migrations make it. `lent` says that the owner may have the definer's role just now.
pub(super) async fn differences(
    transaction: &Transaction<'_>,
    registry: &ConnectSettings,
    roles: &[&str],
    lent: bool,
) -> Result<Vec<Difference>, RegistryError> {
    let mut found = described(transaction, registry, roles).await?;
    if lent {
        found.forget("role", "tidelock_definer", "granted to @owner@");
    }
    let mut differences = differences_between(&Facts::parse(EXPECTED), &found);
    if !differences.is_empty() {
        let owner = owner(transaction, registry).await?;
        for difference in &mut differences {
            difference.name_schemas(registry, &owner);
        }
    }
    Ok(differences)
}

/// As [`differences`], where one is an error.
pub(super) async fn require_unchanged(
    transaction: &Transaction<'_>,
    registry: &ConnectSettings,
    roles: &[&str],
    lent: bool,
) -> Result<(), RegistryError> {
    let differences = differences(transaction, registry, roles, lent).await?;
    if differences.is_empty() {
        return Ok(());
    }
    let triggers = event_triggers(transaction).await?;
    Err(RegistryError::SchemaAltered(suspecting(&triggers, explained(&differences))))
}

/// Each of them with its remedy.
pub(super) fn explained(differences: &[Difference]) -> Explanation {
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    Explanation::from(format!("the schema is not as its migrations make it:\n  {}", lines.join("\n  ")))
        .hint("run what is named as the schema's owner or an administrator, then repeat")
}

/// With the database's event triggers for a hint, where there are any.
pub(super) fn suspecting(event_triggers: &[String], explained: Explanation) -> Explanation {
    if event_triggers.is_empty() {
        return explained;
    }
    explained.hint(format!(
        "this database has event triggers, which may have done it: {}; have an administrator except the registry's schemas \
         from them, or disable them while it is migrated: ALTER EVENT TRIGGER NAME DISABLE",
        event_triggers.join(", ")
    ))
}

/// Names of what runs when somebody makes a table or a function.
pub(super) async fn event_triggers(transaction: &Transaction<'_>) -> Result<Vec<String>, RegistryError> {
    let failed = |error| RegistryError::from_driver("reading the database's event triggers", error);
    let query = "SELECT quote_ident(evtname) AS name FROM pg_event_trigger WHERE evtenabled <> 'D' ORDER BY evtname";
    let rows = transaction.query_typed(query, &[]).await.map_err(failed)?;
    Ok(decode::<EventTrigger>(&rows)?.into_iter().map(|trigger| trigger.name).collect())
}

async fn owner(transaction: &Transaction<'_>, registry: &ConnectSettings) -> Result<String, RegistryError> {
    let failed = |error| RegistryError::from_driver("reading who owns the schema", error);
    let query = "SELECT quote_ident(pg_get_userbyid(c.relowner)) AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                 WHERE n.nspname = $1 AND c.relname = 'schema_migrations'";
    let rows = transaction.query_typed(query, &[(&registry.schema, Type::TEXT)]).await.map_err(failed)?;
    Ok(decode::<Owner>(&rows)?.into_iter().next().map_or_else(|| "its owner".to_owned(), |owner| owner.name))
}
