//! Operators of which one works, by a Lease.

use super::{Operator, SOON, Stage};
use crate::harness::wait_for;

impl Stage {
    /// Gives the operator's account the right to a Lease.
    pub(crate) async fn allow_replicas(&self) {
        self.upgrade_chart("leaderElection.enabled=true").await;
    }

    /// One that has read everything; a Lease lasts that many seconds.
    pub(crate) async fn replica(&self, seconds: &str) -> Operator {
        let mut replica = self.replica_launched(seconds, &[]).await;
        replica.ready().await;
        replica
    }

    /// One that was launched, with these variables too.
    pub(crate) async fn replica_launched(&self, seconds: &str, more: &[(&str, &str)]) -> Operator {
        let (namespace, name) = (self.cluster.namespace.clone(), self.lease_name());
        let election = [
            ("TIDELOCK_LEADER_ELECTION", "true"),
            ("TIDELOCK_LEASE_NAMESPACE", namespace.as_str()),
            ("TIDELOCK_LEASE_NAME", name.as_str()),
            ("TIDELOCK_LEASE_SECONDS", seconds),
        ];
        self.operator_launched(&[&election, more].concat()).await
    }

    /// As the chart calls it, after the release.
    pub(crate) fn lease_name(&self) -> String {
        format!("{}-tidelock", self.cluster.namespace)
    }
}

impl Operator {
    /// Waits until it says itself that it leads, or does not.
    pub(crate) async fn leads(&self, expected: bool) {
        wait_for("the replica's own word on whether it leads", SOON, async || {
            let leading = self.metric("tidelock_leading").await?;
            if (leading > 0.5) == expected { Ok(()) } else { Err(format!("{leading}")) }
        })
        .await;
    }
}
