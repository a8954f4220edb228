//! What the operator tells about itself: logs, metrics, Events. None of them ever carries a value.

mod api_error;
mod event_recorder;
mod events;
mod heartbeat;
mod logs;
mod metrics;
#[cfg(target_os = "linux")]
mod process;
mod tally;

pub(crate) use crate::core::causes;
pub(crate) use api_error::{RequestFailed, api_error_text, watch_error_text};
pub(crate) use events::Events;
pub(crate) use events::Severity;
pub(crate) use heartbeat::Heartbeat;
pub(crate) use logs::init as init_logs;
pub(crate) use metrics::Metrics;
pub(crate) use metrics::{BindingFacts, EnvironmentFacts, ReconcileResult, Verb};
pub(crate) use tally::Tally;
