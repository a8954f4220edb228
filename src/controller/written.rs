//! What was just written, until the cache has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;

/// How long a write is remembered; a cache that is further behind than this has other troubles.
const MEMORY: Duration = Duration::from_secs(60);

/// Objects as they were after our own last write. A cache lags behind its own operator: without this, the reconcile
/// that follows a write would decide by a status that was already replaced, and write again.
#[derive(Debug)]
pub struct Written<K: Resource<DynamicType = ()>> {
    entries: Mutex<HashMap<ObjectRef<K>, Entry<K>>>,
}

#[derive(Debug)]
struct Entry<K> {
    /// The object, until the cache has it.
    object: Option<Arc<K>>,
    at: Instant,
}

impl<K: Resource<DynamicType = ()>> Default for Written<K> {
    fn default() -> Self {
        Self { entries: Mutex::default() }
    }
}

impl<K: Resource<DynamicType = ()> + Clone> Written<K> {
    /// The newer of what is cached and what was written.
    #[must_use]
    pub fn newest(&self, cached: Arc<K>) -> Arc<K> {
        let mut entries = self.lock();
        let Some(entry) = entries.get_mut(&ObjectRef::from_obj(&*cached)) else { return cached };
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
    pub fn when(&self, object: &K) -> Option<Instant> {
        self.lock().get(&ObjectRef::from_obj(object)).map(|entry| entry.at)
    }

    /// Takes note of an object as the API server gave it back.
    pub fn wrote(&self, object: K) {
        let mut entries = self.lock();
        entries.retain(|_, entry| entry.at.elapsed() < MEMORY);
        let key = ObjectRef::from_obj(&object);
        entries.insert(key, Entry { object: Some(Arc::new(object)), at: Instant::now() });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef<K>, Entry<K>>> {
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
        let written = Written::default();
        written.wrote(object("1", "10"));
        let newest = |uid, version| written.newest(Arc::new(object(uid, version))).resource_version();
        assert_eq!(newest("1", "9").as_deref(), Some("10"));
        assert_eq!(newest("1", "10").as_deref(), Some("10"));
        assert_eq!(newest("1", "9").as_deref(), Some("9"), "it was let go when the cache had it");
    }

    #[test]
    fn an_object_that_was_made_again_is_another_one() {
        let written = Written::default();
        written.wrote(object("1", "10"));
        assert_eq!(written.newest(Arc::new(object("2", "9"))).uid().as_deref(), Some("2"));
    }
}
