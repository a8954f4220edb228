//! What the operator tells about itself: logs, metrics, Events. None of them ever carries a value.

mod events;
mod heartbeat;
mod logs;
mod metrics;

pub use events::Events;
pub(crate) use events::Severity;
pub use heartbeat::Heartbeat;
pub use logs::{LogFormat, init as init_logs};
pub use metrics::Metrics;
pub(crate) use metrics::{ReconcileResult, Verb};
