//! How the operator is, for its HTTP endpoints.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::cache_sync::CacheSync;
use crate::api::{ConditionType, TABLE, find};
use crate::controller::Context;
use crate::controller::project_environment::source_of;
use crate::server::HealthSource;
use crate::telemetry::Heartbeat;

/// How the operator is.
pub(crate) struct OperatorHealth {
    context: Arc<Context>,
    synced: CacheSync,
    heartbeats: Vec<(&'static str, Heartbeat)>,
}

impl OperatorHealth {
    pub(crate) const fn new(
        context: Arc<Context>,
        synced: CacheSync,
        heartbeats: Vec<(&'static str, Heartbeat)>,
    ) -> Self {
        Self { context, synced, heartbeats }
    }
}

impl HealthSource for OperatorHealth {
    fn waits_for(&self) -> Vec<&'static str> {
        self.synced.missing()
    }

    fn heartbeats(&self) -> Vec<(&'static str, Heartbeat)> {
        self.heartbeats.clone()
    }

    fn metrics(&self) -> String {
        let context = &self.context;
        let mut objects = BTreeMap::<(&'static str, String), usize>::new();
        let mut count = |kind, conditions: Option<&[Condition]>| {
            *objects.entry((kind, reason(conditions.unwrap_or_default()).to_owned())).or_default() += 1;
        };
        for binding in context.stores.bindings.state() {
            count("SecretBinding", binding.status.as_ref().map(|status| &*status.conditions));
        }
        let mut sources = BTreeMap::<&'static str, usize>::new();
        for environment in context.stores.environments.state() {
            count("ProjectEnvironment", environment.status.as_ref().map(|status| &*status.conditions));
            *sources.entry(context.sources.state(&source_of(&environment)).as_str()).or_default() += 1;
        }
        context.metrics.set_objects(objects);
        context.metrics.set_sources(sources);
        context.metrics.to_text()
    }
}

/// The reason of `Ready`, as the closed table has it: what somebody else wrote into a status is no label.
fn reason(conditions: &[Condition]) -> &'static str {
    let said = find(conditions, ConditionType::Ready).map(|ready| ready.reason.as_str());
    TABLE.iter().find(|entry| Some(entry.name) == said).map_or("Unknown", |entry| entry.name)
}
