//! Keeps a store in step with the API server, and hands on what became different.

use std::collections::HashMap;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt;
use kube::api::Api;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{ObjectRef, store};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;

/// Objects in one page of a list, where the API server cannot stream lists.
const PAGE: u32 = 250;

/// Annotation that repeats the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object before and after; one of them is there.
pub(crate) struct Change<K> {
    pub(crate) before: Option<Arc<K>>,
    pub(crate) after: Option<Arc<K>>,
}

/// Watches for ever. `trim` takes from each object what the store need not keep; `handle` is called for each object that is
/// another one than the store had, once the store has it; `filled` is called when the store has everything.
pub(crate) async fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    mut writer: store::Writer<K>,
    trim: impl Fn(&mut K) + Clone,
    mut handle: impl FnMut(&Change<K>),
    filled: impl Fn(),
) where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
{
    let reader = writer.as_reader();
    let mut config = config.streaming_lists();
    loop {
        let trim = trim.clone();
        let events = watcher(api.clone(), config.clone()).default_backoff().modify(move |object| {
            object.managed_fields_mut().clear();
            object.annotations_mut().remove(LAST_APPLIED);
            trim(object);
        });
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            let event = match event {
                Ok(event) => event,
                Err(error)
                    if config.initial_list_strategy == watcher::InitialListStrategy::StreamingList
                        && cannot_stream(&error) =>
                {
                    tracing::info!(kind = %K::kind(&()), "the API server does not stream lists; listing in pages");
                    config =
                        watcher::Config { initial_list_strategy: watcher::InitialListStrategy::ListWatch, ..config }
                            .page_size(PAGE);
                    break;
                }
                Err(error) => {
                    tracing::warn!(kind = %K::kind(&()), %error, "a watch broke off; it is tried again");
                    continue;
                }
            };
            match event {
                Event::Apply(object) => {
                    let key = ObjectRef::from_obj(&object);
                    let before = reader.get(&key);
                    writer.apply_watcher_event(&Event::Apply(object));
                    handle(&Change { before, after: reader.get(&key) });
                }
                Event::Delete(object) => {
                    let before = reader.get(&ObjectRef::from_obj(&object)).unwrap_or_else(|| Arc::new(object.clone()));
                    writer.apply_watcher_event(&Event::Delete(object));
                    handle(&Change { before: Some(before), after: None });
                }
                Event::InitDone => {
                    let before = reader.state();
                    writer.apply_watcher_event(&Event::InitDone);
                    compare(before, reader.state()).for_each(|change| handle(&change));
                    filled();
                }
                event => writer.apply_watcher_event(&event),
            }
        }
    }
}

/// What a list that was made anew changed, what vanished unseen included.
fn compare<K: Resource<DynamicType = ()>>(before: Vec<Arc<K>>, after: Vec<Arc<K>>) -> impl Iterator<Item = Change<K>> {
    let mut before: HashMap<ObjectRef<K>, Arc<K>> =
        before.into_iter().map(|object| (ObjectRef::from_obj(&*object), object)).collect();
    let mut changes: Vec<Change<K>> = Vec::new();
    for object in after {
        let then = before.remove(&ObjectRef::from_obj(&*object));
        if then.as_ref().is_none_or(|then| then.resource_version() != object.resource_version()) {
            changes.push(Change { before: then, after: Some(object) });
        }
    }
    changes.extend(before.into_values().map(|gone| Change { before: Some(gone), after: None }));
    changes.into_iter()
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

    fn object(name: &str, version: &str) -> Arc<ConfigMap> {
        let metadata =
            ObjectMeta { name: Some(name.into()), resource_version: Some(version.into()), ..ObjectMeta::default() };
        Arc::new(ConfigMap { metadata, ..ConfigMap::default() })
    }

    #[test]
    fn a_new_list_tells_of_what_is_new_changed_or_gone_and_of_nothing_else() {
        let before = vec![object("same", "1"), object("changed", "1"), object("gone", "1")];
        let after = vec![object("same", "1"), object("changed", "2"), object("new", "1")];
        let version = |object: &Option<Arc<ConfigMap>>| object.as_ref().and_then(|object| object.resource_version());
        let mut told: Vec<_> = compare(before, after)
            .map(|change| {
                let name = change.after.as_ref().or(change.before.as_ref()).map(|object| object.name_any());
                (name.unwrap_or_default(), version(&change.before), version(&change.after))
            })
            .collect();
        told.sort();
        let one = || Some("1".to_owned());
        assert_eq!(
            told,
            [
                ("changed".to_owned(), one(), Some("2".to_owned())),
                ("gone".to_owned(), one(), None),
                ("new".to_owned(), None, one()),
            ]
        );
    }
}
