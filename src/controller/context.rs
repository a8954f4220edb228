//! What every reconcile is given, and what can be counted of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::core::PartialObjectMeta;

use super::held_keyring::HeldKeyring;
use super::index::{BindingIndex, ControlledSecrets};
use super::runtime::{Cache, CountGauges, Leadership, MutationCache, WatchHealth};
use super::sources::{Sources, registry_name};
use super::template_config_maps::TemplateConfigMaps;
use crate::api::{KeyCounts, ProjectEnvironment, SecretBinding, ready_reason};
use crate::telemetry::{Events, Metrics, Tally};

/// What every reconcile is given; one for the whole operator.
pub(crate) struct Context {
    /// For requests: each has a time-out. Watches have a client of their own.
    pub(crate) client: Client,
    /// Where every watched environment stands.
    pub(crate) sources: Sources,
    /// The rings that the operator holds.
    pub(crate) keyring: HeldKeyring,
    /// What was watched.
    pub(crate) stores: Stores,
    /// Which bindings write a target or read a source, without walking through all of them.
    pub(crate) index: BindingIndex,
    /// Which Secrets a binding controls, likewise.
    pub(crate) controlled: ControlledSecrets,
    /// What was written to statuses lately.
    pub(crate) mutations: Mutations,
    /// For people: what just happened to an object.
    pub(crate) events: Events,
    /// For machines: how often, how long, how many.
    pub(crate) metrics: Arc<Metrics>,
    /// For the log: one line for each source, not for each Secret.
    pub(crate) tally: Tally,
}

/// What was written to the statuses of both kinds lately, until the caches have it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Mutations {
    pub(crate) bindings: MutationCache<SecretBinding>,
    pub(crate) environments: MutationCache<ProjectEnvironment>,
}

/// Caches of what was watched, with what decisions need of it. They may be behind the API server, and never hold a value:
/// a Secret is here as metadata.
#[derive(Clone)]
pub(crate) struct Stores {
    /// Every SecretBinding; of its labels and annotations, ours.
    pub(crate) bindings: Cache<SecretBinding>,
    /// Every ProjectEnvironment, likewise.
    pub(crate) environments: Cache<ProjectEnvironment>,
    /// Secrets with the label `app.kubernetes.io/managed-by=tidelock`: whose they are, and what they were made from.
    /// One that is not here may exist all the same, with or without the label.
    pub(crate) secrets: Cache<PartialObjectMeta<Secret>>,
    /// Every Namespace, with its labels; one that is terminating has a deletion time.
    pub(crate) namespaces: Cache<PartialObjectMeta<Namespace>>,
    /// ConfigMaps with templates, where they are watched.
    pub(crate) template_config_maps: TemplateConfigMaps,
}

/// Counts objects by kind and reason, sources by state, and says how the watches are, when somebody asks for the metrics.
pub(super) fn count_gauges(
    stores: Stores,
    sources: Sources,
    watches: WatchHealth,
    leadership: Leadership,
) -> CountGauges {
    Box::new(move |metrics| {
        let mut objects = BTreeMap::<(&'static str, String), usize>::new();
        let mut count = |kind, conditions: Option<&[Condition]>| {
            *objects.entry((kind, ready_reason(conditions.unwrap_or_default()).to_owned())).or_default() += 1;
        };
        let mut behind = 0;
        for binding in stores.bindings.objects() {
            let conditions = binding.status.as_ref().map(|status| &*status.conditions);
            count("SecretBinding", conditions);
            let is_behind = |condition: &Condition| condition.type_ == "InSync" && condition.status == "False";
            behind += usize::from(conditions.unwrap_or_default().iter().any(is_behind));
        }
        let mut keys = KeyCounts::default();
        let mut states = BTreeMap::<&'static str, usize>::new();
        for environment in stores.environments.objects() {
            count("ProjectEnvironment", environment.status.as_ref().map(|status| &*status.conditions));
            if let Some(of_environment) = environment.status.as_ref().and_then(|status| status.keys) {
                keys.stale += of_environment.stale;
                keys.missing += of_environment.missing;
                keys.unregistered += of_environment.unregistered;
            }
            *states.entry(sources.state(&registry_name(&environment)).as_str()).or_default() += 1;
        }
        metrics.set_leading(leadership.is_held());
        metrics.set_objects(objects);
        metrics.set_sources(states);
        let keys = [("stale", keys.stale), ("missing", keys.missing), ("unregistered", keys.unregistered)];
        metrics.set_out_of_sync(keys, behind);
        for watch in watches.states() {
            metrics.set_watch(watch.resource, watch.silence, watch.unreadable, watch.crowded);
        }
    })
}
