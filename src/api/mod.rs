//! The custom resources and their conditions: the contract with people, `kubectl` and GitOps tools.
//!
//! Types, pure functions and generated files; no client, no clock.

mod conditions;
pub mod crds;
mod documentation;
#[cfg(test)]
mod generated;
mod grants;
pub mod names;
mod project_environment;
mod reason;
mod schema;
mod secret_binding;
mod verdict;

pub use conditions::{conditions, differs, find};
pub use documentation::conditions_page;
pub use grants::{Granted, Grants, InvalidGrant};
pub use project_environment::{
    Grant, KeyCounts, KeyGrant, NamespaceGrant, OUT_OF_SYNC_MAX, OnRevoke, OutOfSyncKey, OutOfSyncPolicy,
    ProjectEnvironment, ProjectEnvironmentSpec, ProjectEnvironmentStatus,
};
pub use reason::{ConditionType, Entry, Outlook, Reason, Standing, TABLE};
pub use secret_binding::{
    DataEntry, RemoteRef, STALE_AFTER, SecretBinding, SecretBindingSpec, SecretBindingStatus, Selection, SourceKind,
    SourceRef, Target, Template, TemplateMetadata, WrittenTarget,
};
pub use verdict::{Verdict, list_keys};
