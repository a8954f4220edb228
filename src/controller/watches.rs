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
use super::runtime::{CacheSync, Change, ClientError, Clients, WatchHealth, Watching};
use super::sources::Sources;
use crate::api::{ProjectEnvironment, SecretBinding, names};

/// What is watched.
const RESOURCES: [&str; 4] = ["secretbindings", "projectenvironments", "secrets", "namespaces"];

/// Stores and what fills them.
pub(super) struct Watches {
    pub(super) stores: Stores,
    pub(super) caches: CacheSync,
    pub(super) health: WatchHealth,
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
        Self {
            stores,
            caches: CacheSync::of(&RESOURCES),
            health: WatchHealth::of(&RESOURCES),
            bindings,
            environments,
            secrets,
            namespaces,
        }
    }

    /// Starts the watches; of the custom resources, those of that class.
    pub(super) fn start(
        self,
        tasks: &mut JoinSet<ControllerError>,
        clients: &Clients,
        class: Option<&str>,
        handlers: &EventHandlers,
        sources: &Sources,
    ) -> Result<(), ClientError> {
        let of_class = watcher::Config::default().labels(&class_selector(class));
        let ours = format!("{}={}", names::MANAGED_BY_LABEL, names::MANAGED_BY);
        let everything = watcher::Config::default;
        let client = |resource| clients.for_watch(resource, &self.health);
        let filled = |cache: &'static str| {
            let caches = self.caches.clone();
            move || caches.filled(cache)
        };
        let [of_bindings, of_environments, of_secrets, of_namespaces] = [(); 4].map(|()| handlers.clone());
        let sources = sources.clone();

        let bindings = Watching {
            api: Api::all(client("secretbindings")?),
            config: of_class.clone(),
            writer: self.bindings,
            trim: |_: &mut SecretBinding| {},
            handle: move |change: &Change<SecretBinding>| of_bindings.binding(change),
            filled: filled("secretbindings"),
            health: self.health.clone(),
            server: clients.server.clone(),
        };
        let environments = Watching {
            api: Api::all(client("projectenvironments")?),
            config: of_class,
            writer: self.environments,
            trim: |_: &mut ProjectEnvironment| {},
            handle: move |change: &Change<ProjectEnvironment>| of_environments.environment(change, &sources),
            filled: filled("projectenvironments"),
            health: self.health.clone(),
            server: clients.server.clone(),
        };
        // Metadata alone: a value never reaches a cache.
        let secrets = Watching {
            api: Api::all(client("secrets")?),
            config: everything().labels(&ours),
            writer: self.secrets,
            trim: |secret: &mut PartialObjectMeta<Secret>| {
                if let Some(annotations) = &mut secret.metadata.annotations {
                    annotations.retain(|name, _| name.starts_with(names::PREFIX));
                }
            },
            handle: move |change: &Change<PartialObjectMeta<Secret>>| of_secrets.secret(change),
            filled: filled("secrets"),
            health: self.health.clone(),
            server: clients.server.clone(),
        };
        let namespaces = Watching {
            api: Api::all(client("namespaces")?),
            config: everything(),
            writer: self.namespaces,
            trim: |namespace: &mut PartialObjectMeta<Namespace>| namespace.metadata.annotations = None,
            handle: move |change: &Change<PartialObjectMeta<Namespace>>| of_namespaces.namespace(change),
            filled: filled("namespaces"),
            health: self.health.clone(),
            server: clients.server.clone(),
        };
        let (bindings, environments) = (bindings.watch(), environments.watch());
        let (secrets, namespaces) = (secrets.watch(), namespaces.watch());
        tasks.spawn(ended(bindings, "the watch of SecretBindings"));
        tasks.spawn(ended(environments, "the watch of ProjectEnvironments"));
        tasks.spawn(ended(secrets, "the watch of Secrets"));
        tasks.spawn(ended(namespaces, "the watch of Namespaces"));
        Ok(())
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
