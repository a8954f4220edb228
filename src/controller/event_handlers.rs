//! What leads to a reconcile of what, and how soon. An event says where to look, never what is true.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::sync::mpsc::UnboundedSender;

use super::context::Mutations;
use super::index::{BindingIndex, ControlledSecrets};
use super::runtime::{Attention, Cache, Change, MutationCache, Priority, Request};
use super::sources::{ChangeKind, SourceChange, SourceReference, Sources, registry_name};
use crate::api::names::unanswered_sync;
use crate::api::{ConditionType, OutOfSyncPolicy, ProjectEnvironment, Reason, SecretBinding, find};

/// The queues of both kinds, and what is needed to know who goes there. A queue that nobody reads any more belongs to
/// an operator that stops.
#[derive(Clone)]
pub(super) struct EventHandlers {
    pub(super) index: BindingIndex,
    pub(super) controlled: ControlledSecrets,
    pub(super) stored_bindings: Cache<SecretBinding>,
    pub(super) mutations: Mutations,
    pub(super) bindings: UnboundedSender<Request<SecretBinding>>,
    pub(super) environments: UnboundedSender<Request<ProjectEnvironment>>,
}

/// Why a binding is to be reconciled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// Something that it depends on is another one than before.
    Change,
    /// Its source compares otherwise with the registry; the content is the same.
    Comparison,
    /// Something was listed, read for the first time, or can be read again.
    Resync,
}

impl Cause {
    /// What was not known before was listed.
    fn of<K>(change: &Change<K>) -> Self {
        if change.before.is_some() { Self::Change } else { Self::Resync }
    }
}

/// What is new or changed, and what a person waits for, goes ahead of a resync and of a status that says no more than
/// `InSync`.
fn priority(binding: &SecretBinding, cause: Cause) -> Priority {
    let status = binding.status.as_ref();
    let is_new = status.is_none_or(|status| status.observed_generation != binding.metadata.generation);
    let is_high = match cause {
        Cause::Change => true,
        // Ready turns with it.
        Cause::Comparison => binding.spec.out_of_sync_policy() == OutOfSyncPolicy::Degrade,
        Cause::Resync => false,
    };
    if is_new || is_high || is_sync_asked(binding) { Priority::High } else { Priority::Low }
}

/// Whether a person asked for a poll and has no answer yet.
fn is_sync_asked(binding: &SecretBinding) -> bool {
    let handled = binding.status.as_ref().and_then(|status| status.last_handled_sync.as_deref());
    unanswered_sync(&binding.metadata, handled).is_some()
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
        if let Some(after) = &change.after {
            if is_news(change, of_binding) {
                self.request(after, Cause::of(change));
            } else {
                match attention(change, &self.mutations.bindings, |binding| &binding.status) {
                    Attention::None => {}
                    Attention::Now => self.request(after, Cause::of(change)),
                    Attention::After(pause) => self.send(after, Cause::of(change), Some(pause)),
                }
            }
        }
        if let Some(object) = change.after.as_ref().or(change.before.as_ref()) {
            self.mutations.bindings.seen(&**object, change.after.as_deref());
        }
        let source = |binding: &SecretBinding| SourceReference::from(binding);
        let (before, after) = (change.before.as_deref().map(source), change.after.as_deref().map(source));
        if before != after {
            for source in before.into_iter().chain(after) {
                self.request_environment(ObjectRef::new(&source.name));
            }
        }
        if let Some(before) = &change.before {
            let target = before.target_name();
            if change.after.as_ref().is_none_or(|after| after.target_name() != target) {
                self.target(&before.namespace().unwrap_or_default(), &target, Cause::Change);
            }
        }
    }

    /// A source's object: itself, and its bindings.
    pub(super) fn environment(&self, change: &Change<ProjectEnvironment>, sources: &Sources) {
        let attention = attention(change, &self.mutations.environments, |environment| &environment.status);
        if let Some(object) = change.after.as_ref().or(change.before.as_ref()) {
            self.mutations.environments.seen(&**object, change.after.as_deref());
        }
        if !is_news(change, of_environment) {
            if let Some(after) = &change.after {
                let name = ObjectRef::from_obj(&**after);
                match attention {
                    Attention::None => {}
                    Attention::Now => self.request_environment(name),
                    Attention::After(pause) => self.send_environment(name, Some(pause)),
                }
            }
            return;
        }
        if let Some(object) = change.after.as_ref().or(change.before.as_ref()) {
            sources.nudge();
            if change.after.is_none() {
                sources.forget(object);
            }
            self.request_environment(ObjectRef::from_obj(&**object));
            self.all_of(&self.index.of_source(&SourceReference::from(&**object), None), Cause::of(change));
        }
    }

    /// A Secret that has our label, or had it: whoever wants its name.
    pub(super) fn secret(&self, change: &Change<PartialObjectMeta<Secret>>) {
        let metadata =
            |secret: &Option<Arc<PartialObjectMeta<Secret>>>| secret.as_ref().map(|secret| secret.metadata.clone());
        // What is not cached is in no index either.
        let after = metadata(&change.after).filter(|_| change.is_cached);
        self.controlled.update(metadata(&change.before).as_ref(), after.as_ref());
        if let Some(object) = change.after.as_ref().or(change.before.as_ref()) {
            self.target(&object.namespace().unwrap_or_default(), &object.name_any(), Cause::of(change));
        }
    }

    /// A namespace: its bindings, where its labels changed, or it began to go or came back.
    pub(super) fn namespace(&self, change: &Change<PartialObjectMeta<Namespace>>) {
        let relevant = |object: &PartialObjectMeta<Namespace>| {
            (object.uid(), object.labels().clone(), object.metadata.deletion_timestamp.is_some())
        };
        if change.before.as_deref().map(relevant) == change.after.as_deref().map(relevant) {
            return;
        }
        if let Some(object) = change.after.as_ref().or(change.before.as_ref()) {
            self.all_of(&self.index.of_namespace(&object.name_any()), Cause::of(change));
        }
    }

    /// A ConfigMap with templates: the bindings of its namespace that take some from it.
    pub(super) fn config_map(&self, change: &Change<ConfigMap>) {
        let data = |object: &Option<Arc<ConfigMap>>| object.as_ref().map(|object| object.data.clone());
        if data(&change.before) == data(&change.after) {
            return;
        }
        let Some(object) = change.after.as_ref().or(change.before.as_ref()) else { return };
        let name = object.name_any();
        for found in self.index.of_namespace(&object.namespace().unwrap_or_default()) {
            let Some(binding) = self.stored_bindings.get(&found) else { continue };
            if binding.spec.template().is_some_and(|template| template.config_maps().any(|from| from.name == name)) {
                self.request(&binding, Cause::of(change));
            }
        }
    }

    /// An environment in the registry: the objects that name it, and those of their bindings that it can concern.
    pub(super) fn source(&self, change: &SourceChange, environments: &[Arc<ProjectEnvironment>]) {
        let cause = match change.kind {
            ChangeKind::Content => Cause::Change,
            ChangeKind::Comparison => Cause::Comparison,
            ChangeKind::Availability => Cause::Resync,
        };
        for object in environments.iter().filter(|object| registry_name(object) == change.source) {
            self.all_of(&self.index.of_source(&SourceReference::from(&**object), change.keys.as_deref()), cause);
            self.request_environment(ObjectRef::from_obj(&**object));
        }
    }

    /// Another keyring is held: those first that wait for a key.
    pub(super) fn keyring(&self) {
        let waits = [Reason::RingNotHeld, Reason::OpenFailed];
        for binding in self.stored_bindings.objects() {
            let said = find(of_binding(&binding), ConditionType::Delivered);
            let is_waiting = said.is_some_and(|said| waits.iter().any(|reason| reason.as_str() == said.reason));
            self.request(&binding, if is_waiting { Cause::Change } else { Cause::Resync });
        }
    }

    fn target(&self, namespace: &str, target: &str, cause: Cause) {
        self.all_of(&self.index.of_target(namespace, target), cause);
    }

    fn all_of(&self, bindings: &[ObjectRef<SecretBinding>], cause: Cause) {
        for binding in bindings.iter().filter_map(|name| self.stored_bindings.get(name)) {
            self.request(&binding, cause);
        }
    }

    fn request(&self, binding: &SecretBinding, cause: Cause) {
        self.send(binding, cause, None);
    }

    fn send(&self, binding: &SecretBinding, cause: Cause, after: Option<Duration>) {
        let request = Request { name: ObjectRef::from_obj(binding), priority: priority(binding, cause), after };
        let _ = self.bindings.send(request);
    }

    /// One write of a status, which people watch, for all of an environment's bindings.
    fn request_environment(&self, name: ObjectRef<ProjectEnvironment>) {
        self.send_environment(name, None);
    }

    fn send_environment(&self, name: ObjectRef<ProjectEnvironment>, after: Option<Duration>) {
        let _ = self.environments.send(Request { name, priority: Priority::High, after });
    }
}

/// Whether something other than the status changed, as a status is our own doing; or the status lost what we always say.
fn is_news<K: Resource>(change: &Change<K>, conditions: impl Fn(&K) -> &[Condition]) -> bool {
    let relevant = |object: &K| {
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
    let says_ready =
        |object: Option<&K>| object.is_some_and(|object| find(conditions(object), ConditionType::Ready).is_some());
    let (before, after) = (change.before.as_deref(), change.after.as_deref());
    before.map(relevant) != after.map(relevant) || (says_ready(before) && !says_ready(after))
}

/// Whether somebody else may have written its status, which is put right then.
fn attention<K, S>(change: &Change<K>, mutations: &MutationCache<K>, status: impl Fn(&K) -> &Option<S>) -> Attention
where
    K: Resource<DynamicType = ()> + Clone,
    S: PartialEq,
{
    let (Some(before), Some(after)) = (&change.before, &change.after) else { return Attention::None };
    if status(before) == status(after) { Attention::None } else { mutations.attention(after) }
}

fn of_binding(binding: &SecretBinding) -> &[Condition] {
    binding.status.as_ref().map_or(&[], |status| &status.conditions)
}

fn of_environment(environment: &ProjectEnvironment) -> &[Condition] {
    environment.status.as_ref().map_or(&[], |status| &status.conditions)
}

#[cfg(test)]
mod tests;
