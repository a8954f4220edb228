//! A small cluster for tests: one binding, its source, and an API server's Secrets, in memory. It takes the steps of a
//! reconcile and counts the writes.

mod api_server;
mod workloads;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::ResourceExt;
use kube::core::PartialObjectMetaExt;
use serde_json::{Value, json};

use super::driver::{Applied, Asked, Cluster, drive};
use super::fixtures::{BindingFixture, SnapshotFixture, keyring, token};
use super::observe::{ObserveError, target_by_metadata, target_in_cache};
use super::observed::{Baseline, Life, Observed, Question, ReadLevel, SyncRequest, TargetState};
use super::plan::history::{self, History, Inquiry};
use super::plan::ownership::{Ownership, ownership};
use super::plan::repeats::Repeats;
use super::plan::rollouts::{Restart, Standing};
use super::plan::target::FullSecret;
use super::plan::{ObjectVersion, Outcome, Plan, SecretWrite, TargetEvent, WriteFailure, next_status};
use super::workloads::RestartTargets;
use crate::api::names::{MANAGED_BY_LABEL, PREFIX};
use crate::api::{ConditionType, CreationPolicy, Grants, ProjectEnvironment, SecretBinding, SecretBindingStatus, find};
use crate::controller::runtime::{Requeue, StatusError};
use crate::controller::sources::{
    Fault, LoggedToken, Refusal, SealedValues, Snapshot, Source, SourceReference, SourceState, Tombstones,
};
use crate::shape::ConfigMapTexts;

use self::workloads::SimulatedWorkloads;
pub(super) use self::workloads::target;

pub(super) struct SimulatedCluster {
    pub(super) binding: SecretBinding,
    pub(super) environment: Option<ProjectEnvironment>,
    pub(super) namespace: ObjectMeta,
    pub(super) earlier_claimant: Option<String>,
    /// Whether it was deleted, and the cache does not know.
    pub(super) is_gone: bool,
    pub(super) environment_was_deleted: bool,
    state: SourceState,
    /// What the state was read from.
    registry: Option<SnapshotFixture>,
    /// The project's log; other revisions up to the newest have the token of the one history.
    log: BTreeMap<i64, LoggedToken>,
    /// Whether a question about the log fails.
    pub(super) log_is_unreadable: bool,
    secrets: BTreeMap<String, Secret>,
    pub(super) config_maps: ConfigMapTexts,
    clock: i64,
    version: u64,
    writes: Vec<String>,
    /// Whether a person asked for a poll.
    pub(super) sync: SyncRequest,
    reported: Option<Outcome>,
    pub(super) event: Option<TargetEvent>,
    pub(super) requeue: Option<std::time::Duration>,
    /// How the API server answers the next write, instead of taking it.
    pub(super) refusal: Option<WriteFailure>,
    /// What admission does to a Secret on its way into the store.
    pub(super) admission: Option<fn(&mut Secret)>,
    pub(super) workloads: SimulatedWorkloads,
    /// What is remembered from one reconcile to the next.
    pub(super) repeats: Option<Repeats>,
    /// How often the Secret was read, values included.
    pub(super) reads: usize,
    /// How often a Secret was to be made that was there already.
    pub(super) vain_creations: usize,
    /// How often it was asked whether the binding still exists.
    pub(super) questions_of_life: usize,
}

/// A cluster with that binding in the namespace `shop`, to which the ProjectEnvironment `shop-dev` grants everything, and
/// in which nobody has polled the database yet.
pub(super) fn cluster(binding: BindingFixture) -> SimulatedCluster {
    let namespace = ObjectMeta { name: Some("shop".into()), ..ObjectMeta::default() };
    let cluster = SimulatedCluster {
        binding: binding.build(),
        environment: None,
        namespace,
        earlier_claimant: None,
        is_gone: false,
        environment_was_deleted: false,
        state: SourceState::Pending,
        registry: None,
        log: BTreeMap::new(),
        log_is_unreadable: false,
        secrets: BTreeMap::new(),
        config_maps: ConfigMapTexts::default(),
        clock: 1_000,
        version: 10,
        writes: Vec::new(),
        sync: SyncRequest::None,
        reported: None,
        event: None,
        requeue: None,
        refusal: None,
        admission: None,
        workloads: SimulatedWorkloads::default(),
        repeats: None,
        reads: 0,
        vain_creations: 0,
        questions_of_life: 0,
    };
    cluster.granting(&json!([{"namespaces": {"names": ["shop"]}}]), "Retain")
}

impl Cluster for SimulatedCluster {
    async fn observe(&mut self, level: ReadLevel) -> Result<Observed, ObserveError> {
        Ok(self.read_all(level))
    }

    async fn ask(&mut self, observed: &mut Observed, question: Question) -> Result<Asked, ObserveError> {
        let registry = || self.registry.as_ref().expect("what was read came from somewhere");
        match question {
            Question::Life => {
                self.questions_of_life += 1;
                observed.life = if self.is_gone { Life::Gone } else { Life::Lives };
            }
            Question::Values(values) => observed.values = registry().sealed_values(&values),
            Question::Tombstones(rows) => observed.tombstones = registry().tombstones(&rows),
            Question::RestartTargets => {
                observed.restart_targets.found = Some(self.workloads.find(&self.binding));
                observed.restart_targets.due = self.workloads.due.clone();
            }
        }
        Ok(Asked::Answered)
    }

    async fn apply(&mut self, plan: &Plan) -> Applied {
        if !matches!(plan.write, SecretWrite::Keep)
            && let Some(refusal) = self.refusal.take()
        {
            return Applied::Failed(refusal);
        }
        self.write_all(plan)
    }

    async fn restart(&mut self, restarts: &[Restart]) -> Vec<Standing> {
        restarts.iter().map(|restart| self.restart_one(restart)).collect()
    }

    async fn report(&mut self, outcome: &Outcome, written: Option<&ObjectVersion>) -> Result<(), StatusError> {
        if let Some(status) = next_status(&self.binding, outcome, written, self.now()) {
            self.binding.status = Some(status);
            self.writes.push("status".into());
        }
        self.repeats = outcome.repeats.clone().or(self.repeats.take());
        self.reported = Some(outcome.clone());
        Ok(())
    }
}

impl SimulatedCluster {
    pub(super) fn granting(mut self, grants: &Value, on_revoke: &str) -> Self {
        self.grant(grants, on_revoke);
        self
    }

    pub(super) fn grant(&mut self, grants: &Value, on_revoke: &str) {
        let spec = json!({"project": "shop", "environment": "dev", "grants": grants, "onRevoke": on_revoke});
        let spec = serde_json::from_value(spec).expect("a spec");
        self.environment = Some(ProjectEnvironment::new(&self.binding.spec.source_ref.name, spec));
    }

    pub(super) fn reading(mut self, snapshot: SnapshotFixture) -> Self {
        self.read(snapshot);
        self
    }

    pub(super) fn read(&mut self, snapshot: SnapshotFixture) {
        self.state = SourceState::Ready(Arc::new(snapshot.clone().build()));
        self.registry = Some(snapshot);
    }

    pub(super) fn refuse(&mut self, refusal: Refusal) {
        self.state = SourceState::Refused { refusal };
    }

    pub(super) fn lose_the_database(&mut self) {
        self.lose_the_database_by(Fault::Away);
    }

    pub(super) fn lose_the_database_by(&mut self, fault: Fault) {
        let last = self.state.snapshot().map(Arc::clone);
        let cause = "connection refused".to_owned();
        self.state = SourceState::Unavailable { since: self.now(), cause, fault, last };
    }

    /// What the source's own status says, since when.
    pub(super) fn source_says(&mut self, reason: &str, second: i64) {
        let since = Timestamp::from_second(second).expect("a time");
        let condition = |type_| json!({"type": type_, "status": "Unknown", "reason": reason, "message": "", "lastTransitionTime": since});
        let conditions = [condition("Ready"), condition("InSync")];
        let status = serde_json::from_value(json!({"conditions": conditions})).expect("a status");
        self.environment.as_mut().expect("a source").status = Some(status);
    }

    pub(super) fn log_has(&mut self, revision: i64, logged: LoggedToken) {
        self.log.insert(revision, logged);
    }

    pub(super) fn with_secret(mut self, secret: Secret) -> Self {
        self.secrets.insert(secret.name_any(), secret);
        self
    }

    /// The same binding with another spec; it keeps its status, and gets a new generation.
    pub(super) fn edit_binding(&mut self, binding: BindingFixture) {
        let edited = binding.build();
        let generation = self.binding.metadata.generation.map(|generation| generation + 1);
        self.binding.spec = edited.spec;
        self.binding.metadata.generation = generation;
        self.binding.metadata.annotations = edited.metadata.annotations;
    }

    pub(super) fn annotate_binding(&mut self, name: &str, text: &str) {
        self.binding.metadata.annotations.get_or_insert_default().insert(name.into(), text.into());
    }

    /// A person's edit of a Secret.
    pub(super) fn edit_secret(&mut self, name: &str, change: impl FnOnce(&mut Secret)) {
        self.version += 1;
        let secret = self.secrets.get_mut(name).expect("a Secret to edit");
        change(secret);
        secret.metadata.resource_version = Some(self.version.to_string());
    }

    pub(super) fn delete_secret(&mut self, name: &str) -> Secret {
        self.secrets.remove(name).expect("a Secret to delete")
    }

    pub(super) fn wait(&mut self, seconds: i64) {
        self.clock += seconds;
    }

    fn now(&self) -> Timestamp {
        // Late in its second: what is rounded up would be ahead of it.
        Timestamp::from_millisecond(self.clock * 1_000 + 900).expect("a time")
    }

    /// Takes the steps of a reconcile, and gives back the writes it took.
    pub(super) fn reconcile(&mut self) -> Vec<String> {
        self.writes.clear();
        self.reported = None;
        let requeue = drive(self, &keyring()).now_or_never().expect("nothing here waits").expect("nothing here fails");
        let outcome = self.reported.take().unwrap_or_else(|| panic!("not settled: {:?}", self.writes));
        self.event = outcome.event;
        self.requeue = match requeue {
            Requeue::OnChange => None,
            Requeue::After(after) | Requeue::LowAfter(after) => Some(after),
        };
        self.writes.clone()
    }

    pub(super) fn reconcile_answering(&mut self, answered: Option<&str>) -> Vec<String> {
        self.sync = answered.map_or(SyncRequest::None, |nonce| SyncRequest::Answered(nonce.to_owned()));
        let writes = self.reconcile();
        self.sync = SyncRequest::None;
        writes
    }

    /// What is read.
    fn read_all(&mut self, level: ReadLevel) -> Observed {
        let name = self.binding.target_name();
        let secret = self.secrets.get(&name);
        let target = match level {
            ReadLevel::Cache => {
                let cached = secret.filter(|secret| secret.labels().contains_key(MANAGED_BY_LABEL));
                let cached = cached.map(|secret| {
                    // As the watch does it.
                    let mut metadata = secret.metadata.clone();
                    metadata.annotations.get_or_insert_default().retain(|name, _| name.starts_with(PREFIX));
                    metadata
                });
                target_in_cache(&self.binding, cached.as_ref())
            }
            ReadLevel::Metadata => target_by_metadata(&self.binding, secret.map(|secret| secret.metadata.clone())),
            ReadLevel::Secret => {
                self.reads += 1;
                secret.map_or(TargetState::Absent, |secret| TargetState::Full(FullSecret(secret.clone())))
            }
        };
        let others = self.secrets.values().map(|secret| secret.metadata.clone());
        let leaves_them = self.binding.spec.creation_policy() == CreationPolicy::Orphan;
        let is_orphan = |metadata: &ObjectMeta| {
            !leaves_them
                && metadata.name.as_ref() != Some(&name)
                && ownership(&self.binding, metadata, None) == Ownership::Ours
        };
        let orphans: Vec<ObjectMeta> = others.filter(is_orphan).collect();
        let baseline = Baseline::of(&self.binding, &target, &orphans);
        let history = match &self.state {
            SourceState::Ready(snapshot) => self.history(&baseline, snapshot),
            _ => History::Continues,
        };
        let environment = self.environment.clone().map(Arc::new);
        Observed {
            now: self.now(),
            binding: Arc::new(self.binding.clone()),
            life: Life::Unknown,
            repeats: self.repeats.clone(),
            namespace: Some(Arc::new(self.namespace.clone().into_response_partial::<Namespace>())),
            reference: SourceReference::from(&self.binding),
            source: environment.map(|object| Source::ProjectEnvironment {
                grants: Arc::new(Grants::new(&object.spec.grants)),
                object,
                state: self.state.clone(),
            }),
            sync: self.sync.clone(),
            target,
            orphans,
            earlier_claimant: self.earlier_claimant.clone(),
            baseline,
            history,
            environment_was_deleted: self.environment_was_deleted,
            config_maps: self.config_maps.clone(),
            values: SealedValues::default(),
            tombstones: Tombstones::default(),
            restart_targets: RestartTargets { is_enabled: !self.workloads.are_off_limits, ..RestartTargets::default() },
        }
    }

    fn history(&self, baseline: &Baseline, snapshot: &Snapshot) -> History {
        match history::inquire(baseline.provenance().map(|provenance| &provenance.origin), snapshot) {
            Inquiry::Settled(history) => history,
            Inquiry::TokenOf { .. } if self.log_is_unreadable => History::Unknown,
            Inquiry::TokenOf { delivered, .. } => {
                let logged = self.log.get(&delivered.revision).copied();
                let logged = logged.unwrap_or_else(|| LoggedToken::Token(token(delivered.revision)));
                history::compare(delivered, logged, snapshot.registry_revision().unwrap_or_default())
            }
        }
    }

    /// The data of a Secret as `KEY=value`, sorted; `None` where there is no such Secret.
    pub(super) fn data(&self, name: &str) -> Option<Vec<String>> {
        let data = self.secrets.get(name)?.data.iter().flatten();
        Some(data.map(|(key, value)| format!("{key}={}", String::from_utf8_lossy(&value.0))).collect())
    }

    pub(super) fn secret(&self, name: &str) -> &Secret {
        &self.secrets[name]
    }

    pub(super) fn status(&self) -> &SecretBindingStatus {
        self.binding.status.as_ref().expect("a status")
    }

    /// Status, reason and message of a condition.
    pub(super) fn condition(&self, condition: ConditionType) -> (&str, &str, &str) {
        let found = find(&self.status().conditions, condition).expect("the condition");
        (&found.status, &found.reason, &found.message)
    }

    /// Status and reason of `Ready`.
    pub(super) fn ready(&self) -> (&str, &str) {
        let (status, reason, _) = self.condition(ConditionType::Ready);
        (status, reason)
    }

    /// Everything that people can read of the binding, as text.
    pub(super) fn everything_said(&self) -> String {
        let event = self.event.as_ref().map(|event| format!("{event:?}"));
        let metadata: Vec<&ObjectMeta> = self.secrets.values().map(|secret| &secret.metadata).collect();
        format!("{} {event:?} {}", json!(self.binding), json!(metadata))
    }

    /// That a deletion of the binding has begun.
    pub(super) fn begin_deletion(&mut self) {
        self.binding.metadata.deletion_timestamp = Some(Time(self.now()));
    }
}
