//! What is known of a schema's objects.

use std::collections::BTreeMap;
use std::fmt;

/// A table, a policy, a function: how SQL calls it, with placeholders for the schemas.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Object {
    pub(super) kind: String,
    /// As it stands in `DROP <kind> <name>`.
    pub(super) name: String,
}

/// What one object is like.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Properties {
    pub(super) by_name: BTreeMap<String, String>,
    /// Whether somebody may add such an object without weakening anything.
    pub(super) may_be_more: bool,
}

/// All objects of a schema.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts(pub(super) BTreeMap<Object, Properties>);

impl Object {
    fn of(kind: &str, name: &str) -> Self {
        Self { kind: kind.to_owned(), name: name.to_owned() }
    }

    /// What a trigger, policy, constraint or rule belongs to.
    pub(super) fn relation(&self) -> Option<&str> {
        let belongs = matches!(self.kind.as_str(), "trigger" | "policy" | "constraint" | "rule");
        self.name.rsplit_once(" ON ").map(|(_, relation)| relation).filter(|_| belongs)
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.relation() {
            Some(_) => self.name.replace(" ON ", " on "),
            None => self.name.clone(),
        };
        write!(f, "{} {name}", self.kind)
    }
}

impl Facts {
    /// Of the text that [`Facts`] print.
    pub(super) fn parse(text: &str) -> Self {
        let mut facts = Self::default();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let mut fields = line.splitn(4, '\t');
            let mut next = || fields.next().unwrap_or_default();
            let (kind, name, property, value) = (next(), next(), next(), next());
            facts.insert(kind, name, property, value, false);
        }
        facts
    }

    pub(super) fn insert(&mut self, kind: &str, name: &str, property: &str, value: &str, may_be_more: bool) {
        let properties = self.0.entry(Object::of(kind, name)).or_default();
        properties.by_name.insert(property.to_owned(), value.to_owned());
        properties.may_be_more |= may_be_more;
    }

    pub(super) fn forget(&mut self, kind: &str, name: &str, property: &str) {
        if let Some(properties) = self.0.get_mut(&Object::of(kind, name)) {
            properties.by_name.remove(property);
        }
    }

    pub(super) fn has_relation(&self, name: &str) -> bool {
        ["table", "view"].iter().any(|kind| self.0.contains_key(&Object::of(kind, name)))
    }
}

impl fmt::Display for Facts {
    /// One line for each property: kind, name, property and value, parted by tabs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (object, properties) in &self.0 {
            for (property, value) in &properties.by_name {
                writeln!(f, "{}\t{}\t{property}\t{value}", object.kind, object.name)?;
            }
        }
        Ok(())
    }
}
