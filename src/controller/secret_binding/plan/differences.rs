//! How two Secrets differ, by names alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::ByteString;

use crate::api::list_names;

/// How a Secret differs from what it is to be. It knows names, and no value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Differences {
    /// Keys with another value.
    pub(crate) changed: Vec<String>,
    /// Keys that it does not have.
    pub(crate) lacking: Vec<String>,
    /// Keys that it should not have.
    pub(crate) extra: Vec<String>,
    /// Fields of a Secret that are not as they should be.
    pub(crate) fields: Vec<&'static str>,
    /// Labels, annotations, owner and other metadata that are not as they should be.
    pub(crate) metadata: Vec<String>,
}

impl Differences {
    /// Those of the data alone: what it is to be, and what there is.
    #[must_use]
    pub(super) fn of_data<'a>(
        wanted: impl Iterator<Item = (&'a str, &'a [u8])>,
        found: Option<&BTreeMap<String, ByteString>>,
    ) -> Self {
        let empty = BTreeMap::new();
        let found = found.unwrap_or(&empty);
        let mut differences = Self::default();
        let mut names = BTreeSet::new();
        for (name, value) in wanted {
            names.insert(name);
            match found.get(name) {
                Some(ByteString(bytes)) if bytes == value => {}
                Some(_) => differences.changed.push(name.to_owned()),
                None => differences.lacking.push(name.to_owned()),
            }
        }
        differences.extra = found.keys().filter(|name| !names.contains(name.as_str())).cloned().collect();
        differences
    }

    /// What becomes of the data where they are put right, as in "overwritten A; added B; removed C".
    #[must_use]
    pub(super) fn data_changes(&self) -> String {
        let parts = [("overwritten", &self.changed), ("added", &self.lacking), ("removed", &self.extra)];
        let parts = parts.iter().filter(|(_, keys)| !keys.is_empty());
        let parts: Vec<String> = parts.map(|(what, keys)| format!("{what} {}", list_names(keys))).collect();
        if parts.is_empty() { "its keys and values stay".to_owned() } else { format!("keys {}", parts.join("; ")) }
    }

    /// Whether there are none.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.metadata.is_empty() && self.fields.is_empty() && !self.touch_data()
    }

    /// Whether the data differs.
    #[must_use]
    pub(crate) fn touch_data(&self) -> bool {
        !(self.changed.is_empty() && self.lacking.is_empty() && self.extra.is_empty())
    }
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            ("changed keys", list_names(&self.changed)),
            ("missing keys", list_names(&self.lacking)),
            ("extra keys", list_names(&self.extra)),
            ("fields", list_names(&self.fields)),
            ("metadata", list_names(&self.metadata)),
        ];
        let parts = parts.iter().filter(|(_, names)| !names.is_empty());
        let parts: Vec<String> = parts.map(|(what, names)| format!("{what} {names}")).collect();
        f.write_str(&parts.join("; "))
    }
}
