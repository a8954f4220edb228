//! What an object says about itself, whichever kind it is.

use std::fmt::Debug;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::api::names::{CLASS, SYNC};
use crate::api::{ConditionType, ProjectEnvironment, SecretBinding, find};
use crate::cli::output::{Line, plain};

use super::ObjectKind;

/// An object that an operator reports on.
pub(crate) trait Reported:
    Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
    /// What it says about itself.
    fn standing(&self) -> Standing;
}

/// What an object says about itself.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    pub(crate) kind: ObjectKind,
    pub(crate) metadata: ObjectMeta,
    /// `spec.suspend`.
    pub(crate) is_suspended: bool,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) observed_generation: Option<i64>,
    pub(crate) last_handled_sync: Option<String>,
    pub(crate) revision: Option<i64>,
}

/// Both kinds have the same fields, in statuses of their own.
macro_rules! reported {
    ($kind:ident) => {
        impl Reported for $kind {
            fn standing(&self) -> Standing {
                let status = self.status.clone().unwrap_or_default();
                Standing {
                    kind: ObjectKind::$kind,
                    metadata: self.metadata.clone(),
                    is_suspended: self.spec.is_suspended(),
                    conditions: status.conditions,
                    observed_generation: status.observed_generation,
                    last_handled_sync: status.last_handled_sync,
                    revision: status.revision,
                }
            }
        }
    };
}

reported!(SecretBinding);
reported!(ProjectEnvironment);

impl Standing {
    pub(crate) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// `SecretBinding shop/app`
    pub(crate) fn in_words(&self) -> String {
        match &self.metadata.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name()),
            None => format!("{} {}", self.kind, self.name()),
        }
    }

    /// The operator that it is for; absent: the one without a class.
    pub(crate) fn class(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.get(CLASS).map(String::as_str)
    }

    /// The nonce that a person asked for a sync with.
    pub(crate) fn asked_sync(&self) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(SYNC).map(String::as_str)
    }

    pub(crate) fn condition(&self, condition: ConditionType) -> Option<&Condition> {
        find(&self.conditions, condition)
    }

    /// Whether the status is about the spec as it is.
    pub(crate) fn is_looked_at(&self) -> bool {
        let generation = self.metadata.generation.unwrap_or_default();
        self.observed_generation.is_some_and(|observed| observed >= generation)
    }

    /// Its conditions, as a listing.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line> {
        self.conditions.iter().map(|condition| Line {
            cells: [&condition.type_, &condition.status, &condition.reason, &condition.message].map(plain).into(),
            json: condition_json(condition),
        })
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "kind": self.kind.as_str(), "namespace": self.metadata.namespace, "name": self.name(),
            "generation": self.metadata.generation, "observedGeneration": self.observed_generation,
            "revision": self.revision, "lastHandledSync": self.last_handled_sync,
            "conditions": conditions_json(&self.conditions),
        })
    }

    /// What it says, in one line: `Ready=False (TargetForeign), InSync=True (AllKeysInSync)`.
    pub(crate) fn in_short(&self) -> String {
        if self.conditions.is_empty() {
            return "it has no conditions yet".to_owned();
        }
        let said = self.conditions.iter().map(|said| format!("{}={} ({})", said.type_, said.status, said.reason));
        said.collect::<Vec<_>>().join(", ")
    }
}

/// Conditions for programs.
pub(crate) fn conditions_json(conditions: &[Condition]) -> Value {
    conditions.iter().map(condition_json).collect()
}

fn condition_json(condition: &Condition) -> Value {
    json!({
        "type": condition.type_, "status": condition.status, "reason": condition.reason, "message": condition.message,
        "observedGeneration": condition.observed_generation, "lastTransitionTime": condition.last_transition_time,
    })
}
