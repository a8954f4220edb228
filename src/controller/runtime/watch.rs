//! Keeps a store in step with the API server, and hands on what became different.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use backon::ExponentialBuilder;
use futures::StreamExt;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher::{self, Event, ExponentialBackoff, watcher};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::cache::{Cache, Objects};
use super::lenient::{Lenient, Unreadable};
use super::object_key::reference_of;
use super::watch_health::{WATCH_TIMEOUT, WatchHealth};
use crate::telemetry::watch_error_text;

/// Objects in one page of a list, where the API server cannot stream lists.
const PAGE: u32 = 250;

/// Pauses after failures in a row: short, since the first delivery after an outage waits for one of them. A list that is
/// out of date (410) is made anew after the first.
fn retry_pauses() -> ExponentialBackoff {
    let pauses = ExponentialBuilder::new().with_min_delay(Duration::from_millis(200));
    pauses.with_max_delay(Duration::from_secs(2)).without_max_times().with_jitter().into()
}

/// At most one line about a watch that fails in that time.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// An object before and after; one of them is there.
pub(crate) struct Change<K> {
    pub(crate) before: Option<Arc<K>>,
    pub(crate) after: Option<Arc<K>>,
    /// Whether the cache has it as it is now. Where its namespace has too much of its kind, it has not.
    pub(crate) is_cached: bool,
}

impl<K> Change<K> {
    /// Of what the cache has, and had.
    pub(crate) const fn cached(before: Option<Arc<K>>, after: Option<Arc<K>>) -> Self {
        let is_cached = after.is_some();
        Self { before, after, is_cached }
    }
}

/// What is watched, and what is done with it.
pub(crate) struct Watching<K: Resource<DynamicType = ()> + Clone + 'static, T, H, F> {
    pub(crate) api: Api<Lenient<K>>,
    pub(crate) config: watcher::Config,
    pub(crate) cache: Cache<K>,
    /// Takes from each object what the cache need not keep.
    pub(crate) trim: T,
    /// Called for each object that is another one than the cache had, once the cache has it.
    pub(crate) handle: H,
    /// Called when the cache has everything.
    pub(crate) filled: F,
    pub(crate) health: WatchHealth,
    /// What the API server is called in messages.
    pub(crate) server: String,
}

impl<K, T, H, F> Watching<K, T, H, F>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug + Send + Sync + 'static,
    T: Fn(&mut K),
    H: FnMut(&Change<K>),
    F: Fn(),
{
    /// Watches for ever.
    pub(crate) async fn watch(self) {
        let Self { api, config, cache, trim, handle, filled, health, server } = self;
        let resource = K::plural(&()).into_owned();
        let timeout = u32::try_from(WATCH_TIMEOUT.as_secs()).unwrap_or(u32::MAX);
        let mut config = config.streaming_lists().timeout(timeout);
        let mut store = Store::new(cache, trim, handle);
        let mut told: Option<Instant> = None;
        loop {
            let mut events = pin!(watcher(api.clone(), config.clone()).backoff(retry_pauses()));
            while let Some(event) = events.next().await {
                let event = match event {
                    Ok(event) => event,
                    Err(error)
                        if config.initial_list_strategy == watcher::InitialListStrategy::StreamingList
                            && cannot_stream(&error) =>
                    {
                        tracing::info!(kind = %K::kind(&()), "the API server does not stream lists; listing in pages");
                        config = watcher::Config {
                            initial_list_strategy: watcher::InitialListStrategy::ListWatch,
                            ..config
                        }
                        .page_size(PAGE);
                        break;
                    }
                    Err(error) => {
                        health.failed(&resource);
                        if told.is_none_or(|told| told.elapsed() > LOG_INTERVAL) {
                            told = Some(Instant::now());
                            let error = watch_error_text(&error);
                            tracing::warn!(kind = %K::kind(&()), server, error, "a watch broke off; it is tried again");
                        }
                        continue;
                    }
                };
                let is_filled = matches!(event, Event::InitDone);
                store.take(event);
                health.left_out(&resource, store.unreadable.len(), store.crowded.len());
                if is_filled {
                    filled();
                }
            }
        }
    }
}

/// The cache, and who hears of what changes in it.
struct Store<K, T, H> {
    cache: Cache<K>,
    /// The list that is coming, which takes the place of what is cached.
    coming: Option<Objects<K>>,
    trim: T,
    handle: H,
    /// Objects that are there and cannot be read.
    unreadable: HashSet<String>,
    /// Namespaces that had more objects than are cached, since the list was made.
    crowded: BTreeSet<String>,
}

impl<K, T, H> Store<K, T, H>
where
    K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned + Debug + Send + Sync + 'static,
    T: Fn(&mut K),
    H: FnMut(&Change<K>),
{
    fn new(cache: Cache<K>, trim: T, handle: H) -> Self {
        Self { cache, coming: None, trim, handle, unreadable: HashSet::new(), crowded: BTreeSet::new() }
    }

    fn take(&mut self, event: Event<Lenient<K>>) {
        match event {
            Event::Apply(object) => match self.read(object) {
                Ok(object) => {
                    let before = self.cache.get(&ObjectRef::from_obj(&object));
                    let object = Arc::new(object);
                    let is_cached = self.cache.insert(Arc::clone(&object));
                    if !is_cached {
                        self.tell_crowded(&*object);
                    }
                    (self.handle)(&Change { before, after: Some(object), is_cached });
                }
                // What it was before says nothing about what it is now: it is none of ours until it can be read.
                Err(key) => self.forget(&key, None),
            },
            Event::Delete(object) => {
                let key = reference_of(&object);
                if let Lenient::Unreadable(unreadable) = &object {
                    self.unreadable.remove(&unreadable.to_string());
                }
                self.forget(&key, object.readable().ok());
            }
            Event::Init => {
                self.unreadable.clear();
                self.crowded.clear();
                self.coming = Some(self.cache.empty());
            }
            Event::InitApply(object) => {
                if let Ok(object) = self.read(object)
                    && let Some(coming) = &mut self.coming
                {
                    let object = Arc::new(object);
                    if !coming.insert(Arc::clone(&object)) {
                        self.tell_crowded(&*object);
                    }
                }
            }
            Event::InitDone => {
                let Some(coming) = self.coming.take() else { return };
                for (before, after) in self.cache.replace(coming) {
                    (self.handle)(&Change::cached(before, after));
                }
            }
        }
    }

    /// The object as it is cached; or only its name, which is told once.
    fn read(&mut self, object: Lenient<K>) -> Result<K, ObjectRef<K>> {
        let key = reference_of(&object);
        match object.readable() {
            Ok(mut object) => {
                if !self.unreadable.is_empty() {
                    self.unreadable.remove(&name_of(&object));
                }
                (self.trim)(&mut object);
                Ok(object)
            }
            Err(unreadable) => {
                self.tell(&unreadable);
                Err(key)
            }
        }
    }

    fn tell(&mut self, unreadable: &Unreadable) {
        let name = unreadable.to_string();
        if !self.unreadable.contains(&name) {
            let (kind, part) = (K::kind(&()), &unreadable.part);
            tracing::warn!(%kind, object = %name, %part, "an object cannot be read, and is passed over until it can");
            self.unreadable.insert(name);
        }
    }

    /// Says once of a namespace that it has more than is cached.
    fn tell_crowded(&mut self, object: &K) {
        let namespace = object.namespace().unwrap_or_default();
        if !self.crowded.contains(&namespace) {
            let kind = K::kind(&());
            tracing::warn!(
                %kind,
                namespace,
                "a namespace has more objects of the kind than are cached; what is left out is read when it is needed"
            );
            self.crowded.insert(namespace);
        }
    }

    fn forget(&mut self, key: &ObjectRef<K>, last: Option<K>) {
        let before = self.cache.get(key).or_else(|| last.map(Arc::new));
        if before.is_some() {
            self.cache.remove(key);
            (self.handle)(&Change::cached(before, None));
        }
    }
}

/// As an object that cannot be read is called.
fn name_of<K: Resource<DynamicType = ()>>(object: &K) -> String {
    object.namespace().map_or_else(|| object.name_any(), |namespace| format!("{namespace}/{}", object.name_any()))
}

/// Whether the API server refused to stream the list: an older one, or one with the feature turned off.
fn cannot_stream(error: &watcher::Error) -> bool {
    let (watcher::Error::InitialListFailed(error)
    | watcher::Error::WatchStartFailed(error)
    | watcher::Error::WatchFailed(error)) = error
    else {
        return false;
    };
    matches!(error, kube::Error::Api(status) if matches!(status.code, 400 | 422))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ObjectMeta;

    use super::*;
    use crate::controller::runtime::cache::Form;

    fn object(name: &str, version: &str) -> Arc<ConfigMap> {
        let metadata =
            ObjectMeta { name: Some(name.into()), resource_version: Some(version.into()), ..ObjectMeta::default() };
        Arc::new(ConfigMap { metadata, ..ConfigMap::default() })
    }

    #[test]
    fn an_object_that_cannot_be_read_is_gone_until_it_can_and_no_other_one_is() {
        let seen = |object: &ConfigMap| Lenient::Readable(object.clone());
        let unreadable = |name: &str| {
            let object = serde_json::json!({"metadata": {"name": name, "resourceVersion": "2"}, "data": 7});
            serde_json::from_value::<Lenient<ConfigMap>>(object).unwrap()
        };
        let cache = Cache::new(Form::Whole);
        let told = std::cell::RefCell::new(Vec::new());
        let handle = |change: &Change<ConfigMap>| {
            let object = change.after.as_ref().or(change.before.as_ref()).unwrap();
            told.borrow_mut().push((object.name_any(), change.after.is_some()));
        };
        let mut store = Store::new(cache.clone(), |_: &mut ConfigMap| {}, handle);
        store.take(Event::Init);
        store.take(Event::InitApply(seen(&object("a", "1"))));
        store.take(Event::InitApply(unreadable("b")));
        store.take(Event::InitApply(seen(&object("c", "1"))));
        store.take(Event::InitDone);
        assert_eq!((cache.len(), store.unreadable.len()), (2, 1));
        told.borrow_mut().clear();
        store.take(Event::Apply(unreadable("a")));
        store.take(Event::Apply(unreadable("a")));
        assert_eq!((told.take(), store.unreadable.len()), (vec![("a".to_owned(), false)], 2));
        store.take(Event::Apply(seen(&object("a", "3"))));
        store.take(Event::Delete(unreadable("b")));
        assert_eq!((told.take(), store.unreadable.len()), (vec![("a".to_owned(), true)], 0));
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn of_what_a_namespace_has_too_much_of_is_told_and_nothing_kept() {
        let cache = Cache::new(Form::Packed { namespace_max: Some(0) });
        let told = std::cell::RefCell::new(Vec::new());
        let handle = |change: &Change<ConfigMap>| {
            told.borrow_mut().push((change.before.is_some(), change.after.is_some(), change.is_cached));
        };
        let mut store = Store::new(cache.clone(), |_: &mut ConfigMap| {}, handle);
        store.take(Event::Init);
        store.take(Event::InitApply(Lenient::Readable((*object("a", "1")).clone())));
        store.take(Event::InitDone);
        store.take(Event::Apply(Lenient::Readable((*object("a", "2")).clone())));
        store.take(Event::Delete(Lenient::Readable((*object("a", "2")).clone())));
        assert_eq!((cache.len(), store.crowded.len()), (0, 1));
        assert_eq!(
            told.take(),
            [(false, true, false), (true, false, false)],
            "an event says where to look all the same"
        );
    }
}
