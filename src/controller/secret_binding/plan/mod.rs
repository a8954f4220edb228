//! Decides, purely: what a binding's Secret should become, and what its status says once that is done or has failed.
//!
//! [`plan`] is the one door. It goes through the ordered list in `checks`; the first check that speaks ends it. Where none
//! does, `compose` opens the values and compares them with the Secret that is there. What can lose or leak a value has a
//! file and tests of its own: whose a Secret is (`ownership`), what may leave it (`removal`), whether the source's history
//! is the one that was delivered from (`history`), what goes into it (`content`, `target`), and whether anything changed at
//! all (`fingerprint`).

mod checks;
mod compose;
mod content;
pub(crate) mod differences;
mod facts;
mod fingerprint;
pub(crate) mod history;
pub(crate) mod ownership;
pub(crate) mod provenance;
mod removal;
pub(crate) mod repeats;
pub(crate) mod rollouts;
mod state;
mod status;
pub(crate) mod stored;
pub(crate) mod target;
#[cfg(test)]
mod tests;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use self::differences::Differences;
use self::facts::Facts;
use self::repeats::{Repeats, Undoing};
use self::rollouts::{RestartPlan, Rollouts};
use self::state::BindingState;
use self::target::FullSecret;
use super::observed::{Observed, Question, ReadLevel, SyncRequest};
use crate::api::Reason;
use crate::core::RegistryTime;
use crate::crypto::Keyring;

pub(crate) use status::next_status;

/// When to reconcile again where the target belongs to somebody else, or lacks our label: its end sends no event.
pub(crate) const BLOCKED_REQUEUE_AFTER: Duration = Duration::from_secs(5);

/// When to reconcile again where somebody else wrote at the same time.
pub(crate) const CONFLICT_REQUEUE_AFTER: Duration = Duration::from_secs(1);

/// When to reconcile again what the API server refused: what it lacked may come without an event.
const REFUSED_REQUEUE_AFTER: Duration = Duration::from_mins(1);

/// When to reconcile again for an answer to `tidelock.dev/sync` that could not be given yet.
const SYNC_REQUEUE_AFTER: Duration = Duration::from_secs(5);

/// What a plan comes to.
#[derive(Debug)]
pub(crate) enum Decision {
    /// Nothing can be said until the target was read that closely.
    ReadMore(ReadLevel),
    /// Nothing can be said before the source has answered this.
    Ask(Question),
    /// This is to be done.
    Do(Box<Plan>),
}

/// What is to be done, and what is to be said then.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) write: SecretWrite,
    /// Secrets of this binding under earlier names, to be deleted once the write has succeeded.
    pub(crate) orphans: Vec<DeletePreconditions>,
    /// Workloads to restart, once the Secret is as it is to be.
    pub(crate) restarts: Option<RestartPlan>,
    /// What follows if everything succeeds; for other cases see [`Plan::after_failure`] and [`Plan::after_alteration`].
    pub(crate) done: Outcome,
    /// What is remembered of earlier writes of the same content, where the API server alters this one.
    repeats: Option<RepeatsBefore>,
}

/// What an altered write is counted by.
#[derive(Debug)]
struct RepeatsBefore {
    before: Option<Repeats>,
    inputs: Option<String>,
    now: Timestamp,
}

/// What is to be done to the Secret.
#[derive(Debug, Default)]
pub(crate) enum SecretWrite {
    /// Nothing.
    #[default]
    Keep,
    /// Create it. It must not exist.
    Create(FullSecret),
    /// Replace it. It carries the uid and the resourceVersion that it must have.
    Replace(FullSecret),
    Delete(DeletePreconditions),
}

impl SecretWrite {
    /// In a word, for the log.
    #[must_use]
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Create(_) => "create",
            Self::Replace(_) => "replace",
            Self::Delete(_) => "delete",
        }
    }

    /// Of which Secret.
    fn name(&self) -> &str {
        let name = match self {
            Self::Keep => None,
            Self::Create(secret) | Self::Replace(secret) => secret.0.metadata.name.as_deref(),
            Self::Delete(DeletePreconditions { name, .. }) => Some(name.as_str()),
        };
        name.unwrap_or_default()
    }
}

/// A Secret to delete, which must still be as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeletePreconditions {
    pub(crate) name: String,
    pub(crate) version: ObjectVersion,
}

/// Which object, and which state of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ObjectVersion {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

/// What is said and done after the write.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// What the status is to say; `None` leaves it as it is.
    pub(crate) state: Option<BindingState>,
    /// What the Secret holds, where it holds what it should.
    pub(crate) delivery: Option<Delivery>,
    /// The project's revision that `InSync` rests on.
    pub(crate) registry_revision: Option<i64>,
    /// When the newest value of those that the Secret is made from was written.
    pub(crate) newest_value: Option<RegistryTime>,
    pub(crate) event: Option<TargetEvent>,
    /// How the workloads stand that are restarted for a change, where there are some and something was delivered.
    pub(crate) rollouts: Option<Rollouts>,
    /// What is to be remembered of writes that did not last.
    pub(crate) repeats: Option<Repeats>,
    /// The request for a sync that this answers, if the state is an answer.
    pub(crate) answered_sync: Option<String>,
    /// When to reconcile again although nothing has changed.
    pub(crate) requeue: Option<Duration>,
}

/// What a Secret holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The fingerprint of what it was made from.
    pub(crate) inputs: Option<String>,
    pub(crate) keys: usize,
    /// The source's revision at which that content came to be.
    pub(crate) revision: Option<i64>,
    /// The Secret, where it is kept as it is.
    pub(crate) kept: Option<ObjectVersion>,
    /// The digest of its names and values, where workloads are restarted for it.
    pub(crate) content: Option<String>,
    /// The same of what was there before, where it was read.
    pub(crate) replaced: Option<String>,
}

/// What happened to the target that a person should be told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetEvent {
    /// Somebody changed or deleted the Secret, and it was put right.
    Repaired { what: String },
    /// A Secret that was handed over, or that an earlier binding of the name left, is now this binding's.
    Adopted { what: String },
}

/// Why the API server did not take a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WriteFailure {
    pub(crate) kind: WriteFailureKind,
    /// In our own words: the API server's may quote a value.
    pub(crate) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WriteFailureKind {
    /// Kubernetes does not let the Secret change that way.
    Immutable,
    /// It is larger than the API server takes.
    TooLarge,
    /// A right, a quota, an admission policy, a rule of the Secret's type.
    Refused,
    /// The API server could not be reached, or did not answer as it should: it may pass.
    Transient,
}

/// The one pure function of a binding: from everything that was read to what is to be done.
#[must_use]
pub(crate) fn plan(observed: &Observed, keyring: &Keyring) -> Decision {
    let facts = Facts::new(observed, keyring);
    let decision = checks::first_to_speak(&facts).unwrap_or_else(|| compose::compose(&facts));
    let Decision::Do(mut plan) = decision else { return decision };
    if let Some(question) = rollouts::add_to(&mut plan, &facts) {
        return Decision::Ask(question);
    }
    // One that keys are added to lacks our label, or may: no event tells of it.
    let is_unwatched = matches!(plan.write, SecretWrite::Keep) && facts.is_target_unwatched();
    if is_unwatched || (facts.is_merged() && plan.done.delivery.is_some()) {
        plan.done.requeue.get_or_insert(BLOCKED_REQUEUE_AFTER);
    }
    match &observed.sync {
        SyncRequest::None => {}
        SyncRequest::Answered(nonce) => plan.done.answered_sync = Some(nonce.clone()),
        SyncRequest::Unanswered if plan.is_suspended() => {}
        SyncRequest::Unanswered => {
            let requeue = plan.done.requeue.map_or(SYNC_REQUEUE_AFTER, |after| after.min(SYNC_REQUEUE_AFTER));
            plan.done.requeue = Some(requeue);
        }
    }
    Decision::Do(plan)
}

impl Plan {
    /// Nothing is written at all.
    fn nothing() -> Self {
        Self::default()
    }

    /// Only the status is written.
    fn say(state: BindingState) -> Self {
        Self { done: Outcome { state: Some(state), ..Outcome::default() }, ..Self::default() }
    }

    fn requeue_after(mut self, after: Duration) -> Self {
        self.done.requeue = Some(after);
        self
    }

    fn into_decision(self) -> Decision {
        Decision::Do(Box::new(self))
    }

    const fn is_suspended(&self) -> bool {
        matches!(self.done.state, Some(BindingState::Suspended { .. }))
    }

    /// What follows where the API server does not take the write.
    #[must_use]
    pub(crate) fn after_failure(&self, failure: &WriteFailure) -> Outcome {
        let (reason, requeue) = match failure.kind {
            WriteFailureKind::Immutable => (Reason::TargetImmutable, REFUSED_REQUEUE_AFTER),
            WriteFailureKind::TooLarge => (Reason::TargetTooLarge, REFUSED_REQUEUE_AFTER),
            WriteFailureKind::Refused => (Reason::WriteRefused, REFUSED_REQUEUE_AFTER),
            WriteFailureKind::Transient => (Reason::WriteFailed, CONFLICT_REQUEUE_AFTER),
        };
        let message = &failure.message;
        let state = match &self.done.state {
            Some(BindingState::Delivered { in_sync, .. } | BindingState::Empty { in_sync, .. }) => {
                BindingState::Undelivered { reason, message: message.clone(), in_sync: in_sync.clone() }
            }
            // A revoked key or Secret that could not be taken away.
            _ => BindingState::Unresolved {
                reason: Reason::NotGranted,
                message: format!("not granted any more: {message}"),
            },
        };
        Outcome {
            state: Some(state),
            registry_revision: self.done.registry_revision,
            answered_sync: self.done.answered_sync.clone(),
            requeue: Some(requeue),
            ..Outcome::default()
        }
    }
}

impl Plan {
    /// What follows where the API server took the write and stored another Secret than was sent. It is not delivered, and
    /// tried again, since nothing tells when the cause is gone.
    #[must_use]
    pub(crate) fn after_alteration(&self, altered: &Differences) -> Outcome {
        let message = format!(
            "the API server stored Secret {} otherwise than it was sent: {altered}; something alters Secrets on their way: \
             look at the MutatingAdmissionPolicies and mutating webhooks that match it",
            self.write.name()
        );
        let state = match &self.done.state {
            Some(BindingState::Unresolved { reason, message: before }) => {
                BindingState::Unresolved { reason: *reason, message: format!("{before}; {message}") }
            }
            Some(BindingState::Delivered { in_sync, .. }) => BindingState::Undelivered {
                reason: Reason::TargetAltered,
                message: message.clone(),
                in_sync: in_sync.clone(),
            },
            other => return Outcome { state: other.clone(), ..self.done.clone() },
        };
        let repeats = self.repeats.as_ref().map(|RepeatsBefore { before, inputs, now }| {
            Repeats::after(before.as_ref(), inputs.as_deref(), Undoing::Admission { message }, *now)
        });
        let requeue = self
            .repeats
            .as_ref()
            .zip(repeats.as_ref())
            .and_then(|(RepeatsBefore { now, .. }, repeats)| repeats.pause_left(*now));
        Outcome {
            state: Some(state),
            registry_revision: self.done.registry_revision,
            answered_sync: self.done.answered_sync.clone(),
            event: self.done.event.clone().filter(|event| matches!(event, TargetEvent::Adopted { .. })),
            repeats,
            requeue,
            ..Outcome::default()
        }
    }
}

impl From<&ObjectMeta> for DeletePreconditions {
    fn from(metadata: &ObjectMeta) -> Self {
        Self { name: metadata.name.clone().unwrap_or_default(), version: metadata.into() }
    }
}

impl From<&ObjectMeta> for ObjectVersion {
    fn from(metadata: &ObjectMeta) -> Self {
        Self { uid: metadata.uid.clone(), resource_version: metadata.resource_version.clone() }
    }
}
