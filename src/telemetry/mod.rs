//! What the operator tells about itself: logs, metrics, Events. None of them ever carries a value.

mod events;
mod heartbeat;
mod metrics;

pub use events::{Events, Severity};
pub use heartbeat::Heartbeat;
pub use metrics::{Metrics, ReconcileResult, Verb};
