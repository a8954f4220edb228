//! Decides, purely: what a binding's Secret should become, and what its status should say.
//!
//! In two stages, so that values are opened only where a write may be needed: [`decide`] looks at everything but
//! values, [`compose`] compares what was opened with the Secret that is there.

mod checks;
mod compose;
pub(crate) mod content;
mod fingerprint;
pub(crate) mod history;
pub(crate) mod ownership;
pub(crate) mod provenance;
pub(crate) mod removal;
pub(crate) mod state;
pub(crate) mod target;
#[cfg(test)]
mod tests;

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use self::ownership::Ownership;
use self::state::BindingState;
use self::target::FullSecret;
use crate::api::names::{CREDENTIAL_MINTING_TYPES, is_reserved};
use crate::api::{ConditionType, Grants, OnRevoke, Reason, SecretBindingSpec, SecretBindingStatus, SourceKind, find};
use crate::controller::project_environment::source_of;
use crate::controller::refused;
use crate::controller::secret_binding::observed::{Observed, ReadLevel, Source, TargetState};
use crate::controller::sources::SourceState;
use crate::core::RegistryTime;
use crate::crypto::Keyring;

pub(crate) use checks::Intent;
pub(crate) use compose::compose;

/// When to look again at a target that belongs to somebody else: its owner's end sends no event.
pub(crate) const BLOCKED_REQUEUE_AFTER: Duration = Duration::from_secs(5);

/// When to look again at something that a cache will have in a moment.
const CACHE_REQUEUE_AFTER: Duration = Duration::from_secs(1);

/// What the first stage comes to.
#[derive(Debug)]
pub(crate) enum Decision<'o> {
    /// Nothing can be said until the target was looked at that closely.
    Read(ReadLevel),
    /// All is said.
    Settled(Box<Plan>),
    /// The values have to be opened.
    Open(Box<Intent<'o>>),
}

/// What is to be done.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// To the Secret.
    pub(crate) action: Action,
    /// Secrets of this binding under earlier names, to be deleted once the action has succeeded.
    pub(crate) orphans: Vec<DeletePreconditions>,
    /// What the status is to say; `None` leaves it as it is.
    pub(crate) state: Option<BindingState>,
    /// What the Secret then holds, where it holds what it should.
    pub(crate) delivery: Option<Delivery>,
    /// The project's revision that `InSync` rests on.
    pub(crate) registry_revision: Option<i64>,
    /// When the newest value of those that the Secret is made from was written.
    pub(crate) newest: Option<RegistryTime>,
    /// What a person should be told happened.
    pub(crate) event: Option<TargetEvent>,
    /// When to look again although nothing has changed.
    pub(crate) requeue: Option<Duration>,
}

/// What is to be done to the Secret.
#[derive(Debug, Default)]
pub(crate) enum Action {
    /// Nothing.
    #[default]
    Keep,
    /// Create it. It must not exist.
    Create(FullSecret),
    /// Replace it. It carries the uid and the resourceVersion that it must have.
    Replace(FullSecret),
    /// Delete it.
    Delete(DeletePreconditions),
}

impl Action {
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
}

/// A Secret to delete, as it was observed: both are preconditions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DeletePreconditions {
    /// Its name.
    pub(crate) name: String,
    /// The uid that it must have.
    pub(crate) uid: Option<String>,
    /// The resourceVersion that it must have.
    pub(crate) resource_version: Option<String>,
}

/// What a Secret holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// The fingerprint of what it was made from.
    pub(crate) inputs: Option<String>,
    /// How many keys.
    pub(crate) keys: usize,
    /// The environment's revision at which that content came to be.
    pub(crate) revision: Option<i64>,
    /// The Secret's uid and resourceVersion, where it is kept as it is.
    pub(crate) kept: Option<(Option<String>, Option<String>)>,
}

/// What a person should be told happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetEvent {
    /// Somebody changed or deleted the Secret, and it was put right.
    Repaired {
        /// What was different.
        what: String,
    },
    /// A Secret that was handed over, or that an earlier binding of the name left, is now this binding's.
    Adopted {
        /// From whom.
        what: String,
    },
}

impl Plan {
    /// Nothing is written at all.
    fn nothing() -> Self {
        Self::default()
    }

    /// Only the status is written.
    fn say(state: BindingState) -> Self {
        Self { state: Some(state), ..Self::default() }
    }

    fn again_after(self, requeue: Duration) -> Self {
        Self { requeue: Some(requeue), ..self }
    }

    fn settled<'o>(self) -> Decision<'o> {
        Decision::Settled(Box::new(self))
    }

    /// Whether a person asked to leave everything as it is.
    pub(crate) const fn is_suspended(&self) -> bool {
        matches!(self.state, Some(BindingState::Suspended { .. }))
    }

    /// Whether it asks for no request but perhaps that of a status.
    #[must_use]
    pub(crate) fn touches_no_secret(&self) -> bool {
        matches!(self.action, Action::Keep) && self.orphans.is_empty()
    }
}

/// The first stage: everything that can be said without opening a value.
#[must_use]
pub(crate) fn decide<'o>(observed: &'o Observed, keyring: &Keyring) -> Decision<'o> {
    let binding = &*observed.binding;
    if observed.superseded || binding.metadata.deletion_timestamp.is_some() {
        return Plan::nothing().settled();
    }
    let Some(namespace) = &observed.namespace else {
        return Plan::nothing().again_after(CACHE_REQUEUE_AFTER).settled();
    };
    if namespace.metadata.deletion_timestamp.is_some() {
        return Plan::nothing().settled();
    }
    let say = |state| Plan::say(state).settled();
    if binding.spec.is_suspended() {
        return say(BindingState::Suspended { message: "spec.suspend is true".to_owned() });
    }
    if let Err(message) = check_spec(&binding.spec) {
        return say(BindingState::InvalidSpec { message });
    }
    let Some(source) = &observed.source else { return say(source_not_found(&binding.spec)) };
    if source.environment.spec.is_suspended() {
        let message = format!("spec.suspend is true on ProjectEnvironment {}", source.environment.name_any());
        return say(BindingState::Suspended { message });
    }
    let grants = match Grants::new(&source.environment.spec.grants) {
        Ok(grants) => grants,
        Err(error) => return say(not_ready(source, &error.to_string())),
    };
    let Some(granted) = grants.to_namespace(&namespace.name_any(), namespace.labels()) else {
        return not_granted(observed, source);
    };
    match &source.state {
        SourceState::Pending => Plan::nothing().settled(),
        SourceState::Refused { refusal } => {
            say(not_ready(source, &refused::in_words(*refusal, &source_of(&source.environment)).1))
        }
        SourceState::Unavailable { since, cause, .. } => away(observed, *since, cause),
        SourceState::Ready(snapshot) => checks::resolve(observed, source, snapshot, |key| granted.covers(key), keyring),
    }
}

/// What the schema refuses as well; the definitions in the cluster may be older ones.
fn check_spec(spec: &SecretBindingSpec) -> Result<(), String> {
    if spec.source_kind() == SourceKind::Unknown {
        return Err("spec.sourceRef.kind is none that this operator knows; a newer one may".to_owned());
    }
    let type_ = spec.target_type();
    if CREDENTIAL_MINTING_TYPES.contains(&type_) {
        return Err(format!("spec.target.template.type is {type_}, which makes the control plane mint a credential"));
    }
    let metadata = spec.target_metadata();
    let names = metadata.into_iter().flat_map(|metadata| metadata.labels.keys().chain(metadata.annotations.keys()));
    match names.into_iter().find(|name| is_reserved(name)) {
        Some(name) => Err(format!("spec.target.template.metadata sets {name}, which is reserved")),
        None => Ok(()),
    }
}

fn source_not_found(spec: &SecretBindingSpec) -> BindingState {
    let message = format!("there is no {:?} {}", spec.source_kind(), spec.source_ref.name);
    BindingState::Unresolved { reason: Reason::SourceNotFound, message }
}

fn not_ready(source: &Source, why: &str) -> BindingState {
    let message = format!("ProjectEnvironment {} is not ready: {why}", source.environment.name_any());
    BindingState::Unresolved { reason: Reason::SourceNotReady, message }
}

/// No grant covers the namespace. It needs no database: a withdrawal must work while that is away, too.
fn not_granted<'o>(observed: &'o Observed, source: &Source) -> Decision<'o> {
    let (namespace, name) = (observed.binding.namespace().unwrap_or_default(), source.environment.name_any());
    let message = format!("ProjectEnvironment {name} grants nothing to namespace {namespace}");
    let retained =
        || Plan::say(BindingState::Unresolved { reason: Reason::NotGranted, message: message.clone() }).settled();
    if source.environment.spec.on_revoke() == OnRevoke::Retain {
        return retained();
    }
    if matches!(observed.target, TargetState::Unread) {
        return Decision::Read(ReadLevel::Secret);
    }
    if !observed.baseline.may_be_from(&observed.binding) {
        return retained();
    }
    let target = match observed.target.ownership(&observed.binding) {
        Some(Ownership::Ours | Ownership::PreviousBinding) => observed.target.metadata().map(DeletePreconditions::from),
        _ => None,
    };
    let orphans: Vec<DeletePreconditions> = observed.orphans.iter().map(DeletePreconditions::from).collect();
    let before = observed.binding.status.as_ref().and_then(|status| find(&status.conditions, ConditionType::Delivered));
    let was_revoked = before.is_some_and(|condition| condition.reason == Reason::Revoked.as_str());
    if target.is_none() && orphans.is_empty() && !was_revoked {
        return retained();
    }
    let message =
        format!("{message}, and says onRevoke: Delete; Secret {} was deleted", observed.binding.target_name());
    let action = target.map_or(Action::Keep, Action::Delete);
    Plan { action, orphans, ..Plan::say(BindingState::Revoked { message }) }.settled()
}

/// The database is away. The binding stands on its last word until `staleAfter`, so that a fail-over rewrites nothing;
/// unless it never had one, or what it would say is not true any more.
fn away<'o>(observed: &'o Observed, since: jiff::Timestamp, cause: &str) -> Decision<'o> {
    let binding = &*observed.binding;
    let unavailable = |what: &str| {
        let message = format!("{what}since {since:.0}: {cause}");
        Plan::say(BindingState::DatabaseUnavailable { message }).settled()
    };
    let said = binding.status.as_ref().filter(|status| has_said(status, binding.metadata.generation));
    let Some(status) = said else { return unavailable("the database is away ") };
    if status.target.as_ref().is_some_and(|target| target.name == binding.target_name()) {
        match observed.target {
            TargetState::Unread => return Decision::Read(ReadLevel::Secret),
            TargetState::Absent => {
                return unavailable("the Secret is gone and cannot be made anew: the database is away ");
            }
            TargetState::AsWritten(_) | TargetState::Complete(_) | TargetState::Full(_) => {}
        }
    }
    let waited = Duration::try_from(observed.now.duration_since(since)).unwrap_or_default();
    match binding.spec.stale_after().checked_sub(waited).filter(|left| !left.is_zero()) {
        Some(left) => Plan::nothing().again_after(left).settled(),
        None => unavailable("the database is away "),
    }
}

/// Whether the status says something about this generation.
fn has_said(status: &SecretBindingStatus, generation: Option<i64>) -> bool {
    let ready = find(&status.conditions, ConditionType::Ready);
    status.observed_generation == generation && ready.is_some_and(|ready| ready.reason != Reason::Pending.as_str())
}

impl From<&ObjectMeta> for DeletePreconditions {
    fn from(metadata: &ObjectMeta) -> Self {
        Self {
            name: metadata.name.clone().unwrap_or_default(),
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
        }
    }
}
