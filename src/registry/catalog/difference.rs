//! What is otherwise than it should be, in words.

use std::fmt;

use super::facts::{Facts, Object, Properties};
use super::remedy::{remedy_of_extra, remedy_of_missing, remedy_of_property};
use crate::registry::ConnectSettings;

/// Something about the schema that the migrations did not make so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Which table, function, trigger, … it is.
    pub object: String,
    /// What is wrong with it.
    pub problem: String,
    /// What it is; `None` where it is missing.
    pub found: Option<String>,
    /// What it has to be; `None` where it must not be there.
    pub expected: Option<String>,
    /// SQL, or what else to do.
    pub remedy: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.object, self.problem, self.remedy)
    }
}

impl Difference {
    /// Puts the names of the schemas, and their owner's, where placeholders stand.
    pub(super) fn name_schemas(&mut self, settings: &ConnectSettings, owner: &str) {
        let named = |text: &str| {
            text.replace("@schema@", &settings.quoted_schema())
                .replace("@api@", &settings.quoted_interface())
                .replace("@owner@", owner)
        };
        for text in [&mut self.object, &mut self.problem, &mut self.remedy] {
            *text = named(text);
        }
        for text in [&mut self.found, &mut self.expected].into_iter().flatten() {
            *text = named(text);
        }
    }
}

/// A store in a schema `vault` that was there before is nobody's business here.
fn is_of_vault(object: &Object) -> bool {
    object.relation().unwrap_or(&object.name).starts_with("vault.")
}

/// What has to be done about a schema that says `found` of itself.
pub(super) fn differences_between(expected: &Facts, found: &Facts) -> Vec<Difference> {
    let mut differences = Vec::new();
    let has_vault = found.has_relation("vault.secrets");
    let is_subscriber = found.0.keys().any(is_of_subscribers);
    for (object, properties) in &expected.0 {
        if is_of_vault(object) && !has_vault {
            continue;
        }
        match found.0.get(object) {
            Some(other) if is_subscriber => {
                differences.extend(compare(object, properties, &at_rest(properties, other)));
            }
            Some(other) => differences.extend(compare(object, properties, other)),
            // What belongs to a table that is missing is missing with it.
            None if object.relation().is_none_or(|relation| found.has_relation(relation)) => {
                differences.push(Difference {
                    object: object.to_string(),
                    problem: "is missing".to_owned(),
                    found: None,
                    expected: properties.by_name.get("definition").cloned(),
                    remedy: remedy_of_missing(object, properties),
                });
            }
            None => {}
        }
    }
    let extra = found.0.iter().filter(|(object, _)| !expected.0.contains_key(object) && !is_of_subscribers(object));
    for (object, _) in extra.filter(|(object, properties)| !is_harmless(expected, object, properties)) {
        differences.push(Difference {
            object: object.to_string(),
            problem: "is none of the registry's".to_owned(),
            found: Some("there".to_owned()),
            expected: None,
            remedy: remedy_of_extra(object),
        });
    }
    differences
}

/// The trigger that a subscriber has on each table, in place of the others.
fn is_of_subscribers(object: &Object) -> bool {
    object.kind == "trigger" && object.name.starts_with("by_replication_alone ON ")
}

/// In a subscriber guards rest, and the owner is not held by row-level security, as which replication writes: that is how
/// `registry subscriber` makes it.
fn at_rest(expected: &Properties, found: &Properties) -> Properties {
    let meant = |name: &String, value: &String| {
        let expected = expected.by_name.get(name).map(String::as_str);
        match (name.as_str(), expected, value.as_str()) {
            ("fires", Some("ALWAYS"), "by default")
            | ("row-level security", Some("forced"), "on, but not for the owner") => {
                expected.unwrap_or_default().to_owned()
            }
            _ => value.clone(),
        }
    };
    let by_name = found.by_name.iter().map(|(name, value)| (name.clone(), meant(name, value))).collect();
    Properties { by_name, may_be_more: found.may_be_more }
}

/// Somebody's own table beside ours, with what belongs to it, and what only makes look-ups quicker.
fn is_harmless(expected: &Facts, object: &Object, properties: &Properties) -> bool {
    let is_own = |relation: &str| relation.starts_with("@schema@") && !expected.has_relation(relation);
    let indexed = properties.by_name.get("definition").and_then(|definition| {
        let (_, rest) = definition.split_once(" ON ")?;
        rest.split(' ').next()
    });
    match object.kind.as_str() {
        "table" | "sequence" | "type" => object.name.starts_with("@schema@"),
        "trigger" | "policy" | "constraint" | "rule" => object.relation().is_some_and(is_own),
        "index" => properties.may_be_more || indexed.is_some_and(is_own),
        "statistics" => properties.by_name.values().any(|relation| is_own(relation)),
        _ => false,
    }
}

fn compare(object: &Object, expected: &Properties, found: &Properties) -> Vec<Difference> {
    let mut names: Vec<&String> = expected.by_name.keys().chain(found.by_name.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differs = names.into_iter().filter_map(|name| {
        let (should, is) = (expected.by_name.get(name), found.by_name.get(name));
        (should != is).then(|| Difference {
            object: object.to_string(),
            problem: in_words(name, should.map(String::as_str), is.map(String::as_str)),
            found: is.cloned(),
            expected: should.cloned(),
            remedy: remedy_of_property(object, name, should.map(String::as_str), is.map(String::as_str)),
        })
    });
    differs.collect()
}

fn in_words(property: &str, expected: Option<&str>, found: Option<&str>) -> String {
    // A digest says nothing to anybody.
    let is_digest = matches!(property, "body" | "query");
    let who = property.strip_prefix("granted to ");
    match (who, expected, found) {
        (None, _, Some(privileges)) if property.starts_with("may be") => format!("{property}: {privileges}"),
        _ if property.starts_with("member of ") => format!("is a {property}"),
        (Some(who), None, Some("member")) => format!("is granted to {who}"),
        (Some(who), None, Some(privileges)) => format!("gives {who} {privileges}"),
        (Some(who), Some(privileges), None) => format!("does not give {who} {privileges}"),
        (Some(who), Some(privileges), Some(found)) => format!("gives {who} {found}, and not {privileges}"),
        (None, Some(_), Some(_)) if is_digest => format!("has another {property}"),
        (None, Some(expected), Some(found)) if property == "fires" => format!("fires {found}, and not {expected}"),
        (None, Some(expected), Some(found)) => format!("has {property} {found}, and not {expected}"),
        (None, Some(expected), None) => format!("lacks {property} {expected}"),
        (_, None, found) => format!("has {property} {}", found.unwrap_or_default()),
    }
}
