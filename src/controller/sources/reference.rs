//! What `spec.sourceRef` of a binding names.

use std::fmt;

use kube::ResourceExt;

use crate::api::{ProjectEnvironment, SecretBinding, SourceKind};

/// Kind and name of a source. Sources are cluster-scoped, so this names one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SourceReference {
    pub(crate) kind: SourceKind,
    pub(crate) name: String,
}

impl From<&SecretBinding> for SourceReference {
    fn from(binding: &SecretBinding) -> Self {
        Self { kind: binding.spec.source_kind(), name: binding.spec.source_ref.name.clone() }
    }
}

impl From<&ProjectEnvironment> for SourceReference {
    fn from(object: &ProjectEnvironment) -> Self {
        Self { kind: SourceKind::ProjectEnvironment, name: object.name_any() }
    }
}

/// `<kind>/<name>`, as Secrets remember it: never changed.
impl fmt::Display for SourceReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{}", self.kind, self.name)
    }
}
