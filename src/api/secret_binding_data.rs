//! What a SecretBinding takes from its source, and under which names.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::schema;

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

    /// Whether its value is delivered as it is stored.
    #[must_use]
    pub(crate) const fn is_plain(&self) -> bool {
        self.remote_ref.property.is_none() && self.remote_ref.decoding_strategy.is_none()
    }
}

/// A key in a source.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RemoteRef {
    /// The key's name in the registry.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,

    /// The part of a JSON value to deliver: the name of a property, or a path such as servers.0.host. Absent: the whole
    /// value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub property: Option<String>,

    /// How the value, or its property, is decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoding_strategy: Option<DecodingStrategy>,
}

/// How a value is decoded; absent: None, as it is.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DecodingStrategy {
    /// As it is.
    #[default]
    None,
    /// From base64 with the standard alphabet, padded or not.
    Base64,
    /// From base64 with the alphabet for URLs, padded or not.
    #[serde(rename = "Base64URL")]
    Base64Url,
    /// From whichever of both it is, else as it is.
    Auto,
    /// One of a later release.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// Keys to deliver that are found, not named one by one.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct DataFromEntry {
    /// Which keys.
    pub find: Find,

    /// What becomes of their names, step by step; each step takes what the one before left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub rewrite: Option<Vec<Rewrite>>,
}

/// Which keys, of those that are granted. With neither name nor keys: all of them.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Find {
    /// Keys by pattern.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<FindName>,

    /// Keys by name. Those that are not there are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 1024),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub keys: Option<Vec<String>>,

    /// Keys by name that are not meant, whatever the rest says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 1024),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub exclude_keys: Option<Vec<String>>,

    /// How their values are decoded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoding_strategy: Option<DecodingStrategy>,
}

/// Keys by pattern.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct FindName {
    /// A regular expression that is found somewhere in the name; ^ and $ tie it to the ends. RE2 over ASCII, as in grants.
    #[schemars(
        length(min = 1, max = 256),
        extend("x-kubernetes-validations" = [{
            // An expression that does not parse is an error on both sides, and so not absorbed by `||`.
            "rule": "''.matches(self) || !''.matches(self)",
            "message": "not a regular expression in RE2 syntax",
        }])
    )]
    pub regexp: String,
}

/// One step of a rewrite.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct Rewrite {
    /// Replaces in each name what a regular expression finds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regexp: Option<RewriteRegexp>,

    /// Makes each name anew by a template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<RewriteTransform>,

    /// Makes several entries one, or takes JSON values apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merge: Option<RewriteMerge>,
}

/// Replaces in each name what a regular expression finds.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct RewriteRegexp {
    /// What to look for. RE2 over ASCII, as in grants.
    #[schemars(
        length(min = 1, max = 256),
        extend("x-kubernetes-validations" = [{
            // An expression that does not parse is an error on both sides, and so not absorbed by `||`.
            "rule": "''.matches(self) || !''.matches(self)",
            "message": "not a regular expression in RE2 syntax",
        }])
    )]
    pub source: String,

    /// What to put there; $1 or ${name} is what a group of the expression found.
    #[schemars(length(max = 256))]
    pub target: String,
}

/// Makes each name anew by a template.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
pub struct RewriteTransform {
    /// A template of the new name, in which value is the old one: {{ value | lower }}.
    #[schemars(length(min = 1, max = 4096))]
    pub template: String,
}

/// Makes several entries one, or takes JSON values apart.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [{
    "rule": "(has(self.strategy) && self.strategy == 'JSON') == has(self.into)",
    "message": "into names the entry that strategy JSON makes, and goes with that alone",
}]))]
pub struct RewriteMerge {
    /// What is merged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<MergeStrategy>,

    /// Name of the one entry that strategy JSON makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub into: Option<String>,

    /// What happens where two give one name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict_policy: Option<ConflictPolicy>,

    /// Names that go last, in this order, so that they win: of entries as this step finds them, with strategy Name of keys
    /// in the registry. All others go before, in alphabetical order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 1024),
        inner(length(min = 1, max = 253)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub priority: Option<Vec<String>>,

    /// What happens where a name of priority is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_policy: Option<PriorityPolicy>,
}

/// What a merge merges; absent: Extract.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum MergeStrategy {
    /// Every value is a JSON object; its properties become the entries.
    #[default]
    Extract,
    /// Every value is a JSON object; all their properties together become one entry, into.
    #[serde(rename = "JSON")]
    Json,
    /// Values stay as they are; entries that earlier steps gave one name become one.
    Name,
    /// One of a later release.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What happens where two give one name; absent: Error.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ConflictPolicy {
    /// The one that goes last wins.
    Ignore,
    /// Nothing is delivered, and both are named. So it is under a word of a later release.
    #[default]
    #[serde(other)]
    Error,
}

/// What happens where a name of a priority is not there; absent: Strict.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PriorityPolicy {
    /// Nothing.
    IgnoreNotFound,
    /// Nothing is delivered. So it is under a word of a later release.
    #[default]
    #[serde(other)]
    Strict,
}

/// How names that were not written out are spelled; absent: as they are.
#[derive(JsonSchema, Serialize, Deserialize, Debug, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum NameTransformer {
    /// `DATABASE_URL`
    UpperSnake,
    /// `database_url`
    LowerSnake,
    /// `databaseUrl`
    Camel,
    /// `database-url`
    Kebab,
    /// `Database__ConnectionUrl`, from `DATABASE__CONNECTION_URL`: what .NET reads as a section and a name.
    Dotnet,
    /// One of a later release.
    #[serde(other)]
    #[schemars(skip)]
    Unknown,
}

/// What a binding takes from its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selection<'a> {
    /// Every key that is granted, under its own name.
    Every,
    /// These keys, and those that are found.
    Entries {
        /// Each under the name given.
        data: &'a [DataEntry],
        /// By pattern or name, under names that follow from their own.
        data_from: &'a [DataFromEntry],
    },
}

impl<'a> Selection<'a> {
    /// Whether it may take a key that it does not name.
    #[must_use]
    pub fn is_open(self) -> bool {
        match self {
            Self::Every => true,
            Self::Entries { data_from, .. } => !data_from.is_empty(),
        }
    }

    /// The entries that name their key.
    #[must_use]
    pub fn named(self) -> &'a [DataEntry] {
        match self {
            Self::Every => &[],
            Self::Entries { data, .. } => data,
        }
    }

    /// The entries that find their keys.
    #[must_use]
    pub fn found(self) -> &'a [DataFromEntry] {
        match self {
            Self::Every => &[],
            Self::Entries { data_from, .. } => data_from,
        }
    }
}
