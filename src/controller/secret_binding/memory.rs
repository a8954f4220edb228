//! What the operator remembers of bindings from one reconcile to the next, beside what their status says. It may be lost at
//! any time: a restart costs one write more at most.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::plan::repeats::Repeats;

/// For how long anything is remembered: longer than a watch is ever behind, and than repeats are counted.
const MEMORY: Duration = Duration::from_mins(10);

/// From one search for what may be forgotten to the next.
const SWEEP: Duration = Duration::from_secs(10);

/// By the binding's uid. Only of bindings to which something unusual happened.
#[derive(Debug)]
pub(super) struct BindingMemory {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    known: HashMap<String, Entry>,
    swept: Instant,
}

#[derive(Debug)]
struct Entry {
    what: Memory,
    at: Instant,
}

#[derive(Debug)]
enum Memory {
    /// The API server said that it is gone; the watch may not have heard of it yet.
    Gone,
    /// Its Secret had to be written again.
    Repeats(Repeats),
}

impl Default for BindingMemory {
    fn default() -> Self {
        Self { inner: Mutex::new(Inner { known: HashMap::new(), swept: Instant::now() }) }
    }
}

impl BindingMemory {
    /// Whether the API server said that this binding is gone. A uid never comes back.
    pub(super) fn is_gone(&self, uid: &str) -> bool {
        matches!(self.lock().known.get(uid), Some(Entry { what: Memory::Gone, .. }))
    }

    pub(super) fn repeats(&self, uid: &str) -> Option<Repeats> {
        match &self.lock().known.get(uid)?.what {
            Memory::Repeats(repeats) => Some(repeats.clone()),
            Memory::Gone => None,
        }
    }

    pub(super) fn remember_gone(&self, uid: &str) {
        self.remember(uid, Memory::Gone);
    }

    pub(super) fn remember_repeats(&self, uid: &str, repeats: Repeats) {
        self.remember(uid, Memory::Repeats(repeats));
    }

    fn remember(&self, uid: &str, what: Memory) {
        let mut inner = self.lock();
        if inner.swept.elapsed() >= SWEEP {
            inner.swept = Instant::now();
            inner.known.retain(|_, entry| entry.at.elapsed() < MEMORY);
        }
        inner.known.insert(uid.to_owned(), Entry { what, at: Instant::now() });
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::controller::secret_binding::plan::repeats::Undoing;

    #[tokio::test(start_paused = true)]
    async fn what_happened_long_ago_is_forgotten_and_a_binding_that_is_gone_is_not_confused_with_its_successor() {
        let memory = BindingMemory::default();
        memory.remember_gone("first");
        assert!(memory.is_gone("first") && !memory.is_gone("second"));
        let repeats = Repeats::after(None, Some("a"), Undoing::Afterwards, Timestamp::UNIX_EPOCH);
        memory.remember_repeats("second", repeats.clone());
        assert_eq!((memory.repeats("second"), memory.repeats("first")), (Some(repeats.clone()), None));
        tokio::time::advance(MEMORY).await;
        memory.remember_repeats("third", repeats);
        assert!(!memory.is_gone("first"));
    }
}
