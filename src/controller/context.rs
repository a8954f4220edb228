//! What every reconcile is given, and what can be counted of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt};

use super::held_keyring::HeldKeyring;
use super::index::{BindingIndex, ControlledSecrets};
use super::runtime::{Cache, CountGauges, Leadership, MutationCache, WatchHealth};
use super::secret_binding::RestartTurns;
use super::sources::{Sources, registry_name};
use super::template_config_maps::TemplateConfigMaps;
use crate::api::{ConditionType, KeyCounts, ProjectEnvironment, SecretBinding, find, ready_reason};
use crate::telemetry::{BindingFacts, EnvironmentFacts, Events, Metrics, Tally};

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
    /// Whether workloads may be restarted.
    pub(crate) restarts_workloads: bool,
    /// Who restarts which workload.
    pub(crate) restart_turns: RestartTurns,
    /// For people: what just happened to an object.
    pub(crate) events: Events,
    /// For machines: how often, how long, how many.
    pub(crate) metrics: Arc<Metrics>,
    /// For the log: one line for each source, not for each Secret.
    pub(crate) tally: Tally,
}

impl Context {
    /// Counts a reconcile that left an object not ready.
    pub(super) fn count_failure(&self, kind: &str, conditions: &[Condition]) {
        if let Some(ready) = find(conditions, ConditionType::Ready).filter(|ready| ready.status == "False") {
            self.metrics.sync_failed(kind, &ready.reason);
        }
    }
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

/// Counts objects by kind and reason, sources by state, and says how the watches are, when somebody asks for the metrics;
/// `per_object`: says how each object is, too.
pub(super) fn count_gauges(
    stores: Stores,
    sources: Sources,
    watches: WatchHealth,
    leadership: Leadership,
    per_object: bool,
) -> CountGauges {
    Box::new(move |metrics| {
        let mut objects = BTreeMap::<(&'static str, String), usize>::new();
        let mut count = |kind, conditions: Option<&[Condition]>| {
            *objects.entry((kind, ready_reason(conditions.unwrap_or_default()).to_owned())).or_default() += 1;
        };
        let (mut behind, mut of_bindings, mut of_environments) = (0, Vec::new(), Vec::new());
        for binding in stores.bindings.objects() {
            let conditions = binding.status.as_ref().map(|status| &*status.conditions);
            count("SecretBinding", conditions);
            let says = |type_, status: &str| {
                find(conditions.unwrap_or_default(), type_).is_some_and(|said| said.status == status)
            };
            let is_behind = says(ConditionType::InSync, "False");
            behind += usize::from(is_behind);
            if per_object {
                of_bindings.push(BindingFacts {
                    namespace: binding.namespace().unwrap_or_default(),
                    name: binding.name_any(),
                    is_ready: says(ConditionType::Ready, "True"),
                    is_in_sync: !is_behind,
                });
            }
        }
        let mut keys = KeyCounts::default();
        let mut states = BTreeMap::<&'static str, usize>::new();
        for environment in stores.environments.objects() {
            count("ProjectEnvironment", environment.status.as_ref().map(|status| &*status.conditions));
            let of_environment = environment.status.as_ref().and_then(|status| status.keys).unwrap_or_default();
            keys.stale += of_environment.stale;
            keys.missing += of_environment.missing;
            keys.unregistered += of_environment.unregistered;
            if per_object {
                let name = environment.name_any();
                of_environments.push(EnvironmentFacts { name, keys: out_of_sync(&of_environment) });
            }
            *states.entry(sources.state(&registry_name(&environment)).as_str()).or_default() += 1;
        }
        metrics.set_of_objects(&of_bindings, &of_environments);
        metrics.set_leading(leadership.is_held());
        metrics.set_objects(objects);
        metrics.set_sources(states);
        metrics.set_out_of_sync(out_of_sync(&keys), behind);
        for watch in watches.states() {
            metrics.set_watch(watch.resource, watch.silence, watch.unreadable, watch.crowded);
        }
    })
}

/// The states that are not in sync, and how many keys stand in each.
const fn out_of_sync(keys: &KeyCounts) -> [(&'static str, i64); 3] {
    [("stale", keys.stale), ("missing", keys.missing), ("unregistered", keys.unregistered)]
}
