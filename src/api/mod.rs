//! The custom resources and their conditions: the contract with people, `kubectl` and GitOps tools.
//!
//! Types, pure functions and generated files; no client, no clock.

mod condition_type;
mod condition_update;
mod conditions;
pub mod crds;
mod documentation;
#[cfg(test)]
mod examples;
#[cfg(test)]
pub(crate) mod generated;
mod grants;
mod key_pattern;
pub mod names;
mod project_environment;
mod reason;
mod rollout_restart;
mod schema;
mod secret_binding;
mod secret_binding_data;
mod secret_binding_status;
mod secret_binding_target;

pub use condition_type::{ConditionStatus, ConditionType, Progress};
pub(crate) use condition_update::list_names;
pub use condition_update::{ConditionUpdate, list_keys};
pub use conditions::{
    ANNOUNCED, conditions, differs, find, is_said_of_source, is_warning, ready_reason, whole_seconds,
};
pub use documentation::conditions_page;
pub use grants::{Granted, Grants, InvalidGrant};
pub(crate) use key_pattern::{InvalidPattern, NamePattern};
pub use project_environment::{
    Grant, KeyCounts, KeyGrant, NamespaceGrant, OUT_OF_SYNC_MAX, OnRevoke, OutOfSyncKey, OutOfSyncPolicy,
    ProjectEnvironment, ProjectEnvironmentSpec, ProjectEnvironmentStatus,
};
pub use reason::{Entry, Reason, TABLE};
pub use rollout_restart::{RolloutRestartTarget, WorkloadKind};
pub use secret_binding::{STALE_AFTER, SecretBinding, SecretBindingSpec, SourceKind, SourceRef};
pub use secret_binding_data::{
    ConflictPolicy, DataEntry, DataFromEntry, DecodingStrategy, Find, FindName, MergeStrategy, NameTransformer,
    PriorityPolicy, RemoteRef, Rewrite, RewriteMerge, RewriteRegexp, RewriteTransform, Selection,
};
pub use secret_binding_status::{SecretBindingStatus, WrittenTarget};
pub use secret_binding_target::{
    CreationPolicy, DeletionPolicy, FileFormat, Format, MergePolicy, Target, Template, TemplateFrom, TemplateItem,
    TemplateMetadata, TemplateRef,
};
