//! What the operator last did for a SecretBinding.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// What the operator last did for the binding.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretBindingStatus {
    /// Ready, ResolvedRefs, Delivered, InSync, RolloutRestarted where there are restart targets, and Reconciling or Stalled
    /// while they are true.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "schema::conditions")]
    pub conditions: Vec<Condition>,

    /// The generation of the spec that was last looked at; -1 before the first look.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The last revision that changed what this binding delivers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,

    /// The project's revision that InSync was last said at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_revision: Option<i64>,

    /// The Secret as it was last written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<WrittenTarget>,

    /// When the content last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::time")]
    pub last_sync_time: Option<Time>,

    /// Keyed digest of the content that the restart targets were last seen to run with; another one than the target's has
    /// them restarted. Only with restart targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub restarted_for: Option<String>,

    /// The value of the annotation tidelock.dev/sync that was last answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub last_handled_sync: Option<String>,
}

/// A Secret as the operator wrote it.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct WrittenTarget {
    /// Name of the Secret.
    #[schemars(length(max = 253))]
    pub name: String,

    /// Its uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub uid: Option<String>,

    /// Its resourceVersion when it was written; any other one makes the operator read it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub resource_version: Option<String>,

    /// Keyed digest over everything that the Secret was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub inputs: Option<String>,

    /// Keyed digest of its names and values alone. Only with restart targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub content: Option<String>,

    /// How many keys it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<i64>,
}
