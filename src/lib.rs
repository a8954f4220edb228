//! Tidelock keeps native Kubernetes Secrets in step with a secrets registry in PostgreSQL.
//!
//! The rooms, and which may look into which: `core` <- `crypto` <- `registry`; `core` <- `api`; `controller` uses `api`,
//! `registry` and `telemetry`; `cli` uses everything; nothing uses `cli`.

pub mod api;
#[cfg(test)]
mod architecture;
pub mod cli;
pub mod controller;
pub mod core;
pub mod crypto;
#[cfg(test)]
mod glossary;
pub mod registry;
mod server;
mod shape;
mod telemetry;
