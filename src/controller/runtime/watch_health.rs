//! Whether the watches still hear the API server: of a connection that is half open nobody says that it is.
//!
//! A watch is ended by the API server after [`WATCH_TIMEOUT`] and begun anew, so that each of them hears something in that
//! time, whether anything happens in the cluster or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::telemetry::Heartbeat;

/// After which the API server ends a watch. It is begun anew at the version that was reached: nothing is listed again.
pub(super) const WATCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest silence of a watch that can be relied on: a silent connection is given up after 5 s more than the time that a
/// watch lasts, and the next one takes at most 5 s to come about.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(45);

/// The health of all watches. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct WatchHealth {
    watches: Arc<[Watch]>,
    recovered: watch::Sender<()>,
}

#[derive(Debug)]
struct Watch {
    resource: &'static str,
    heard: Heartbeat,
    /// It broke off, and has not heard anything since.
    failing: AtomicBool,
    /// Objects that cannot be read, now.
    unreadable: AtomicUsize,
    /// Namespaces that have more objects than are cached.
    crowded: AtomicUsize,
}

/// What is to be said of one watch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WatchState {
    pub(crate) resource: &'static str,
    /// How long ago it heard anything.
    pub(crate) silence: Duration,
    /// Objects that are passed over, since they cannot be read.
    pub(crate) unreadable: usize,
    /// Namespaces that have more objects than are cached.
    pub(crate) crowded: usize,
}

impl WatchHealth {
    /// Watches of these resources.
    pub(crate) fn of(resources: &[&'static str]) -> Self {
        let watches = resources.iter().map(|resource| Watch {
            resource,
            heard: Heartbeat::default(),
            failing: AtomicBool::new(false),
            unreadable: AtomicUsize::new(0),
            crowded: AtomicUsize::new(0),
        });
        Self { watches: watches.collect(), recovered: watch::channel(()).0 }
    }

    /// An answer, or a part of one, has come on the watch of that resource.
    pub(super) fn heard(&self, resource: &str) {
        for watch in self.of_resource(resource) {
            let was_silent = watch.heard.age() > SILENCE_MAX;
            watch.heard.beat();
            if watch.failing.swap(false, Ordering::Relaxed) || was_silent {
                self.recovered.send_replace(());
            }
        }
    }

    /// The watch broke off.
    pub(super) fn failed(&self, resource: &str) {
        for watch in self.of_resource(resource) {
            watch.failing.store(true, Ordering::Relaxed);
        }
    }

    /// So many objects of that resource cannot be read, and so many namespaces have more of them than are cached.
    pub(super) fn left_out(&self, resource: &str, unreadable: usize, crowded: usize) {
        for watch in self.of_resource(resource) {
            watch.unreadable.store(unreadable, Ordering::Relaxed);
            watch.crowded.store(crowded, Ordering::Relaxed);
        }
    }

    /// Whether something may have happened that a watch should have told long ago: a grant withdrawn, for example.
    pub(super) fn is_deaf(&self) -> bool {
        self.watches.iter().any(|watch| watch.heard.age() > SILENCE_MAX)
    }

    /// Told each time that a watch hears again which did not: the API server is there again.
    pub(super) fn recoveries(&self) -> watch::Receiver<()> {
        self.recovered.subscribe()
    }

    /// All of them.
    pub(crate) fn states(&self) -> impl Iterator<Item = WatchState> {
        self.watches.iter().map(|watch| WatchState {
            resource: watch.resource,
            silence: watch.heard.age(),
            unreadable: watch.unreadable.load(Ordering::Relaxed),
            crowded: watch.crowded.load(Ordering::Relaxed),
        })
    }

    fn of_resource(&self, resource: &str) -> impl Iterator<Item = &Watch> {
        self.watches.iter().filter(move |watch| watch.resource == resource)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_silent_watch_makes_deaf_and_what_it_hears_then_is_a_recovery() {
        let health = WatchHealth::of(&["secrets", "namespaces"]);
        let mut recoveries = health.recoveries();
        for _ in 0..3 {
            advance(WATCH_TIMEOUT).await;
            health.heard("secrets");
        }
        assert!(health.is_deaf());
        assert!(!recoveries.has_changed().unwrap());
        health.heard("namespaces");
        assert!(!health.is_deaf());
        assert!(recoveries.has_changed().unwrap());
        recoveries.mark_unchanged();
        health.heard("namespaces");
        assert!(!recoveries.has_changed().unwrap(), "it is told once");
        health.failed("secrets");
        health.heard("secrets");
        assert!(recoveries.has_changed().unwrap());
    }
}
