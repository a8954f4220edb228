//! Values as they are sealed, and proofs that rows were deleted. A snapshot has neither: they are read when a Secret is to
//! be written, and most snapshots are only compared.

use std::collections::HashMap;
use std::sync::Arc;

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use crate::core::ShortDigest;
use crate::registry::{SealedValue, ValueId};

/// Most bytes of sealed text that are kept for the next binding that wants the same values.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;

/// How many texts that is, roughly.
const CACHE_ITEMS: usize = 4_096;

/// Values as they are sealed.
#[derive(Debug, Default)]
pub(crate) struct SealedValues(HashMap<ValueId, Arc<str>>);

impl SealedValues {
    /// What a value is sealed as, if it was read.
    #[must_use]
    pub(crate) fn get(&self, value: &ValueId) -> Option<&str> {
        self.0.get(value).map(|text| &**text)
    }

    /// Takes in what was read besides.
    pub(crate) fn extend(&mut self, more: impl IntoIterator<Item = SealedValue>) {
        self.0.extend(more.into_iter().map(|value| (value.id, value.text)));
    }
}

/// Which rows were deleted on purpose, of those that were asked about: by the digests of their ids.
#[derive(Debug, Default)]
pub(crate) struct Tombstones(HashMap<ShortDigest, Option<String>>);

impl Tombstones {
    /// Whether the registry was asked about the row.
    #[must_use]
    pub(crate) fn was_asked_for(&self, row: ShortDigest) -> bool {
        self.0.contains_key(&row)
    }

    /// The key of the row, if it was deleted.
    #[must_use]
    pub(crate) fn key_of(&self, row: ShortDigest) -> Option<&str> {
        self.0.get(&row)?.as_deref()
    }

    /// The keys of all rows that were deleted.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.values().flatten().map(String::as_str)
    }

    /// Takes in what the registry answered about a row: its key, if it was deleted.
    pub(crate) fn insert(&mut self, row: ShortDigest, key: Option<String>) {
        self.0.insert(row, key);
    }
}

/// The values that were read last.
pub(super) struct ValueCache(Cache<ValueId, Arc<str>, Bytes>);

#[derive(Clone)]
struct Bytes;

impl Weighter<ValueId, Arc<str>> for Bytes {
    fn weight(&self, value: &ValueId, text: &Arc<str>) -> u64 {
        u64::try_from(text.len() + value.value_version.len() + size_of::<ValueId>()).unwrap_or(u64::MAX)
    }
}

impl Default for ValueCache {
    fn default() -> Self {
        let mut options = OptionsBuilder::new();
        // In one piece: of many, none would have room for a large value.
        options.estimated_items_capacity(CACHE_ITEMS).weight_capacity(CACHE_BYTES).shards(1);
        // Only a capacity that is missing would be refused.
        let cache = match options.build() {
            Ok(options) => {
                Cache::with_options(options, Bytes, DefaultHashBuilder::default(), DefaultLifecycle::default())
            }
            Err(_) => Cache::with_weighter(CACHE_ITEMS, CACHE_BYTES, Bytes),
        };
        Self(cache)
    }
}

impl ValueCache {
    /// Moves what is known from `wanted` into `found`.
    pub(super) fn take_from(&self, wanted: &mut Vec<ValueId>, found: &mut SealedValues) {
        wanted.retain(|value| match self.0.get(value) {
            Some(text) => {
                found.0.insert(value.clone(), text);
                false
            }
            None => true,
        });
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        self.0.clear();
    }

    pub(super) fn keep(&self, value: &SealedValue) {
        self.0.insert(value.id.clone(), Arc::clone(&value.text));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::core::SecretId;

    fn value(row: u128, length: usize) -> SealedValue {
        let id = ValueId { row: SecretId(Uuid::from_u128(row)), version: 1, value_version: "hash".into() };
        SealedValue { id, text: "x".repeat(length).into() }
    }

    #[test]
    fn what_is_kept_has_a_limit_in_bytes() {
        let cache = ValueCache::default();
        for row in 0..64 {
            cache.keep(&value(row, 1_048_576));
        }
        let (mut wanted, mut found) =
            ((0..64).map(|row| value(row, 0).id).collect::<Vec<_>>(), SealedValues::default());
        cache.take_from(&mut wanted, &mut found);
        assert!((1..=8).contains(&found.0.len()), "{} of a mebibyte each", found.0.len());
        assert_eq!(wanted.len() + found.0.len(), 64);
    }
}
