//! What a binding reads, of whichever kind. A new kind of source is a variant here, an arm in each function below, and
//! whatever fills its [`SourceState`].

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use super::{SealedValues, SourceReference, SourceState, Sources, Tombstones, refusal};
use crate::api::{ConditionType, Grants, OnRevoke, ProjectEnvironment, Reason, SourceKind, find};
use crate::controller::runtime::Cache;
use crate::core::ShortDigest;
use crate::registry::{Refusal, RegistryError, SourceName, ValueId};

/// A source, and what was read of it.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// An environment of a project in the registry.
    ProjectEnvironment { object: Arc<ProjectEnvironment>, grants: Arc<Grants>, state: SourceState },
}

impl Source {
    /// The source of that name as it was last read; `None` where there is none, or of no kind that is known here.
    pub(crate) fn find(
        reference: &SourceReference,
        environments: &Cache<ProjectEnvironment>,
        sources: &Sources,
    ) -> Option<Self> {
        match reference.kind {
            SourceKind::ProjectEnvironment => {
                let object = environments.get(&ObjectRef::new(&reference.name))?;
                let (grants, state) = (sources.grants(&object), sources.state(&registry_name(&object)));
                Some(Self::ProjectEnvironment { object, grants, state })
            }
            SourceKind::Unknown => None,
        }
    }

    /// The same source according to a poll that begins now.
    pub(crate) async fn polled_again(self, sources: &Sources) -> Self {
        match self {
            Self::ProjectEnvironment { object, grants, .. } => {
                let state = sources.poll_again(&registry_name(&object)).await;
                Self::ProjectEnvironment { object, grants, state }
            }
        }
    }

    /// The same source, everything of it read anew.
    pub(crate) async fn read_again(self, sources: &Sources) -> Self {
        match self {
            Self::ProjectEnvironment { object, grants, .. } => {
                let state = sources.read_again(&registry_name(&object)).await;
                Self::ProjectEnvironment { object, grants, state }
            }
        }
    }

    /// What values of it are sealed as. Those that it does not have any more are left out.
    pub(crate) async fn sealed_values(
        &self,
        values: Vec<ValueId>,
        sources: &Sources,
    ) -> Result<SealedValues, RegistryError> {
        match (self, self.state().snapshot()) {
            (_, None) => Ok(SealedValues::default()),
            (Self::ProjectEnvironment { .. }, Some(snapshot)) => {
                sources.sealed_values(snapshot.identity(), values).await
            }
        }
    }

    /// Which of its rows were deleted on purpose, of those whose ids have these digests.
    pub(crate) async fn tombstones(
        &self,
        rows: &[ShortDigest],
        sources: &Sources,
    ) -> Result<Tombstones, RegistryError> {
        match (self, self.state().snapshot()) {
            (_, None) => Ok(Tombstones::default()),
            (Self::ProjectEnvironment { .. }, Some(snapshot)) => sources.tombstones(snapshot.identity(), rows).await,
        }
    }

    /// Where it stands.
    #[must_use]
    pub(crate) const fn state(&self) -> &SourceState {
        match self {
            Self::ProjectEnvironment { state, .. } => state,
        }
    }

    /// Since when its own status has said that the registry cannot be read, without a break: it outlives the operator that
    /// saw it begin. `None` where it says otherwise.
    #[must_use]
    pub(crate) fn said_away_since(&self) -> Option<Timestamp> {
        let Self::ProjectEnvironment { object, .. } = self;
        let conditions = &object.status.as_ref()?.conditions;
        let away = [Reason::DatabaseUnavailable, Reason::DatabaseRefused, Reason::SchemaNotServed];
        let ready = find(conditions, ConditionType::Ready)?;
        let in_sync = find(conditions, ConditionType::InSync)?;
        let is_away = away.iter().any(|reason| reason.as_str() == ready.reason) && in_sync.status != "True";
        // Each alone may have been false or unknown before, for another reason.
        is_away.then(|| ready.last_transition_time.0.max(in_sync.last_transition_time.0))
    }

    /// Whether a person asked to leave it alone.
    #[must_use]
    pub(crate) fn is_suspended(&self) -> bool {
        match self {
            Self::ProjectEnvironment { object, .. } => object.spec.is_suspended(),
        }
    }

    /// To which namespaces it grants which keys.
    #[must_use]
    pub(crate) fn grants(&self) -> &Grants {
        match self {
            Self::ProjectEnvironment { grants, .. } => grants,
        }
    }

    /// What happens to what was delivered when a grant is withdrawn.
    #[must_use]
    pub(crate) fn on_revoke(&self) -> OnRevoke {
        match self {
            Self::ProjectEnvironment { object, .. } => object.spec.on_revoke(),
        }
    }

    /// Kind and name of the custom resource, for messages: `ProjectEnvironment shop-dev`.
    #[must_use]
    pub(crate) fn object_name(&self) -> String {
        match self {
            Self::ProjectEnvironment { object, .. } => format!("ProjectEnvironment {}", object.name_any()),
        }
    }

    /// What it is called where its values are, for messages: `shop/dev`.
    #[must_use]
    pub(crate) fn store_name(&self) -> String {
        match self {
            Self::ProjectEnvironment { object, .. } => registry_name(object).to_string(),
        }
    }

    /// A refusal in words, by what was refused.
    #[must_use]
    pub(crate) fn refused_because(&self, refusal: Refusal) -> String {
        match self {
            Self::ProjectEnvironment { object, .. } => refusal::in_words(refusal, &registry_name(object)).1,
        }
    }
}

/// The environment that a ProjectEnvironment names.
#[must_use]
pub(crate) fn registry_name(object: &ProjectEnvironment) -> SourceName {
    SourceName { project: object.spec.project.clone(), environment: object.spec.environment.clone() }
}
