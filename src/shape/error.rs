//! Why a spec gives no entries. Names fields, keys and places, never values.

use super::entry::Entry;
use super::value::Unsuitable;
use crate::api::{InvalidPattern, Reason};
use crate::core::shown_key;

/// A spec that no value can be shaped by.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidShape {
    /// A word of a later release.
    #[error("{field} is none that this operator knows; a newer one may")]
    Unknown { field: String },
    /// A pattern is none of the dialect.
    #[error("spec.dataFrom[{place}].find.name.regexp is not a regular expression that can be used: {cause}")]
    Find { place: usize, cause: InvalidPattern },
    /// A pattern of a rewrite is none of the dialect.
    #[error(
        "spec.dataFrom[{place}].rewrite[{step}].regexp.source is not a regular expression that can be used: {cause}"
    )]
    Rewrite { place: usize, step: usize, cause: InvalidPattern },
    /// A step that says nothing, or several things.
    #[error("spec.dataFrom[{place}].rewrite[{step}] must be one of regexp, transform and merge")]
    Step { place: usize, step: usize },
    /// A template that does not parse, or is too large.
    #[error("{template} is not a template: {cause}")]
    Template { template: String, cause: String },
    /// Two templates for one entry.
    #[error("two templates are for the entry {name}: {first} and {second}")]
    TemplateTwice { name: String, first: String, second: String },
}

/// Why these values give no entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ShapeError {
    /// Two entries of one name.
    #[error("two entries would have the name {name}: {first} and {second}; {remedy}")]
    NameTwice { name: String, first: String, second: String, remedy: &'static str },
    /// Names that no Secret takes.
    #[error("not valid as names of keys in a Secret: the names that come of {}", .entries.join(", "))]
    NameInvalid { entries: Vec<String> },
    /// Names that no file of that format takes.
    #[error("not valid as names in a file of that format: the names that come of {}", .names.join(", "))]
    NameNotForFile { names: Vec<String> },
    /// A merge names what is not there.
    #[error("{step}.merge.priority names {}, which is not there; priorityPolicy IgnoreNotFound lets it be absent", .names.join(", "))]
    PriorityMissing { step: String, names: Vec<String> },
    /// A value is not what it is taken for.
    #[error("{entry}: {cause}")]
    ValueUnsuitable { entry: String, cause: Unsuitable },
    /// A template cannot be filled in.
    #[error("{template}{}: {cause}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
    Template { template: String, line: Option<usize>, cause: String },
    /// A ConfigMap, or a key of it, is not there or not meant for this.
    #[error("ConfigMap {config_map}: {cause}")]
    TemplateNotFound { config_map: String, cause: String },
    /// More than a Secret may hold.
    #[error("the templates give more than the {limit} bytes that a Secret may have")]
    TooLarge { limit: usize },
}

impl ShapeError {
    pub(super) fn name_twice(name: &str, first: &Entry, second: &Entry) -> Self {
        let remedy = if first.place == second.place {
            "rename one of them, or let a merge with strategy Name say which wins"
        } else {
            "rename one of them, or leave it out"
        };
        let (first, second) = (first.to_string(), second.to_string());
        Self::NameTwice { name: shown_key(name).to_owned(), first, second, remedy }
    }

    /// What a condition says of it.
    #[must_use]
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::NameTwice { .. }
            | Self::NameInvalid { .. }
            | Self::NameNotForFile { .. }
            | Self::PriorityMissing { .. } => Reason::KeyNameInvalid,
            Self::ValueUnsuitable { .. } => Reason::ValueUnsuitable,
            Self::Template { .. } => Reason::TemplateFailed,
            Self::TemplateNotFound { .. } => Reason::TemplateNotFound,
            Self::TooLarge { .. } => Reason::TargetTooLarge,
        }
    }
}
