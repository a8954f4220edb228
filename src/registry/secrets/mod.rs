//! Values: written, read, and what becomes of them without a new value.

mod batch;
mod queries;
mod read;
mod state;
mod write;

pub use queries::WriteOutcome;
pub use write::{ObservedTimes, WriteOptions};
