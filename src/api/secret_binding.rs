//! SecretBinding: which keys of a source an application wants in which Secret.

use std::time::Duration;

use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use super::{
    CreationPolicy, DataEntry, DataFromEntry, DeletionPolicy, Format, NameTransformer, OutOfSyncPolicy,
    RolloutRestartTarget, SecretBindingStatus, Selection, Target, Template, TemplateMetadata,
};

/// How long a binding stands on its last word while the database is away, where `staleAfter` is absent.
pub const STALE_AFTER: Duration = Duration::from_mins(10);

/// Keys of a source, delivered into one Secret of the same namespace.
#[expect(clippy::duplicated_attributes, reason = "columns of one type are no duplicates")]
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "tidelock.dev",
    version = "v1alpha1",
    kind = "SecretBinding",
    plural = "secretbindings",
    shortname = "sb",
    category = "tidelock",
    namespaced,
    status = "SecretBindingStatus",
    derive = "PartialEq",
    doc = "Keys of a ProjectEnvironment, delivered into one Secret of the same namespace.",
    printcolumn(name = "Source", type_ = "string", json_path = ".spec.sourceRef.name"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target.name"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "InSync", type_ = "string", json_path = ".status.conditions[?(@.type==\"InSync\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Revision", type_ = "integer", json_path = ".status.revision"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct SecretBindingSpec {
    /// Where the values come from.
    pub source_ref: SourceRef,

    /// The Secret to write; absent: one named as the binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,

    /// The keys to deliver, each under a name of its own. With neither data nor dataFrom: every key that is granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 1024),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["secretKey"])
    )]
    pub data: Option<Vec<DataEntry>>,

    /// More keys to deliver, found by pattern or name. An entry of the Secret must not come of two of them, nor of one and
    /// of data, unless a merge says which wins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub data_from: Option<Vec<DataFromEntry>>,

    /// How names of entries are spelled, after every rewrite; names that data writes out stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_transformer: Option<NameTransformer>,

    /// Whether being behind the registry counts against Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_sync_policy: Option<OutOfSyncPolicy>,

    /// How long the binding stands on its last word while the database is away, such as 90s, 10m or 1h30m; from 1s to
    /// 720h. Absent: 10m.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 2, max = 32),
        extend("x-kubernetes-validations" = [{
            "rule": "duration(self) >= duration('1s') && duration(self) <= duration('720h')",
            "message": "give a duration from 1s to 720h, such as 10m",
        }])
    )]
    pub stale_after: Option<String>,

    /// Workloads of this namespace to restart, once for each change of the Secret's content. Only where the operator runs
    /// with rollout restarts enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 16),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["kind", "name"])
    )]
    pub rollout_restart_targets: Option<Vec<RolloutRestartTarget>>,

    /// True stops all looking and writing for this binding; the Secret stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

/// The source that a binding reads. No field names a namespace: sources are cluster-scoped and grant to namespaces.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
pub struct SourceRef {
    /// Kind of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<SourceKind>,

    /// Name of the source.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,
}

/// Kind of the source; absent: ProjectEnvironment.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// An environment of a project in the registry.
    #[default]
    ProjectEnvironment,
    /// One of a later release. A binding that names it must not keep this operator from reading all the others.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

impl SecretBindingSpec {
    /// Kind of the source; absent: [`SourceKind::ProjectEnvironment`].
    #[must_use]
    pub fn source_kind(&self) -> SourceKind {
        self.source_ref.kind.unwrap_or_default()
    }

    /// What the binding takes from its source.
    #[must_use]
    pub fn selection(&self) -> Selection<'_> {
        if self.data.is_none() && self.data_from.is_none() {
            return Selection::Every;
        }
        Selection::Entries {
            data: self.data.as_deref().unwrap_or_default(),
            data_from: self.data_from.as_deref().unwrap_or_default(),
        }
    }

    /// Type of the Secret; absent: `Opaque`.
    #[must_use]
    pub fn target_type(&self) -> &str {
        self.template().and_then(|template| template.type_.as_deref()).unwrap_or("Opaque")
    }

    /// Whether the Secret is to be immutable; absent: no.
    #[must_use]
    pub fn is_immutable(&self) -> bool {
        self.target.as_ref().and_then(|target| target.immutable).unwrap_or_default()
    }

    /// Labels and annotations that the Secret is to have.
    #[must_use]
    pub fn target_metadata(&self) -> Option<&TemplateMetadata> {
        self.template()?.metadata.as_ref()
    }

    /// Whether being behind counts against Ready; absent: [`OutOfSyncPolicy::Report`].
    #[must_use]
    pub fn out_of_sync_policy(&self) -> OutOfSyncPolicy {
        self.out_of_sync_policy.unwrap_or_default()
    }

    /// How long the binding stands on its last word while the database is away; absent, or not to be read:
    /// [`STALE_AFTER`].
    #[must_use]
    pub fn stale_after(&self) -> Duration {
        let given = self.stale_after.as_deref().and_then(|text| text.parse::<kube::core::Duration>().ok());
        given.filter(|duration| !duration.is_negative()).map_or(STALE_AFTER, Duration::from)
    }

    /// Workloads to restart when the content has changed; absent: none.
    #[must_use]
    pub fn rollout_restart_targets(&self) -> &[RolloutRestartTarget] {
        self.rollout_restart_targets.as_deref().unwrap_or_default()
    }

    /// Whether a person asked to leave everything as it is; absent: no.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or_default()
    }

    /// What the Secret is to look like.
    #[must_use]
    pub fn template(&self) -> Option<&Template> {
        self.target.as_ref()?.template.as_ref()
    }

    /// The one entry that is to hold all others.
    #[must_use]
    pub fn format(&self) -> Option<&Format> {
        self.target.as_ref()?.format.as_ref()
    }

    /// Whose the Secret is; absent: [`CreationPolicy::Owner`].
    #[must_use]
    pub fn creation_policy(&self) -> CreationPolicy {
        self.target.as_ref().and_then(|target| target.creation_policy).unwrap_or_default()
    }

    /// What happens when the source loses what the Secret was made from; absent: [`DeletionPolicy::Retain`].
    #[must_use]
    pub fn deletion_policy(&self) -> DeletionPolicy {
        self.target.as_ref().and_then(|target| target.deletion_policy).unwrap_or_default()
    }

    /// Whether entries of the Secret are anything but stored values under names that are known without opening one.
    #[must_use]
    pub(crate) fn is_shaped(&self) -> bool {
        self.data_from.is_some()
            || self.name_transformer.is_some()
            || self.format().is_some()
            || self.template().is_some_and(Template::has_entries)
            || self.data.iter().flatten().any(|entry| !entry.is_plain())
    }
}

impl SecretBinding {
    /// Name of the Secret to write; absent: the binding's own.
    #[must_use]
    pub fn target_name(&self) -> String {
        let given = self.spec.target.as_ref().and_then(|target| target.name.clone());
        given.unwrap_or_else(|| self.name_any())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::WorkloadKind;
    use serde_json::{Value, json};

    fn binding(spec: Value) -> SecretBinding {
        let spec = serde_json::from_value(spec).expect("a spec");
        SecretBinding::new("app", spec)
    }

    #[test]
    fn what_is_absent_means_the_default() {
        let binding = binding(json!({"sourceRef": {"name": "shop-dev"}}));
        assert_eq!(binding.target_name(), "app");
        assert_eq!(binding.spec.source_kind(), SourceKind::ProjectEnvironment);
        assert_eq!(binding.spec.selection(), Selection::Every);
        assert_eq!(binding.spec.target_type(), "Opaque");
        assert_eq!(binding.spec.out_of_sync_policy(), OutOfSyncPolicy::Report);
        assert_eq!(binding.spec.stale_after(), Duration::from_mins(10));
        assert!(!binding.spec.is_immutable() && !binding.spec.is_suspended());
        assert_eq!(binding.spec.target_metadata(), None);
        assert!(binding.spec.rollout_restart_targets().is_empty());
    }

    #[test]
    fn a_kind_of_source_that_a_later_release_adds_is_read_and_not_known() {
        let binding = binding(json!({"sourceRef": {"kind": "SomethingNewer", "name": "shop-dev"}}));
        assert_eq!(binding.spec.source_kind(), SourceKind::Unknown);
    }

    #[test]
    fn a_kind_of_workload_that_a_later_release_adds_is_read_and_not_known() {
        let targets = json!([{"kind": "Deployment", "name": "web"}, {"kind": "SomethingNewer", "name": "web"}]);
        let binding = binding(json!({"sourceRef": {"name": "shop-dev"}, "rolloutRestartTargets": targets}));
        let kinds = binding.spec.rollout_restart_targets().iter().map(|target| target.kind);
        assert_eq!(kinds.collect::<Vec<_>>(), [WorkloadKind::Deployment, WorkloadKind::Unknown]);
    }

    #[test]
    fn what_is_absent_is_not_written_either() {
        let spec = json!({"sourceRef": {"name": "shop-dev"}});
        assert_eq!(serde_json::to_value(&binding(spec.clone()).spec).expect("JSON"), spec);
    }

    #[test]
    fn what_is_given_counts() {
        let binding = binding(json!({
            "sourceRef": {"name": "shop-dev"},
            "target": {"name": "db", "immutable": true, "template": {"type": "example.com/db"}},
            "data": [{"secretKey": "url", "remoteRef": {"key": "DATABASE_URL"}}],
            "staleAfter": "1h30m",
        }));
        assert_eq!(binding.target_name(), "db");
        assert_eq!(binding.spec.target_type(), "example.com/db");
        assert!(binding.spec.is_immutable());
        assert_eq!(binding.spec.stale_after(), Duration::from_mins(90));
        assert!(
            matches!(binding.spec.selection(), Selection::Entries { data: [entry], data_from: [] } if !entry.is_optional())
        );
        assert!(!binding.spec.is_shaped());
    }

    #[test]
    fn an_empty_list_of_keys_is_not_every_key() {
        let binding = binding(json!({"sourceRef": {"name": "shop-dev"}, "data": []}));
        assert_eq!(binding.spec.selection(), Selection::Entries { data: &[], data_from: &[] });
    }
}
