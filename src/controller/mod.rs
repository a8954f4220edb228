//! The operator.
//!
//! `run` starts it; `runtime` is what any operator needs and knows nothing of secrets; `sources` knows where every watched
//! environment stands; `project_environment` and `secret_binding` each reconcile one kind: observe, plan, apply, report.

mod config;
mod context;

mod event_handlers;
mod held_keyring;
mod index;
mod preview;
mod project_environment;
mod run;
mod runtime;
mod secret_binding;
mod sources;
mod template_config_maps;
mod watches;

pub(crate) use preview::{PreviewError, Previews, World};
pub(crate) use run::run;
pub(crate) use secret_binding::{PlannedAction, PlannedChange, Preview};

pub use config::CONCURRENCY;
pub(crate) use config::{Config, ControllerError, LeaseOptions};

use context::Context;
