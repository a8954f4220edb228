//! One binding in a small cluster, by what its invariants promise.

mod delivery;
mod holding;
mod targets;
mod waiting;
