//! One binding in a small cluster, by what its invariants promise.

mod altered;
mod delivery;
mod forged;
mod granting;
mod holding;
mod policies;
mod shaping;
mod targets;
mod waiting;
