//! What an environment has of each key. A copy shares everything with the one that it was made from but what is changed
//! in it, and what a status says of all keys is counted as they change: a change of one key costs as much among ten
//! thousand as among ten.

use std::ops::Index;
use std::sync::Arc;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::SecretRow;
use crate::core::{KeyFacts, KeyState, RegistryTime, StateCounts};

/// What an environment has of one key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyEntry {
    /// The live row.
    pub secret: Option<SecretRow>,
    /// `project_secret_registry.last_updated_at`, where the key is registered and not retired.
    pub last_updated_at: Option<RegistryTime>,
    /// Whether the environment is exempt from the key.
    pub exempt: bool,
}

impl KeyEntry {
    /// The state of the key; `None` where it neither lives here nor is registered.
    #[must_use]
    pub fn state(&self) -> Option<KeyState> {
        KeyState::of(KeyFacts {
            updated_at: self.secret.as_ref().map(|row| row.updated_at),
            last_updated_at: self.last_updated_at,
            exempt: self.exempt,
        })
    }
}

/// The keys that live in an environment or are registered in its project, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SnapshotKeys {
    entries: RedBlackTreeMapSync<Arc<str>, KeyEntry>,
    out_of_sync: RedBlackTreeSetSync<Arc<str>>,
    counts: StateCounts,
    live: usize,
}

impl SnapshotKeys {
    /// Puts what there is of a key in the place of what was. One that neither lives here nor is registered leaves.
    pub fn set(&mut self, key: Arc<str>, entry: KeyEntry) {
        if let Some(before) = self.entries.get(&*key) {
            before.state().into_iter().for_each(|state| self.counts.remove(state));
            self.live -= usize::from(before.secret.is_some());
        }
        let Some(state) = entry.state() else {
            self.entries.remove_mut(&*key);
            self.out_of_sync.remove_mut(&*key);
            return;
        };
        self.counts.add(state);
        self.live += usize::from(entry.secret.is_some());
        if state.is_out_of_sync() {
            self.out_of_sync.insert_mut(Arc::clone(&key));
        } else {
            self.out_of_sync.remove_mut(&*key);
        }
        self.entries.insert_mut(key, entry);
    }

    /// What there is of a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&KeyEntry> {
        self.entries.get(key)
    }

    /// The live row of a key.
    #[must_use]
    pub fn secret(&self, key: &str) -> Option<&SecretRow> {
        self.get(key)?.secret.as_ref()
    }

    /// The state of one key; `None` for a key that neither lives here nor is registered.
    #[must_use]
    pub fn state_of(&self, key: &str) -> Option<KeyState> {
        self.get(key)?.state()
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(|key| &**key)
    }

    /// The live rows.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &SecretRow)> {
        self.entries.iter().filter_map(|(key, entry)| Some((&**key, entry.secret.as_ref()?)))
    }

    /// Every key with its state.
    pub fn states(&self) -> impl Iterator<Item = (&str, KeyState)> {
        self.entries.iter().filter_map(|(key, entry)| Some((&**key, entry.state()?)))
    }

    /// The keys that are behind or at odds with the registry, with their states.
    pub fn out_of_sync(&self) -> impl Iterator<Item = (&str, KeyState)> {
        self.out_of_sync.iter().filter_map(|key| Some((&**key, self.state_of(key)?)))
    }

    /// How many keys stand in each state.
    #[must_use]
    pub const fn counts(&self) -> StateCounts {
        self.counts
    }

    /// How many live rows there are.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.live
    }
}

impl Index<&str> for SnapshotKeys {
    type Output = SecretRow;

    /// The live row of a key.
    ///
    /// # Panics
    /// Where it has none.
    fn index(&self, key: &str) -> &SecretRow {
        self.secret(key).unwrap_or_else(|| panic!("no live row of {key}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::core::SecretId;

    fn entry() -> impl Strategy<Value = KeyEntry> {
        let secret = proptest::option::of(0_i64..3).prop_map(|updated| {
            updated.map(|updated| SecretRow {
                id: SecretId(Uuid::from_u128(1)),
                value_hash: None,
                version: 1,
                value_version: "".into(),
                updated_at: RegistryTime::from_micros(updated),
            })
        });
        (secret, proptest::option::of(0_i64..3), any::<bool>()).prop_map(|(secret, last, exempt)| KeyEntry {
            secret,
            last_updated_at: last.map(RegistryTime::from_micros),
            exempt,
        })
    }

    proptest! {
        /// After any changes, what is counted along the way is what counting finds, and a copy stays as it was.
        #[test]
        fn what_is_kept_is_what_counting_finds(changes in proptest::collection::vec((0_u8..8, entry()), 0..60)) {
            let mut keys = SnapshotKeys::default();
            for (key, entry) in changes {
                let (before, copy) = (keys.states().map(|(key, state)| (key.to_owned(), state)).collect::<Vec<_>>(), keys.clone());
                keys.set(key.to_string().into(), entry.clone());
                prop_assert_eq!(keys.get(&key.to_string()), entry.state().map(|_| &entry));
                prop_assert_eq!(keys.counts(), keys.states().map(|(_, state)| state).collect::<StateCounts>());
                prop_assert_eq!(keys.live(), keys.secrets().count());
                let behind: Vec<_> = keys.states().filter(|(_, state)| state.is_out_of_sync()).collect();
                prop_assert_eq!(keys.out_of_sync().collect::<Vec<_>>(), behind);
                prop_assert_eq!(copy.states().map(|(key, state)| (key.to_owned(), state)).collect::<Vec<_>>(), before);
            }
        }
    }
}
