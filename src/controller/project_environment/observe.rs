//! Everything that a status is made from.

use std::sync::Arc;

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::{ProjectEnvironment, names};
use crate::controller::Context;
use crate::controller::sources::SourceState;
use crate::registry::SourceName;

/// What one look found.
#[derive(Debug)]
pub(super) struct Observed {
    /// The object, with the status that was written last.
    pub(super) object: Arc<ProjectEnvironment>,
    /// A request to look now that was not answered yet; the state is from a look that began after it was read.
    pub(super) asked: Option<String>,
    pub(super) state: SourceState,
    /// How many SecretBindings read it.
    pub(super) bindings: usize,
    pub(super) now: Timestamp,
}

/// The environment that a ProjectEnvironment names.
pub(in crate::controller) fn source_of(object: &ProjectEnvironment) -> SourceName {
    SourceName { project: object.spec.project.clone(), environment: object.spec.environment.clone() }
}

pub(super) async fn observe(context: &Context, object: Arc<ProjectEnvironment>) -> Observed {
    let source = source_of(&object);
    let answered = object.status.as_ref().and_then(|status| status.last_handled_sync.as_deref());
    let asked = names::sync_nonce(&object.metadata)
        .filter(|nonce| answered != Some(nonce) && !object.spec.is_suspended())
        .map(str::to_owned);
    let state = match asked {
        Some(_) => context.sources.look_again(&source).await,
        None => context.sources.state(&source),
    };
    let bindings = context.index.count_of_source(&object.name_any());
    Observed { object, asked, state, bindings, now: Timestamp::now() }
}
