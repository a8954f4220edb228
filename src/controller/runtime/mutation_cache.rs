//! What was just written, until the cache has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::cache::Cache;
use super::object_key::reference_of;

/// How long a write is remembered: far longer than a watch's cache is ever behind.
const MEMORY: Duration = Duration::from_mins(1);

/// From one search for what may be forgotten to the next: with each write, it would cost the square of their number.
const SWEEP: Duration = Duration::from_secs(1);

/// How often in a minute somebody else's write is looked at once it comes; after that, one look at the end of the minute is for
/// all that come. Two that answer each other's at once would go on for ever.
const LOOKS: u32 = 3;

/// Whether an object that comes over a watch is to be looked at for what somebody else wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attention {
    /// It is as we wrote it, or will be looked at anyhow.
    None,
    Now,
    After(Duration),
}

/// Objects as they were after our own last write. A cache lags behind its own operator: without this, the reconcile
/// that follows a write would decide by a status that was already replaced, and write again.
///
/// Cheap to clone; all clones are one.
#[derive(Debug)]
pub(crate) struct MutationCache<K: Resource<DynamicType = ()>> {
    entries: Arc<Mutex<Entries<K>>>,
}

impl<K: Resource<DynamicType = ()>> Clone for MutationCache<K> {
    fn clone(&self) -> Self {
        Self { entries: Arc::clone(&self.entries) }
    }
}

#[derive(Debug)]
struct Entries<K: Resource<DynamicType = ()>> {
    known: HashMap<ObjectRef<K>, Entry<K>>,
    swept: Instant,
}

#[derive(Debug)]
struct Entry<K> {
    /// The object, until the cache has it.
    object: Option<Arc<K>>,
    version: Option<u128>,
    at: Instant,
    /// How often somebody else's write came, and since when that is counted.
    others: (u32, Instant),
}

impl<K: Resource<DynamicType = ()>> Default for MutationCache<K> {
    fn default() -> Self {
        Self { entries: Arc::new(Mutex::new(Entries { known: HashMap::new(), swept: Instant::now() })) }
    }
}

impl<K: Resource<DynamicType = ()> + Clone + DeserializeOwned> MutationCache<K> {
    /// The newest of an object that was cached a moment ago, what is cached now, and what was written.
    #[must_use]
    pub(crate) fn latest(&self, object: Arc<K>, cache: &Cache<K>) -> Arc<K> {
        let name = reference_of(&*object);
        let written = self.lock().known.get(&name).and_then(|entry| entry.object.clone());
        // In this order: what is not held any more is in the cache by now.
        let cached = cache.get(&name).unwrap_or(object);
        match written {
            Some(written) if is_older(&*cached, &*written) => written,
            _ => cached,
        }
    }
}

impl<K: Resource<DynamicType = ()> + Clone> MutationCache<K> {
    /// Whether an object that comes over a watch may be as somebody else wrote it. A write of our own is heard of before its
    /// answer now and then, and is taken for somebody else's.
    #[must_use]
    pub(crate) fn attention(&self, object: &K) -> Attention {
        let mut entries = self.lock();
        let Some(entry) = entries.known.get_mut(&reference_of(object)) else { return Attention::Now };
        if entry.version >= version(object) {
            return Attention::None;
        }
        if entry.others.1.elapsed() >= MEMORY {
            entry.others = (0, Instant::now());
        }
        let (count, since) = &mut entry.others;
        *count = count.saturating_add(1);
        match *count {
            ..=LOOKS => Attention::Now,
            count if count == LOOKS + 1 => Attention::After(MEMORY.saturating_sub(since.elapsed())),
            _ => Attention::None,
        }
    }

    /// When it was written last; `None` where that is long ago.
    #[must_use]
    pub(crate) fn last_write(&self, object: &K) -> Option<Instant> {
        self.lock().known.get(&reference_of(object)).map(|entry| entry.at)
    }

    /// The cache has an object as it is now, or `None`: it is gone. Otherwise what nobody reconciles again would be held for
    /// ever. That something was written is remembered all the same.
    pub(crate) fn seen(&self, object: &K, cached: Option<&K>) {
        let mut entries = self.lock();
        entries.sweep();
        let Some(entry) = entries.known.get_mut(&reference_of(object)) else { return };
        let is_behind = entry.object.as_deref().zip(cached).is_some_and(|(written, cached)| is_older(cached, written));
        if !is_behind {
            entry.object = None;
        }
    }

    /// Takes note of an object as the API server gave it back.
    pub(crate) fn record(&self, object: K) {
        let mut entries = self.lock();
        entries.sweep();
        let key = reference_of(&object);
        let (version, at) = (version(&object), Instant::now());
        let others = entries.known.get(&key).map_or((0, at), |entry| entry.others);
        entries.known.insert(key, Entry { object: Some(Arc::new(object)), version, at, others });
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Resource<DynamicType = ()>> Entries<K> {
    fn sweep(&mut self) {
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            self.known.retain(|_, entry| entry.at.elapsed() < MEMORY);
        }
    }
}

/// Whether it is the same object at an earlier time. Resource versions of one object are comparable as numbers; one
/// that is not a number says nothing.
fn is_older<K: Resource>(cached: &K, written: &K) -> bool {
    cached.uid() == written.uid() && version(cached).zip(version(written)).is_some_and(|(ours, theirs)| ours < theirs)
}

fn version<K: Resource>(object: &K) -> Option<u128> {
    object.resource_version().and_then(|version| version.parse().ok())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ObjectMeta;

    use super::*;

    fn object(uid: &str, version: &str) -> ConfigMap {
        let metadata = ObjectMeta {
            name: Some("a".into()),
            uid: Some(uid.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    #[test]
    fn what_was_written_counts_until_the_cache_has_it_and_then_what_that_has() {
        let (written, cache) = (MutationCache::default(), Cache::with([object("1", "9")]));
        let latest = || written.latest(Arc::new(object("1", "9")), &cache).resource_version();
        assert_eq!(latest().as_deref(), Some("9"));
        written.record(object("1", "10"));
        assert_eq!(latest().as_deref(), Some("10"));
        // It comes by the watch, after the object was taken out of the cache to be reconciled.
        cache.put(object("1", "10"));
        written.seen(&object("1", "10"), Some(&object("1", "10")));
        assert_eq!(latest().as_deref(), Some("10"));
        cache.put(object("1", "11"));
        assert_eq!(latest().as_deref(), Some("11"));
    }

    #[test]
    fn what_the_cache_has_is_held_no_longer() {
        let written = MutationCache::default();
        let held = |written: &MutationCache<ConfigMap>| {
            written.lock().known.values().filter(|entry| entry.object.is_some()).count()
        };
        let (older, newer) = (object("1", "9"), object("1", "10"));
        written.record(newer.clone());
        written.seen(&older, Some(&older));
        assert_eq!(held(&written), 1, "the cache is behind");
        written.seen(&newer, Some(&newer));
        assert_eq!(held(&written), 0);
        assert_eq!(written.attention(&newer), Attention::None, "who wrote it is remembered");
        written.record(newer.clone());
        written.seen(&newer, None);
        assert_eq!(held(&written), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_written_long_ago_is_forgotten() {
        let written = MutationCache::default();
        written.record(object("1", "10"));
        tokio::time::advance(MEMORY).await;
        let other = ConfigMap {
            metadata: ObjectMeta { name: Some("b".into()), ..ObjectMeta::default() },
            ..ConfigMap::default()
        };
        written.record(other.clone());
        assert!(written.last_write(&object("1", "10")).is_none());
        assert!(written.last_write(&other).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_newer_than_what_was_written_is_another_ones_and_back_and_forth_is_looked_at_once_a_minute() {
        let written = MutationCache::default();
        assert_eq!(written.attention(&object("1", "9")), Attention::Now);
        written.record(object("1", "10"));
        for ours in ["9", "10"] {
            assert_eq!(written.attention(&object("1", ours)), Attention::None);
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        let mut version = 10;
        let mut answer = || {
            version += 2;
            let attention = written.attention(&object("1", &(version - 1).to_string()));
            written.record(object("1", &version.to_string()));
            attention
        };
        let at_the_end = Attention::After(Duration::from_secs(40));
        let (now, none) = (Attention::Now, Attention::None);
        assert_eq!([(); 6].map(|()| answer()), [now, now, now, at_the_end, none, none]);
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(answer(), now);
    }

    #[test]
    fn an_object_that_was_made_again_is_another_one() {
        let written = MutationCache::default();
        written.record(object("1", "10"));
        let latest = written.latest(Arc::new(object("2", "9")), &Cache::with([object("2", "9")]));
        assert_eq!(latest.uid().as_deref(), Some("2"));
    }
}
