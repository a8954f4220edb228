//! SecretBinding: keys of a source, delivered into one Secret.
//!
//! `driver` has the steps in order, `observe`, `plan`, `apply`, `restart` and `report` are one each. Everything that decides is
//! in `plan`, which is pure. `preview` takes the steps and writes nothing.

mod apply;
mod driver;
#[cfg(test)]
mod fixtures;
mod memory;
mod observe;
mod observed;
mod plan;
mod preview;
mod report;
mod restart;
#[cfg(test)]
mod simulated_cluster;
mod workloads;

use std::sync::Arc;

use kube::ResourceExt;
use tokio::sync::MutexGuard;

use self::driver::{Applied, Asked, Cluster};
use self::memory::BindingMemory;
use self::observe::ObserveError;
use self::observed::{Life, Observed, Question, ReadLevel, SyncRequest};
use self::plan::rollouts::{Restart, Standing};
use self::plan::{ObjectVersion, Outcome, Plan};
pub(super) use self::restart::RestartTurns;
use super::Context;
use super::runtime::{Requeue, StatusError};
use crate::api::SecretBinding;

pub(crate) use self::driver::BindingError;
pub(crate) use self::preview::{Comparison, PlannedAction, PlannedChange, Preview, preview};

/// Reconciles SecretBindings.
pub(crate) struct Reconciler {
    context: Arc<Context>,
    memory: BindingMemory,
}

impl Reconciler {
    /// One for the whole operator.
    #[must_use]
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, memory: BindingMemory::default() }
    }

    /// Brings one binding's Secret and status up to date.
    pub(crate) async fn reconcile(self: Arc<Self>, binding: Arc<SecretBinding>) -> Result<Requeue, BindingError> {
        let binding = self.context.mutations.bindings.latest(binding, &self.context.stores.bindings);
        let uid = binding.metadata.uid.clone().unwrap_or_default();
        if self.memory.is_gone(&uid) {
            return Ok(Requeue::OnChange);
        }
        let (context, memory) = (&*self.context, &self.memory);
        let mut cluster = RealCluster { context, memory, binding, uid, sync: None, turns: Vec::new() };
        let keyring = self.context.keyring.current();
        driver::drive(&mut cluster, &keyring).await
    }
}

/// The API server and the sources, for one reconcile of one binding.
struct RealCluster<'c> {
    context: &'c Context,
    memory: &'c BindingMemory,
    binding: Arc<SecretBinding>,
    uid: String,
    /// What became of a request for a sync, once this reconcile has seen to it.
    sync: Option<SyncRequest>,
    /// While workloads are looked at, those that nobody else restarts.
    turns: Vec<MutexGuard<'c, ()>>,
}

impl Cluster for RealCluster<'_> {
    async fn observe(&mut self, level: ReadLevel) -> Result<Observed, ObserveError> {
        let mut observed = observe::observe(&self.binding, self.context, level, self.sync.as_ref()).await?;
        self.sync = Some(observed.sync.clone());
        observed.repeats = self.memory.repeats(&self.uid);
        self.turns.clear();
        Ok(observed)
    }

    async fn ask(&mut self, observed: &mut Observed, question: Question) -> Result<Asked, ObserveError> {
        if question == Question::RestartTargets {
            let (namespace, targets) = (self.binding.namespace(), self.binding.spec.rollout_restart_targets());
            self.turns = self.context.restart_turns.at(&namespace.unwrap_or_default(), targets).await;
        }
        let asked = observe::ask(observed, question, self.context).await?;
        if observed.life == Life::Gone {
            self.memory.remember_gone(&self.uid);
        }
        Ok(asked)
    }

    async fn apply(&mut self, plan: &Plan) -> Applied {
        apply::apply(&self.binding, self.context, plan).await
    }

    async fn restart(&mut self, restarts: &[Restart]) -> Vec<Standing> {
        let standings = restart::restart(&self.binding, self.context, restarts).await;
        self.turns.clear();
        standings
    }

    async fn report(&mut self, outcome: &Outcome, written: Option<&ObjectVersion>) -> Result<(), StatusError> {
        if let Some(repeats) = &outcome.repeats {
            self.memory.remember_repeats(&self.uid, repeats.clone());
        }
        let reported = report::report(&self.binding, self.context, outcome, written).await;
        let is_gone = match &reported {
            Err(StatusError::Gone { .. }) => true,
            // Changed meanwhile, or another one of the same name: the watch may be behind on either.
            Err(StatusError::Conflict { .. }) => {
                matches!(observe::life(&self.binding, self.context).await, Ok(Life::Gone))
            }
            _ => false,
        };
        if is_gone {
            self.memory.remember_gone(&self.uid);
            let object = format!("SecretBinding {}", self.binding.name_any());
            return Err(StatusError::Gone { object });
        }
        reported
    }
}
