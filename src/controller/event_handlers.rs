//! What leads to a look at what. An event says where to look, never what is true.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc::UnboundedSender;

use super::controlled::ControlledSecrets;
use super::index::BindingIndex;
use super::project_environment::source_of;
use super::runtime::Change;
use super::sources::Sources;
use crate::api::{ProjectEnvironment, SecretBinding};
use crate::registry::SourceName;

/// The queues of both kinds, and what is needed to know who goes there. A queue that nobody reads any more belongs to
/// an operator that stops.
#[derive(Clone)]
pub(super) struct EventHandlers {
    pub(super) index: BindingIndex,
    pub(super) controlled: ControlledSecrets,
    pub(super) bindings: UnboundedSender<ObjectRef<SecretBinding>>,
    pub(super) environments: UnboundedSender<ObjectRef<ProjectEnvironment>>,
}

impl EventHandlers {
    /// A binding: itself, its source (which counts its bindings), and, where it let go of a target, who waits for that.
    pub(super) fn binding(&self, change: &Change<SecretBinding>) {
        // Never out of the index in between: a source that changes at that moment would pass the binding by.
        match (&change.before, &change.after) {
            (_, Some(after)) => self.index.apply(after),
            (Some(before), None) => self.index.delete(before),
            (None, None) => {}
        }
        if let Some(after) = &change.after
            && is_news(change)
        {
            self.bind(ObjectRef::from_obj(&**after));
        }
        let source = |binding: &SecretBinding| binding.spec.source_ref.name.clone();
        let (before, after) = (change.before.as_deref().map(source), change.after.as_deref().map(source));
        if before != after {
            for name in before.into_iter().chain(after) {
                let _ = self.environments.send(ObjectRef::new(&name));
            }
        }
        if let Some(before) = &change.before {
            let target = before.target_name();
            if change.after.as_ref().is_none_or(|after| after.target_name() != target) {
                self.target(&before.namespace().unwrap_or_default(), &target);
            }
        }
    }

    /// A source's object: itself, and its bindings.
    pub(super) fn environment(&self, change: &Change<ProjectEnvironment>, sources: &Sources) {
        if !is_news(change) {
            return;
        }
        if let Some(object) = change.after.as_ref().or(change.before.as_ref()) {
            sources.nudge();
            let _ = self.environments.send(ObjectRef::from_obj(&**object));
            self.all_of(self.index.of_source(&object.name_any()));
        }
    }

    /// A Secret that has our label, or had it: whoever wants its name.
    pub(super) fn secret(&self, change: &Change<PartialObjectMeta<Secret>>) {
        let metadata =
            |secret: &Option<Arc<PartialObjectMeta<Secret>>>| secret.as_ref().map(|secret| secret.metadata.clone());
        self.controlled.follow(metadata(&change.before).as_ref(), metadata(&change.after).as_ref());
        if let Some(object) = change.after.as_ref().or(change.before.as_ref()) {
            self.target(&object.namespace().unwrap_or_default(), &object.name_any());
        }
    }

    /// A namespace: its bindings, where its labels changed, or it began to go or came back.
    pub(super) fn namespace(&self, change: &Change<PartialObjectMeta<Namespace>>) {
        let seen = |object: &PartialObjectMeta<Namespace>| {
            (object.uid(), object.labels().clone(), object.metadata.deletion_timestamp.is_some())
        };
        if change.before.as_deref().map(seen) == change.after.as_deref().map(seen) {
            return;
        }
        if let Some(object) = change.after.as_ref().or(change.before.as_ref()) {
            self.all_of(self.index.of_namespace(&object.name_any()));
        }
    }

    /// An environment in the registry: the objects that name it, and their bindings.
    pub(super) fn source(&self, source: &SourceName, environments: &[Arc<ProjectEnvironment>]) {
        for object in environments.iter().filter(|object| source_of(object) == *source) {
            self.all_of(self.index.of_source(&object.name_any()));
            let _ = self.environments.send(ObjectRef::from_obj(&**object));
        }
    }

    fn target(&self, namespace: &str, target: &str) {
        self.all_of(self.index.of_target(namespace, target));
    }

    fn all_of(&self, bindings: Vec<ObjectRef<SecretBinding>>) {
        for binding in bindings {
            self.bind(binding);
        }
    }

    fn bind(&self, binding: ObjectRef<SecretBinding>) {
        let _ = self.bindings.send(binding);
    }
}

/// Whether something other than the status changed: a status is our own doing.
fn is_news<K: Resource>(change: &Change<K>) -> bool {
    let seen = |object: &K| {
        let meta = object.meta();
        (
            meta.uid.clone(),
            meta.generation,
            meta.annotations.clone(),
            meta.labels.clone(),
            meta.owner_references.clone(),
            meta.deletion_timestamp.clone(),
        )
    };
    change.before.as_deref().map(seen) != change.after.as_deref().map(seen)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use serde_json::json;
    use tokio::sync::mpsc::{self, UnboundedReceiver};

    use super::*;

    struct Fixture {
        event_handlers: EventHandlers,
        bindings: UnboundedReceiver<ObjectRef<SecretBinding>>,
        environments: UnboundedReceiver<ObjectRef<ProjectEnvironment>>,
    }

    impl Fixture {
        fn new() -> Self {
            let (to_bindings, bindings) = mpsc::unbounded_channel();
            let (to_environments, environments) = mpsc::unbounded_channel();
            let event_handlers = EventHandlers {
                index: BindingIndex::default(),
                controlled: ControlledSecrets::default(),
                bindings: to_bindings,
                environments: to_environments,
            };
            Self { event_handlers, bindings, environments }
        }

        /// Names of what was triggered since the last call: bindings, environments.
        fn triggered(&mut self) -> (Vec<String>, Vec<String>) {
            let bindings = std::iter::from_fn(|| self.bindings.try_recv().ok()).map(|object| object.name);
            let environments = std::iter::from_fn(|| self.environments.try_recv().ok()).map(|object| object.name);
            (bindings.collect(), environments.collect())
        }
    }

    fn binding(name: &str, target: &str, generation: i64, ready: bool) -> Arc<SecretBinding> {
        let object = json!({
            "apiVersion": "tidelock.dev/v1alpha1", "kind": "SecretBinding",
            "metadata": {"namespace": "shop", "name": name, "generation": generation},
            "spec": {"sourceRef": {"name": "dev"}, "target": {"name": target}},
            "status": {"revision": i64::from(ready)},
        });
        Arc::new(serde_json::from_value(object).expect("a binding"))
    }

    fn words(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_new_binding_is_looked_at_and_counted_and_its_status_is_no_news() {
        let mut fixture = Fixture::new();
        let first = binding("a", "app", 1, false);
        fixture.event_handlers.binding(&Change { before: None, after: Some(first.clone()) });
        assert_eq!(fixture.triggered(), (words(&["a"]), words(&["dev"])));
        fixture.event_handlers.binding(&Change { before: Some(first), after: Some(binding("a", "app", 1, true)) });
        assert_eq!(fixture.triggered(), (words(&[]), words(&[])));
    }

    #[test]
    fn a_source_that_changes_while_a_status_comes_in_passes_no_binding_by() {
        let mut fixture = Fixture::new();
        let [before, after] = [false, true].map(|ready| binding("a", "app", 1, ready));
        fixture.event_handlers.binding(&Change { before: None, after: Some(before.clone()) });
        fixture.triggered();
        let index = fixture.event_handlers.index.clone();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    let change = Change { before: Some(before.clone()), after: Some(after.clone()) };
                    fixture.event_handlers.binding(&change);
                }
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                assert_eq!(index.of_source("dev").len(), 1);
            }
        });
    }

    #[test]
    fn who_waits_for_a_target_is_looked_at_when_another_binding_lets_it_go() {
        let mut fixture = Fixture::new();
        let owner = binding("a", "app", 1, false);
        fixture.event_handlers.binding(&Change { before: None, after: Some(owner.clone()) });
        fixture.event_handlers.binding(&Change { before: None, after: Some(binding("b", "app", 1, false)) });
        fixture.triggered();
        fixture.event_handlers.binding(&Change { before: Some(owner), after: None });
        assert_eq!(fixture.triggered(), (words(&["b"]), words(&["dev"])));
    }

    #[test]
    fn a_secret_leads_to_who_wants_its_name_also_when_it_is_gone() {
        let mut fixture = Fixture::new();
        fixture.event_handlers.binding(&Change { before: None, after: Some(binding("a", "app", 1, false)) });
        fixture.triggered();
        let object = json!({"metadata": {"namespace": "shop", "name": "app"}});
        let secret: PartialObjectMeta<Secret> = serde_json::from_value(object).expect("a secret");
        fixture.event_handlers.secret(&Change { before: Some(Arc::new(secret)), after: None });
        assert_eq!(fixture.triggered(), (words(&["a"]), words(&[])));
    }

    #[test]
    fn a_namespace_matters_when_its_labels_change() {
        let mut fixture = Fixture::new();
        fixture.event_handlers.binding(&Change { before: None, after: Some(binding("a", "app", 1, false)) });
        fixture.triggered();
        let namespace = |version: &str, team: &str| {
            let object = json!({"metadata": {"name": "shop", "resourceVersion": version, "labels": {"team": team}}});
            Some(Arc::new(serde_json::from_value::<PartialObjectMeta<Namespace>>(object).expect("a namespace")))
        };
        fixture.event_handlers.namespace(&Change { before: namespace("1", "x"), after: namespace("2", "x") });
        assert_eq!(fixture.triggered().0, words(&[]));
        fixture.event_handlers.namespace(&Change { before: namespace("2", "x"), after: namespace("3", "y") });
        assert_eq!(fixture.triggered().0, words(&["a"]));
    }
}
