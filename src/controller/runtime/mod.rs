//! What an operator of any custom resources needs: clients, watches, a queue, caches, health.
//!
//! Knows nothing of secrets, sources or what a condition means, and could be a crate.

mod cache;
mod cache_sync;
mod client;
mod events;
mod health;
mod lease;
mod lenient;
mod mutation_cache;
mod object_key;
mod packed;
mod permits;
mod queue;
mod request_times;
mod status;
mod watch;
mod watch_health;

pub(crate) use cache::{Cache, Form};
pub(crate) use cache_sync::CacheSync;
pub(crate) use client::{ClientError, Clients, connect};
pub(crate) use events::{Announced, emit_transitions};
pub(crate) use health::{CountGauges, OperatorHealth};
pub(crate) use lease::{Election, Leadership, LeaseLost, LeaseSettings};
pub(crate) use lenient::Lenient;
pub(crate) use mutation_cache::{Attention, MutationCache};
pub(crate) use object_key::{object_key, split_key};
pub(crate) use permits::{PermitLimits, Priority};
pub(crate) use queue::{HEARTBEAT_INTERVAL, Queue, Request, Requeue};
pub(crate) use status::{StatusError, write_status};
pub(crate) use watch::{Change, Watching};
pub(crate) use watch_health::WatchHealth;
