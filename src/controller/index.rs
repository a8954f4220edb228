//! Look-ups that would otherwise walk through everything: which bindings write a target or read a source, and which
//! Secrets a binding controls. Both follow the watches.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::sources::SourceReference;
use crate::api::SecretBinding;

/// Looks bindings up by what they refer to. Cheap to clone.
///
/// An index and not a walk through the store: 1,000 events of 1,000 Secrets would be a million comparisons.
#[derive(Debug, Clone, Default)]
pub(crate) struct BindingIndex {
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
    sources: HashMap<SourceReference, BTreeSet<Key>>,
    /// Namespace, to names of bindings.
    namespaces: HashMap<String, BTreeSet<String>>,
}

#[derive(Debug)]
struct Entry {
    /// The target of the spec, and the one in the status, where it was another one before.
    targets: BTreeSet<String>,
    source: SourceReference,
}

impl BindingIndex {
    /// The bindings in a namespace that want to write, or wrote, a Secret of that name.
    #[must_use]
    pub(crate) fn of_target(&self, namespace: &str, target: &str) -> Vec<ObjectRef<SecretBinding>> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        let names = maps.targets.get(&(namespace.to_owned(), target.to_owned()));
        names.into_iter().flatten().map(|name| ObjectRef::new(name).within(namespace)).collect()
    }

    /// The bindings that read that source.
    #[must_use]
    pub(crate) fn of_source(&self, source: &SourceReference) -> Vec<ObjectRef<SecretBinding>> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        let bindings = maps.sources.get(source).into_iter().flatten();
        bindings.map(|(namespace, name)| ObjectRef::new(name).within(namespace)).collect()
    }

    /// The bindings of a namespace.
    #[must_use]
    pub(crate) fn of_namespace(&self, namespace: &str) -> Vec<ObjectRef<SecretBinding>> {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        let names = maps.namespaces.get(namespace).into_iter().flatten();
        names.map(|name| ObjectRef::new(name).within(namespace)).collect()
    }

    /// How many bindings read that source.
    #[must_use]
    pub(crate) fn count_of_source(&self, source: &SourceReference) -> usize {
        let maps = self.maps.read().unwrap_or_else(PoisonError::into_inner);
        maps.sources.get(source).map_or(0, BTreeSet::len)
    }

    /// Takes a binding in, as it is now.
    pub(super) fn apply(&self, binding: &SecretBinding) {
        let key = key_of(binding);
        let written = binding.status.as_ref().and_then(|status| status.target.as_ref());
        let targets = written.map(|target| target.name.clone()).into_iter().chain([binding.target_name()]).collect();
        let entry = Entry { targets, source: SourceReference::from(binding) };
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

/// Names of Secrets by the uid of their controller; Cheap to clone.
///
/// An index and not a walk through the store: at a start, 1,000 bindings would each look at 1,000 Secrets.
#[derive(Debug, Clone, Default)]
pub(crate) struct ControlledSecrets {
    /// Uid of a controller, to namespaces and names.
    names: Arc<RwLock<HashMap<String, BTreeSet<Key>>>>,
}

impl ControlledSecrets {
    /// Names of the Secrets in a namespace that this uid controls, in order.
    #[must_use]
    pub(crate) fn of(&self, uid: &str, namespace: &str) -> Vec<String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let of_uid = names.get(uid).into_iter().flatten();
        of_uid.filter(|(of, _)| of == namespace).map(|(_, name)| name.clone()).collect()
    }

    /// Takes in what became of a Secret.
    pub(super) fn update(&self, before: Option<&ObjectMeta>, after: Option<&ObjectMeta>) {
        let (before, after) = (before.and_then(controlled), after.and_then(controlled));
        if before == after {
            return;
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((uid, name)) = before
            && let Some(of_uid) = names.get_mut(&uid)
        {
            of_uid.remove(&name);
            if of_uid.is_empty() {
                names.remove(&uid);
            }
        }
        if let Some((uid, name)) = after {
            names.entry(uid).or_default().insert(name);
        }
    }
}

/// The uid of a Secret's controller, and the Secret's name.
fn controlled(secret: &ObjectMeta) -> Option<(String, Key)> {
    let controller = secret.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    Some((controller.uid.clone(), (secret.namespace.clone()?, secret.name.clone()?)))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use serde_json::json;

    use super::*;
    use crate::api::SourceKind;

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

    fn dev() -> SourceReference {
        SourceReference { kind: SourceKind::ProjectEnvironment, name: "dev".to_owned() }
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
        assert_eq!(names(&index.of_source(&dev())), ["a", "b"]);
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
        assert_eq!(index.count_of_source(&dev()), 1);
        index.delete(&a);
        assert_eq!(index.count_of_source(&dev()), 0);
        assert!(index.of_namespace("shop").is_empty());
    }

    fn secret(name: &str, controller: &str) -> ObjectMeta {
        let owner = OwnerReference { uid: controller.into(), controller: Some(true), ..OwnerReference::default() };
        ObjectMeta {
            namespace: Some("shop".into()),
            name: Some(name.into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_secret_is_found_under_its_controller_until_it_has_another_or_is_gone() {
        let index = ControlledSecrets::default();
        index.update(None, Some(&secret("a", "one")));
        index.update(None, Some(&secret("b", "one")));
        assert_eq!(index.of("one", "shop"), ["a", "b"]);
        assert_eq!(index.of("one", "elsewhere"), Vec::<String>::new());
        index.update(Some(&secret("a", "one")), Some(&secret("a", "two")));
        assert_eq!((index.of("one", "shop"), index.of("two", "shop")), (vec!["b".to_owned()], vec!["a".to_owned()]));
        index.update(Some(&secret("b", "one")), None);
        assert_eq!(index.of("one", "shop"), Vec::<String>::new());
    }
}
