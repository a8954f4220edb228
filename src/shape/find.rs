//! Which keys an entry of `dataFrom` finds.

use std::collections::BTreeSet;

use crate::api::{Find, InvalidPattern, NamePattern};

/// A `find`, ready to be asked.
#[derive(Debug)]
pub(crate) struct Finder<'s> {
    pattern: Option<NamePattern>,
    keys: Option<BTreeSet<&'s str>>,
    excluded: BTreeSet<&'s str>,
}

impl<'s> Finder<'s> {
    pub(crate) fn new(find: &'s Find) -> Result<Self, InvalidPattern> {
        let names = |keys: &'s Option<Vec<String>>| keys.iter().flatten().map(String::as_str).collect();
        Ok(Self {
            pattern: find.name.as_ref().map(|name| NamePattern::new(&name.regexp)).transpose()?,
            keys: find.keys.as_ref().map(|_| names(&find.keys)),
            excluded: names(&find.exclude_keys),
        })
    }

    /// Whether it finds a key of that name.
    #[must_use]
    pub(crate) fn covers(&self, key: &str) -> bool {
        let is_meant = match (&self.pattern, &self.keys) {
            (None, None) => true,
            (pattern, keys) => {
                pattern.as_ref().is_some_and(|pattern| pattern.is_found(key))
                    || keys.as_ref().is_some_and(|keys| keys.contains(key))
            }
        };
        is_meant && !self.excluded.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_is_found_by_pattern_or_name_and_never_where_it_is_excluded() {
        for (find, found) in [
            (json!({}), vec!["ADMIN_DB", "DB_URL", "ключ"]),
            (json!({"name": {"regexp": "DB"}}), vec!["ADMIN_DB", "DB_URL"]),
            (json!({"name": {"regexp": "^DB"}}), vec!["DB_URL"]),
            (json!({"name": {"regexp": ".*"}}), vec!["ADMIN_DB", "DB_URL"]),
            (json!({"name": {"regexp": "NOBODY"}}), vec![]),
            (json!({"keys": ["DB_URL", "GONE"]}), vec!["DB_URL"]),
            (json!({"name": {"regexp": "^ADMIN"}, "keys": ["ключ"]}), vec!["ADMIN_DB", "ключ"]),
            (json!({"name": {"regexp": "DB"}, "excludeKeys": ["ADMIN_DB"]}), vec!["DB_URL"]),
            (json!({"keys": ["DB_URL"], "excludeKeys": ["DB_URL"]}), vec![]),
        ] {
            let parsed = serde_json::from_value(find.clone()).expect("a find");
            let finder = Finder::new(&parsed).expect("a pattern");
            let covered: Vec<&str> =
                ["ADMIN_DB", "DB_URL", "ключ"].into_iter().filter(|key| finder.covers(key)).collect();
            assert_eq!(covered, found, "{find}");
        }
    }
}
