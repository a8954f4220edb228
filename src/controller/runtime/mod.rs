//! What an operator of any custom resources needs: clients, watches, a queue, caches, health.
//!
//! Knows nothing of secrets, sources or conditions, and could be a crate.

mod action;
mod cache_sync;
mod client;
mod deadline;
mod events;
mod health;
mod mutation_cache;
mod permits;
mod queue;
mod status;
mod watch;

pub use action::Action;
pub(super) use cache_sync::CacheSync;
pub use client::ClientError;
pub(super) use client::{Clients, connect};
pub use events::emit_transitions;
pub(super) use health::OperatorHealth;
pub use mutation_cache::MutationCache;
pub use permits::{Lane, Lanes, Pass};
pub(super) use queue::{BEAT, Queue};
pub use status::{StatusError, write_status};
pub(super) use watch::{Change, follow};
