//! ProjectEnvironment: says in `status` where an environment stands. Writes nothing else.

mod observe;
mod plan;
mod report;

use std::sync::Arc;
use std::time::Duration;

use super::Context;
use super::runtime::{Requeue, StatusError};
use crate::api::ProjectEnvironment;

/// When to look again after a status that changed while it was judged: its event is on the way.
const CONFLICT_REQUEUE_AFTER: Duration = Duration::from_secs(1);

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnvironmentError {
    /// The status could not be written.
    #[error(transparent)]
    Report(#[from] StatusError),
}

/// Reconciles ProjectEnvironments.
pub(crate) struct Reconciler {
    context: Arc<Context>,
}

impl Reconciler {
    /// One for the whole operator.
    #[must_use]
    pub(crate) fn new(context: Arc<Context>) -> Self {
        Self { context }
    }

    /// Brings one status up to date.
    pub(crate) async fn reconcile(
        self: Arc<Self>,
        object: Arc<ProjectEnvironment>,
    ) -> Result<Requeue, EnvironmentError> {
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(Requeue::OnChange);
        }
        let object = self.context.mutations.environments.latest(object, &self.context.stores.environments);
        let observed = observe::observe(&self.context, object).await;
        let Some(status) = plan::plan(&observed) else { return Ok(Requeue::OnChange) };
        match report::report(&self.context, &observed, status).await {
            Err(StatusError::Gone { .. }) => Ok(Requeue::OnChange),
            // Somebody else was quicker.
            Err(StatusError::Conflict { .. }) => Ok(Requeue::After(CONFLICT_REQUEUE_AFTER)),
            reported => Ok(reported?),
        }
    }
}
