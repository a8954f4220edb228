//! The four watches.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::store::{self, Writer};
use kube::runtime::watcher;
use tokio::task::JoinSet;

use super::config::ControllerError;
use super::context::Stores;
use super::event_handlers::EventHandlers;
use super::runtime::CacheSync;
use super::runtime::Clients;
use super::runtime::follow;
use super::sources::Sources;
use crate::api::{ProjectEnvironment, SecretBinding, names};

/// Stores and what fills them.
pub(super) struct Watches {
    pub(super) stores: Stores,
    pub(super) synced: CacheSync,
    bindings: Writer<SecretBinding>,
    environments: Writer<ProjectEnvironment>,
    secrets: Writer<PartialObjectMeta<Secret>>,
    namespaces: Writer<PartialObjectMeta<Namespace>>,
}

impl Watches {
    pub(super) fn new() -> Self {
        let (in_bindings, bindings) = store::store();
        let (in_environments, environments) = store::store();
        let (in_secrets, secrets) = store::store();
        let (in_namespaces, namespaces) = store::store();
        let stores = Stores {
            bindings: in_bindings,
            environments: in_environments,
            secrets: in_secrets,
            namespaces: in_namespaces,
        };
        Self { stores, synced: CacheSync::default(), bindings, environments, secrets, namespaces }
    }

    /// Starts the watches; of the custom resources, those of that class.
    pub(super) fn follow(
        self,
        tasks: &mut JoinSet<ControllerError>,
        clients: &Clients,
        class: Option<&str>,
        event_handlers: &EventHandlers,
        sources: &Sources,
    ) {
        let client = || clients.watches.clone();
        let of_class = watcher::Config::default().labels(&class_selector(class));
        let ours = format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGED_BY);
        let everything = watcher::Config::default;
        let filled = |cache: &'static str| {
            let synced = self.synced.clone();
            move || synced.filled(cache)
        };

        let (tell, api) = (event_handlers.clone(), Api::<SecretBinding>::all(client()));
        let task = follow(
            api,
            of_class.clone(),
            self.bindings,
            |_| {},
            move |change| tell.binding(change),
            filled("secretbindings"),
        );
        tasks.spawn(ended(task, "the watch of SecretBindings"));

        let (tell, sources) = (event_handlers.clone(), sources.clone());
        let tell = move |change: &_| tell.environment(change, &sources);
        let task = follow(Api::all(client()), of_class, self.environments, |_| {}, tell, filled("projectenvironments"));
        tasks.spawn(ended(task, "the watch of ProjectEnvironments"));

        // Metadata alone: a value never reaches a cache.
        let (tell, api) = (event_handlers.clone(), Api::<PartialObjectMeta<Secret>>::all(client()));
        let trim = |secret: &mut PartialObjectMeta<Secret>| {
            if let Some(annotations) = &mut secret.metadata.annotations {
                annotations.retain(|name, _| name.starts_with(names::PREFIX));
            }
        };
        let task = follow(
            api,
            everything().labels(&ours),
            self.secrets,
            trim,
            move |change| tell.secret(change),
            filled("secrets"),
        );
        tasks.spawn(ended(task, "the watch of Secrets"));

        let (tell, api) = (event_handlers.clone(), Api::<PartialObjectMeta<Namespace>>::all(client()));
        let trim = |namespace: &mut PartialObjectMeta<Namespace>| namespace.metadata.annotations = None;
        let task = follow(
            api,
            everything(),
            self.namespaces,
            trim,
            move |change| tell.namespace(change),
            filled("namespaces"),
        );
        tasks.spawn(ended(task, "the watch of Namespaces"));
    }
}

/// The objects that are an operator's: those of its class, or without one.
fn class_selector(class: Option<&str>) -> String {
    class.map_or_else(|| format!("!{}", names::CLASS), |class| format!("{}={class}", names::CLASS))
}

async fn ended(task: impl Future<Output = ()>, name: &'static str) -> ControllerError {
    task.await;
    ControllerError::Task { task: name }
}
