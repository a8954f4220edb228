//! The operator.
//!
//! `run` starts it; `runtime` is what any operator needs and knows nothing of secrets; `sources` knows where every watched
//! environment stands; `project_environment` and `secret_binding` each reconcile one kind: observe, plan, apply, report.

mod config;
mod context;
mod controlled;
mod event_handlers;
mod index;
pub mod project_environment;
mod refused;
mod run;
pub mod runtime;
pub mod secret_binding;
pub mod sources;
mod watches;

pub use config::{BULK, Config, ControllerError, URGENT};
pub use context::{Context, Stores};
pub use controlled::ControlledSecrets;
pub use index::BindingIndex;
pub use run::run;
