//! SecretBinding: keys of a source, delivered into one Secret.
//!
//! `driver` has the steps in order, `observe`, `plan`, `apply` and `report` are one each. Everything that decides is in
//! `plan`, which is pure.

mod apply;
mod driver;
#[cfg(test)]
mod fixtures;
mod observe;
mod observed;
mod plan;
mod report;
#[cfg(test)]
mod simulated_cluster;

use std::sync::Arc;

use self::driver::{Applied, Asked, BindingError, Cluster};
use self::observe::ObserveError;
use self::observed::{Observed, Question, ReadLevel, SyncRequest};
use self::plan::{ObjectVersion, Outcome, Plan};
use super::Context;
use super::runtime::{MutationCache, Requeue, StatusError};
use crate::api::SecretBinding;

/// Reconciles SecretBindings.
pub(crate) struct Reconciler {
    context: Arc<Context>,
    /// What each status was written to, until the cache knows.
    mutations: MutationCache<SecretBinding>,
}

impl Reconciler {
    /// One for the whole operator.
    #[must_use]
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context, mutations: MutationCache::default() }
    }

    /// Brings one binding's Secret and status up to date.
    pub(crate) async fn reconcile(self: Arc<Self>, binding: Arc<SecretBinding>) -> Result<Requeue, BindingError> {
        let binding = self.mutations.latest(binding);
        let mut cluster = RealCluster { context: &self.context, mutations: &self.mutations, binding, sync: None };
        driver::drive(&mut cluster, &self.context.keyring).await
    }
}

/// The API server and the sources, for one reconcile of one binding.
struct RealCluster<'c> {
    context: &'c Context,
    mutations: &'c MutationCache<SecretBinding>,
    binding: Arc<SecretBinding>,
    /// What became of a request for a sync, once this reconcile has seen to it.
    sync: Option<SyncRequest>,
}

impl Cluster for RealCluster<'_> {
    async fn observe(&mut self, level: ReadLevel) -> Result<Observed, ObserveError> {
        let observed = observe::observe(&self.binding, self.context, level, self.sync.as_ref()).await?;
        self.sync = Some(observed.sync.clone());
        Ok(observed)
    }

    async fn ask(&mut self, observed: &mut Observed, question: Question) -> Result<Asked, ObserveError> {
        observe::ask(observed, question, self.context).await
    }

    async fn apply(&mut self, plan: &Plan) -> Applied {
        apply::apply(&self.binding, &self.context.client, &self.context.metrics, plan).await
    }

    async fn report(&mut self, outcome: &Outcome, written: Option<&ObjectVersion>) -> Result<(), StatusError> {
        report::report(&self.binding, self.context, self.mutations, outcome, written).await
    }
}
