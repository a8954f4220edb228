//! SecretBinding: keys of a source, delivered into one Secret.
//!
//! [`Reconciler::reconcile`] lists the steps; each is a file. What can lose or leak a value is decided by pure functions, which
//! have the tests: whose a Secret is (`ownership`), what may leave it (`removal`), whether the database is the one that
//! was delivered from (`history`), what goes into it (`content`, `target`), and whether anything changed at all
//! (`fingerprint`).

mod apply;
#[cfg(test)]
mod fixtures;
mod observe;
mod observed;
mod plan;
mod report;
#[cfg(test)]
mod simulated_cluster;

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;

use self::apply::ApplyError;
use self::observe::environment_of;
use self::observed::{Observed, ReadLevel};
use self::plan::state::BindingState;
use self::plan::{Decision, Plan};
use super::Context;
use super::project_environment::source_of;
use super::runtime::{Action, Lane, MutationCache, StatusError};
use super::sources::SourceState;
use crate::api::names::sync_nonce;
use crate::api::{ConditionType, ProjectEnvironment, Reason, SecretBinding, find};
use crate::crypto::Keyring;
use crate::registry::SourceName;

pub use self::observe::ObserveError;

/// How often a Secret that somebody else writes at the same time is looked at again, before others get their turn.
const MAX_CONFLICT_RETRIES: usize = 4;

/// When to go on where somebody else wrote at the same time.
const CONFLICT_REQUEUE_AFTER: Duration = Duration::from_secs(1);

/// When to try again what the API server refused: what it lacked may come without an event.
const REFUSED_REQUEUE_AFTER: Duration = Duration::from_mins(1);

/// When to look again for an answer to `tidelock.dev/sync` that could not be given yet.
const SYNC_REQUEUE_AFTER: Duration = Duration::from_secs(5);

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum BindingError {
    /// Something could not be read.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The status could not be written.
    #[error(transparent)]
    Report(#[from] StatusError),
    /// The Secret could not be written, for a reason that may pass. The status says so, and the pauses grow.
    #[error("Secret {secret} was not written: {cause}")]
    Write {
        /// Its name.
        secret: String,
        /// What happened.
        cause: String,
    },
}

/// Reconciles SecretBindings.
pub struct Reconciler {
    context: Arc<Context>,
    mutations: MutationCache<SecretBinding>,
}

impl Reconciler {
    /// One for the whole operator: it remembers what each status was written to, until the cache knows.
    #[must_use]
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, mutations: MutationCache::default() }
    }

    /// Brings one binding's Secret and status up to date.
    pub async fn reconcile(self: Arc<Self>, binding: Arc<SecretBinding>) -> Result<Action, BindingError> {
        let context = &*self.context;
        let binding = self.mutations.latest(binding);
        // 1. A glance at the caches: mostly there is nothing to do.
        let lane = match glance(&observe::observe(&binding, context, ReadLevel::Cache).await?, &context.keyring) {
            Glance::Rest(action) => return Ok(action),
            Glance::Go(lane) => lane,
        };
        // 2. Wait for a turn. Who waited looks again, at the binding, too.
        let _pass = context.lanes.enter(lane, &name_of_source(&binding, context)).await;
        let Some(binding) = context.stores.bindings.get(&ObjectRef::from_obj(&*binding)) else {
            return Ok(Action::await_change());
        };
        match self.steps(&self.mutations.latest(binding)).await {
            // Its own next event leads to another look.
            Err(BindingError::Report(StatusError::Moved { .. })) => Ok(Action::requeue(CONFLICT_REQUEUE_AFTER)),
            done => done,
        }
    }

    async fn steps(&self, binding: &Arc<SecretBinding>) -> Result<Action, BindingError> {
        let context = &*self.context;
        // 3. Where a person asked to look now: look, and know whether that was answered.
        let answered = answer_sync(binding, context).await;

        let mut level = ReadLevel::Cache;
        for _ in 0..MAX_CONFLICT_RETRIES {
            // 4. Read everything.
            let observed = observe::observe(binding, context, level).await?;
            // 5. Decide; open values only if need be.
            let mut plan = match plan::decide(&observed, &context.keyring) {
                Decision::Read(deeper) => {
                    level = deeper;
                    continue;
                }
                Decision::Settled(plan) => *plan,
                Decision::Open(intent) => {
                    let opened = plan::content::open(&intent.picked, intent.snapshot, &context.keyring);
                    plan::compose(&observed, *intent, opened)
                }
            };
            // 6. Write the Secret.
            let mut failed = None;
            let written = match apply::apply(binding, &context.client, &context.metrics, &mut plan).await {
                Ok(written) => written,
                Err(ApplyError::Raced { .. }) => {
                    level = ReadLevel::Secret;
                    continue;
                }
                Err(ApplyError::Terminating) => return Ok(Action::await_change()),
                Err(error) => {
                    plan = not_written(plan, &error);
                    if let ApplyError::Failed { cause } = error {
                        failed = Some(BindingError::Write { secret: binding.target_name(), cause });
                    }
                    None
                }
            };
            // 7. Say so.
            report::report(binding, context, &self.mutations, &plan, written.as_ref(), answered.as_deref()).await?;
            return match failed {
                Some(failed) => Err(failed),
                None => Ok(requeue(&plan, is_unanswered(binding) && answered.is_none())),
            };
        }
        Ok(Action::requeue(CONFLICT_REQUEUE_AFTER))
    }
}

/// What a glance at the caches comes to.
#[derive(Debug, PartialEq, Eq)]
enum Glance {
    /// There is nothing to do.
    Rest(Action),
    /// There is, in this lane.
    Go(Lane),
}

fn glance(observed: &Observed, keyring: &Keyring) -> Glance {
    let binding = &observed.binding;
    let plan = match plan::decide(observed, keyring) {
        Decision::Settled(plan) => plan,
        Decision::Read(_) | Decision::Open(_) => return Glance::Go(Lane::Urgent),
    };
    if !plan.touches_no_secret() || (is_unanswered(binding) && !plan.is_suspended()) {
        return Glance::Go(Lane::Urgent);
    }
    let Some(next) = report::next_status(binding, &plan, None, None, observed.now) else {
        return Glance::Rest(requeue(&plan, false));
    };
    let ready = |conditions| find(conditions, ConditionType::Ready).map(|ready| ready.status.clone());
    let is_change = binding.status.as_ref().is_none_or(|status| {
        status.observed_generation != next.observed_generation || ready(&status.conditions) != ready(&next.conditions)
    });
    Glance::Go(if is_change { Lane::Urgent } else { Lane::Bulk })
}

fn requeue(plan: &Plan, is_unanswered: bool) -> Action {
    let unanswered = (is_unanswered && !plan.is_suspended()).then_some(SYNC_REQUEUE_AFTER);
    match plan.requeue.into_iter().chain(unanswered).min() {
        Some(after) => Action::requeue(after),
        None => Action::await_change(),
    }
}

fn name_of_source(binding: &SecretBinding, context: &Context) -> SourceName {
    let environment = environment_of(binding, context);
    let none = || SourceName { project: String::new(), environment: binding.spec.source_ref.name.clone() };
    environment.map_or_else(none, |environment| source_of(&environment))
}

/// Whether a person asked to look now and has no answer yet.
fn is_unanswered(binding: &SecretBinding) -> bool {
    let handled = binding.status.as_ref().and_then(|status| status.last_handled_sync.as_deref());
    sync_nonce(&binding.metadata).is_some_and(|nonce| handled != Some(nonce))
}

/// Looks at the database for a person who asked to, with a look that begins after the question was observed. Gives back
/// the nonce that may be answered now: a database that did not answer, or a source that nobody looks at, gives none.
async fn answer_sync(binding: &SecretBinding, context: &Context) -> Option<String> {
    let nonce = sync_nonce(&binding.metadata).filter(|_| is_unanswered(binding))?.to_owned();
    let Some(environment) = environment_of(binding, context) else { return Some(nonce) };
    let is_suspended = |environment: &ProjectEnvironment| environment.spec.is_suspended();
    if binding.spec.is_suspended() || is_suspended(&environment) {
        return None;
    }
    match context.sources.poll_again(&source_of(&environment)).await {
        SourceState::Ready(_) | SourceState::Refused { .. } => Some(nonce),
        SourceState::Pending | SourceState::Unavailable { .. } => None,
    }
}

/// What is to be said where the API server did not take the Secret.
fn not_written(plan: Plan, error: &ApplyError) -> Plan {
    let (reason, requeue) = match error {
        ApplyError::Immutable { .. } => (Reason::TargetImmutable, REFUSED_REQUEUE_AFTER),
        ApplyError::TooLarge { .. } => (Reason::TargetTooLarge, REFUSED_REQUEUE_AFTER),
        ApplyError::Refused { .. } => (Reason::WriteRefused, REFUSED_REQUEUE_AFTER),
        ApplyError::Failed { .. } | ApplyError::Raced { .. } | ApplyError::Terminating => {
            (Reason::WriteFailed, CONFLICT_REQUEUE_AFTER)
        }
    };
    let message = error.to_string();
    let state = match plan.state {
        Some(BindingState::Delivered { in_sync, .. }) => BindingState::Undelivered { reason, message, in_sync },
        // A revoked key or Secret that could not be taken away.
        _ => {
            BindingState::Unresolved { reason: Reason::NotGranted, message: format!("not granted any more: {message}") }
        }
    };
    Plan { state: Some(state), registry_revision: plan.registry_revision, requeue: Some(requeue), ..Plan::default() }
}

#[cfg(test)]
mod tests {
    use super::fixtures::{BindingFixture, SnapshotFixture, binding, keyring, snapshot};
    use super::simulated_cluster::{SimulatedCluster, cluster};
    use super::*;
    use crate::api::names::SYNC;

    /// A cluster in which `app` was delivered and then something happened; and what a glance comes to.
    fn after(happens: impl FnOnce(&mut SimulatedCluster), app: BindingFixture, source: SnapshotFixture) -> Glance {
        let mut cluster = cluster(app).reading(source);
        cluster.reconcile();
        happens(&mut cluster);
        glance(&cluster.observe(ReadLevel::Cache), &keyring())
    }

    #[test]
    fn what_is_new_or_changes_goes_ahead_of_what_only_falls_behind() {
        let source = || snapshot().with("A", "one");
        let (urgent, bulk) = (Glance::Go(Lane::Urgent), Glance::Go(Lane::Bulk));
        let new = cluster(binding("app")).reading(source()).observe(ReadLevel::Cache);
        assert_eq!(glance(&new, &keyring()), urgent);
        assert_eq!(after(|_| {}, binding("app"), source()), Glance::Rest(Action::await_change()));
        assert_eq!(after(|cluster| cluster.read(source().stale("A")), binding("app"), source()), bulk);
        let degrading = || binding("app").degrading();
        assert_eq!(after(|cluster| cluster.read(source().stale("A")), degrading(), source()), urgent, "it turns Ready");
        assert_eq!(after(|cluster| cluster.read(source().with("A", "two")), binding("app"), source()), urgent);
        assert_eq!(after(|cluster| cluster.edit_binding(degrading()), binding("app"), source()), urgent);
        assert_eq!(after(|cluster| cluster.annotate_binding(SYNC, "now"), binding("app"), source()), urgent);
    }
}
