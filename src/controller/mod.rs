//! The operator.
//!
//! `run` starts it; `context` is what every reconcile is given; `sources` knows where every watched environment stands;
//! `project_environment` and `secret_binding` each reconcile one kind in four steps: observe, plan, apply, report.

mod action;
mod client;
mod config;
mod context;
mod controlled;
mod deadline;
mod follow;
mod index;
mod lanes;
pub mod project_environment;
mod queue;
mod refused;
mod run;
pub mod secret_binding;
pub mod sources;
mod status;
mod synced;
mod transitions;
mod triggers;
mod vitals;
mod watched;
mod written;

pub use action::Action;
pub use client::ClientError;
pub use config::{BULK, Config, ControllerError, URGENT};
pub use context::{Context, Stores};
pub use controlled::ControlledSecrets;
pub use index::BindingIndex;
pub use lanes::{Lane, Lanes, Pass};
pub use run::run;
pub use status::{StatusError, write_status};
pub use transitions::tell_transitions;
pub use written::Written;
