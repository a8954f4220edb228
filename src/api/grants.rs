//! Grants, ready to be asked: which keys of a source may a namespace read?

use std::collections::BTreeMap;

use kube::core::{Selector, SelectorExt};
use regex::{Regex, RegexBuilder};

use super::Grant;

/// Largest compiled form of a grant's regular expression, in bytes: grants come from people, memory is ours.
const REGEXP_SIZE: usize = 1 << 20;

/// A grant that cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrant {
    /// The pattern for keys is not a regular expression, or too large a one.
    #[error("spec.grants[{index}].keys.regexp is not a regular expression that can be used: {cause}")]
    Regexp {
        /// Place in `spec.grants`.
        index: usize,
        /// What the parser says, on one line.
        cause: String,
    },
    /// The label selector is not valid.
    #[error("spec.grants[{index}].namespaces.selector is not valid: {cause}")]
    Selector {
        /// Place in `spec.grants`.
        index: usize,
        /// What is wrong.
        cause: String,
    },
    /// The grant would be to every namespace.
    #[error("spec.grants[{index}].namespaces is empty: name the namespaces, or select them by label")]
    Empty {
        /// Place in `spec.grants`.
        index: usize,
    },
}

/// The grants of a source.
#[derive(Debug, Clone)]
pub struct Grants(Vec<Compiled>);

#[derive(Debug, Clone)]
struct Compiled {
    names: Vec<String>,
    selector: Option<Selector>,
    keys: Keys,
}

#[derive(Debug, Clone)]
enum Keys {
    All,
    Some { names: Vec<String>, regexp: Option<Regex> },
}

/// What one namespace was granted.
#[derive(Debug, Clone)]
pub struct Granted<'a>(Vec<&'a Keys>);

impl Grants {
    /// Makes the grants of a spec ready. An empty selector is refused here, too: the schema may be an older one.
    pub fn new(grants: &[Grant]) -> Result<Self, InvalidGrant> {
        grants.iter().enumerate().map(|(index, grant)| compile(index, grant)).collect::<Result<_, _>>().map(Self)
    }

    /// What a namespace with that name and those labels was granted; `None` where no grant covers it.
    #[must_use]
    pub fn to_namespace(&self, name: &str, labels: &BTreeMap<String, String>) -> Option<Granted<'_>> {
        let covers = |grant: &&Compiled| {
            grant.names.iter().any(|granted| granted == name)
                || grant.selector.as_ref().is_some_and(|selector| selector.matches(labels))
        };
        let granted: Vec<&Keys> = self.0.iter().filter(covers).map(|grant| &grant.keys).collect();
        (!granted.is_empty()).then_some(Granted(granted))
    }
}

impl Granted<'_> {
    /// Whether the key was granted.
    #[must_use]
    pub fn covers(&self, key: &str) -> bool {
        self.0.iter().any(|keys| match keys {
            Keys::All => true,
            Keys::Some { names, regexp } => {
                names.iter().any(|name| name == key) || regexp.as_ref().is_some_and(|regexp| regexp.is_match(key))
            }
        })
    }
}

fn compile(index: usize, grant: &Grant) -> Result<Compiled, InvalidGrant> {
    let names = grant.namespaces.names.clone().unwrap_or_default();
    let selector = grant.namespaces.selector.clone().map(Selector::try_from).transpose();
    let selector = selector.map_err(|error| InvalidGrant::Selector { index, cause: error.to_string() })?;
    if selector.as_ref().map_or(names.is_empty(), Selector::selects_all) {
        return Err(InvalidGrant::Empty { index });
    }
    let keys = match &grant.keys {
        None => Keys::All,
        Some(keys) => Keys::Some {
            names: keys.names.clone().unwrap_or_default(),
            regexp: keys.regexp.as_deref().map(|regexp| whole(index, regexp)).transpose()?,
        },
    };
    Ok(Compiled { names, selector, keys })
}

/// The expression, to be matched by the whole key: `DB_.*` must not grant `ADMIN_DB_PASSWORD`.
fn whole(index: usize, regexp: &str) -> Result<Regex, InvalidGrant> {
    let build = |text: &str| RegexBuilder::new(text).size_limit(REGEXP_SIZE).build();
    // Alone first: `a)|(b` must not become valid inside the group.
    build(regexp).and_then(|_| build(&format!(r"\A(?:{regexp})\z"))).map_err(|error| InvalidGrant::Regexp {
        index,
        cause: error.to_string().lines().next_back().unwrap_or_default().trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn grants(grants: Value) -> Result<Grants, InvalidGrant> {
        Grants::new(&serde_json::from_value::<Vec<Grant>>(grants).expect("grants"))
    }

    fn labels(name: &str, value: &str) -> BTreeMap<String, String> {
        [(name.to_owned(), value.to_owned())].into()
    }

    fn covers(granted: &Grants, namespace: &str, labels: &BTreeMap<String, String>, key: &str) -> bool {
        granted.to_namespace(namespace, labels).is_some_and(|granted| granted.covers(key))
    }

    #[test]
    fn a_namespace_is_granted_by_name_or_by_label_and_else_not() {
        let grants =
            grants(json!([{"namespaces": {"names": ["shop"], "selector": {"matchLabels": {"team": "shop"}}}}]))
                .expect("valid grants");
        assert!(covers(&grants, "shop", &BTreeMap::new(), "A"));
        assert!(covers(&grants, "other", &labels("team", "shop"), "A"));
        assert!(grants.to_namespace("other", &labels("team", "pay")).is_none());
        assert!(grants.to_namespace("shop-2", &BTreeMap::new()).is_none());
    }

    #[test]
    fn keys_add_up_over_the_grants_that_cover_a_namespace() {
        let grants = grants(json!([
            {"namespaces": {"names": ["a", "b"]}, "keys": {"names": ["X"], "regexp": "DB_.*"}},
            {"namespaces": {"names": ["b"]}, "keys": {"names": ["Y"]}},
        ]))
        .expect("valid grants");
        for (namespace, key, expected) in
            [("a", "X", true), ("a", "DB_URL", true), ("a", "Y", false), ("b", "Y", true), ("b", "Z", false)]
        {
            assert_eq!(covers(&grants, namespace, &BTreeMap::new(), key), expected, "{namespace} {key}");
        }
    }

    #[test]
    fn a_pattern_must_match_the_whole_key() {
        let grants = grants(json!([{"namespaces": {"names": ["a"]}, "keys": {"regexp": "DB|APP_.*"}}])).expect("valid");
        for (key, expected) in
            [("DB", true), ("APP_X", true), ("MY_DB", false), ("DB2", false), ("MY_APP_X", false), ("DB\n", false)]
        {
            assert_eq!(covers(&grants, "a", &BTreeMap::new(), key), expected, "{key}");
        }
    }

    #[test]
    fn a_grant_to_everybody_or_with_a_broken_pattern_is_refused() {
        assert_eq!(grants(json!([{"namespaces": {}}])).unwrap_err(), InvalidGrant::Empty { index: 0 });
        assert_eq!(
            grants(json!([{"namespaces": {"names": ["a"], "selector": {}}}])).unwrap_err(),
            InvalidGrant::Empty { index: 0 }
        );
        for regexp in ["(", "a)|(b", "(x{1000}){1000}"] {
            let error = grants(json!([{"namespaces": {"names": ["a"]}, "keys": {"regexp": regexp}}])).unwrap_err();
            assert!(error.to_string().starts_with("spec.grants[0].keys.regexp is not"), "{error}");
        }
    }
}
