//! ConfigMaps with templates: watched where the operator is told to, by their label alone.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Resource, ResourceExt};

use super::event_handlers::EventHandlers;
use super::runtime::{Cache, CacheSync, Change, ClientError, Clients, Form, WatchHealth, Watching};
use crate::api::{SecretBinding, Template, names};
use crate::shape::ConfigMapTexts;

/// What is watched.
pub(super) const RESOURCE: &str = "configmaps";

/// Most bytes of templates in one namespace, compressed: whoever may create ConfigMaps somewhere could otherwise fill the
/// operator's memory. What is beyond is as if it were not there.
const NAMESPACE_MAX: usize = 4 << 20;

/// ConfigMaps that bear the label, where they are watched. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct TemplateConfigMaps(Option<Cache<ConfigMap>>);

impl TemplateConfigMaps {
    /// These, of which those without the label are left out as the watch leaves them out.
    pub(super) fn with(config_maps: impl IntoIterator<Item = ConfigMap>) -> Self {
        let is_labelled = |config_map: &ConfigMap| {
            config_map.labels().get(names::TEMPLATE_LABEL).is_some_and(|value| value == "true")
        };
        Self(Some(Cache::with(config_maps.into_iter().filter(is_labelled))))
    }

    /// Those of its namespace that a binding takes templates from, as far as they are there.
    pub(crate) fn of(&self, binding: &SecretBinding) -> ConfigMapTexts {
        let Some(store) = &self.0 else { return ConfigMapTexts::default() };
        let namespace = binding.namespace().unwrap_or_default();
        let named = binding.spec.template().into_iter().flat_map(Template::config_maps);
        let maps = named.filter_map(|from| {
            let found = store.get(&ObjectRef::new(&from.name).within(&namespace))?;
            let texts: BTreeMap<String, String> = found.data.clone().unwrap_or_default();
            Some((from.name.clone(), texts.into_iter().filter(|(key, _)| from.takes(key)).collect()))
        });
        ConfigMapTexts { is_enabled: true, maps: maps.collect() }
    }
}

/// What fills the cache.
pub(super) struct ConfigMapWatch(Cache<ConfigMap>);

impl ConfigMapWatch {
    pub(super) fn new() -> (TemplateConfigMaps, Self) {
        let cache = Cache::new(Form::Packed { namespace_max: Some(NAMESPACE_MAX) });
        (TemplateConfigMaps(Some(cache.clone())), Self(cache))
    }

    /// The watch, which never ends.
    pub(super) fn start(
        self,
        clients: &Clients,
        handlers: EventHandlers,
        caches: CacheSync,
        health: &WatchHealth,
    ) -> Result<impl Future<Output = ()> + Send + use<>, ClientError> {
        let labelled = format!("{}=true", names::TEMPLATE_LABEL);
        let watching = Watching {
            api: Api::all(clients.for_watch(RESOURCE, health)?),
            config: watcher::Config::default().labels(&labelled),
            cache: self.0,
            trim: |config_map: &mut ConfigMap| {
                config_map.binary_data = None;
                config_map.meta_mut().annotations = None;
            },
            handle: move |change: &Change<ConfigMap>| handlers.config_map(change),
            filled: move || caches.filled(RESOURCE),
            health: health.clone(),
            server: clients.server.clone(),
        };
        Ok(watching.watch())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_binding_is_given_the_keys_that_it_names_of_config_maps_in_its_own_namespace() {
        let config_map = |namespace: &str, text: &str| -> ConfigMap {
            let metadata = json!({"namespace": namespace, "name": "files"});
            serde_json::from_value(json!({"metadata": metadata, "data": {"conf": text, "other": "x"}})).expect("one")
        };
        let (config_maps, watch) = ConfigMapWatch::new();
        for found in [config_map("shop", "ours"), config_map("pay", "theirs")] {
            watch.0.put(found);
        }
        let from = |name: &str| json!({"configMap": {"name": name, "items": [{"key": "conf"}]}});
        let binding: SecretBinding = serde_json::from_value(json!({
            "apiVersion": "tidelock.dev/v1alpha1", "kind": "SecretBinding",
            "metadata": {"namespace": "shop", "name": "app"},
            "spec": {"sourceRef": {"name": "dev"},
                "target": {"template": {"templateFrom": [from("files"), from("nothing")]}}},
        }))
        .expect("a binding");
        let texts = config_maps.of(&binding);
        assert!(texts.is_enabled);
        assert_eq!(texts.maps, [("files".to_owned(), [("conf".to_owned(), "ours".to_owned())].into())].into());
        assert!(!TemplateConfigMaps::default().of(&binding).is_enabled);
    }
}
