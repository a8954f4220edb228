//! What is known, and who waits to know it anew.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::{SourceChange, SourceState};
use crate::registry::SourceName;

/// The last entry about each environment.
#[derive(Debug, Default)]
pub(super) struct SourceStates {
    inner: Mutex<Inner>,
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// How many polls have begun; the number of the newest.
    begun: u64,
    /// Sources that somebody wants to have read anew.
    to_be_read: BTreeSet<SourceName>,
    slots: HashMap<SourceName, watch::Sender<Entry>>,
}

/// A state, and the poll that it is an answer to.
#[derive(Debug)]
struct Entry {
    state: SourceState,
    /// The newest poll that this is an answer to; 0 before the first.
    poll: u64,
}

impl SourceStates {
    pub(super) fn state(&self, source: &SourceName) -> SourceState {
        self.lock().slots.get(source).map_or(SourceState::Pending, |slot| slot.borrow().state.clone())
    }

    /// Waits for the answer to a poll that has not begun yet, and asks for one; for everything to be `read` anew, too.
    pub(super) async fn poll_again(&self, source: &SourceName, read: bool) -> SourceState {
        let (mut entry, after) = {
            let mut inner = self.lock();
            let begun = inner.begun;
            if read {
                inner.to_be_read.insert(source.clone());
            }
            let slot = inner
                .slots
                .entry(source.clone())
                .or_insert_with(|| watch::Sender::new(Entry { state: SourceState::Pending, poll: 0 }));
            (slot.subscribe(), begun)
        };
        self.nudge();
        // The sender goes away only with the operator itself: whoever waits is polled after.
        entry.wait_for(|entry| entry.poll > after).await.map_or(SourceState::Pending, |entry| entry.state.clone())
    }

    /// Makes the next poll come at once.
    pub(super) fn nudge(&self) {
        self.wanted.notify_one();
    }

    /// Comes back when somebody wants a poll.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Begins a poll: its number, and what to poll at, which is what is watched and what somebody waits for. Everything
    /// else is forgotten.
    pub(super) fn begin(&self, mut names: BTreeSet<SourceName>) -> (u64, Vec<SourceName>) {
        let mut inner = self.lock();
        inner.begun += 1;
        names.extend(inner.slots.iter().filter(|(_, slot)| slot.receiver_count() > 0).map(|(name, _)| name.clone()));
        inner.slots.retain(|name, _| names.contains(name));
        (inner.begun, names.into_iter().collect())
    }

    /// Whether somebody waits for an answer about it.
    pub(super) fn is_awaited(&self, source: &SourceName) -> bool {
        self.lock().slots.get(source).is_some_and(|slot| slot.receiver_count() > 0)
    }

    /// Whether somebody wants everything read anew; says so once.
    pub(super) fn is_to_be_read(&self, source: &SourceName) -> bool {
        self.lock().to_be_read.remove(source)
    }

    /// Says how an environment stands, as the answer to a poll; gives the change, where that is another state
    /// than before.
    pub(super) fn publish(&self, source: &SourceName, poll: u64, state: SourceState) -> Option<SourceChange> {
        let mut inner = self.lock();
        let slot = inner
            .slots
            .entry(source.clone())
            .or_insert_with(|| watch::Sender::new(Entry { state: SourceState::Pending, poll: 0 }));
        let change = slot.borrow().state.change_to(&state, source);
        slot.send_if_modified(|entry| {
            let newer = poll > entry.poll;
            entry.poll = entry.poll.max(poll);
            if change.is_some() {
                entry.state = state;
            }
            newer || change.is_some()
        });
        change
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
