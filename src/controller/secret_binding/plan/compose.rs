//! Where every check was silent: opens the values, and says what is to be written, if anything.

use kube::ResourceExt;

use super::content::{self, ContentError, SelectedKey, Values};
use super::differences::Differences;
use super::facts::{Base, Facts};
use super::ownership::Ownership;
use super::provenance::{Merged, Provenance};
use super::repeats::{Repeats, Undoing};
use super::state::BindingState;
use super::target::{Desired, FullSecret, TooLarge};
use super::{BLOCKED_REQUEUE_AFTER, Decision, DeletePreconditions, Delivery, ObjectVersion, Plan, SecretWrite};
use super::{RepeatsBefore, TargetEvent, checks, rollouts};
use crate::api::{ConditionUpdate, Reason, list_keys};
use crate::controller::secret_binding::observed::SyncRequest;
use crate::shape::{self, ShapeError, TypeError};

pub(super) fn compose(facts: &Facts) -> Decision {
    // The checks would have spoken without them.
    compose_from(facts).unwrap_or_else(Plan::nothing).into_decision()
}

fn compose_from(facts: &Facts) -> Option<Plan> {
    let (snapshot, selected, in_sync) = (facts.snapshot()?, facts.selected()?, facts.in_sync()?);
    let base = facts.base().ok()?;
    let binding = facts.binding();
    let refuse = |reason, message| {
        let in_sync = in_sync.clone();
        Some(facts.say(BindingState::Undelivered { reason, message, in_sync }))
    };
    let sealed = selected.keys.iter().map(|key| Some((*key, facts.observed.values.get(&key.row.value_id())?)));
    let sealed: Vec<(SelectedKey, &str)> = sealed.collect::<Option<_>>()?;
    let values = match values(facts, sealed) {
        Ok(values) => values,
        Err(error) => return refuse(error.reason(), error.to_string()),
    };
    let mut provenance = Provenance::of(binding, snapshot, &selected.keys);
    provenance.origin.released = facts.release_to_remember();
    if facts.is_merged() {
        let keys = values.iter().map(|(name, _)| name.to_owned()).collect();
        provenance.origin.merged = Some(Box::new(Merged { binding: binding.name_any(), keys }));
    }
    let revision = provenance.origin.at.map(|at| at.revision);
    let desired = Desired { binding, values, provenance };
    let differences = match &base {
        Base::Full(current) => Some(desired.differences(current)),
        Base::Nothing | Base::Metadata(_) => None,
    };
    if let Base::Full(current) = &base
        && let conflicts = desired.conflicts(current)
        && !conflicts.is_empty()
    {
        let message = format!(
            "Secret {} has keys already that this binding did not write: {}",
            binding.target_name(),
            list_keys(&conflicts)
        );
        return refuse(Reason::MergeConflict, message);
    }
    if let (Base::Full(current), Some(differences)) = (&base, &differences)
        && let Some(message) = immutable(desired.type_over(current), current, differences)
    {
        let plan = refuse(Reason::TargetImmutable, message)?;
        // One that is not ours yet sends no event when it is deleted.
        let is_ours = facts.ownership() != Some(Ownership::Adoptable);
        return Some(if is_ours { plan } else { plan.requeue_after(BLOCKED_REQUEUE_AFTER) });
    }
    let write = match write(&desired, &base, differences.as_ref()) {
        Ok(write) => write,
        Err(too_large) => return refuse(Reason::TargetTooLarge, too_large.to_string()),
    };
    let is_kept = matches!(write, SecretWrite::Keep);
    let delivery = Delivery {
        inputs: facts.inputs().map(str::to_owned),
        keys: desired.values.len(),
        revision: if is_kept { facts.delivered_revision() } else { revision },
        kept: match &base {
            Base::Full(current) if is_kept => Some(ObjectVersion::from(&current.0.metadata)),
            _ => None,
        },
        content: rollouts::content_of(facts, desired.values.iter().map(|(name, value)| (name, value.expose()))),
        replaced: match &base {
            // Of somebody else's Secret, what is there is not what was delivered.
            Base::Full(current) if !facts.is_merged() => {
                let data = current.0.data.iter().flatten().map(|(name, value)| (name.as_str(), value.0.as_slice()));
                rollouts::content_of(facts, data)
            }
            _ => None,
        },
    };
    if let Some(waiting) = wait_to_repeat(facts, &write, differences.as_ref(), &in_sync) {
        return Some(waiting);
    }
    let event = event(facts, &write, differences.as_ref());
    let is_repeat = facts.repeats().is_some() || matches!(event, Some(TargetEvent::Repaired { .. }));
    let state = checks::ungranted(facts).unwrap_or_else(|| facts.delivered(&delivery, in_sync.clone()));
    let mut plan = facts.say(state);
    plan.write = write;
    plan.orphans = facts.observed.orphans.iter().map(DeletePreconditions::from).collect();
    plan.done.delivery = Some(delivery);
    plan.done.newest_value = selected.keys.iter().map(|key| key.row.updated_at).max();
    plan.done.event = event;
    if !is_kept {
        let (before, inputs, now) = (facts.repeats(), facts.inputs(), facts.observed.now);
        plan.done.repeats = is_repeat.then(|| Repeats::after(before, inputs, Undoing::Afterwards, now));
        plan.repeats = Some(RepeatsBefore { before: before.cloned(), inputs: inputs.map(str::to_owned), now });
    }
    Some(plan)
}

/// The values as the Secret is to have them.
fn values(facts: &Facts, mut sealed: Vec<(SelectedKey, &str)>) -> Result<Values, NoValues> {
    let snapshot = facts.snapshot().ok_or(NoValues::Nothing)?;
    let values = if facts.spec().is_shaped() {
        // By their own names: what they are called in the Secret is for the shape to say.
        for (key, _) in &mut sealed {
            key.secret_key = key.key;
        }
        let opened = content::open(&sealed, snapshot, facts.keyring)?;
        let shape = facts.shape().map_err(|_| NoValues::Nothing)?;
        let entries = shape.entries(&opened.iter().collect(), &facts.observed.config_maps)?;
        entries.into_iter().collect::<Values>().within_limits()?
    } else {
        content::open(&sealed, snapshot, facts.keyring)?
    };
    shape::check_type(facts.spec().target_type(), values.iter())?;
    Ok(values)
}

/// Why there are no values to write.
#[derive(Debug, thiserror::Error)]
enum NoValues {
    #[error(transparent)]
    Content(#[from] ContentError),
    #[error(transparent)]
    Shape(#[from] ShapeError),
    #[error(transparent)]
    Type(#[from] TypeError),
    /// The checks would have spoken.
    #[error("nothing was read")]
    Nothing,
}

impl NoValues {
    fn reason(&self) -> Reason {
        match self {
            Self::Content(error) => reason_of(error),
            Self::Shape(error) => error.reason(),
            Self::Type(_) => Reason::SecretTypeInvalid,
            Self::Nothing => Reason::WriteFailed,
        }
    }
}

fn write(desired: &Desired, base: &Base, differences: Option<&Differences>) -> Result<SecretWrite, TooLarge> {
    match base {
        Base::Nothing => desired.build(None).map(SecretWrite::Create),
        Base::Metadata(metadata) => desired.build(Some(metadata)).map(SecretWrite::Replace),
        Base::Full(_) if differences.is_some_and(Differences::is_empty) => Ok(SecretWrite::Keep),
        Base::Full(current) => desired.build_over(current).map(SecretWrite::Replace),
    }
}

/// What to say where the same content was written before and did not last, and the next write has to wait. A person who asks
/// for a sync is not kept waiting.
fn wait_to_repeat(
    facts: &Facts,
    write: &SecretWrite,
    differences: Option<&Differences>,
    in_sync: &ConditionUpdate,
) -> Option<Plan> {
    if matches!(write, SecretWrite::Keep) || matches!(facts.observed.sync, SyncRequest::Answered(_)) {
        return None;
    }
    let repeats = facts.repeats()?;
    let left = repeats.pause_left(facts.observed.now)?;
    let (reason, message) = match &repeats.undoing {
        Undoing::Admission { message } => (Reason::TargetAltered, message.clone()),
        Undoing::Afterwards => {
            let what = differences.map_or_else(|| "it is gone".to_owned(), ToString::to_string);
            let name = facts.binding().target_name();
            let message = format!(
                "Secret {name} was put right several times, and somebody undoes that each time: {what}; its \
                 metadata.managedFields or the audit log say who; it is put right again with growing pauses"
            );
            (Reason::TargetContested, message)
        }
    };
    let state = BindingState::Undelivered { reason, message, in_sync: in_sync.clone() };
    Some(facts.say(state).requeue_after(left))
}

/// Why Kubernetes would not let the Secret become what it is to be.
fn immutable(type_: &str, current: &FullSecret, differences: &Differences) -> Option<String> {
    if current.type_() != type_ {
        return Some(format!("the Secret has type {}, and the spec asks for {type_}", current.type_()));
    }
    let frozen = current.is_immutable() && differences.touch_data();
    frozen.then(|| format!("the Secret is immutable, and its data would have to change: {differences}"))
}

/// Repaired, where the source asks for nothing new and the Secret is different all the same.
fn event(facts: &Facts, write: &SecretWrite, differences: Option<&Differences>) -> Option<TargetEvent> {
    let (name, written) = (facts.binding().target_name(), facts.written());
    let changes = || differences.map(Differences::data_changes).unwrap_or_default();
    match (write, facts.ownership()) {
        (SecretWrite::Create(_), _) if written.is_some() => {
            Some(TargetEvent::Repaired { what: format!("Secret {name} was gone") })
        }
        (SecretWrite::Replace(_), Some(Ownership::Adoptable)) => {
            Some(TargetEvent::Adopted { what: format!("Secret {name}, which was handed over: {}", changes()) })
        }
        (SecretWrite::Replace(_), Some(Ownership::PreviousBinding)) => {
            let what = format!("Secret {name} of an earlier binding of this name: {}", changes());
            Some(TargetEvent::Adopted { what })
        }
        (SecretWrite::Replace(_), _) => {
            let same =
                written.is_some_and(|target| target.inputs.is_some() && target.inputs.as_deref() == facts.inputs());
            let differences = differences.filter(|_| same)?;
            Some(TargetEvent::Repaired { what: format!("Secret {name}: {differences}") })
        }
        _ => None,
    }
}

fn reason_of(error: &ContentError) -> Reason {
    match error {
        ContentError::KeyNameInvalid { .. } | ContentError::KeyNameTwice { .. } => Reason::KeyNameInvalid,
        ContentError::RingNotHeld { .. } => Reason::RingNotHeld,
        ContentError::OpenFailed { .. } => Reason::OpenFailed,
        ContentError::HashMismatch { .. } => Reason::HashMismatch,
        ContentError::TooLarge { .. } => Reason::TargetTooLarge,
    }
}
