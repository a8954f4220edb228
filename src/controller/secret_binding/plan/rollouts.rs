//! Which workloads are to be restarted, where the Secret has other content than they were seen to run with.
//!
//! What a restart is for stands on the workload itself, as the keyed digest of the content: whoever looks again, after a
//! crash or as another leader, sees that it was done.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;

use super::facts::Facts;
use super::fingerprint;
use super::state::BindingState;
use super::{Delivery, ObjectVersion, Outcome, Plan, REFUSED_REQUEUE_AFTER, SecretWrite};
use crate::api::names::restart_annotation;
use crate::api::{ConditionType, ConditionUpdate, Reason, RolloutRestartTarget, SecretBinding, find, list_names};
use crate::controller::secret_binding::observed::Question;
use crate::controller::secret_binding::workloads::Found;

/// From a change of the content to the restart: what bindings are promised to share one restart within, 5 s, and what a
/// delivery and the rounding of a condition's time take.
pub(crate) const RESTART_DELAY: Duration = Duration::from_secs(6);

/// When to try again what may pass.
const FAILED_REQUEUE_AFTER: Duration = Duration::from_secs(5);

/// What a binding has a workload restarted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Due {
    /// Name of the annotation that says so on the workload.
    pub(crate) annotation: String,
    /// The keyed digest of the content.
    pub(crate) content: String,
}

/// A workload to restart, which must still be as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Restart {
    pub(crate) target: RolloutRestartTarget,
    pub(crate) version: ObjectVersion,
    /// What its annotations are to say: for this binding, and for others that are due as well.
    pub(crate) annotations: BTreeMap<String, String>,
    /// What a Rollout restarts by, beside the annotations that keep it from being repeated.
    pub(crate) at: Timestamp,
}

/// How a target stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    Restarted,
    Missing,
    Paused,
    OnDelete,
    /// Somebody else wrote it at the same time.
    Conflict,
    /// The API server does not allow it, and why, in our own words.
    Refused(String),
    /// It gave no answer.
    Failed(String),
}

/// How the targets stand in all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rollouts {
    pub(crate) update: ConditionUpdate,
    /// The content that they are taken to run with.
    pub(crate) restarted_for: String,
    /// When to look at them again.
    pub(crate) look_after: Option<Duration>,
}

/// What is to be restarted, and what follows.
#[derive(Debug)]
pub(crate) struct RestartPlan {
    pub(crate) restarts: Vec<Restart>,
    /// Of the targets that are not to be restarted.
    others: Vec<(RolloutRestartTarget, Standing)>,
    content: String,
    before: String,
}

/// What a binding is about to have its targets restarted for, by its own status.
#[must_use]
pub(crate) fn due(binding: &SecretBinding) -> Option<Due> {
    let status = binding.status.as_ref().filter(|_| !binding.spec.is_suspended())?;
    let content = status.target.as_ref()?.content.as_ref()?;
    let is_due = status.restarted_for.as_ref().is_some_and(|before| before != content);
    is_due.then(|| Due { annotation: restart_annotation(&binding.name_any()), content: content.clone() })
}

/// Whether the content that was delivered last is known well enough to be compared with another one. Its digest may be
/// under a key that is not held any more.
pub(super) fn is_content_known(facts: &Facts) -> bool {
    let known = || facts.written().and_then(|target| target.content.as_deref());
    !has_targets(facts) || known().is_some_and(|content| fingerprint::is_content_readable(facts.keyring, content))
}

pub(super) fn has_targets(facts: &Facts) -> bool {
    !facts.spec().rollout_restart_targets().is_empty()
}

/// The digest of some data, where there are targets.
pub(super) fn content_of<'v>(facts: &Facts, data: impl Iterator<Item = (&'v str, &'v [u8])>) -> Option<String> {
    let snapshot = facts.snapshot().filter(|_| has_targets(facts))?;
    let restarted_for = facts.binding().status.as_ref().and_then(|status| status.restarted_for.as_deref());
    let previous = facts.written().and_then(|target| target.content.as_deref()).or(restarted_for);
    fingerprint::content(facts.keyring, snapshot, data, previous)
}

/// Adds to a plan what is to be restarted once it is done, or says what has to be asked first.
pub(super) fn add_to(plan: &mut Plan, facts: &Facts) -> Option<Question> {
    let delivery = plan.done.delivery.as_ref().filter(|_| has_targets(facts))?;
    let content = delivery.content.clone()?;
    let before = before(facts, delivery, &content);
    let update = |reason| ConditionUpdate::plain(ConditionType::RolloutRestarted, reason);
    let settled = |update, restarted_for| Some(Rollouts { update, restarted_for, look_after: None });
    if !facts.observed.restart_targets.is_enabled {
        plan.done.rollouts = settled(update(Reason::RestartsNotEnabled), content);
        return None;
    }
    if before == content {
        plan.done.rollouts = settled(as_said(facts), content);
        return None;
    }
    let left = if matches!(plan.write, SecretWrite::Keep) { delay_left(facts) } else { RESTART_DELAY };
    if !left.is_zero() {
        let names = names(facts.spec().rollout_restart_targets().iter());
        let message = format!("the content has changed; to be restarted some seconds later: {names}");
        let update = ConditionUpdate::new(ConditionType::RolloutRestarted, Reason::RestartPending, message);
        plan.done.rollouts = Some(Rollouts { update, restarted_for: before, look_after: Some(left) });
        return None;
    }
    let Some(found) = &facts.observed.restart_targets.found else { return Some(Question::RestartTargets) };
    let mut restart_plan = RestartPlan { restarts: Vec::new(), others: Vec::new(), content, before };
    for (target, found) in found {
        match judge(facts, target, found, &restart_plan.content) {
            Ok(restart) => restart_plan.restarts.push(restart),
            Err(standing) => restart_plan.others.push((target.clone(), standing)),
        }
    }
    plan.restarts = Some(restart_plan);
    None
}

/// The content that the targets are taken to run with: at first, what the Secret had before this look.
fn before(facts: &Facts, delivery: &Delivery, content: &str) -> String {
    let status = facts.binding().status.as_ref();
    let replaced = || delivery.replaced.clone().unwrap_or_else(|| content.to_owned());
    let Some(before) = status.and_then(|status| status.restarted_for.clone()) else { return replaced() };
    let said = facts.written().and_then(|target| target.content.as_ref());
    // The same content under a key that is held.
    if said == Some(&before) && !fingerprint::is_content_readable(facts.keyring, &before) { replaced() } else { before }
}

/// What was said of this generation, where it still is so.
fn as_said(facts: &Facts) -> ConditionUpdate {
    let status = facts.binding().status.as_ref();
    let said = status.and_then(|status| find(&status.conditions, ConditionType::RolloutRestarted));
    let said = said.filter(|said| said.observed_generation == facts.binding().metadata.generation);
    let lasting = [Reason::Restarted, Reason::NoRestartDue, Reason::RestartTargetNotFound, Reason::RolloutOnDelete];
    let kept = said.and_then(|said| {
        let reason = lasting.into_iter().find(|reason| reason.as_str() == said.reason)?;
        Some(ConditionUpdate::new(ConditionType::RolloutRestarted, reason, said.message.clone()))
    });
    kept.unwrap_or_else(|| ConditionUpdate::plain(ConditionType::RolloutRestarted, Reason::NoRestartDue))
}

/// How much longer others may join. A clock that was set back, or another one's, makes nobody wait longer.
fn delay_left(facts: &Facts) -> Duration {
    let status = facts.binding().status.as_ref();
    let said = status.and_then(|status| find(&status.conditions, ConditionType::RolloutRestarted));
    let Some(said) = said else { return RESTART_DELAY };
    let is = |reason: Reason| reason.as_str() == said.reason;
    if is(Reason::RestartPending) {
        let waited = Duration::try_from(facts.observed.now.duration_since(said.last_transition_time.0));
        return RESTART_DELAY.saturating_sub(waited.unwrap_or(RESTART_DELAY));
    }
    let was_due = [Reason::RestartFailed, Reason::RestartRefused, Reason::RolloutPaused].into_iter().any(is);
    if was_due { Duration::ZERO } else { RESTART_DELAY }
}

/// The restart of a target, or how it stands without one.
fn judge(facts: &Facts, target: &RolloutRestartTarget, found: &Found, content: &str) -> Result<Restart, Standing> {
    let workload = match found {
        Found::Workload(workload) => workload,
        Found::Missing => return Err(Standing::Missing),
        Found::Refused(why) => return Err(Standing::Refused(why.clone())),
        Found::Failed(why) => return Err(Standing::Failed(why.clone())),
    };
    let ours = Due { annotation: restart_annotation(&facts.binding().name_any()), content: content.to_owned() };
    let is_done = |due: &Due| workload.annotations.get(&due.annotation) == Some(&due.content);
    if is_done(&ours) {
        return Err(Standing::Restarted);
    }
    if workload.is_paused {
        return Err(Standing::Paused);
    }
    if workload.is_on_delete {
        return Err(Standing::OnDelete);
    }
    let others = facts.observed.restart_targets.due.iter().filter(|(of, due)| of == target && !is_done(due));
    let all = others.map(|(_, due)| due.clone()).chain([ours]);
    Ok(Restart {
        target: target.clone(),
        version: workload.version.clone(),
        annotations: all.map(|due| (due.annotation, due.content)).collect(),
        at: facts.observed.now,
    })
}

impl RestartPlan {
    /// What follows, by what became of each restart, in their order.
    fn concluded(&self, results: Vec<Standing>) -> Rollouts {
        let restarted = self.restarts.iter().map(|restart| restart.target.clone()).zip(results);
        let all: Vec<(RolloutRestartTarget, Standing)> = self.others.iter().cloned().chain(restarted).collect();
        let of = |is: fn(&Standing) -> bool| {
            let named: Vec<&RolloutRestartTarget> =
                all.iter().filter(|(_, s)| is(s)).map(|(target, _)| target).collect();
            (!named.is_empty()).then(|| names(named.into_iter()))
        };
        let why = all.iter().find_map(|(_, standing)| match standing {
            Standing::Refused(why) => Some(why.clone()),
            _ => None,
        });
        let why = why.or_else(|| {
            all.iter().find_map(|(_, standing)| match standing {
                Standing::Failed(why) => Some(why.clone()),
                Standing::Conflict => Some("somebody else wrote it at the same time".to_owned()),
                _ => None,
            })
        });
        let why = why.map(|why| format!(" ({why})")).unwrap_or_default();
        // The first that applies gives the reason.
        let parts = [
            (
                Reason::RestartRefused,
                "not restarted",
                of(|s| matches!(s, Standing::Refused(_))),
                Some(REFUSED_REQUEUE_AFTER),
            ),
            (
                Reason::RestartFailed,
                "not restarted",
                of(|s| matches!(s, Standing::Failed(_) | Standing::Conflict)),
                Some(FAILED_REQUEUE_AFTER),
            ),
            (
                Reason::RolloutPaused,
                "paused and left alone",
                of(|s| *s == Standing::Paused),
                Some(REFUSED_REQUEUE_AFTER),
            ),
            (Reason::RestartTargetNotFound, "not there", of(|s| *s == Standing::Missing), None),
            (
                Reason::RolloutOnDelete,
                "left alone, as their pods are replaced on deletion only",
                of(|s| *s == Standing::OnDelete),
                None,
            ),
            (Reason::Restarted, "restarted", of(|s| *s == Standing::Restarted), None),
        ];
        let said: Vec<_> =
            parts.into_iter().filter_map(|(reason, what, of, again)| Some((reason, what, of?, again))).collect();
        let reason = said.first().map_or(Reason::Restarted, |(reason, ..)| *reason);
        let sentence = |(reason, what, names, _): &(Reason, &str, String, Option<Duration>)| {
            let why = if matches!(reason, Reason::RestartRefused | Reason::RestartFailed) { why.as_str() } else { "" };
            format!("{what}: {names}{why}")
        };
        let message = said.iter().map(sentence).collect::<Vec<_>>().join("; ");
        // What is paused or failed is tried again; what is missing will start with the content.
        let look_after = said.iter().filter_map(|(.., again)| *again).min();
        let restarted_for = if look_after.is_none() { &self.content } else { &self.before };
        Rollouts {
            update: ConditionUpdate::new(ConditionType::RolloutRestarted, reason, message),
            restarted_for: restarted_for.clone(),
            look_after,
        }
    }
}

impl Plan {
    /// What follows once everything was done, by what became of each restart.
    #[must_use]
    pub(crate) fn after_restarts(&self, results: Vec<Standing>) -> Outcome {
        let rollouts = self.restarts.as_ref().map(|restarts| restarts.concluded(results));
        Outcome { rollouts: rollouts.or_else(|| self.done.rollouts.clone()), ..self.done.clone() }
    }
}

/// What the condition says, where there are targets.
pub(super) fn condition(binding: &SecretBinding, state: &BindingState, outcome: &Outcome) -> Option<ConditionUpdate> {
    if binding.spec.rollout_restart_targets().is_empty() {
        return None;
    }
    let said = outcome.rollouts.as_ref().map(|rollouts| rollouts.update.clone());
    Some(said.unwrap_or_else(|| match state {
        BindingState::Suspended { message } => {
            ConditionUpdate::new(ConditionType::RolloutRestarted, Reason::Suspended, message)
        }
        _ => ConditionUpdate::plain(ConditionType::RolloutRestarted, Reason::NotDelivered),
    }))
}

fn names<'t>(targets: impl Iterator<Item = &'t RolloutRestartTarget>) -> String {
    list_names(&targets.map(ToString::to_string).collect::<Vec<_>>())
}
