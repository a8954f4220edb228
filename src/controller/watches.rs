//! What is watched, and which event handler hears of it.

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
use super::runtime::watch;
use super::sources::Sources;
use crate::api::{ProjectEnvironment, SecretBinding, names};

/// What is watched.
const RESOURCES: [&str; 4] = ["secretbindings", "projectenvironments", "secrets", "namespaces"];

/// Stores and what fills them.
pub(super) struct Watches {
    pub(super) stores: Stores,
    pub(super) caches: CacheSync,
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
        Self { stores, caches: CacheSync::of(&RESOURCES), bindings, environments, secrets, namespaces }
    }

    /// Starts the watches; of the custom resources, those of that class.
    pub(super) fn start(
        self,
        tasks: &mut JoinSet<ControllerError>,
        clients: &Clients,
        class: Option<&str>,
        handlers: &EventHandlers,
        sources: &Sources,
    ) {
        let client = || clients.watches.clone();
        let of_class = watcher::Config::default().labels(&class_selector(class));
        let ours = format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGED_BY);
        let everything = watcher::Config::default;
        let filled = |cache: &'static str| {
            let caches = self.caches.clone();
            move || caches.filled(cache)
        };
        let [of_bindings, of_environments, of_secrets, of_namespaces] = [(); 4].map(|()| handlers.clone());
        let sources = sources.clone();

        let bindings = watch(
            Api::all(client()),
            of_class.clone(),
            self.bindings,
            |_| {},
            move |change| of_bindings.binding(change),
            filled("secretbindings"),
        );
        let environments = watch(
            Api::all(client()),
            of_class,
            self.environments,
            |_| {},
            move |change| of_environments.environment(change, &sources),
            filled("projectenvironments"),
        );
        // Metadata alone: a value never reaches a cache.
        let secrets = watch(
            Api::<PartialObjectMeta<Secret>>::all(client()),
            everything().labels(&ours),
            self.secrets,
            |secret: &mut PartialObjectMeta<Secret>| {
                if let Some(annotations) = &mut secret.metadata.annotations {
                    annotations.retain(|name, _| name.starts_with(names::PREFIX));
                }
            },
            move |change| of_secrets.secret(change),
            filled("secrets"),
        );
        let namespaces = watch(
            Api::<PartialObjectMeta<Namespace>>::all(client()),
            everything(),
            self.namespaces,
            |namespace: &mut PartialObjectMeta<Namespace>| namespace.metadata.annotations = None,
            move |change| of_namespaces.namespace(change),
            filled("namespaces"),
        );
        tasks.spawn(ended(bindings, "the watch of SecretBindings"));
        tasks.spawn(ended(environments, "the watch of ProjectEnvironments"));
        tasks.spawn(ended(secrets, "the watch of Secrets"));
        tasks.spawn(ended(namespaces, "the watch of Namespaces"));
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
