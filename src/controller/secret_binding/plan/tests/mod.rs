//! One binding in a small cluster, by what its invariants promise.

mod altered;
mod delivery;
mod forged;
mod granting;
mod holding;
mod policies;
mod rollouts;
mod shaping;
mod targets;
mod waiting;

use super::super::fixtures::{SnapshotFixture, binding, snapshot};
use super::super::simulated_cluster::{SimulatedCluster, cluster};

/// A source with two keys.
fn ab() -> SnapshotFixture {
    snapshot().with("A", "one").with("B", "two")
}

/// A cluster in which `app` has been delivered.
fn delivered() -> SimulatedCluster {
    delivered_from(ab())
}

fn delivered_from(snapshot: SnapshotFixture) -> SimulatedCluster {
    let mut cluster = cluster(binding("app")).reading(snapshot);
    cluster.reconcile();
    cluster
}

/// What is written where nothing is.
fn nothing() -> Vec<String> {
    Vec::new()
}
