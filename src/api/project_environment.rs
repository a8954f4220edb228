//! ProjectEnvironment: one environment of a project in the registry, and who in the cluster may read it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, LabelSelector, MicroTime};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;
use crate::core::{KeyState, StateCounts};

/// Most entries of [`ProjectEnvironmentStatus::out_of_sync`].
pub const OUT_OF_SYNC_MAX: usize = 50;

/// An environment of a project in the registry, and which namespaces may read which of its keys.
#[expect(clippy::duplicated_attributes, reason = "columns of one type are no duplicates")]
#[derive(CustomResource, JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[kube(
    group = "tidelock.dev",
    version = "v1alpha1",
    kind = "ProjectEnvironment",
    plural = "projectenvironments",
    shortname = "penv",
    category = "tidelock",
    status = "ProjectEnvironmentStatus",
    derive = "PartialEq",
    doc = "An environment of a project in the registry: who in the cluster may read it, and which of its keys have \
           fallen behind.",
    printcolumn(name = "Project", type_ = "string", json_path = ".spec.project"),
    printcolumn(name = "Environment", type_ = "string", json_path = ".spec.environment"),
    printcolumn(name = "Production", type_ = "boolean", json_path = ".status.production"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "InSync", type_ = "string", json_path = ".status.conditions[?(@.type==\"InSync\")].status"),
    printcolumn(name = "Stale", type_ = "integer", json_path = ".status.keys.stale"),
    printcolumn(name = "Missing", type_ = "integer", json_path = ".status.keys.missing"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct ProjectEnvironmentSpec {
    /// Name of the project in the registry.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::REGISTRY_NAME))]
    pub project: String,

    /// Name of the environment within the project.
    #[schemars(length(min = 1, max = 63), regex(pattern = schema::REGISTRY_NAME))]
    pub environment: String,

    /// Which namespaces may read which keys. What no grant names is refused.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub grants: Vec<Grant>,

    /// What happens to a Secret that loses its grant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_revoke: Option<OnRevoke>,

    /// Whether being behind the registry counts against Ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_sync_policy: Option<OutOfSyncPolicy>,

    /// True stops all looking and writing for this environment and what is bound to it; everything stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
}

impl ProjectEnvironmentSpec {
    /// What happens to Secrets that lose their grant; absent: [`OnRevoke::Retain`].
    #[must_use]
    pub fn on_revoke(&self) -> OnRevoke {
        self.on_revoke.unwrap_or_default()
    }

    /// Whether being behind counts against Ready; absent: [`OutOfSyncPolicy::Report`].
    #[must_use]
    pub fn out_of_sync_policy(&self) -> OutOfSyncPolicy {
        self.out_of_sync_policy.unwrap_or_default()
    }

    /// Whether a person asked to leave everything as it is; absent: no.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or_default()
    }
}

/// Keys granted to namespaces.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
pub struct Grant {
    /// The namespaces that are granted the keys.
    pub namespaces: NamespaceGrant,

    /// The keys that are granted; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyGrant>,
}

/// Namespaces, by name or by label; one that fits either is meant.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.names) || has(self.selector)",
    "message": "name the namespaces, or select them by label",
}]))]
pub struct NamespaceGrant {
    /// Namespaces by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 256),
        inner(length(min = 1, max = 63), regex(pattern = schema::DNS_LABEL)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub names: Option<Vec<String>>,

    /// Namespaces by label. Who may label a namespace that it selects decides who may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::selector")]
    pub selector: Option<LabelSelector>,
}

/// Keys, by name or by pattern; one that fits either is meant.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "has(self.names) || has(self.regexp)",
    "message": "name the keys or give a regexp; leave keys out to grant all",
}]))]
pub struct KeyGrant {
    /// Keys by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 1024),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub names: Option<Vec<String>>,

    /// Keys by a regular expression that the whole key must match: RE2 over ASCII, without classes of Unicode, operators or
    /// classes within classes, characters by number, and counts above 1000. Keys of other scripts are granted by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 512),
        extend("x-kubernetes-validations" = [{
            // An expression that does not parse is an error on both sides, and so not absorbed by `||`.
            "rule": "''.matches(self) || !''.matches(self)",
            "message": "not a regular expression in RE2 syntax",
        }])
    )]
    pub regexp: Option<String>,
}

/// What happens to a Secret when its namespace or the ProjectEnvironment loses the right to it. Retain, where absent,
/// keeps the Secret as it is; Delete deletes it.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnRevoke {
    /// The Secret is deleted.
    Delete,
    /// The Secret stays as it is. So it does under a word of a later release.
    #[default]
    #[serde(other)]
    Retain,
}

/// Whether what has fallen behind is still Ready. Report, where absent, says so in InSync alone; Degrade makes Ready
/// false, too.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OutOfSyncPolicy {
    /// InSync says it; Ready is left alone.
    #[default]
    Report,
    /// Ready is false while InSync is. A word of a later release lets no gate pass that would not pass under this one.
    #[serde(other)]
    Degrade,
}

/// What the operator last saw of the environment.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct ProjectEnvironmentStatus {
    /// Ready, InSync, and Reconciling or Stalled while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The generation of the spec that was last looked at; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Id of the project in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub project_id: Option<String>,

    /// Id of the environment in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub environment_id: Option<String>,

    /// Whether it is the project's production environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub production: Option<bool>,

    /// The revision at which the environment's live values last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,

    /// The project's revision up to which everything has been seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_revision: Option<i64>,

    /// The value of the annotation tidelock.dev/sync that was last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub last_handled_sync: Option<String>,

    /// How many keys stand in each state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeyCounts>,

    /// The first 50 keys that are behind or at odds with the registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 50),
        extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"])
    )]
    pub out_of_sync: Vec<OutOfSyncKey>,

    /// How many SecretBindings read this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bindings: Option<i64>,
}

/// How many keys stand in each state.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct KeyCounts {
    /// All keys that are live here or registered in the project.
    pub total: i64,
    /// Live, and nothing newer exists elsewhere.
    pub in_sync: i64,
    /// Live, and the registry has seen something newer.
    pub stale: i64,
    /// Registered, and not live here.
    pub missing: i64,
    /// Live here, and not registered.
    pub unregistered: i64,
    /// Declared not to be needed here.
    pub exempt: i64,
}

impl From<StateCounts> for KeyCounts {
    fn from(counts: StateCounts) -> Self {
        let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        Self {
            total: count(counts.total),
            in_sync: count(counts.in_sync),
            stale: count(counts.stale),
            missing: count(counts.missing),
            unregistered: count(counts.unregistered),
            exempt: count(counts.exempt),
        }
    }
}

/// A key that is behind or at odds with the registry.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OutOfSyncKey {
    /// The key.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,

    /// Stale, Missing or Unregistered.
    #[schemars(with = "String", extend("enum" = ["Stale", "Missing", "Unregistered"]))]
    pub state: KeyState,

    /// When the value here was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub updated_at: Option<MicroTime>,

    /// When the key was last changed anywhere in the project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_updated_at: Option<MicroTime>,
}
