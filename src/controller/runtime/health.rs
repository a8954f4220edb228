//! How the operator is, for its HTTP endpoints.

use std::sync::Arc;

use super::cache_sync::CacheSync;
use crate::server::HealthSource;
use crate::telemetry::{Heartbeat, Metrics};

/// Sets the gauges that are counted only when somebody asks for the metrics.
pub(crate) type CountGauges = Box<dyn Fn(&Metrics) + Send + Sync>;

/// How the operator is.
pub(crate) struct OperatorHealth {
    pub(crate) caches: CacheSync,
    /// Of the tasks that must go round, by name.
    pub(crate) heartbeats: Vec<(&'static str, Heartbeat)>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) count_gauges: CountGauges,
    /// What is worth knowing and keeps nobody from being ready.
    pub(crate) remark: Box<dyn Fn() -> Option<String> + Send + Sync>,
}

impl HealthSource for OperatorHealth {
    fn waits_for(&self) -> Vec<&'static str> {
        self.caches.missing()
    }

    fn remark(&self) -> Option<String> {
        (self.remark)()
    }

    fn heartbeats(&self) -> Vec<(&'static str, Heartbeat)> {
        self.heartbeats.clone()
    }

    fn metrics(&self) -> String {
        (self.count_gauges)(&self.metrics);
        self.metrics.to_text()
    }
}
