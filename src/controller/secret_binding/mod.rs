//! SecretBinding: keys of a source, delivered into one Secret.

mod content;
mod fingerprint;
#[cfg(test)]
mod fixtures;
mod history;
mod observed;
mod ownership;
mod plan;
mod provenance;
mod removal;
mod state;
mod target;

use std::sync::Arc;

use kube::runtime::controller::Action;

use super::Context;
use crate::api::SecretBinding;

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
#[error("not yet")]
pub struct BindingError;

/// Brings one binding's Secret and status up to date.
#[expect(clippy::unused_async, reason = "the steps follow")]
pub async fn reconcile(_binding: Arc<SecretBinding>, _context: Arc<Context>) -> Result<Action, BindingError> {
    Ok(Action::await_change())
}
