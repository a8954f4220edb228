//! What was just written, until the cache has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

/// How long a write is remembered: far longer than a watch's cache is ever behind.
const MEMORY: Duration = Duration::from_mins(1);

/// From one search for what may be forgotten to the next: with each write, it would cost the square of their number.
const SWEEP: Duration = Duration::from_secs(1);

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
    at: Instant,
}

impl<K: Resource<DynamicType = ()>> Default for MutationCache<K> {
    fn default() -> Self {
        Self { entries: Arc::new(Mutex::new(Entries { known: HashMap::new(), swept: Instant::now() })) }
    }
}

impl<K: Resource<DynamicType = ()> + Clone> MutationCache<K> {
    /// The newer of what is cached and what was written.
    #[must_use]
    pub(crate) fn latest(&self, cached: Arc<K>) -> Arc<K> {
        let mut entries = self.lock();
        let Some(entry) = entries.known.get_mut(&ObjectRef::from_obj(&*cached)) else { return cached };
        match &entry.object {
            Some(written) if is_older(&*cached, &**written) => Arc::clone(written),
            _ => {
                entry.object = None;
                cached
            }
        }
    }

    /// When it was written last; `None` where that is long ago.
    #[must_use]
    pub(crate) fn last_write(&self, object: &K) -> Option<Instant> {
        self.lock().known.get(&ObjectRef::from_obj(object)).map(|entry| entry.at)
    }

    /// The cache has the object as it is here, or `None`: it is gone. Otherwise what nobody reconciles again would be held for ever.
    pub(crate) fn seen(&self, name: &ObjectRef<K>, cached: Option<&K>) {
        let mut entries = self.lock();
        let written = entries.known.get(name).and_then(|entry| entry.object.as_deref());
        let is_behind = written.zip(cached).is_some_and(|(written, cached)| is_older(cached, written));
        if !is_behind {
            entries.known.remove(name);
        }
    }

    /// Takes note of an object as the API server gave it back.
    pub(crate) fn record(&self, object: K) {
        let mut entries = self.lock();
        if entries.swept.elapsed() >= SWEEP {
            entries.swept = Instant::now();
            entries.known.retain(|_, entry| entry.at.elapsed() < MEMORY);
        }
        let key = ObjectRef::from_obj(&object);
        entries.known.insert(key, Entry { object: Some(Arc::new(object)), at: Instant::now() });
    }

    fn lock(&self) -> MutexGuard<'_, Entries<K>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is the same object at an earlier time. Resource versions of one object are comparable as numbers; one
/// that is not a number says nothing.
fn is_older<K: Resource>(cached: &K, written: &K) -> bool {
    let number = |object: &K| object.resource_version().and_then(|version| version.parse::<u128>().ok());
    cached.uid() == written.uid() && number(cached).zip(number(written)).is_some_and(|(ours, theirs)| ours < theirs)
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
    fn what_was_written_counts_until_the_cache_has_it() {
        let written = MutationCache::default();
        written.record(object("1", "10"));
        let latest = |uid, version| written.latest(Arc::new(object(uid, version))).resource_version();
        assert_eq!(latest("1", "9").as_deref(), Some("10"));
        assert_eq!(latest("1", "10").as_deref(), Some("10"));
        assert_eq!(latest("1", "9").as_deref(), Some("9"), "it was let go when the cache had it");
    }

    #[test]
    fn what_the_cache_has_is_held_no_longer() {
        let written = MutationCache::default();
        let name = ObjectRef::from_obj(&object("1", "10"));
        let held = |written: &MutationCache<ConfigMap>| written.lock().known.len();
        written.record(object("1", "10"));
        written.seen(&name, Some(&object("1", "9")));
        assert_eq!(held(&written), 1, "the cache is behind");
        written.seen(&name, Some(&object("1", "10")));
        assert_eq!(held(&written), 0);
        written.record(object("1", "10"));
        written.seen(&name, None);
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

    #[test]
    fn an_object_that_was_made_again_is_another_one() {
        let written = MutationCache::default();
        written.record(object("1", "10"));
        assert_eq!(written.latest(Arc::new(object("2", "9"))).uid().as_deref(), Some("2"));
    }
}
