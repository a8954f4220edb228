//! From an outcome to the status.

use jiff::Timestamp;

use super::state::BindingState;
use super::{ObjectVersion, Outcome, rollouts};
use crate::api::{SecretBinding, SecretBindingStatus, WrittenTarget, conditions, whole_seconds};

/// The status that is to be written; `None` where it would say nothing new. A revision of the project or a time that
/// moved is nothing new by itself. `written` is the Secret as the API server has it after a write.
#[must_use]
pub(crate) fn next_status(
    binding: &SecretBinding,
    outcome: &Outcome,
    written: Option<&ObjectVersion>,
    now: Timestamp,
) -> Option<SecretBindingStatus> {
    let state = outcome.state.as_ref()?;
    let previous = binding.status.clone().unwrap_or_default();
    let generation = binding.metadata.generation.unwrap_or_default();
    let mut updates = state.updates(binding.spec.out_of_sync_policy()).to_vec();
    updates.extend(rollouts::condition(binding, state, outcome));
    let mut next = SecretBindingStatus {
        conditions: conditions(&previous.conditions, &updates, generation, now),
        observed_generation: match state {
            // Nobody has looked at a newer one.
            BindingState::Suspended { .. } => previous.observed_generation.filter(|looked_at| *looked_at >= 0),
            _ => None,
        }
        .or(Some(generation)),
        ..previous.clone()
    };
    if matches!(state, BindingState::Revoked { .. } | BindingState::Empty { .. }) {
        next.target = None;
        next.revision = None;
    }
    if let Some(delivery) = &outcome.delivery {
        let ObjectVersion { uid, resource_version } = written.or(delivery.kept.as_ref()).cloned().unwrap_or_default();
        let before = previous.target.as_ref().and_then(|target| target.uid.clone());
        if delivery.kept.is_none() || before != uid || previous.revision != delivery.revision {
            // Never later than it was: what is written within the same second is still newer.
            next.last_sync_time = Some(whole_seconds(now));
        }
        next.revision = delivery.revision;
        next.target = Some(WrittenTarget {
            name: binding.target_name(),
            uid,
            resource_version,
            inputs: delivery.inputs.clone(),
            content: delivery.content.clone(),
            keys: i64::try_from(delivery.keys).ok(),
        });
    }
    let restarted_for = outcome.rollouts.as_ref().map(|rollouts| rollouts.restarted_for.clone());
    let has_targets = !binding.spec.rollout_restart_targets().is_empty();
    next.restarted_for = restarted_for.or(previous.restarted_for.clone()).filter(|_| has_targets);
    if let Some(nonce) = outcome.answered_sync.as_ref().filter(|_| state.answers_sync()) {
        next.last_handled_sync = Some(nonce.clone());
    }
    // Nobody has read a newer one, so that somebody else wrote it, or the database was set back.
    let is_ahead = outcome.registry_revision.is_some() && previous.registry_revision > outcome.registry_revision;
    if next == previous && !is_ahead {
        return None;
    }
    next.registry_revision = outcome.registry_revision.or(previous.registry_revision);
    Some(next)
}
