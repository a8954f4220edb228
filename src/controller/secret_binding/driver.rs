//! The steps of a reconcile, in order: observe, plan, apply, report. The operator takes them on a real cluster, and the
//! tests on a simulated one.

use super::observe::ObserveError;
use super::observed::{Observed, Question, ReadLevel};
use super::plan::differences::Differences;
use super::plan::rollouts::{Restart, Standing};
use super::plan::{
    CONFLICT_REQUEUE_AFTER, Decision, ObjectVersion, Outcome, Plan, WriteFailure, WriteFailureKind, plan,
};
use crate::controller::runtime::{Requeue, StatusError};
use crate::crypto::Keyring;

/// How often the target is read again, because more has to be known or somebody else wrote at the same time, before others
/// get their turn.
const MAX_CONFLICT_RETRIES: usize = 4;

/// What the steps do to the cluster around one binding.
pub(super) trait Cluster {
    /// Reads everything that a plan is made from, but for what plans ask for.
    fn observe(&mut self, level: ReadLevel) -> impl Future<Output = Result<Observed, ObserveError>> + Send;
    /// Asks what a plan has to know, and adds it to what was observed.
    fn ask(
        &mut self,
        observed: &mut Observed,
        question: Question,
    ) -> impl Future<Output = Result<Asked, ObserveError>> + Send;
    /// Does to Secrets what the plan says, each time with a precondition.
    fn apply(&mut self, plan: &Plan) -> impl Future<Output = Applied> + Send;
    /// Restarts workloads, and says what became of each, in the same order.
    fn restart(&mut self, restarts: &[Restart]) -> impl Future<Output = Vec<Standing>> + Send;
    /// Says in the status, and to people, what came of it.
    fn report(
        &mut self,
        outcome: &Outcome,
        written: Option<&ObjectVersion>,
    ) -> impl Future<Output = Result<(), StatusError>> + Send;
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The answer is there.
    Answered,
    /// The source no longer has what was observed of it, and was read anew: it has to be observed again.
    Outdated,
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Applied {
    /// It was done; with the Secret as it is then, if it was written.
    Done(Option<ObjectVersion>),
    /// A Secret was not, or no longer, as it was read.
    Conflict,
    /// The API server took the write and stored another Secret than was sent, with these differences.
    Altered(Differences),
    /// The namespace is being deleted: there is nothing left to do.
    NamespaceTerminating,
    Failed(WriteFailure),
}

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BindingError {
    #[error(transparent)]
    Observe(#[from] ObserveError),
    #[error(transparent)]
    Report(#[from] StatusError),
    /// For a reason that may pass. The status says so, and the pauses grow.
    #[error("a Secret was not written: {0}")]
    Write(String),
}

/// Brings one binding's Secret and status up to date.
pub(super) async fn drive(cluster: &mut impl Cluster, keyring: &Keyring) -> Result<Requeue, BindingError> {
    let mut level = ReadLevel::Cache;
    'attempts: for _ in 0..MAX_CONFLICT_RETRIES {
        let mut observed = cluster.observe(level).await?;
        let plan = loop {
            match plan(&observed, keyring) {
                Decision::Do(plan) => break plan,
                Decision::ReadMore(deeper) => {
                    level = deeper;
                    continue 'attempts;
                }
                // A plan asks for nothing that it was told already, so that this ends.
                Decision::Ask(question) => match cluster.ask(&mut observed, question).await? {
                    Asked::Answered => {}
                    Asked::Outdated => continue 'attempts,
                },
            }
        };
        let (outcome, written, failed) = match cluster.apply(&plan).await {
            Applied::Done(written) => {
                let results = match &plan.restarts {
                    Some(restarts) => cluster.restart(&restarts.restarts).await,
                    None => Vec::new(),
                };
                // What is read again shows which were restarted.
                if results.contains(&Standing::Conflict) {
                    continue;
                }
                (plan.after_restarts(results), written, None)
            }
            Applied::Altered(differences) => (plan.after_alteration(&differences), None, None),
            Applied::Conflict => {
                level = ReadLevel::Secret;
                continue;
            }
            Applied::NamespaceTerminating => return Ok(Requeue::OnChange),
            Applied::Failed(failure) => (plan.after_failure(&failure), None, Some(failure)),
        };
        match cluster.report(&outcome, written.as_ref()).await {
            // There is nobody left to tell.
            Err(StatusError::Gone { .. }) => return Ok(Requeue::OnChange),
            // Its own next event leads to another reconcile.
            Err(StatusError::Conflict { .. }) => return Ok(Requeue::After(CONFLICT_REQUEUE_AFTER)),
            reported => reported?,
        }
        return match failed {
            Some(WriteFailure { kind: WriteFailureKind::Transient, message }) => Err(BindingError::Write(message)),
            _ => Ok(requeue(&outcome)),
        };
    }
    Ok(Requeue::After(CONFLICT_REQUEUE_AFTER))
}

/// Restarts wait for others of their own priority: a thousand of them hold up no delivery.
fn requeue(outcome: &Outcome) -> Requeue {
    let look_after = outcome.rollouts.as_ref().and_then(|rollouts| rollouts.look_after);
    match (outcome.requeue, look_after) {
        (Some(sooner), later) if later.is_none_or(|later| sooner < later) => Requeue::After(sooner),
        (_, Some(after)) => Requeue::LowAfter(after),
        (_, None) => Requeue::OnChange,
    }
}
