//! The operator.
//!
//! `run` starts it; `context` is what every reconcile is given; `sources` knows where every watched environment stands;
//! `project_environment` and `secret_binding` each reconcile one kind in four steps: observe, plan, apply, report.

mod context;
mod index;
mod lanes;
pub mod secret_binding;
pub mod sources;
mod status;

pub use context::{Context, Stores};
pub use index::BindingIndex;
pub use lanes::{Lane, Lanes, Pass};
pub use status::{StatusError, write_status};
