//! From rows to the data of a Secret: select, rename, open, verify.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::api::{DataFromEntry, Selection, list_keys};
use crate::controller::sources::{SecretRow, Snapshot, contradicts};
use crate::core::{Hint as _, KeyState, SecretValue, is_secret_key};
use crate::crypto::{Keyring, OpenError};
use crate::shape::Finder;

/// Most bytes that the values of a Secret may have together.
pub(crate) const VALUES_MAX: usize = 1_048_576;

/// A key that is to be delivered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SelectedKey<'a> {
    /// Its name in the Secret; where that depends on more than the name, its name in the registry.
    pub(crate) secret_key: &'a str,
    /// Its name in the registry.
    pub(crate) key: &'a str,
    /// Its row, sealed.
    pub(crate) row: &'a SecretRow,
}

/// What a binding selects, and what of it is there.
#[derive(Debug, Default)]
pub(crate) struct Selected<'a> {
    /// The keys to deliver, in the order of their names in the Secret.
    pub(crate) keys: Vec<SelectedKey<'a>>,
    /// Keys that are named, not optional, and not there.
    pub(crate) missing: Vec<&'a str>,
    /// Keys that are named and not granted.
    pub(crate) ungranted: Vec<&'a str>,
    /// Places in `spec.dataFrom` of entries that find no key.
    pub(crate) finding_nothing: Vec<usize>,
    /// Every key that counts for the registry comparison, with its state, in order.
    pub(crate) states: BTreeMap<&'a str, KeyState>,
}

/// Selects what a binding asks for from what it may have. Opens nothing.
pub(crate) fn select<'a>(
    selection: Selection<'a>,
    is_granted: impl Fn(&str) -> bool,
    snapshot: &'a Snapshot,
) -> Selected<'a> {
    let mut selected = Selected::default();
    match selection {
        Selection::Every => {
            let granted = snapshot.keys.secrets().filter(|(key, _)| is_granted(key));
            selected.keys = granted.map(|(key, row)| SelectedKey { secret_key: key, key, row }).collect();
            selected.states = snapshot.keys.states().filter(|(key, _)| is_granted(key)).collect();
        }
        Selection::Entries { data, data_from } => {
            for entry in data {
                let key = entry.remote_ref.key.as_str();
                if !is_granted(key) {
                    selected.ungranted.push(key);
                    continue;
                }
                match snapshot.keys.secret(key) {
                    Some(row) => selected.keys.push(SelectedKey { secret_key: &entry.secret_key, key, row }),
                    None if entry.is_optional() => {}
                    None => selected.missing.push(key),
                }
                selected.states.extend(snapshot.keys.state_of(key).map(|state| (key, state)));
            }
            for (place, entry) in data_from.iter().enumerate() {
                find(entry, place, &is_granted, snapshot, &mut selected);
            }
            selected.keys.sort_by_key(|key| key.secret_key);
        }
    }
    selected
}

/// Adds the keys that an entry finds. One that cannot be read finds nothing: the spec was refused before.
fn find<'a>(
    entry: &'a DataFromEntry,
    place: usize,
    is_granted: &impl Fn(&str) -> bool,
    snapshot: &'a Snapshot,
    selected: &mut Selected<'a>,
) {
    let Ok(finder) = Finder::new(&entry.find) else { return };
    let is_meant = |key: &str| finder.covers(key) && is_granted(key);
    let before: HashSet<&str> = selected.keys.iter().map(|key| key.key).collect();
    let mut found = snapshot.keys.secrets().filter(|(key, _)| is_meant(key)).peekable();
    if found.peek().is_none() {
        selected.finding_nothing.push(place);
    }
    let found = found.filter(|(key, _)| !before.contains(key));
    selected.keys.extend(found.map(|(key, row)| SelectedKey { secret_key: key, key, row }));
    selected.states.extend(snapshot.keys.states().filter(|(key, _)| is_meant(key)));
}

/// Why there is no content. Names keys, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ContentError {
    /// A name that Kubernetes does not take for a key of a Secret.
    #[error("not valid as names of keys in a Secret: {}; give each a name with spec.data[].secretKey", list_keys(.keys))]
    KeyNameInvalid { keys: Vec<String> },
    /// Two keys for one name.
    #[error("several keys would have the name {name} in the Secret; give each a name of its own")]
    KeyNameTwice { name: String },
    /// The keyring lacks what a value was sealed with.
    #[error("cannot open {}: {}", list_keys(.keys), .cause.with_hint())]
    RingNotHeld {
        keys: Vec<String>,
        /// What is not held, of the first of them.
        cause: OpenError,
    },
    /// A value does not open.
    #[error("cannot open {}: {}", list_keys(.keys), .cause.with_hint())]
    OpenFailed {
        keys: Vec<String>,
        /// Why not, of the first of them.
        cause: OpenError,
    },
    /// A value opened and is not the one that its hash is of.
    #[error("opened, but not the value that its value_hash is of: {}", list_keys(.keys))]
    HashMismatch { keys: Vec<String> },
    /// More than a Secret may hold.
    #[error("the {keys} values have {bytes} bytes together; a Secret may have {VALUES_MAX}")]
    TooLarge {
        /// How many values.
        keys: usize,
        bytes: usize,
    },
}

/// The data of a Secret, opened. Wiped when dropped; its `Debug` shows how many values there are, and none of them.
#[derive(Default)]
pub(crate) struct Values(BTreeMap<String, SecretValue>);

impl Values {
    /// The values by their names in the Secret.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &SecretValue)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The value of that name.
    #[cfg(test)]
    pub(crate) fn get(&self, name: &str) -> Option<&SecretValue> {
        self.0.get(name)
    }

    /// These, unless they are more than a Secret may have.
    pub(crate) fn within_limits(self) -> Result<Self, ContentError> {
        let bytes = self.0.values().map(SecretValue::len).sum();
        if bytes > VALUES_MAX { Err(ContentError::TooLarge { keys: self.0.len(), bytes }) } else { Ok(self) }
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl FromIterator<(String, SecretValue)> for Values {
    fn from_iter<I: IntoIterator<Item = (String, SecretValue)>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Values({})", self.0.len())
    }
}

/// Whether the names can be those of a Secret's keys.
pub(crate) fn check_names(keys: &[SelectedKey]) -> Result<(), ContentError> {
    let invalid = keys.iter().filter(|key| !is_secret_key(key.secret_key));
    let invalid: Vec<String> = invalid.map(|key| key.secret_key.to_owned()).collect();
    if !invalid.is_empty() {
        return Err(ContentError::KeyNameInvalid { keys: invalid });
    }
    match keys.windows(2).find(|pair| pair[0].secret_key == pair[1].secret_key) {
        Some(pair) => Err(ContentError::KeyNameTwice { name: pair[0].secret_key.to_owned() }),
        None => Ok(()),
    }
}

/// Opens what was selected, and nothing else, and checks each value against its hash. Each comes with what it is sealed as.
pub(crate) fn open(
    keys: &[(SelectedKey, &str)],
    snapshot: &Snapshot,
    keyring: &Keyring,
) -> Result<Values, ContentError> {
    let hash_keys = snapshot.open_hash_keys(keyring);
    let ring = snapshot.ring_name();
    let mut failures = Failures::default();
    let mut values = BTreeMap::new();
    for (key, sealed) in keys {
        match snapshot.open(key.key, key.row, sealed, keyring) {
            Err(cause) => failures.not_opened(key.key, ring.iter().fold(cause, OpenError::in_ring)),
            Ok(value) if contradicts(key.row, &value, &hash_keys) => failures.mismatched.push(key.key.to_owned()),
            Ok(value) => {
                values.insert(key.secret_key.to_owned(), value);
            }
        }
    }
    failures.into_result()?;
    Values(values).within_limits()
}

#[derive(Default)]
struct Failures {
    not_held: Vec<(String, OpenError)>,
    not_opened: Vec<(String, OpenError)>,
    mismatched: Vec<String>,
}

impl Failures {
    fn not_opened(&mut self, key: &str, cause: OpenError) {
        match cause {
            OpenError::KeyNotHeld { .. } => self.not_held.push((key.to_owned(), cause)),
            _ => self.not_opened.push((key.to_owned(), cause)),
        }
    }

    fn into_result(self) -> Result<(), ContentError> {
        let keys = |failed: &[(String, OpenError)]| failed.iter().map(|(key, _)| key.clone()).collect();
        if let Some((_, cause)) = self.not_held.first() {
            Err(ContentError::RingNotHeld { keys: keys(&self.not_held), cause: cause.clone() })
        } else if let Some((_, cause)) = self.not_opened.first() {
            Err(ContentError::OpenFailed { keys: keys(&self.not_opened), cause: cause.clone() })
        } else if self.mismatched.is_empty() {
            Ok(())
        } else {
            Err(ContentError::HashMismatch { keys: self.mismatched })
        }
    }
}

#[cfg(test)]
mod tests;
