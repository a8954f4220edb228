//! Which bindings write a target or read a source.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use crate::api::SecretBinding;

/// Looks bindings up by what they refer to; follows the watch of SecretBindings. Cheap to clone.
///
/// An index and not a walk through the store: 1,000 events of 1,000 Secrets would be a million comparisons.
#[derive(Debug, Clone, Default)]
pub struct BindingIndex {
    maps: Arc<RwLock<Maps>>,
}

/// Namespace and name.
type Key = (String, String);

#[derive(Debug, Default)]
struct Maps {
    /// What each binding refers to, so that it can be taken out again.
    entries: HashMap<Key, Entry>,
    /// Namespace and name of a target, to names of bindings in that namespace.
    targets: HashMap<Key, BTreeSet<String>>,
    /// Name of a ProjectEnvironment, to bindings.
    sources: HashMap<String, BTreeSet<Key>>,
    /// Namespace, to names of bindings.
    namespaces: HashMap<String, BTreeSet<String>>,
}

#[derive(Debug)]
struct Entry {
    /// The target of the spec, and the one in the status, where it was another one before.
    targets: BTreeSet<String>,
    source: String,
}

impl BindingIndex {
    /// The bindings in a namespace that want to write, or wrote, a Secret of that name.
    #[must_use]
    pub fn of_target(&self, namespace: &str, target: &str) -> Vec<ObjectRef<SecretBinding>> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        let names = maps.targets.get(&(namespace.to_owned(), target.to_owned()));
        names.into_iter().flatten().map(|name| ObjectRef::new(name).within(namespace)).collect()
    }

    /// The bindings that read the ProjectEnvironment of that name.
    #[must_use]
    pub fn of_source(&self, environment: &str) -> Vec<ObjectRef<SecretBinding>> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        let bindings = maps.sources.get(environment).into_iter().flatten();
        bindings.map(|(namespace, name)| ObjectRef::new(name).within(namespace)).collect()
    }

    /// The bindings of a namespace.
    #[must_use]
    pub fn of_namespace(&self, namespace: &str) -> Vec<ObjectRef<SecretBinding>> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        let names = maps.namespaces.get(namespace).into_iter().flatten();
        names.map(|name| ObjectRef::new(name).within(namespace)).collect()
    }

    /// How many bindings read the ProjectEnvironment of that name.
    #[must_use]
    pub fn count_of_source(&self, environment: &str) -> usize {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        maps.sources.get(environment).map_or(0, BTreeSet::len)
    }

    /// Takes a binding in, as it is now.
    pub(super) fn apply(&self, binding: &SecretBinding) {
        let key = key_of(binding);
        let written = binding.status.as_ref().and_then(|status| status.target.as_ref());
        let targets = written.map(|target| target.name.clone()).into_iter().chain([binding.target_name()]).collect();
        let entry = Entry { targets, source: binding.spec.source_ref.name.clone() };
        self.maps.write().unwrap_or_else(PoisonError::into_inner).insert(key, entry);
    }

    /// Takes a binding out.
    pub(super) fn delete(&self, binding: &SecretBinding) {
        self.maps.write().unwrap_or_else(PoisonError::into_inner).remove(&key_of(binding));
    }
}

/// Namespace and name of a binding.
fn key_of(binding: &SecretBinding) -> Key {
    (binding.namespace().unwrap_or_default(), binding.name_any())
}

impl Maps {
    fn insert(&mut self, key: Key, entry: Entry) {
        self.remove(&key);
        let (namespace, name) = &key;
        for target in &entry.targets {
            self.targets.entry((namespace.clone(), target.clone())).or_default().insert(name.clone());
        }
        self.sources.entry(entry.source.clone()).or_default().insert(key.clone());
        self.namespaces.entry(namespace.clone()).or_default().insert(name.clone());
        self.entries.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) {
        let Some(entry) = self.entries.remove(key) else { return };
        let (namespace, name) = key;
        for target in entry.targets {
            take_out(&mut self.targets, &(namespace.clone(), target), name);
        }
        take_out(&mut self.sources, &entry.source, key);
        take_out(&mut self.namespaces, namespace, name);
    }
}

fn take_out<K: Hash + Eq, V: Ord>(map: &mut HashMap<K, BTreeSet<V>>, key: &K, value: &V) {
    if let Some(values) = map.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            map.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn binding(name: &str, source: &str, target: Option<&str>, written: Option<&str>) -> SecretBinding {
        serde_json::from_value(json!({
            "apiVersion": "tidelock.dev/v1alpha1",
            "kind": "SecretBinding",
            "metadata": {"namespace": "shop", "name": name},
            "spec": {"sourceRef": {"name": source}, "target": {"name": target}},
            "status": {"target": written.map(|name| json!({"name": name}))},
        }))
        .expect("a binding")
    }

    fn names(found: &[ObjectRef<SecretBinding>]) -> Vec<&str> {
        found.iter().map(|found| found.name.as_str()).collect()
    }

    #[test]
    fn a_binding_is_found_by_target_source_and_namespace() {
        let index = BindingIndex::default();
        index.apply(&binding("a", "dev", None, None));
        index.apply(&binding("b", "dev", Some("a"), None));
        assert_eq!(names(&index.of_target("shop", "a")), ["a", "b"]);
        assert_eq!(names(&index.of_source("dev")), ["a", "b"]);
        assert_eq!(names(&index.of_namespace("shop")), ["a", "b"]);
        assert!(index.of_target("other", "a").is_empty());
    }

    #[test]
    fn a_renamed_target_is_found_by_both_names_until_the_status_says_the_new_one() {
        let index = BindingIndex::default();
        index.apply(&binding("a", "dev", Some("new"), Some("old")));
        assert_eq!(names(&index.of_target("shop", "old")), ["a"]);
        assert_eq!(names(&index.of_target("shop", "new")), ["a"]);
        index.apply(&binding("a", "dev", Some("new"), Some("new")));
        assert!(index.of_target("shop", "old").is_empty());
    }

    #[test]
    fn what_is_deleted_is_forgotten() {
        let index = BindingIndex::default();
        let a = binding("a", "dev", None, None);
        index.apply(&a);
        assert_eq!(index.count_of_source("dev"), 1);
        index.delete(&a);
        assert_eq!(index.count_of_source("dev"), 0);
        assert!(index.of_namespace("shop").is_empty());
    }
}
