//! Workloads that are restarted when the content of a Secret has changed.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// A workload of the binding's namespace. No field names another one.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RolloutRestartTarget {
    /// Kind of the workload: of apps, or Rollout of argoproj.io.
    pub kind: WorkloadKind,

    /// Name of the workload.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
}

/// Kind of a workload that can be restarted.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// `apps/v1`.
    Deployment,
    /// `apps/v1`.
    StatefulSet,
    /// `apps/v1`.
    DaemonSet,
    /// `argoproj.io/v1alpha1`.
    Rollout,
    /// One of a later release. A binding that names it must not keep this operator from reading all the others.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl fmt::Display for RolloutRestartTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.kind, self.name)
    }
}
