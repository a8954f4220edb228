//! What is watched, and which event handler hears of it.

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use tokio::task::JoinSet;

use super::config::ControllerError;
use super::context::Stores;
use super::event_handlers::EventHandlers;
use super::runtime::{Cache, CacheSync, Change, ClientError, Clients, Form, WatchHealth, Watching};
use super::sources::Sources;
use super::template_config_maps::{self, ConfigMapWatch};
use crate::api::{ProjectEnvironment, SecretBinding, names};

/// What is watched.
const RESOURCES: [&str; 4] = ["secretbindings", "projectenvironments", "secrets", "namespaces"];

/// Most bytes of Secrets' metadata in one namespace: some 12,000 Secrets of a few keys, or 800 of 500 keys. Whoever may
/// create Secrets somewhere could otherwise fill the operator's memory.
const SECRETS_MAX: usize = 8 << 20;

/// Caches and what fills them.
pub(super) struct Watches {
    pub(super) stores: Stores,
    pub(super) caches: CacheSync,
    pub(super) health: WatchHealth,
    config_maps: Option<ConfigMapWatch>,
}

impl Watches {
    /// With `config_maps`, those with templates, too.
    pub(super) fn new(config_maps: bool) -> Self {
        let (template_config_maps, config_maps) = config_maps.then(ConfigMapWatch::new).unzip();
        let mut resources = RESOURCES.to_vec();
        resources.extend(config_maps.as_ref().map(|_| template_config_maps::RESOURCE));
        let stores = Stores {
            bindings: Cache::new(Form::Packed { namespace_max: None }),
            // Few, and each is looked at for each of its bindings.
            environments: Cache::new(Form::Whole),
            secrets: Cache::new(Form::Packed { namespace_max: Some(SECRETS_MAX) }),
            namespaces: Cache::new(Form::Packed { namespace_max: None }),
            template_config_maps: template_config_maps.unwrap_or_default(),
        };
        Self { stores, caches: CacheSync::of(&resources), health: WatchHealth::of(&resources), config_maps }
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
            cache: self.stores.bindings.clone(),
            trim: |binding: &mut SecretBinding| keep_ours(&mut binding.metadata),
            handle: move |change: &Change<SecretBinding>| of_bindings.binding(change),
            filled: filled("secretbindings"),
            health: self.health.clone(),
            server: clients.server.clone(),
        };
        let environments = Watching {
            api: Api::all(client("projectenvironments")?),
            config: of_class,
            cache: self.stores.environments.clone(),
            trim: |environment: &mut ProjectEnvironment| keep_ours(&mut environment.metadata),
            handle: move |change: &Change<ProjectEnvironment>| of_environments.environment(change, &sources),
            filled: filled("projectenvironments"),
            health: self.health.clone(),
            server: clients.server.clone(),
        };
        // Metadata alone: a value never reaches a cache.
        let secrets = Watching {
            api: Api::all(client("secrets")?),
            config: everything().labels(&ours),
            cache: self.stores.secrets.clone(),
            trim: |secret: &mut PartialObjectMeta<Secret>| keep_origin(&mut secret.metadata),
            handle: move |change: &Change<PartialObjectMeta<Secret>>| of_secrets.secret(change),
            filled: filled("secrets"),
            health: self.health.clone(),
            server: clients.server.clone(),
        };
        let namespaces = Watching {
            api: Api::all(client("namespaces")?),
            config: everything(),
            cache: self.stores.namespaces.clone(),
            trim: |namespace: &mut PartialObjectMeta<Namespace>| keep_labels(&mut namespace.metadata),
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
        if let Some(config_maps) = self.config_maps {
            let config_maps = config_maps.start(clients, handlers.clone(), self.caches.clone(), &self.health)?;
            tasks.spawn(ended(config_maps, "the watch of ConfigMaps"));
        }
        Ok(())
    }
}

/// Of a custom resource, what no decision needs is not kept.
fn keep_ours(metadata: &mut ObjectMeta) {
    for map in [&mut metadata.labels, &mut metadata.annotations].into_iter().flatten() {
        map.retain(|name, _| name.starts_with(names::PREFIX));
    }
    forget_the_rest(metadata);
    metadata.owner_references = None;
}

/// Of a Secret, whose it is and what it was made from.
fn keep_origin(metadata: &mut ObjectMeta) {
    if let Some(labels) = &mut metadata.labels {
        labels.retain(|name, _| name == names::MANAGED_BY_LABEL);
    }
    if let Some(annotations) = &mut metadata.annotations {
        let kept = [names::ADOPT, names::MERGE, names::BINDING, names::SOURCE, names::ROWS];
        annotations.retain(|name, _| kept.contains(&name.as_str()));
    }
    if let Some(owners) = &mut metadata.owner_references {
        owners.retain(|owner| owner.controller == Some(true));
    }
    forget_the_rest(metadata);
    (metadata.creation_timestamp, metadata.generation) = (None, None);
}

/// Of a namespace, by what it is selected, and whether it goes.
fn keep_labels(metadata: &mut ObjectMeta) {
    (metadata.annotations, metadata.owner_references) = (None, None);
    forget_the_rest(metadata);
}

fn forget_the_rest(metadata: &mut ObjectMeta) {
    (metadata.managed_fields, metadata.finalizers) = (None, None);
    (metadata.generate_name, metadata.self_link) = (None, None);
}

/// The objects that are an operator's: those of its class, or without one.
fn class_selector(class: Option<&str>) -> String {
    class.map_or_else(|| format!("!{}", names::CLASS), |class| format!("{}={class}", names::CLASS))
}

async fn ended(task: impl Future<Output = ()>, name: &'static str) -> ControllerError {
    task.await;
    ControllerError::Task { task: name }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_somebody_elses_secret_no_more_is_kept_than_of_our_own() {
        let large = "x".repeat(1000);
        let owner = |controller: bool| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": large, "uid": "u", "controller": controller});
        let mut metadata: ObjectMeta = serde_json::from_value(json!({
            "name": "app", "namespace": "shop", "uid": "u", "resourceVersion": "7",
            "labels": {names::MANAGED_BY_LABEL: names::MANAGED_BY, "theirs": large},
            "annotations": {names::ROWS: "rows", "tidelock.dev/other": large, "theirs": large},
            "ownerReferences": [owner(false), owner(false)], "finalizers": [large], "generateName": large,
        }))
        .expect("metadata");
        keep_origin(&mut metadata);
        let kept = serde_json::to_value(metadata).expect("JSON");
        let expected = json!({
            "name": "app", "namespace": "shop", "uid": "u", "resourceVersion": "7", "ownerReferences": [],
            "labels": {names::MANAGED_BY_LABEL: names::MANAGED_BY}, "annotations": {names::ROWS: "rows"},
        });
        assert_eq!(kept, expected);
    }
}
