//! Reads everything that a plan needs: from caches where they will do, from the API server where they will not.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt};

use super::driver::Asked;
use super::observed::{Baseline, Life, Observed, Question, ReadLevel, SyncRequest, TargetState};
use super::plan::history::{self, History, Inquiry};
use super::plan::ownership::{Ownership, goes_first, ownership};
use super::plan::target::FullSecret;
use super::restart;
use super::workloads::RestartTargets;
use crate::api::{ConditionType, CreationPolicy, Reason, SecretBinding, find, names};
use crate::controller::Context;
use crate::controller::sources::{
    RegistryError, SealedValues, Snapshot, Source, SourceReference, SourceState, Tombstones,
};
use crate::telemetry::api_error_text;

/// Why something could not be read; `cause` is the API server's answer, or the registry's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ObserveError {
    #[error("cannot read Secret {namespace}/{name}: {cause}")]
    Target { namespace: String, name: String, cause: String },
    /// Whether the binding is still the one of its name.
    #[error("cannot read SecretBinding {namespace}/{name}: {cause}")]
    Binding { namespace: String, name: String, cause: String },
    #[error("cannot read {source_name}: {cause}")]
    Source {
        source_name: String,
        #[source]
        cause: RegistryError,
    },
}

/// Reads everything that a plan needs. A request for a sync is answered by a poll once: `sync` is what the same reconcile
/// found before, if it observes again.
pub(super) async fn observe(
    binding: &Arc<SecretBinding>,
    context: &Context,
    level: ReadLevel,
    sync: Option<&SyncRequest>,
) -> Result<Observed, ObserveError> {
    let namespace = binding.namespace().unwrap_or_default();
    let target = match level {
        ReadLevel::Cache => from_caches(binding, context, &namespace),
        ReadLevel::Metadata => read_metadata(binding, context, &namespace).await?,
        ReadLevel::Secret => read_secret(binding, context, &namespace).await?,
    };
    let orphans = orphans(binding, context, &namespace);
    let baseline = Baseline::of(binding, &target, &orphans);
    let reference = SourceReference::from(&**binding);
    let (source, sync) = read_source(binding, &reference, &baseline, context, sync).await;
    let (history, environment_was_deleted) = match source.as_ref().map(Source::state) {
        Some(SourceState::Ready(snapshot)) => history_of(&baseline, snapshot, context).await,
        _ => (History::Continues, false),
    };
    Ok(Observed {
        now: Timestamp::now(),
        life: Life::Unknown,
        repeats: None,
        namespace: context.stores.namespaces.get(&ObjectRef::new(&namespace)),
        reference,
        source,
        sync,
        earlier_claimant: earlier_claimant(binding, context, &namespace),
        target,
        orphans,
        baseline,
        history,
        environment_was_deleted,
        config_maps: context.stores.template_config_maps.of(binding),
        values: SealedValues::default(),
        tombstones: Tombstones::default(),
        restart_targets: RestartTargets { is_enabled: context.restarts_workloads, ..RestartTargets::default() },
        binding: Arc::clone(binding),
    })
}

/// Asks what a plan has to know. Where the answer does not fit what was observed, that is outdated.
pub(super) async fn ask(observed: &mut Observed, question: Question, context: &Context) -> Result<Asked, ObserveError> {
    match question {
        Question::Life => {
            observed.life = life(&observed.binding, context).await?;
            return Ok(Asked::Answered);
        }
        Question::RestartTargets => {
            observed.restart_targets.found = Some(restart::find(&observed.binding, context).await);
            observed.restart_targets.due = restart::others_due(&observed.binding, context);
            return Ok(Asked::Answered);
        }
        Question::Values(_) | Question::Tombstones(_) => {}
    }
    let Some(source) = &observed.source else { return Ok(Asked::Outdated) };
    let failed = |cause| ObserveError::Source { source_name: source.store_name(), cause };
    match question {
        Question::Life | Question::RestartTargets => {}
        Question::Values(values) => {
            let read = source.sealed_values(values.clone(), &context.sources).await.map_err(failed)?;
            if values.iter().any(|value| read.get(value).is_none()) {
                source.clone().read_again(&context.sources).await;
                return Ok(Asked::Outdated);
            }
            observed.values = read;
        }
        Question::Tombstones(rows) => {
            let found = source.tombstones(&rows, &context.sources).await.map_err(failed)?;
            // A row that was not deleted may have been restored since it was found missing.
            if rows.iter().any(|row| found.key_of(*row).is_none()) {
                let now = source.clone().polled_again(&context.sources).await;
                if !source.state().is_same(now.state()) {
                    return Ok(Asked::Outdated);
                }
            }
            observed.tombstones = found;
        }
    }
    Ok(Asked::Answered)
}

async fn read_source(
    binding: &SecretBinding,
    reference: &SourceReference,
    baseline: &Baseline,
    context: &Context,
    sync: Option<&SyncRequest>,
) -> (Option<Source>, SyncRequest) {
    let found = Source::find(reference, &context.stores.environments, &context.sources);
    let nonce = if sync.is_none() { unanswered_sync(binding) } else { None };
    let (source, sync) = match (found, nonce) {
        (found, None) => (found, sync.cloned().unwrap_or(SyncRequest::None)),
        // There is nothing to poll: that is the answer.
        (None, Some(nonce)) => (None, SyncRequest::Answered(nonce.to_owned())),
        (Some(found), Some(_)) if binding.spec.is_suspended() || found.is_suspended() => {
            (Some(found), SyncRequest::Unanswered)
        }
        // It is read now, after the request was seen.
        (Some(found), Some(nonce)) => {
            let read = found.read_again(&context.sources).await;
            let sync = match read.state() {
                SourceState::Ready(_) | SourceState::Refused { .. } => SyncRequest::Answered(nonce.to_owned()),
                SourceState::Pending | SourceState::Unavailable { .. } => SyncRequest::Unanswered,
            };
            (Some(read), sync)
        }
    };
    // Another operator may have delivered more than this one has read: that is no other history.
    let source = match source {
        Some(found) if found.state().is_older_than(delivered_from(binding, baseline, found.state())) => {
            Some(found.polled_again(&context.sources).await)
        }
        found => found,
    };
    (source, sync)
}

/// The nonce of a request that has no answer in the status yet.
fn unanswered_sync(binding: &SecretBinding) -> Option<&str> {
    let handled = binding.status.as_ref().and_then(|status| status.last_handled_sync.as_deref());
    names::unanswered_sync(&binding.metadata, handled)
}

/// The newest revision of the project that this binding's Secret or status rests on, if they are of this environment.
fn delivered_from(binding: &SecretBinding, baseline: &Baseline, state: &SourceState) -> Option<i64> {
    let environment = state.snapshot()?.environment;
    let origin = &baseline.provenance().filter(|known| known.origin.environment == environment)?.origin;
    let said = binding.status.as_ref().and_then(|status| status.registry_revision);
    said.max(origin.at.map(|at| at.revision))
}

fn from_caches(binding: &SecretBinding, context: &Context, namespace: &str) -> TargetState {
    let cached = context.stores.secrets.get(&ObjectRef::new(&binding.target_name()).within(namespace));
    target_in_cache(binding, cached.as_ref().map(|cached| &cached.metadata))
}

/// All of the target's metadata, without its values: a cache does not keep everything, and what it leaves out would be
/// lost in a replacement.
async fn read_metadata(
    binding: &SecretBinding,
    context: &Context,
    namespace: &str,
) -> Result<TargetState, ObserveError> {
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let name = binding.target_name();
    match secrets.get_metadata_opt(&name).await {
        Ok(found) => Ok(target_by_metadata(binding, found.map(|found| found.metadata))),
        Err(error) => {
            Err(ObserveError::Target { namespace: namespace.to_owned(), name, cause: api_error_text(&error) })
        }
    }
}

/// What all of the target's metadata, just read, says about it.
pub(super) fn target_by_metadata(binding: &SecretBinding, found: Option<ObjectMeta>) -> TargetState {
    match found {
        None => TargetState::Absent,
        Some(found) => match target_in_cache(binding, Some(&found)) {
            TargetState::AsWritten(metadata) => TargetState::Complete(metadata),
            other => other,
        },
    }
}

/// What the cache's metadata says about the target, without a request.
pub(super) fn target_in_cache(binding: &SecretBinding, cached: Option<&ObjectMeta>) -> TargetState {
    let status = binding.status.as_ref().and_then(|status| status.target.as_ref());
    let written = status.filter(|target| target.name == binding.target_name());
    match (cached, written) {
        (Some(cached), Some(written))
            if written.uid == cached.uid && written.resource_version == cached.resource_version =>
        {
            TargetState::AsWritten(cached.clone())
        }
        // The cache has only what bears our label: what it lacks may be there all the same.
        (None, None) if !was_blocked(binding) && binding.spec.creation_policy() != CreationPolicy::Merge => {
            TargetState::Absent
        }
        _ => TargetState::Unread,
    }
}

/// Whether somebody else had the target when it was last read.
fn was_blocked(binding: &SecretBinding) -> bool {
    let said = |condition, reasons: &[Reason]| {
        let status = binding.status.as_ref();
        let said = status.and_then(|status| find(&status.conditions, condition));
        said.is_some_and(|said| reasons.iter().any(|reason| reason.as_str() == said.reason))
    };
    let blocked = [
        Reason::TargetForeign,
        Reason::TargetTaken,
        Reason::TargetImmutable,
        Reason::TargetAltered,
        Reason::TargetMissing,
        Reason::MergeConflict,
        Reason::WriteFailed,
    ];
    // The other: it was handed over with keys of its own.
    said(ConditionType::Delivered, &blocked) || said(ConditionType::ResolvedRefs, &[Reason::RemovalUnproven])
}

async fn read_secret(binding: &SecretBinding, context: &Context, namespace: &str) -> Result<TargetState, ObserveError> {
    let secrets: Api<Secret> = Api::namespaced(context.client.clone(), namespace);
    let name = binding.target_name();
    match secrets.get_opt(&name).await {
        Ok(Some(secret)) => Ok(TargetState::Full(FullSecret(secret))),
        Ok(None) => Ok(TargetState::Absent),
        Err(error) => {
            Err(ObserveError::Target { namespace: namespace.to_owned(), name, cause: api_error_text(&error) })
        }
    }
}

/// Whether the binding still exists, by the API server's newest word: the cache may be behind. A Secret that is made for one
/// that is gone would be collected with it, and made again.
pub(super) async fn life(binding: &SecretBinding, context: &Context) -> Result<Life, ObserveError> {
    let (namespace, name) = (binding.namespace().unwrap_or_default(), binding.name_any());
    let bindings: Api<SecretBinding> = Api::namespaced(context.client.clone(), &namespace);
    match bindings.get_metadata_opt(&name).await {
        Ok(Some(found)) if found.metadata.uid == binding.metadata.uid => Ok(Life::Lives),
        Ok(_) => Ok(Life::Gone),
        Err(error) => Err(ObserveError::Binding { namespace, name, cause: api_error_text(&error) }),
    }
}

/// Secrets that this binding controls under other names. They are only searched for when the spec is new or the target was
/// renamed: nothing else makes one.
fn orphans(binding: &SecretBinding, context: &Context, namespace: &str) -> Vec<ObjectMeta> {
    let name = binding.target_name();
    let status = binding.status.as_ref();
    let renamed = status.and_then(|status| status.target.as_ref()).is_some_and(|target| target.name != name);
    let is_new = status.is_none_or(|status| status.observed_generation != binding.metadata.generation);
    // Secrets that stay when the binding goes stay when it lets go of them, too.
    let leaves_them = binding.spec.creation_policy() == CreationPolicy::Orphan;
    if (!renamed && !is_new) || leaves_them {
        return Vec::new();
    }
    let is_orphan = |metadata: &ObjectMeta| {
        metadata.name.as_ref() != Some(&name)
            && metadata.deletion_timestamp.is_none()
            && ownership(binding, metadata, None) == Ownership::Ours
    };
    let names = context.controlled.of(&binding.uid().unwrap_or_default(), namespace);
    let found = names.iter().filter_map(|name| context.stores.secrets.get(&ObjectRef::new(name).within(namespace)));
    found.filter(|secret| is_orphan(&secret.metadata)).map(|secret| secret.metadata.clone()).collect()
}

/// An older binding that wants the same target and is not about to go.
fn earlier_claimant(binding: &SecretBinding, context: &Context, namespace: &str) -> Option<String> {
    let name = binding.target_name();
    let others = context.index.of_target(namespace, &name);
    let others = others.iter().filter(|other| other.name != binding.name_any());
    let mut others = others.filter_map(|other| context.stores.bindings.get(other));
    let earlier = others.find(|other| {
        other.target_name() == name && other.metadata.deletion_timestamp.is_none() && goes_first(other, binding)
    });
    earlier.map(|earlier| earlier.name_any())
}

/// What only the database knows about what was delivered.
async fn history_of(baseline: &Baseline, snapshot: &Snapshot, context: &Context) -> (History, bool) {
    let origin = baseline.provenance().map(|provenance| &provenance.origin);
    let history = match history::inquire(origin, snapshot) {
        Inquiry::Settled(history) => history,
        Inquiry::TokenOf { project, delivered } => match context.sources.token_of(project, delivered.revision).await {
            Ok(logged) => history::compare(delivered, logged, snapshot.registry_revision().unwrap_or_default()),
            Err(error) => unknown(&error),
        },
    };
    let moved_from = origin.map(|origin| origin.environment).filter(|delivered| *delivered != snapshot.environment);
    let Some(delivered) = moved_from else { return (history, false) };
    match context.sources.environment_was_deleted(delivered).await {
        Ok(deleted) => (history, deleted),
        Err(error) => (unknown(&error), false),
    }
}

/// The binding stays as it is, and is asked about again; that it waits shows in the log alone.
fn unknown(error: &impl std::fmt::Display) -> History {
    tracing::warn!(%error, "cannot tell whether a Secret was delivered from this history; it stays as it is");
    History::Unknown
}
