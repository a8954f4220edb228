//! Grants, ready to be asked: which keys of a source may a namespace read?

use std::collections::BTreeMap;

use kube::core::{Selector, SelectorExt};

use super::Grant;
use super::key_pattern::KeyPattern;

/// A grant that cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGrant {
    /// The pattern for keys is none of the dialect, or too large a one.
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

/// The grants of a source. One that cannot be asked takes no other one along.
#[derive(Debug, Clone)]
pub struct Grants(Vec<Namespaces>);

/// A grant: to whom, and what.
#[derive(Debug, Clone)]
struct Namespaces {
    names: Vec<String>,
    selector: Option<Selector>,
    /// It may be to anybody: whom it selects cannot be read.
    is_unknown: bool,
    keys: Result<Keys, InvalidGrant>,
}

#[derive(Debug, Clone)]
enum Keys {
    All,
    Some { names: Vec<String>, regexp: Option<KeyPattern> },
}

/// What one namespace was granted.
#[derive(Debug, Clone)]
pub struct Granted<'a>(Vec<&'a Keys>);

impl Grants {
    /// Makes the grants of a spec ready: patterns are compiled, which is dear. An empty selector is refused here, too: the
    /// schema may be an older one.
    #[must_use]
    pub fn new(grants: &[Grant]) -> Self {
        Self(grants.iter().enumerate().map(|(index, grant)| compile(index, grant)).collect())
    }

    /// What a namespace with that name and those labels was granted; `None` where no grant covers it.
    #[must_use]
    pub fn to_namespace(&self, name: &str, labels: &BTreeMap<String, String>) -> Option<Granted<'_>> {
        let granted: Vec<&Keys> = self.covering(name, labels).filter_map(|grant| grant.keys.as_ref().ok()).collect();
        (!granted.is_empty()).then_some(Granted(granted))
    }

    /// The first grant that may cover a namespace, and does not say what it grants to it.
    #[must_use]
    pub fn invalid_for(&self, name: &str, labels: &BTreeMap<String, String>) -> Option<&InvalidGrant> {
        self.covering(name, labels).find_map(|grant| grant.keys.as_ref().err())
    }

    /// The first grant that cannot be asked, whomever it is to.
    #[must_use]
    pub fn invalid(&self) -> Option<&InvalidGrant> {
        self.0.iter().find_map(|grant| grant.keys.as_ref().err())
    }

    fn covering(&self, name: &str, labels: &BTreeMap<String, String>) -> impl Iterator<Item = &Namespaces> {
        self.0.iter().filter(move |grant| {
            grant.is_unknown
                || grant.names.iter().any(|granted| granted == name)
                || grant.selector.as_ref().is_some_and(|selector| selector.matches(labels))
        })
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

fn compile(index: usize, grant: &Grant) -> Namespaces {
    let names = grant.namespaces.names.clone().unwrap_or_default();
    let unknown = |invalid| Namespaces { names: Vec::new(), selector: None, is_unknown: true, keys: Err(invalid) };
    let selector = match grant.namespaces.selector.clone().map(Selector::try_from).transpose() {
        Ok(selector) => selector,
        Err(error) => return unknown(InvalidGrant::Selector { index, cause: error.to_string() }),
    };
    if selector.as_ref().map_or(names.is_empty(), Selector::selects_all) {
        return unknown(InvalidGrant::Empty { index });
    }
    let keys = match &grant.keys {
        None => Ok(Keys::All),
        Some(keys) => {
            let regexp = keys.regexp.as_deref().map(KeyPattern::new).transpose();
            let names = keys.names.clone().unwrap_or_default();
            regexp
                .map(|regexp| Keys::Some { names, regexp })
                .map_err(|error| InvalidGrant::Regexp { index, cause: error.to_string() })
        }
    };
    Namespaces { names, selector, is_unknown: false, keys }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn grants(grants: Value) -> Result<Grants, InvalidGrant> {
        let grants = Grants::new(&serde_json::from_value::<Vec<Grant>>(grants).expect("grants"));
        grants.invalid().cloned().map_or(Ok(grants), Err)
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

    #[test]
    fn a_grant_that_cannot_be_asked_concerns_those_alone_whom_it_may_be_to() {
        let parsed = |grants: Value| Grants::new(&serde_json::from_value::<Vec<Grant>>(grants).expect("grants"));
        let one = parsed(json!([
            {"namespaces": {"names": ["a"]}, "keys": {"regexp": "("}},
            {"namespaces": {"names": ["a", "b"]}, "keys": {"names": ["X"]}},
        ]));
        let none = BTreeMap::new();
        assert!(one.invalid_for("a", &none).is_some());
        assert!(one.invalid_for("b", &none).is_none() && covers(&one, "b", &none, "X"));
        let selector = json!({"matchExpressions": [{"key": "team", "operator": "Later"}]});
        let unknown = parsed(json!([{"namespaces": {"selector": selector}}, {"namespaces": {"names": ["b"]}}]));
        assert!(unknown.invalid_for("a", &none).is_some() && unknown.invalid_for("b", &none).is_some());
    }
}
