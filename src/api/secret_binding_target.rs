//! The Secret that a SecretBinding writes: whose it is, and what it looks like.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

/// The Secret that a binding writes.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!(has(self.creationPolicy) && self.creationPolicy == 'Merge' && has(self.immutable) && self.immutable)",
        "message": "a Secret that others write, too, is not made immutable",
    },
    {
        "rule": "!(has(self.creationPolicy) && self.creationPolicy == 'Merge' \
                 && has(self.deletionPolicy) && self.deletionPolicy == 'Delete')",
        "message": "a Secret that others write, too, is not deleted: use deletionPolicy Merge",
    },
    {
        "rule": "!(has(self.creationPolicy) && self.creationPolicy == 'Merge' \
                 && has(self.template) && (has(self.template.type) || has(self.template.metadata)))",
        "message": "a Secret that others write, too, keeps its type, labels and annotations",
    },
    {
        "rule": "!(has(self.format) && has(self.template) && (has(self.template.data) || has(self.template.templateFrom)))",
        "message": "give a format or templates, not both",
    },
]))]
pub struct Target {
    /// Name of the Secret; absent: the binding's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: Option<String>,

    /// Whose the Secret is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_policy: Option<CreationPolicy>,

    /// What happens to the Secret when what it was made from is deleted in the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,

    /// True makes the Secret immutable: written once, and a later difference is reported instead of written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,

    /// One entry that holds all others, as a file that programs read; absent: each value is an entry of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,

    /// What the Secret looks like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// Whose the Secret is; absent: Owner.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CreationPolicy {
    /// The binding's: it controls the Secret, which goes with it.
    #[default]
    Owner,
    /// The binding's, and it stays when the binding goes.
    Orphan,
    /// Somebody else's, who annotated it tidelock.dev/merge=<binding>; the binding adds keys, and touches no other.
    Merge,
    /// One of a later release.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What happens to the Secret when what it was made from is deleted in the source; absent: Retain. Never without proof that
/// it was deleted on purpose.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// Entries leave, also those that data names, and the Secret is deleted when the last one does.
    Delete,
    /// Entries leave, also those that data names, and the Secret stays.
    Merge,
    /// What data names, and the last of what a find finds, holds the Secret as it is. So it does under a word of a later
    /// release.
    #[default]
    #[serde(other)]
    Retain,
}

/// One entry that holds all others.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Format {
    /// What the entry is written as.
    #[serde(rename = "as")]
    pub as_: FileFormat,

    /// Name of the entry in the Secret, such as .env or application.properties.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::SECRET_KEY))]
    pub secret_key: String,
}

/// What an entry that holds all others is written as.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum FileFormat {
    /// Lines of the form NAME='value'.
    Dotenv,
    /// One JSON object of strings.
    Json,
    /// One YAML mapping of strings.
    Yaml,
    /// A file of Java properties.
    Properties,
    /// One of a later release.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What a Secret looks like.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Template {
    /// Type of the Secret; absent: Opaque. Kubernetes never changes the type of a Secret that exists. The data of the types
    /// kubernetes.io/tls, dockerconfigjson, dockercfg, basic-auth and ssh-auth is checked before it is written.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        extend("x-kubernetes-validations" = [{
            "rule": "!(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])",
            "message": "a Secret of this type makes the control plane mint a credential: not delivered",
        }])
    )]
    pub type_: Option<String>,

    /// Labels and annotations of the Secret. They are no templates: everybody reads them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TemplateMetadata>,

    /// Entries of the Secret by name, each a template in which the values are variables: postgres://{{ USER }}@db.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "schema::templates")]
    pub data: Option<BTreeMap<String, String>>,

    /// More of them, from ConfigMaps of the same namespace with the label tidelock.dev/template=true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub template_from: Option<Vec<TemplateFrom>>,

    /// Whether the Secret has the values beside the templates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge_policy: Option<MergePolicy>,
}

/// Where more templates are.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct TemplateFrom {
    /// A ConfigMap of the same namespace.
    pub config_map: TemplateRef,
}

/// A ConfigMap with templates.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct TemplateRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::DNS_SUBDOMAIN))]
    pub name: String,

    /// Its keys that are templates; each becomes an entry of that name.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["key"]))]
    pub items: Vec<TemplateItem>,
}

/// A key of a ConfigMap.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
pub struct TemplateItem {
    /// The key.
    #[schemars(length(min = 1, max = 253), regex(pattern = schema::SECRET_KEY))]
    pub key: String,
}

/// Whether the Secret has the values beside the templates; absent: Replace, it has the templates alone.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MergePolicy {
    /// The templates alone.
    #[default]
    Replace,
    /// The values, and the templates, which win.
    Merge,
    /// One of a later release.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
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

impl TemplateRef {
    /// Whether a key of the ConfigMap is one of its templates.
    pub(crate) fn takes(&self, key: &str) -> bool {
        self.items.iter().any(|item| item.key == key)
    }
}

impl Target {
    /// What of it cannot go together; the schema refuses it, too.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        let template = self.template.as_ref();
        let is_merged = self.creation_policy == Some(CreationPolicy::Merge);
        if is_merged && self.immutable == Some(true) {
            Some("spec.target.immutable makes immutable what others write, too (creationPolicy: Merge)")
        } else if is_merged && self.deletion_policy == Some(DeletionPolicy::Delete) {
            Some("spec.target.deletionPolicy deletes what others write, too (creationPolicy: Merge)")
        } else if is_merged && template.is_some_and(|template| template.type_.is_some() || template.metadata.is_some())
        {
            Some(
                "spec.target.template gives a type, labels or annotations to what others write, too (creationPolicy: Merge)",
            )
        } else if self.format.is_some() && template.is_some_and(Template::has_entries) {
            Some("spec.target has a format and templates: give one of both")
        } else {
            None
        }
    }
}

impl Template {
    /// The templates that stand in the spec itself.
    pub(crate) fn inline(&self) -> impl Iterator<Item = (&str, &str)> {
        self.data.iter().flatten().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// The ConfigMaps and their keys.
    pub(crate) fn config_maps(&self) -> impl Iterator<Item = &TemplateRef> {
        self.template_from.iter().flatten().map(|from| &from.config_map)
    }

    /// Whether it has templates of entries.
    #[must_use]
    pub(crate) const fn has_entries(&self) -> bool {
        self.data.is_some() || self.template_from.is_some()
    }
}
