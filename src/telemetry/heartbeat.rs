//! How `/livez` knows that a task's loop still runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, interval};

/// Set by one task in each round of its loop. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Heartbeat {
    start: Instant,
    /// Milliseconds from `start` to the last beat.
    last: Arc<AtomicU64>,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { start: Instant::now(), last: Arc::default() }
    }
}

impl Heartbeat {
    pub(crate) fn beat(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    /// Beats while something is waited for that has a bound of its own.
    pub(crate) async fn while_waiting<T>(&self, answer: impl Future<Output = T>) -> T {
        let mut beats = interval(Duration::from_secs(10));
        let mut answer = std::pin::pin!(answer);
        loop {
            tokio::select! {
                answer = &mut answer => return answer,
                _ = beats.tick() => self.beat(),
            }
        }
    }

    /// How long ago the last beat was; before the first, how long ago this was made.
    #[must_use]
    pub(crate) fn age(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_while_something_is_waited_for() {
        let heartbeat = Heartbeat::default();
        let waiting = heartbeat.while_waiting(tokio::time::sleep(Duration::from_mins(5)));
        tokio::select! {
            () = waiting => panic!("five minutes are not over"),
            () = tokio::time::sleep(Duration::from_mins(4)) => {}
        }
        assert!(heartbeat.age() <= Duration::from_secs(10), "{:?}", heartbeat.age());
    }
}
