//! ProjectEnvironment: says in `status` where an environment stands. Writes nothing else.

mod observe;
mod plan;
mod report;

use std::sync::Arc;

use super::Context;
use super::runtime::{Action, MutationCache, StatusError};
use crate::api::ProjectEnvironment;
pub(super) use observe::source_of;

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum EnvironmentError {
    /// The status could not be mutations.
    #[error(transparent)]
    Report(#[from] StatusError),
}

/// Reconciles ProjectEnvironments.
pub struct Reconciler {
    context: Arc<Context>,
    mutations: MutationCache<ProjectEnvironment>,
}

impl Reconciler {
    /// One for the whole operator: it remembers when each status was mutations.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, mutations: MutationCache::default() }
    }

    /// Brings one status up to date.
    pub async fn reconcile(self: Arc<Self>, object: Arc<ProjectEnvironment>) -> Result<Action, EnvironmentError> {
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(Action::await_change());
        }
        let observed = observe::observe(&self.context, self.mutations.latest(object)).await;
        let Some(status) = plan::plan(&observed) else { return Ok(Action::await_change()) };
        Ok(report::report(&self.context, &self.mutations, &observed, status).await?)
    }
}
