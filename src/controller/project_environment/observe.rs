//! Everything that a status is made from.

use std::sync::Arc;

use jiff::Timestamp;

use crate::api::{Grants, ProjectEnvironment, names};
use crate::controller::Context;
use crate::controller::sources::{SourceReference, SourceState, registry_name};

/// What was found.
#[derive(Debug)]
pub(super) struct ObservedEnvironment {
    /// The object, with the status that was written last.
    pub(super) object: Arc<ProjectEnvironment>,
    /// Its grants, compiled.
    pub(super) grants: Arc<Grants>,
    /// A request for a poll that was not answered yet; the state is from a poll that began after it was read.
    pub(super) asked: Option<String>,
    pub(super) state: SourceState,
    /// How many SecretBindings read it.
    pub(super) bindings: usize,
    pub(super) now: Timestamp,
}

pub(super) async fn observe(context: &Context, object: Arc<ProjectEnvironment>) -> ObservedEnvironment {
    let source = registry_name(&object);
    let answered = object.status.as_ref().and_then(|status| status.last_handled_sync.as_deref());
    let asked = names::unanswered_sync(&object.metadata, answered).filter(|_| !object.spec.is_suspended());
    let asked = asked.map(str::to_owned);
    let mut state = context.sources.state(&source);
    // Another operator may have said more than this one has read: it must not be taken back.
    if asked.is_some() || state.is_older_than(said_of(&object, &state)) {
        state = context.sources.read_again(&source).await;
    }
    let bindings = context.index.count_of_source(&SourceReference::from(&*object));
    let grants = context.sources.grants(&object);
    ObservedEnvironment { object, grants, asked, state, bindings, now: Timestamp::now() }
}

/// The project's revision that the status speaks of, if it speaks of this environment.
fn said_of(object: &ProjectEnvironment, state: &SourceState) -> Option<i64> {
    let status = object.status.as_ref()?;
    let environment = state.snapshot()?.environment.to_string();
    status.registry_revision.filter(|_| status.environment_id.as_ref() == Some(&environment))
}
