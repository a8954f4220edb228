//! The simulation's workloads, and what the API server does to who restarts them.

use std::collections::BTreeMap;

use super::SimulatedCluster;
use crate::api::{RolloutRestartTarget, SecretBinding, WorkloadKind};
use crate::controller::secret_binding::plan::rollouts::{Due, Restart, Standing};
use crate::controller::secret_binding::workloads::{Found, Workload};

#[derive(Default)]
pub(in super::super) struct SimulatedWorkloads {
    workloads: BTreeMap<RolloutRestartTarget, Workload>,
    /// What other bindings are due for.
    pub(in super::super) due: Vec<(RolloutRestartTarget, Due)>,
    /// Whether the operator was not told that it may restart any.
    pub(in super::super) are_off_limits: bool,
    /// What reading one comes to, whatever is there.
    pub(in super::super) unreadable: Option<Found>,
    /// How the API server answers the next restart, instead of taking it.
    pub(in super::super) refusal: Option<Standing>,
    /// How often they were read.
    pub(in super::super) reads: usize,
}

impl SimulatedWorkloads {
    pub(super) fn find(&mut self, binding: &SecretBinding) -> Vec<(RolloutRestartTarget, Found)> {
        self.reads += 1;
        let found = |target| self.workloads.get(target).cloned().map_or(Found::Missing, Found::Workload);
        let read = |target| self.unreadable.clone().unwrap_or_else(|| found(target));
        binding.spec.rollout_restart_targets().iter().map(|target| (target.clone(), read(target))).collect()
    }
}

/// `Deployment/web` and the like.
pub(in super::super) fn target(path: &str) -> RolloutRestartTarget {
    let (kind, name) = path.split_once('/').expect("a kind and a name");
    let kind: WorkloadKind = serde_json::from_value(kind.into()).expect("a kind");
    RolloutRestartTarget { kind, name: name.to_owned() }
}

impl SimulatedCluster {
    pub(in super::super) fn with_workload(mut self, path: &str) -> Self {
        self.change_workload(path, |_| {});
        self
    }

    /// A person's edit of a workload, which comes to be by it.
    pub(in super::super) fn change_workload(&mut self, path: &str, change: impl FnOnce(&mut Workload)) {
        self.version += 1;
        let workload = self.workloads.workloads.entry(target(path)).or_default();
        workload.version.resource_version = Some(self.version.to_string());
        change(workload);
    }

    pub(in super::super) fn workload(&self, path: &str) -> &Workload {
        &self.workloads.workloads[&target(path)]
    }

    /// As the operator does it, and the API server takes it.
    pub(super) fn restart_one(&mut self, restart: &Restart) -> Standing {
        if let Some(refusal) = self.workloads.refusal.take() {
            return refusal;
        }
        self.version += 1;
        let Some(workload) = self.workloads.workloads.get_mut(&restart.target) else { return Standing::Missing };
        if workload.version != restart.version {
            return Standing::Conflict;
        }
        assert!(workload.version.resource_version.is_some(), "a precondition");
        workload.version.resource_version = Some(self.version.to_string());
        workload.annotations.extend(restart.annotations.clone());
        self.writes.push(format!("restart {}", restart.target));
        Standing::Restarted
    }
}
