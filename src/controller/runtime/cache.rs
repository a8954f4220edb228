//! What was watched, kept small, and bounded for each namespace where anybody may make such objects.
//!
//! Most of what an operator holds are objects to which nothing happens. Decoded, each is some dozens of allocations, of
//! which maps of two entries take half a kilobyte each. So a cache keeps the packed text of an object and decodes it for
//! whoever asks: some microseconds, beside the requests that follow.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::object_key::{object_key, split_key};
use super::packed::Packed;

/// How the objects of a cache are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As they are: for few that are looked at often.
    Whole,
    /// As packed text: for many.
    Packed {
        /// Most bytes of text in one namespace; `None`: no bound. What is beyond is not kept, and has to be asked for.
        namespace_max: Option<usize>,
    },
}

/// Objects as the API server had them when last heard of. Cheap to clone; all clones are one cache.
pub(crate) struct Cache<K> {
    objects: Arc<RwLock<Objects<K>>>,
}

/// The objects of one list and what came after it.
pub(super) struct Objects<K> {
    form: Form,
    /// By [`object_key`].
    known: HashMap<Box<str>, Entry<K>>,
    /// Bytes of text by namespace, where these are bounded.
    used: HashMap<Box<str>, usize>,
}

struct Entry<K> {
    resource_version: Option<Box<str>>,
    body: Body<K>,
}

enum Body<K> {
    Whole(Arc<K>),
    Packed(Packed<K>),
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { objects: Arc::clone(&self.objects) }
    }
}

impl<K> fmt::Debug for Cache<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("objects", &self.read().known.len()).finish_non_exhaustive()
    }
}

impl<K> Cache<K> {
    pub(crate) fn new(form: Form) -> Self {
        Self { objects: Arc::new(RwLock::new(Objects::new(form))) }
    }

    fn read(&self) -> RwLockReadGuard<'_, Objects<K>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Objects<K>> {
        self.objects.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Resource<DynamicType = ()> + DeserializeOwned> Cache<K> {
    #[must_use]
    pub(crate) fn get(&self, name: &ObjectRef<K>) -> Option<Arc<K>> {
        let body = self.read().body(&object_key(name.namespace.as_deref(), &name.name))?;
        body.open()
    }

    #[must_use]
    pub(crate) fn contains(&self, name: &ObjectRef<K>) -> bool {
        self.read().known.contains_key(&*object_key(name.namespace.as_deref(), &name.name))
    }

    /// All objects, in no order, decoded one by one: each as it is when its turn comes.
    pub(crate) fn objects(&self) -> impl Iterator<Item = Arc<K>> {
        let keys: Vec<Box<str>> = self.read().known.keys().cloned().collect();
        keys.into_iter().filter_map(|key| self.read().body(&key)).filter_map(|body| body.open())
    }
}

impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned> Cache<K> {
    /// An empty list of the same form, to be filled and put in the place of this one.
    pub(super) fn empty(&self) -> Objects<K> {
        Objects::new(self.read().form)
    }

    /// Takes an object in; whether it is kept.
    pub(super) fn insert(&self, object: Arc<K>) -> bool {
        self.write().insert(object)
    }

    pub(super) fn remove(&self, name: &ObjectRef<K>) {
        self.write().remove(&object_key(name.namespace.as_deref(), &name.name));
    }

    /// Puts another list in the place of this one; gives what is another one now, before and after, decoded one by one.
    pub(super) fn replace(&self, objects: Objects<K>) -> impl Iterator<Item = (Option<Arc<K>>, Option<Arc<K>>)> {
        let mut before = std::mem::replace(&mut *self.write(), objects).known;
        let mut changes = Vec::new();
        for (key, entry) in &self.read().known {
            let then = before.remove(key);
            if then.as_ref().is_none_or(|then| then.resource_version != entry.resource_version) {
                changes.push((then.map(|then| then.body), Some(entry.body.clone())));
            }
        }
        changes.extend(before.into_values().map(|gone| (Some(gone.body), None)));
        let open = |body: Option<Body<K>>| body.and_then(|body| body.open());
        changes.into_iter().map(move |(before, after)| (open(before), open(after)))
    }
}

impl<K> Objects<K> {
    fn new(form: Form) -> Self {
        Self { form, known: HashMap::new(), used: HashMap::new() }
    }

    fn body(&self, key: &str) -> Option<Body<K>> {
        self.known.get(key).map(|entry| entry.body.clone())
    }

    /// Takes an object out, if it is there.
    fn remove(&mut self, key: &str) {
        let Some(entry) = self.known.remove(key) else { return };
        let (namespace, _) = split_key(key);
        if let Some(used) = self.used.get_mut(namespace) {
            *used = used.saturating_sub(entry.len());
            if *used == 0 {
                self.used.remove(namespace);
            }
        }
    }
}

impl<K: Resource<DynamicType = ()> + Serialize> Objects<K> {
    /// Takes an object in; whether it is kept. What it was before is gone in any case.
    pub(super) fn insert(&mut self, object: Arc<K>) -> bool {
        let key = object_key(object.namespace().as_deref(), &object.name_any());
        self.remove(&key);
        let resource_version = object.resource_version().map(String::into_boxed_str);
        let body = match self.form {
            Form::Whole => Body::Whole(object),
            Form::Packed { .. } => Packed::of(&*object).map_or(Body::Whole(object), Body::Packed),
        };
        let entry = Entry { resource_version, body };
        if let Form::Packed { namespace_max: Some(max) } = self.form {
            let (namespace, _) = split_key(&key);
            let used = self.used.get(namespace).copied().unwrap_or_default() + entry.len();
            if used > max {
                return false;
            }
            self.used.insert(namespace.into(), used);
        }
        self.known.insert(key.into_boxed_str(), entry);
        true
    }
}

impl<K> Entry<K> {
    /// Bytes of text.
    fn len(&self) -> usize {
        match &self.body {
            Body::Whole(_) => 0,
            Body::Packed(text) => text.len(),
        }
    }
}

impl<K> Clone for Body<K> {
    fn clone(&self) -> Self {
        match self {
            Self::Whole(object) => Self::Whole(Arc::clone(object)),
            Self::Packed(text) => Self::Packed(text.clone()),
        }
    }
}

impl<K: DeserializeOwned> Body<K> {
    fn open(&self) -> Option<Arc<K>> {
        match self {
            Self::Whole(object) => Some(Arc::clone(object)),
            Self::Packed(text) => text.open().map(Arc::new),
        }
    }
}

impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned> Cache<K> {
    /// A cache that has these, and that no watch follows.
    pub(crate) fn with(objects: impl IntoIterator<Item = K>) -> Self {
        let cache = Self::new(Form::Packed { namespace_max: None });
        objects.into_iter().for_each(|object| {
            cache.insert(Arc::new(object));
        });
        cache
    }
}

#[cfg(test)]
impl<K: Resource<DynamicType = ()> + Serialize + DeserializeOwned> Cache<K> {
    pub(crate) fn put(&self, object: K) {
        self.insert(Arc::new(object));
    }

    pub(crate) fn take_out(&self, name: &ObjectRef<K>) {
        self.remove(name);
    }

    pub(crate) fn len(&self) -> usize {
        self.read().known.len()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ObjectMeta;

    use super::*;

    fn object(namespace: &str, name: &str, version: &str) -> Arc<ConfigMap> {
        let metadata = ObjectMeta {
            name: Some(name.into()),
            namespace: Some(namespace.into()),
            resource_version: Some(version.into()),
            ..ObjectMeta::default()
        };
        Arc::new(ConfigMap { metadata, ..ConfigMap::default() })
    }

    #[test]
    fn what_is_kept_is_given_back_in_either_form() {
        for form in [Form::Whole, Form::Packed { namespace_max: None }] {
            let cache = Cache::new(form);
            let (object, other) = (object("shop", "a", "1"), ObjectRef::new("b").within("shop"));
            assert!(cache.insert(Arc::clone(&object)));
            assert_eq!(cache.get(&ObjectRef::from_obj(&*object)), Some(Arc::clone(&object)));
            assert_eq!((cache.get(&other), cache.contains(&other), cache.objects().count()), (None, false, 1));
            cache.remove(&ObjectRef::from_obj(&*object));
            assert_eq!((cache.len(), cache.get(&ObjectRef::from_obj(&*object))), (0, None));
        }
    }

    #[test]
    fn a_list_that_was_made_anew_tells_of_what_is_new_changed_or_gone_and_of_nothing_else() {
        let cache = Cache::new(Form::Packed { namespace_max: None });
        let list = |objects: &[(&str, &str)]| {
            let mut list = cache.empty();
            for (name, version) in objects {
                assert!(list.insert(object("shop", name, version)));
            }
            list
        };
        assert_eq!(cache.replace(list(&[("same", "1"), ("changed", "1"), ("gone", "1")])).count(), 3);
        let version = |object: Option<Arc<ConfigMap>>| object.and_then(|object| object.resource_version());
        let mut told: Vec<_> = cache
            .replace(list(&[("same", "1"), ("changed", "2"), ("new", "1")]))
            .map(|(before, after)| {
                let name = after.as_ref().or(before.as_ref()).map(|object| object.name_any());
                (name.unwrap_or_default(), version(before), version(after))
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

    #[test]
    fn a_namespace_has_so_much_room_and_takes_none_of_another_ones() {
        let room = Packed::of(&*object("shop", "a", "1")).expect("JSON").len() * 5 / 2;
        let cache = Cache::new(Form::Packed { namespace_max: Some(room) });
        let kept = |namespace, name, version| cache.insert(object(namespace, name, version));
        assert_eq!(["a", "b", "c"].map(|name| kept("shop", name, "1")), [true, true, false]);
        assert!(kept("other", "c", "1"));
        assert!(kept("shop", "b", "2"), "it takes its own place");
        cache.remove(&ObjectRef::new("a").within("shop"));
        assert!(kept("shop", "c", "1"), "there is room again");
        // One that grew out of its room is not kept as it was.
        let mut large = ConfigMap::clone(&object("shop", "b", "3"));
        let text = (0..room).map(|n| char::from(b'a' + u8::try_from(n * n % 23).unwrap())).collect();
        large.data = Some([("a".to_owned(), text)].into());
        assert!(!cache.insert(Arc::new(large)));
        assert_eq!(cache.get(&ObjectRef::new("b").within("shop")), None);
    }
}
