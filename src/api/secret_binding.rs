//! SecretBinding: which keys of a source an application wants in which Secret.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use super::{OutOfSyncPolicy, SecretBindingStatus};

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

    /// The keys to deliver, each under a name of its own; absent: every key that is granted, under its own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 1024),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["secretKey"])
    )]
    pub data: Option<Vec<DataEntry>>,

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

/// The Secret that a binding writes.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
pub struct Target {
    /// Name of the Secret; absent: the binding's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: Option<String>,

    /// True makes the Secret immutable: written once, and a later difference is reported instead of written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,

    /// What the Secret has beside its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// What a Secret has beside its data.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
pub struct Template {
    /// Type of the Secret; absent: Opaque. Kubernetes never changes the type of a Secret that exists.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        extend("x-kubernetes-validations" = [{
            "rule": "!(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])",
            "message": "a Secret of this type makes the control plane mint a credential: not delivered",
        }])
    )]
    pub type_: Option<String>,

    /// Labels and annotations of the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,
}

/// Labels and annotations of a Secret; those of other people are left alone.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateMetadata {
    /// Labels to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::template_labels")]
    pub labels: BTreeMap<String, String>,

    /// Annotations to set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "schema::template_annotations")]
    pub annotations: BTreeMap<String, String>,
}

/// One key to deliver.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DataEntry {
    /// Name of the key in the Secret.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::SECRET_KEY))]
    pub secret_key: String,

    /// The key in the source.
    pub remote_ref: RemoteRef,

    /// True lets the key be absent: it leaves the Secret when it is deleted in the source. Absent or false: a key
    /// that is not there holds the whole Secret as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
}

impl DataEntry {
    /// Whether the key may be absent; absent: no.
    #[must_use]
    pub fn is_optional(&self) -> bool {
        self.optional.unwrap_or_default()
    }
}

/// A key in a source.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct RemoteRef {
    /// The key's name in the registry.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What a binding takes from its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection<'a> {
    /// Every key that is granted, under its own name.
    Every,
    /// These keys, each under the name given.
    Named(&'a [DataEntry]),
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
        self.data.as_deref().map_or(Selection::Every, Selection::Named)
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

    /// Whether a person asked to leave everything as it is; absent: no.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or_default()
    }

    fn template(&self) -> Option<&Template> {
        self.target.as_ref()?.template.as_ref()
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
    }

    #[test]
    fn a_kind_of_source_that_a_later_release_adds_is_read_and_not_known() {
        let binding = binding(json!({"sourceRef": {"kind": "SomethingNewer", "name": "shop-dev"}}));
        assert_eq!(binding.spec.source_kind(), SourceKind::Unknown);
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
        assert!(matches!(binding.spec.selection(), Selection::Named([entry]) if !entry.is_optional()));
    }

    #[test]
    fn an_empty_list_of_keys_is_not_every_key() {
        let binding = binding(json!({"sourceRef": {"name": "shop-dev"}, "data": []}));
        assert_eq!(binding.spec.selection(), Selection::Named(&[]));
    }
}
