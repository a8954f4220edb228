//! In which order hosts are tried.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::seq::SliceRandom as _;
use tokio::time::Instant;

/// How long a host that was given up on is tried after the others.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Which hosts were given up on lately. Shared by the connections of one program: each would otherwise wait for the dead host
/// before it comes to the one that answers.
#[derive(Debug, Clone, Default)]
pub(super) struct HostOrder(Arc<Mutex<HashMap<usize, Instant>>>);

impl HostOrder {
    /// The places of so many hosts in their list.
    pub(super) fn of(&self, hosts: usize, in_random_order: bool) -> Vec<usize> {
        let mut order: Vec<usize> = (0..hosts).collect();
        if in_random_order {
            order.shuffle(&mut rand::rng());
        }
        let mut given_up = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        given_up.retain(|_, since| since.elapsed() < REMEMBERED);
        // Stable: among equals it stays as it was.
        order.sort_by_key(|host| given_up.contains_key(host));
        order
    }

    pub(super) fn gave_up(&self, host: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host, Instant::now());
    }

    pub(super) fn answered(&self, host: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_was_given_up_on_is_tried_last_for_a_while() {
        let order = HostOrder::default();
        assert_eq!(order.of(3, false), [0, 1, 2]);
        order.gave_up(0);
        assert_eq!(order.clone().of(3, false), [1, 2, 0]);
        order.gave_up(1);
        order.answered(0);
        assert_eq!(order.of(3, false), [0, 2, 1]);
        tokio::time::advance(REMEMBERED).await;
        assert_eq!(order.of(3, false), [0, 1, 2]);
        let mut lots: Vec<Vec<usize>> = (0..100).map(|_| order.of(3, true)).collect();
        lots.sort();
        lots.dedup();
        assert_eq!(lots.len(), 6, "every order comes up");
    }
}
