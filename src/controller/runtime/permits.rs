//! Who may go first: two lanes, so that what is new or changed never waits behind a resync of everything else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::deadline::waiting;
use crate::registry::SourceName;

/// Which lane a reconcile takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// A new or changed object, a change of content, an answer that a person waits for.
    Urgent,
    /// A resync, a write that says no more than `InSync`.
    Bulk,
}

/// How many reconciles may run at once: in a lane, and for one source. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Lanes {
    urgent: Arc<Semaphore>,
    bulk: Arc<Semaphore>,
    per_source: usize,
    sources: Arc<Mutex<HashMap<SourceName, Weak<Semaphore>>>>,
}

/// The right to run, given back when dropped.
#[derive(Debug)]
#[must_use = "the right ends when it is dropped"]
pub struct Pass {
    _source: OwnedSemaphorePermit,
    _lane: OwnedSemaphorePermit,
}

impl Lanes {
    /// Lanes of that width; one source gets at most three quarters of the urgent one.
    #[must_use]
    pub fn new(urgent: usize, bulk: usize) -> Self {
        let semaphore = |width: usize| Arc::new(Semaphore::new(width.max(1)));
        Self {
            urgent: semaphore(urgent),
            bulk: semaphore(bulk),
            per_source: (urgent * 3 / 4).max(1),
            sources: Arc::default(),
        }
    }

    /// Waits for the right to run. Enter after the caches were looked at, which costs nothing and says which lane it
    /// is, and before the first request; look again after waiting, the world may have moved. The time spent waiting
    /// does not count against the reconcile's deadline, which begins anew.
    ///
    /// # Panics
    /// Never: the semaphores are never closed.
    pub async fn enter(&self, lane: Lane, source: &SourceName) -> Pass {
        let of_source = self.of_source(lane, source);
        let lane = match lane {
            Lane::Urgent => Arc::clone(&self.urgent),
            Lane::Bulk => Arc::clone(&self.bulk),
        };
        waiting(async {
            // The source first: whoever waits for a busy source must not hold a place in the lane meanwhile.
            let source = of_source.acquire_owned().await.expect("never closed");
            Pass { _source: source, _lane: lane.acquire_owned().await.expect("never closed") }
        })
        .await
    }

    /// The bound of one source. Bulk work is bounded by its own narrow lane: it must not take an urgent one's place.
    fn of_source(&self, lane: Lane, source: &SourceName) -> Arc<Semaphore> {
        if lane == Lane::Bulk {
            return Arc::new(Semaphore::new(1));
        }
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = sources.get(source).and_then(Weak::upgrade) {
            return semaphore;
        }
        sources.retain(|_, semaphore| semaphore.strong_count() > 0);
        let semaphore = Arc::new(Semaphore::new(self.per_source));
        sources.insert(source.clone(), Arc::downgrade(&semaphore));
        semaphore
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures::FutureExt;
    use tokio::time::timeout;
    use tokio_util::sync::CancellationToken;

    use super::super::deadline::{RECONCILE, within};
    use super::*;

    fn source(environment: &str) -> SourceName {
        SourceName { project: "shop".into(), environment: environment.into() }
    }

    fn try_enter(lanes: &Lanes, lane: Lane, environment: &str) -> Option<Pass> {
        lanes.enter(lane, &source(environment)).now_or_never()
    }

    #[test]
    fn bulk_work_never_keeps_urgent_work_waiting() {
        let lanes = Lanes::new(4, 1);
        let _resync = try_enter(&lanes, Lane::Bulk, "dev").expect("the lane is empty");
        assert!(try_enter(&lanes, Lane::Bulk, "dev").is_none());
        assert!(try_enter(&lanes, Lane::Urgent, "dev").is_some());
    }

    #[test]
    fn one_source_leaves_room_for_others() {
        let lanes = Lanes::new(4, 1);
        let busy: Vec<Pass> = (0..3).map(|_| try_enter(&lanes, Lane::Urgent, "dev").expect("three fit")).collect();
        // One more waits all the while, and takes no place from the others meanwhile.
        let dev = source("dev");
        let mut waits = pin!(lanes.enter(Lane::Urgent, &dev));
        assert!(waits.as_mut().now_or_never().is_none());
        let other = try_enter(&lanes, Lane::Urgent, "staging").expect("a place is left");
        assert!(try_enter(&lanes, Lane::Urgent, "staging").is_none());
        drop((busy, other));
        assert!(waits.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn to_wait_for_a_place_is_not_to_be_late() {
        let lanes = Lanes::new(4, 1);
        let resync = try_enter(&lanes, Lane::Bulk, "dev").expect("the lane is empty");
        let (stop, dev) = (CancellationToken::new(), source("dev"));
        let mut waits = pin!(within(&stop, lanes.enter(Lane::Bulk, &dev)));
        assert!(timeout(RECONCILE * 3, &mut waits).await.is_err(), "it waits for as long as it takes");
        drop(resync);
        assert!(waits.await.is_ok());
    }
}
