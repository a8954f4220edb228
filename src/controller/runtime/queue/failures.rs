//! Why reconciles fail, and how often that is told.

use std::collections::HashMap;
use std::fmt::Display;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// At most one line in that time about failures that come together.
const TELL_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure<E: std::error::Error + 'static> {
    #[error(transparent)]
    Reconcile(E),
    #[error("it did not end within {} s", .after.as_secs())]
    Late { after: Duration },
    /// What a panic carries could repeat anything, so it is dropped.
    #[error("it panicked")]
    Panicked,
}

/// Which failures were told of: one in a minute of those whose permits are counted together, which fail together.
#[derive(Debug)]
pub(super) struct FailureLog<K> {
    told: HashMap<K, Told>,
}

/// When a failure was told of, and how many were not since.
#[derive(Debug)]
struct Told {
    at: Instant,
    others: usize,
}

impl<K> Default for FailureLog<K> {
    fn default() -> Self {
        Self { told: HashMap::new() }
    }
}

impl<K: Clone + Eq + Hash> FailureLog<K> {
    /// Writes a line about an object that failed, unless one about another that counts as this one does is not yet old.
    pub(super) fn tell<E: std::error::Error>(&mut self, object: &impl Display, key: &K, error: &Failure<E>) {
        match self.untold(key) {
            Some(0) => tracing::warn!(%object, %error, "a reconcile failed"),
            Some(others) => tracing::warn!(%object, %error, others, "a reconcile failed, and others like it"),
            None => tracing::debug!(%object, %error, "a reconcile failed"),
        }
    }

    /// How many were not told of before this one; `None` where it is not told of either.
    fn untold(&mut self, key: &K) -> Option<usize> {
        self.told.retain(|other, told| other == key || told.at.elapsed() < TELL_AGAIN_AFTER);
        match self.told.get_mut(key) {
            Some(told) if told.at.elapsed() < TELL_AGAIN_AFTER => {
                told.others += 1;
                None
            }
            told => {
                let others = told.map_or(0, |told| told.others);
                self.told.insert(key.clone(), Told { at: Instant::now(), others: 0 });
                Some(others)
            }
        }
    }
}
