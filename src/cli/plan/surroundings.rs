//! What a plan is made in: the file's objects as they would be once applied, and what the cluster has beside them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, ListParams};
use kube::core::{PartialObjectMeta, PartialObjectMetaExt as _};
use kube::{Client, Resource, ResourceExt};
use uuid::Uuid;

use crate::api::names::{MANAGED_BY, MANAGED_BY_LABEL, TEMPLATE_LABEL};
use crate::api::{ProjectEnvironment, SecretBinding, Template};
use crate::cli::cluster::of_api_server;
use crate::cli::error::CliError;
use crate::controller::World;

use super::manifest::Manifest;

/// The bindings of the file, and their surroundings where nothing is there yet.
pub(super) fn alone(manifest: Manifest, namespace: &str) -> (Vec<SecretBinding>, World) {
    let Manifest { bindings, environments, namespaces, config_maps } = manifest;
    let planned: Vec<SecretBinding> =
        bindings.into_iter().map(|given| as_applied(in_namespace(given, namespace), None)).collect();
    let needed: BTreeSet<String> = planned.iter().filter_map(ResourceExt::namespace).collect();
    let namespaces = needed.iter().map(|name| named_namespace(name, &namespaces)).collect();
    let config_maps = config_maps.into_iter().map(|given| in_namespace(given, namespace)).collect();
    let world =
        World { bindings: planned.clone(), environments, namespaces, secrets: Vec::new(), config_maps, client: None };
    (planned, world)
}

/// The bindings of the file over those that are there, and everything of the cluster that they touch. With
/// `with_targets`, the metadata of the Secrets that they name.
pub(super) async fn in_cluster(
    manifest: Manifest,
    client: &Client,
    namespace: &str,
    with_targets: bool,
) -> Result<(Vec<SecretBinding>, World), CliError> {
    let Manifest { bindings, environments, namespaces, config_maps } = manifest;
    let given: Vec<SecretBinding> = bindings.into_iter().map(|given| in_namespace(given, namespace)).collect();
    let needed: BTreeSet<String> = given.iter().filter_map(ResourceExt::namespace).collect();
    let mut world = World {
        bindings: Vec::new(),
        environments: sources(environments, &given, client).await?,
        namespaces: Vec::new(),
        secrets: Vec::new(),
        config_maps: config_maps.into_iter().map(|given| in_namespace(given, namespace)).collect(),
        client: Some(client.clone()),
    };
    for name in &needed {
        let api: Api<Namespace> = Api::all(client.clone());
        let found = api.get_metadata_opt(name).await;
        let found = found.map_err(|error| of_api_server(format!("reading Namespace {name}"), &error))?;
        world.namespaces.push(found.unwrap_or_else(|| named_namespace(name, &namespaces)));
        world.bindings.extend(list(&Api::<SecretBinding>::namespaced(client.clone(), name), "").await?);
        if !with_targets {
            let ours = format!("{MANAGED_BY_LABEL}={MANAGED_BY}");
            let secrets: Api<Secret> = Api::namespaced(client.clone(), name);
            let listed = secrets.list_metadata(&ListParams::default().labels(&ours)).await;
            world.secrets.extend(listed.map_err(|error| of_api_server("listing Secrets", &error))?.items);
        }
        let has_templates = |binding: &SecretBinding| {
            binding.namespace().as_ref() == Some(name)
                && binding.spec.template().into_iter().flat_map(Template::config_maps).next().is_some()
        };
        if given.iter().any(has_templates) {
            let config_maps: Api<ConfigMap> = Api::namespaced(client.clone(), name);
            let templates = list(&config_maps, &format!("{TEMPLATE_LABEL}=true")).await?;
            let of_file: BTreeSet<_> = world.config_maps.iter().map(key).collect();
            let there = templates.into_iter().filter(|found| !of_file.contains(&key(found)));
            world.config_maps.extend(there.collect::<Vec<_>>());
        }
    }
    let mut planned = Vec::new();
    for binding in given {
        let live = world.bindings.iter().position(|live| key(live) == key(&binding));
        let live = live.map(|place| world.bindings.swap_remove(place));
        let binding = as_applied(binding, live);
        if with_targets {
            world.secrets.extend(target_of(&binding, client).await?);
        }
        world.bindings.push(binding.clone());
        planned.push(binding);
    }
    Ok((planned, world))
}

async fn target_of(binding: &SecretBinding, client: &Client) -> Result<Option<PartialObjectMeta<Secret>>, CliError> {
    let name = binding.target_name();
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &binding.namespace().unwrap_or_default());
    let found = secrets.get_metadata_opt(&name).await;
    found.map_err(|error| of_api_server(format!("reading the metadata of Secret {name}"), &error))
}

/// Those of the file, over what is there; and those that bindings name besides.
async fn sources(
    given: Vec<ProjectEnvironment>,
    bindings: &[SecretBinding],
    client: &Client,
) -> Result<Vec<ProjectEnvironment>, CliError> {
    let api: Api<ProjectEnvironment> = Api::all(client.clone());
    let mut names: BTreeSet<String> = bindings.iter().map(|binding| binding.spec.source_ref.name.clone()).collect();
    names.extend(given.iter().map(ResourceExt::name_any));
    let mut found = Vec::new();
    for name in names {
        let live = api.get_opt(&name).await;
        let live = live.map_err(|error| of_api_server(format!("reading ProjectEnvironment {name}"), &error))?;
        let of_file = given.iter().find(|given| given.name_any() == name);
        found.extend(match (of_file, live) {
            (Some(given), Some(live)) => {
                let metadata = over(live.metadata, &given.metadata, given.spec != live.spec);
                Some(ProjectEnvironment { metadata, spec: given.spec.clone(), status: live.status })
            }
            (Some(given), None) => Some(given.clone()),
            (None, live) => live,
        });
    }
    Ok(found)
}

async fn list<K>(api: &Api<K>, labels: &str) -> Result<Vec<K>, CliError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let listed = api.list(&ListParams::default().labels(labels)).await;
    Ok(listed.map_err(|error| of_api_server(format!("listing {}", K::plural(&())), &error))?.items)
}

/// A binding as it will be: the file's, over the one that is there.
fn as_applied(given: SecretBinding, live: Option<SecretBinding>) -> SecretBinding {
    let Some(live) = live else {
        let metadata = ObjectMeta {
            uid: Some(Uuid::new_v4().to_string()),
            generation: Some(1),
            creation_timestamp: Some(Time(Timestamp::now())),
            ..given.metadata
        };
        return SecretBinding { metadata, spec: given.spec, status: None };
    };
    let metadata = over(live.metadata, &given.metadata, given.spec != live.spec);
    SecretBinding { metadata, spec: given.spec, status: live.status }
}

/// Metadata of what is there, with the file's labels and annotations; another spec is another generation.
fn over(live: ObjectMeta, given: &ObjectMeta, is_edited: bool) -> ObjectMeta {
    let merged = |live: Option<BTreeMap<String, String>>, given: &Option<BTreeMap<String, String>>| {
        let mut all = live.unwrap_or_default();
        all.extend(given.clone().unwrap_or_default());
        Some(all)
    };
    ObjectMeta {
        labels: merged(live.labels, &given.labels),
        annotations: merged(live.annotations, &given.annotations),
        generation: live.generation.map(|generation| generation + i64::from(is_edited)),
        managed_fields: None,
        ..live
    }
}

fn in_namespace<K: Resource>(mut object: K, namespace: &str) -> K {
    object.meta_mut().namespace.get_or_insert_with(|| namespace.to_owned());
    object
}

fn named_namespace(name: &str, of_file: &[PartialObjectMeta<Namespace>]) -> PartialObjectMeta<Namespace> {
    let found = of_file.iter().find(|namespace| namespace.metadata.name.as_deref() == Some(name)).cloned();
    let mut namespace = found
        .unwrap_or_else(|| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }.into_response_partial());
    // As the API server sets it.
    let labels = namespace.metadata.labels.get_or_insert_default();
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    namespace
}

fn key<K: ResourceExt>(object: &K) -> (Option<String>, String) {
    (object.namespace(), object.name_any())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn binding(metadata: &Value, target: &str) -> SecretBinding {
        let spec = json!({"sourceRef": {"name": "dev"}, "target": {"name": target}});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": {"revision": 7}}))
            .expect("a binding")
    }

    #[test]
    fn what_is_applied_keeps_the_identity_and_the_status_of_what_is_there() {
        let live =
            || binding(&json!({"name": "app", "uid": "u", "generation": 3, "labels": {"a": "1", "b": "1"}}), "one");
        let given = |target| binding(&json!({"name": "app", "labels": {"b": "2"}}), target);
        for (target, generation) in [("one", 3), ("other", 4)] {
            let applied = as_applied(given(target), Some(live()));
            assert_eq!(applied.metadata.uid.as_deref(), Some("u"));
            assert_eq!(applied.metadata.generation, Some(generation), "{target}");
            assert_eq!(applied.labels(), &BTreeMap::from([("a".into(), "1".into()), ("b".into(), "2".into())]));
            assert_eq!(applied.status.and_then(|status| status.revision), Some(7));
            assert_eq!(applied.spec, given(target).spec);
        }
        let new = as_applied(given("one"), None);
        assert!(new.metadata.uid.is_some() && new.status.is_none(), "what a file says of a status is nobody's word");
    }

    #[test]
    fn a_namespace_has_the_labels_that_the_file_gives_it() {
        let given: PartialObjectMeta<Namespace> =
            serde_json::from_value(json!({"metadata": {"name": "shop", "labels": {"team": "a"}}}))
                .expect("a namespace");
        let labels = |name| named_namespace(name, std::slice::from_ref(&given)).metadata.labels.unwrap_or_default();
        assert_eq!(labels("shop")["team"], "a");
        assert_eq!(labels("pay"), BTreeMap::from([("kubernetes.io/metadata.name".into(), "pay".into())]));
    }
}
