//! Look-ups that would otherwise walk through everything: which bindings write a target or read a source, and which
//! Secrets a binding controls. Both follow the watches.

mod controlled_secrets;

use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::runtime::{object_key, split_key};
use super::sources::SourceReference;
use crate::api::{RolloutRestartTarget, SecretBinding, SecretBindingSpec, Selection};

pub(crate) use controlled_secrets::ControlledSecrets;

/// Looks bindings up by what they refer to. Cheap to clone.
///
/// An index and not a walk through the store: 1,000 events of 1,000 Secrets would be a million comparisons.
#[derive(Debug, Clone, Default)]
pub(crate) struct BindingIndex {
    maps: Arc<RwLock<Maps>>,
}

/// Namespace and name (see [`object_key`]). Shared, since a binding is in several maps.
type Key = Arc<str>;

#[derive(Debug, Default)]
struct Maps {
    /// What each binding refers to, so that it can be taken out again.
    entries: HashMap<Key, Entry>,
    /// Of a target, to the bindings. Seldom more than one.
    targets: HashMap<Key, Vec<Key>>,
    sources: HashMap<SourceReference, BTreeSet<Key>>,
    /// Of a workload to restart (namespace, and kind with name), to the bindings.
    restart_targets: HashMap<Key, BTreeSet<Key>>,
    /// Namespace, to bindings.
    namespaces: HashMap<Box<str>, BTreeSet<Key>>,
}

#[derive(Debug)]
struct Entry {
    target: Key,
    /// The target in the status, where it is another one than in the spec.
    earlier_target: Option<Key>,
    source: SourceReference,
    reads: Reads,
    restart_targets: Box<[Key]>,
}

/// Which keys of its source a binding is about.
#[derive(Debug)]
enum Reads {
    /// Any: what it finds depends on what is there.
    Any,
    /// These alone.
    Keys(Box<[Box<str>]>),
}

impl Reads {
    fn of(spec: &SecretBindingSpec) -> Self {
        match spec.selection() {
            Selection::Entries { data, data_from: [] } => {
                Self::Keys(data.iter().map(|entry| entry.remote_ref.key.as_str().into()).collect())
            }
            Selection::Every | Selection::Entries { .. } => Self::Any,
        }
    }

    fn has_any_of(&self, keys: &HashSet<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::Keys(own) => own.iter().any(|key| keys.contains(&**key)),
        }
    }
}

impl Entry {
    fn targets(&self) -> impl Iterator<Item = &Key> {
        [Some(&self.target), self.earlier_target.as_ref()].into_iter().flatten()
    }
}

fn key(namespace: &str, name: &str) -> Key {
    object_key(Some(namespace), name).into()
}

fn key_of(binding: &SecretBinding) -> Key {
    key(&binding.namespace().unwrap_or_default(), &binding.name_any())
}

fn references<'k>(keys: impl IntoIterator<Item = &'k Key>) -> Vec<ObjectRef<SecretBinding>> {
    let names = keys.into_iter().map(|key| split_key(key));
    names.map(|(namespace, name)| ObjectRef::new(name).within(namespace)).collect()
}

impl BindingIndex {
    /// The bindings in a namespace that want to write, or wrote, a Secret of that name.
    #[must_use]
    pub(crate) fn of_target(&self, namespace: &str, target: &str) -> Vec<ObjectRef<SecretBinding>> {
        references(self.read().targets.get(&key(namespace, target)).into_iter().flatten())
    }

    /// The bindings that read that source; where `keys` are given, those that a change of these keys can concern.
    #[must_use]
    pub(crate) fn of_source(
        &self,
        source: &SourceReference,
        keys: Option<&[Arc<str>]>,
    ) -> Vec<ObjectRef<SecretBinding>> {
        let maps = self.read();
        let keys: Option<HashSet<&str>> = keys.map(|keys| keys.iter().map(|key| &**key).collect());
        let is_concerned = |binding: &&Key| {
            let reads = maps.entries.get(*binding).map(|entry| &entry.reads);
            reads.zip(keys.as_ref()).is_none_or(|(reads, keys)| reads.has_any_of(keys))
        };
        references(maps.sources.get(source).into_iter().flatten().filter(is_concerned))
    }

    /// The bindings of a namespace.
    #[must_use]
    pub(crate) fn of_namespace(&self, namespace: &str) -> Vec<ObjectRef<SecretBinding>> {
        references(self.read().namespaces.get(namespace).into_iter().flatten())
    }

    /// The bindings that have that workload restarted.
    #[must_use]
    pub(crate) fn of_restart_target(
        &self,
        namespace: &str,
        target: &RolloutRestartTarget,
    ) -> Vec<ObjectRef<SecretBinding>> {
        references(self.read().restart_targets.get(&key(namespace, &target.to_string())).into_iter().flatten())
    }

    /// How many bindings read that source.
    #[must_use]
    pub(crate) fn count_of_source(&self, source: &SourceReference) -> usize {
        self.read().sources.get(source).map_or(0, BTreeSet::len)
    }

    /// Takes a binding in, as it is now.
    pub(super) fn apply(&self, binding: &SecretBinding) {
        let binding_key = key_of(binding);
        let namespace = binding.namespace().unwrap_or_default();
        let of_target = |name: &str| match split_key(&binding_key) {
            (_, same) if same == name => Arc::clone(&binding_key),
            _ => key(&namespace, name),
        };
        let target = of_target(&binding.target_name());
        let written = binding.status.as_ref().and_then(|status| status.target.as_ref());
        let earlier_target = written.map(|written| of_target(&written.name)).filter(|earlier| *earlier != target);
        let (source, reads) = (SourceReference::from(binding), Reads::of(&binding.spec));
        let restart_targets = binding.spec.rollout_restart_targets().iter();
        let restart_targets = restart_targets.map(|target| key(&namespace, &target.to_string())).collect();
        let entry = Entry { target, earlier_target, source, reads, restart_targets };
        self.maps.write().unwrap_or_else(PoisonError::into_inner).insert(&binding_key, entry);
    }

    /// Takes a binding out.
    pub(super) fn delete(&self, binding: &SecretBinding) {
        self.maps.write().unwrap_or_else(PoisonError::into_inner).remove(&key_of(binding));
    }

    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Maps {
    fn insert(&mut self, key: &Key, entry: Entry) {
        self.remove(key);
        for target in entry.targets() {
            // In order: who comes first does not depend on whom the watch told of first.
            let bindings = self.targets.entry(Arc::clone(target)).or_insert_with(|| Vec::with_capacity(1));
            let place = bindings.binary_search(key).unwrap_or_else(|place| place);
            bindings.insert(place, Arc::clone(key));
        }
        for target in &entry.restart_targets {
            self.restart_targets.entry(Arc::clone(target)).or_default().insert(Arc::clone(key));
        }
        let of_namespace = self.namespaces.entry(split_key(key).0.into()).or_default();
        of_namespace.insert(Arc::clone(key));
        self.sources.entry(entry.source.clone()).or_default().insert(Arc::clone(key));
        self.entries.insert(Arc::clone(key), entry);
    }

    fn remove(&mut self, key: &Key) {
        let Some(entry) = self.entries.remove(key) else { return };
        for target in entry.targets() {
            if let Some(bindings) = self.targets.get_mut(target) {
                bindings.retain(|binding| binding != key);
                if bindings.is_empty() {
                    self.targets.remove(target);
                }
            }
        }
        for target in &entry.restart_targets {
            take_out(&mut self.restart_targets, target, key);
        }
        take_out(&mut self.sources, &entry.source, key);
        take_out(&mut self.namespaces, split_key(key).0, key);
    }
}

fn take_out<K: Hash + Eq + Borrow<Q>, Q: Hash + Eq + ?Sized>(
    map: &mut HashMap<K, BTreeSet<Key>>,
    of: &Q,
    binding: &Key,
) {
    if let Some(bindings) = map.get_mut(of) {
        bindings.remove(binding);
        if bindings.is_empty() {
            map.remove(of);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{SourceKind, WorkloadKind};

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
        assert_eq!(names(&index.of_source(&dev(), None)), ["a", "b"]);
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
    fn who_names_keys_is_found_by_these_alone_and_who_finds_some_by_any() {
        let index = BindingIndex::default();
        let data = |key: &str| json!([{"secretKey": "X", "remoteRef": {"key": key}}]);
        let found = json!([{"find": {"name": {"regexp": "A.*"}}}]);
        for (name, data, data_from) in [
            ("a", Some(data("A")), None),
            ("b", Some(data("B")), None),
            ("every", None, None),
            ("finds", Some(data("B")), Some(found)),
        ] {
            let mut binding = serde_json::to_value(binding(name, "dev", None, None)).expect("JSON");
            let spec = binding["spec"].as_object_mut().expect("a spec");
            spec.extend(data.map(|data| ("data".to_owned(), data)));
            spec.extend(data_from.map(|found| ("dataFrom".to_owned(), found)));
            index.apply(&serde_json::from_value(binding).expect("a binding"));
        }
        let of_keys = |keys: &[&str]| {
            let keys: Vec<Arc<str>> = keys.iter().map(|key| (*key).into()).collect();
            names(&index.of_source(&dev(), Some(&keys))).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of_keys(&["A"]), ["a", "every", "finds"]);
        assert_eq!(of_keys(&["C", "B"]), ["b", "every", "finds"]);
        assert_eq!(of_keys(&[]), ["every", "finds"]);
        assert_eq!(names(&index.of_source(&dev(), None)), ["a", "b", "every", "finds"]);
    }

    #[test]
    fn a_binding_is_found_by_the_workloads_that_it_has_restarted_until_it_names_them_no_more() {
        let index = BindingIndex::default();
        let target = |kind| RolloutRestartTarget { kind, name: "web".to_owned() };
        let [deployment, rollout] = [WorkloadKind::Deployment, WorkloadKind::Rollout].map(target);
        for (name, targets) in [("a", vec![deployment.clone()]), ("b", vec![deployment.clone(), rollout.clone()])] {
            let mut binding = binding(name, "dev", None, None);
            binding.spec.rollout_restart_targets = Some(targets);
            index.apply(&binding);
        }
        assert_eq!(names(&index.of_restart_target("shop", &deployment)), ["a", "b"]);
        assert_eq!(names(&index.of_restart_target("shop", &rollout)), ["b"]);
        assert!(index.of_restart_target("other", &deployment).is_empty());
        index.apply(&binding("b", "dev", None, None));
        assert_eq!(names(&index.of_restart_target("shop", &deployment)), ["a"]);
        index.delete(&binding("a", "dev", None, None));
        assert!(index.of_restart_target("shop", &deployment).is_empty());
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
}
