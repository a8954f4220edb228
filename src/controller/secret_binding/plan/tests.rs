//! One binding in a small world, by what its invariants promise.

mod delivery;
mod holding;
mod targets;
mod waiting;
