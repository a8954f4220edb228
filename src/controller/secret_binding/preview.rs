//! What a reconcile would do, without doing it: its very steps, with an `apply` that notes and a `report` that keeps.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::driver::{self, Applied, Asked, BindingError, Cluster};
use super::observe::{self, ObserveError};
use super::observed::{Baseline, Life, Observed, Question, ReadLevel, SyncRequest, TargetState};
use super::plan::differences::Differences;
use super::plan::ownership::Ownership;
use super::plan::rollouts::{Restart, Standing};
use super::plan::target::FullSecret;
use super::plan::{ObjectVersion, Outcome, Plan, SecretWrite, next_status, stored};
use crate::api::names::MERGE;
use crate::api::{ConditionType, CreationPolicy, SecretBinding};
use crate::controller::Context;
use crate::controller::runtime::StatusError;
use crate::crypto::Keyring;

/// What a reconcile of one binding would come to. Of values it has the lengths.
#[derive(Debug)]
pub(crate) struct Preview {
    pub(crate) binding: Arc<SecretBinding>,
    /// What would be done to the Secret.
    pub(crate) action: PlannedAction,
    /// Its type, where it would be written.
    pub(crate) secret_type: Option<String>,
    /// What the Secret would hold, and what would leave it, in order. Empty where it stays for want of anything better.
    pub(crate) entries: Vec<PlannedEntry>,
    /// Labels, annotations and fields that would be put right.
    pub(crate) other_changes: Vec<String>,
    /// Secrets under earlier names of the target that would be deleted.
    pub(crate) deleted: Vec<String>,
    /// What the status would say; empty where the registry was not asked.
    pub(crate) conditions: Vec<Condition>,
    /// Whether the target is there.
    pub(crate) is_there: bool,
    /// Who has it, where that is somebody else.
    pub(crate) foreign: Option<String>,
}

/// What would be done to a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlannedAction {
    Keep,
    Create,
    Replace,
    Delete,
}

/// One entry of a Secret's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedEntry {
    pub(crate) name: String,
    /// Of the value that it would have; of one that leaves, which it has.
    pub(crate) bytes: usize,
    pub(crate) change: PlannedChange,
}

/// What would become of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlannedChange {
    Added,
    Changed,
    Unchanged,
    Removed,
}

/// How the target is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comparison {
    /// It is read, values included: only so can they be compared.
    Whole,
    /// Its metadata is what the cache has, which was read for this: enough to say whose it is, and for nothing else.
    Metadata,
    /// It is taken not to be there, or to be as its owner would have it made for `creationPolicy: Merge`.
    Nothing,
}

impl Preview {
    /// Whether anything would be written or deleted.
    pub(crate) fn changes_something(&self) -> bool {
        self.action != PlannedAction::Keep || !self.deleted.is_empty()
    }
}

/// Takes the steps of a reconcile and writes nothing.
pub(crate) async fn preview(
    binding: Arc<SecretBinding>,
    context: &Context,
    keyring: &Keyring,
    comparison: Comparison,
) -> Result<Preview, BindingError> {
    let mut cluster = Observer { context, binding: Arc::clone(&binding), comparison, found: Found::default() };
    // It is looked at once.
    let _ = driver::drive(&mut cluster, keyring).await?;
    let Found { current, foreign, planned, conditions } = cluster.found;
    let is_there = current.is_some();
    let Planned { action, secret_type, entries, other_changes, deleted } =
        planned.unwrap_or_else(|| Planned::keep(None));
    Ok(Preview { binding, action, secret_type, entries, other_changes, deleted, conditions, is_there, foreign })
}

struct Observer<'c> {
    context: &'c Context,
    binding: Arc<SecretBinding>,
    comparison: Comparison,
    found: Found,
}

#[derive(Default)]
struct Found {
    /// The Secret as it is.
    current: Option<FullSecret>,
    foreign: Option<String>,
    planned: Option<Planned>,
    conditions: Vec<Condition>,
}

/// A plan, without its values.
struct Planned {
    action: PlannedAction,
    secret_type: Option<String>,
    entries: Vec<PlannedEntry>,
    other_changes: Vec<String>,
    deleted: Vec<String>,
}

impl Cluster for Observer<'_> {
    async fn observe(&mut self, _: ReadLevel) -> Result<Observed, ObserveError> {
        let level = match self.comparison {
            Comparison::Whole => ReadLevel::Secret,
            Comparison::Metadata | Comparison::Nothing => ReadLevel::Cache,
        };
        // Nobody is answered here.
        let mut observed = observe::observe(&self.binding, self.context, level, Some(&SyncRequest::None)).await?;
        if self.comparison != Comparison::Whole {
            observed.target = match self.comparison {
                Comparison::Metadata => self.by_metadata(),
                _ => assumed(&self.binding),
            };
            observed.baseline = Baseline::of(&self.binding, &observed.target, &observed.orphans);
        }
        if let TargetState::Full(secret) = &observed.target {
            self.found.current = Some(secret.clone());
        }
        self.found.foreign = match observed.target.ownership(&self.binding) {
            Some(Ownership::Foreign { who }) => Some(who),
            Some(Ownership::OwnedByOtherBinding { name }) => Some(format!("SecretBinding {name}")),
            _ => None,
        };
        Ok(observed)
    }

    async fn ask(&mut self, observed: &mut Observed, question: Question) -> Result<Asked, ObserveError> {
        if question == Question::Life {
            // It is, or will be once it is applied.
            observed.life = Life::Lives;
            return Ok(Asked::Answered);
        }
        observe::ask(observed, question, self.context).await
    }

    async fn apply(&mut self, plan: &Plan) -> Applied {
        self.found.planned = Some(Planned::of(plan, self.found.current.as_ref()));
        Applied::Done(None)
    }

    async fn restart(&mut self, restarts: &[Restart]) -> Vec<Standing> {
        restarts.iter().map(|_| Standing::Restarted).collect()
    }

    async fn report(&mut self, outcome: &Outcome, _: Option<&ObjectVersion>) -> Result<(), StatusError> {
        let before = || self.binding.status.as_ref().map(|status| status.conditions.clone());
        let next = next_status(&self.binding, outcome, None, Timestamp::now()).map(|status| status.conditions);
        let is_said = outcome.state.is_some();
        self.found.conditions = next.or_else(before).filter(|_| is_said).unwrap_or_default();
        // Nobody looked at the workloads.
        self.found.conditions.retain(|condition| condition.type_ != ConditionType::RolloutRestarted.as_str());
        Ok(())
    }
}

impl Observer<'_> {
    fn by_metadata(&self) -> TargetState {
        let name = ObjectRef::new(&self.binding.target_name()).within(&self.binding.namespace().unwrap_or_default());
        self.context.stores.secrets.get(&name).map_or(TargetState::Absent, |found| {
            TargetState::Full(FullSecret(Secret { metadata: found.metadata.clone(), ..Secret::default() }))
        })
    }
}

/// A target that nobody looked at.
fn assumed(binding: &SecretBinding) -> TargetState {
    if binding.spec.creation_policy() != CreationPolicy::Merge {
        return TargetState::Absent;
    }
    let metadata = ObjectMeta {
        name: Some(binding.target_name()),
        namespace: binding.namespace(),
        annotations: Some(BTreeMap::from([(MERGE.to_owned(), binding.name_any())])),
        ..ObjectMeta::default()
    };
    TargetState::Full(FullSecret(Secret { metadata, ..Secret::default() }))
}

impl Planned {
    fn of(plan: &Plan, current: Option<&FullSecret>) -> Self {
        let deleted = plan.orphans.iter().map(|orphan| orphan.name.clone()).collect();
        let planned = match &plan.write {
            // What it holds is what it is to hold only where it was compared.
            SecretWrite::Keep => Self::keep(current.filter(|_| plan.done.delivery.is_some())),
            SecretWrite::Create(next) => Self::written(PlannedAction::Create, next, None),
            SecretWrite::Replace(next) => Self::written(PlannedAction::Replace, next, current),
            SecretWrite::Delete(_) => {
                let entries = current.map(|current| entries(current, PlannedChange::Removed)).unwrap_or_default();
                Self { action: PlannedAction::Delete, entries, ..Self::keep(None) }
            }
        };
        Self { deleted, ..planned }
    }

    fn keep(current: Option<&FullSecret>) -> Self {
        Self {
            action: PlannedAction::Keep,
            secret_type: current.map(|current| current.type_().to_owned()),
            entries: current.map(|current| entries(current, PlannedChange::Unchanged)).unwrap_or_default(),
            other_changes: Vec::new(),
            deleted: Vec::new(),
        }
    }

    fn written(action: PlannedAction, next: &FullSecret, current: Option<&FullSecret>) -> Self {
        let differences = current.and_then(|current| stored::compare(next, current).err()).unwrap_or_default();
        let Differences { changed, lacking, extra, fields, metadata } = &differences;
        let mut planned = entries(next, PlannedChange::Unchanged);
        for entry in &mut planned {
            if changed.contains(&entry.name) {
                entry.change = PlannedChange::Changed;
            } else if current.is_none() || lacking.contains(&entry.name) {
                entry.change = PlannedChange::Added;
            }
        }
        let leaving = current.map(|current| entries(current, PlannedChange::Removed)).unwrap_or_default();
        planned.extend(leaving.into_iter().filter(|entry| extra.contains(&entry.name)));
        planned.sort_by(|one, other| one.name.cmp(&other.name));
        Self {
            action,
            secret_type: Some(next.type_().to_owned()),
            entries: planned,
            other_changes: fields.iter().map(|field| (*field).to_owned()).chain(metadata.iter().cloned()).collect(),
            deleted: Vec::new(),
        }
    }
}

fn entries(secret: &FullSecret, change: PlannedChange) -> Vec<PlannedEntry> {
    let data = secret.0.data.iter().flatten();
    data.map(|(name, ByteString(value))| PlannedEntry { name: name.clone(), bytes: value.len(), change }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::PlannedChange::{Added, Changed, Removed, Unchanged};
    use super::*;
    use crate::controller::secret_binding::fixtures::{binding, secret};
    use crate::controller::secret_binding::plan::Delivery;

    fn told(planned: &Planned) -> Vec<(&str, usize, PlannedChange)> {
        planned.entries.iter().map(|entry| (entry.name.as_str(), entry.bytes, entry.change)).collect()
    }

    #[test]
    fn of_each_entry_the_name_is_told_its_length_and_what_becomes_of_it() {
        let current = FullSecret(secret("app").with("SAME", "1").with("OTHER", "22").with("GONE", "333").build());
        let next = FullSecret(secret("app").with("SAME", "1").with("OTHER", "55555").with("NEW", "").build());
        let over = Planned::written(PlannedAction::Replace, &next, Some(&current));
        let expected = [("GONE", 3, Removed), ("NEW", 0, Added), ("OTHER", 5, Changed), ("SAME", 1, Unchanged)];
        assert_eq!(told(&over), expected);
        let new = Planned::written(PlannedAction::Create, &next, None);
        assert_eq!(told(&new), [("NEW", 0, Added), ("OTHER", 5, Added), ("SAME", 1, Added)]);
    }

    #[test]
    fn a_secret_that_is_kept_is_told_only_where_it_was_compared() {
        let current = FullSecret(secret("app").with("A", "1").build());
        let mut plan = Plan::default();
        assert_eq!(told(&Planned::of(&plan, Some(&current))), [], "it stays for want of anything better");
        plan.done.delivery =
            Some(Delivery { inputs: None, keys: 1, revision: None, kept: None, content: None, replaced: None });
        assert_eq!(told(&Planned::of(&plan, Some(&current))), [("A", 1, Unchanged)]);
    }

    #[test]
    fn a_target_that_nobody_looked_at_is_absent_or_as_its_owner_would_make_it() {
        assert!(matches!(assumed(&binding("app").build()), TargetState::Absent));
        let merge = json!({"target": {"name": "theirs", "creationPolicy": "Merge"}});
        let merge = binding("app").with_spec(merge).build();
        assert_eq!(assumed(&merge).ownership(&merge), Some(Ownership::Mergeable));
    }
}
