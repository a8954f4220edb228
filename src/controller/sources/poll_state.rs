//! One environment, as the poller knows it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{Fault, SourceState};
use crate::registry::{PollResult, RegistryError, Snapshot, SnapshotVersion};

/// First and longest pause before an environment whose snapshot failed is read again.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));

/// Shortest time between two reads of an environment from which rows were hidden: what shows them again, a policy that is
/// dropped, moves no revision.
const HIDDEN: Duration = Duration::from_secs(2);

/// One environment, as the poller knows it.
#[derive(Debug, Default)]
pub(super) struct PollState {
    /// The newest look at it.
    pub(super) look: u64,
    /// The newest look that was answered at once, since it was refused or failed.
    pub(super) answered: u64,
    /// What the newest look found, of those that did not fail.
    pub(super) found: Option<PollResult>,
    /// What was read last.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    read_at: Option<Instant>,
    /// Whether a snapshot is being read.
    pub(super) reading: bool,
    failure: Option<Failure>,
}

/// Why the last attempt to read it failed.
#[derive(Debug, Clone)]
struct Failure {
    since: Timestamp,
    cause: String,
    fault: Fault,
    /// How often in a row reading it failed; 0 where only the look at all failed.
    failures: u32,
    not_before: Instant,
}

/// What to do after a look.
#[derive(Debug)]
pub(super) enum Next {
    /// This is how it stands.
    Publish(SourceState),
    /// It changed, or was never read: read it.
    Read,
    /// It is being read: the answer comes with that.
    Wait,
}

impl PollState {
    /// Takes a look's answer in.
    pub(super) fn polled(&mut self, look: u64, found: PollResult, awaited: bool) -> Next {
        self.look = look;
        if let PollResult::Refused(refusal) = found {
            self.answered = look;
            self.found = Some(found);
            self.snapshot = None;
            self.failure = None;
            return Next::Publish(SourceState::Refused { refusal });
        }
        self.found = Some(found);
        if self.reading {
            return Next::Wait;
        }
        if self.is_current() && !self.may_show_more(awaited) {
            self.failure = None;
            return Next::Publish(self.state());
        }
        let resting =
            self.failure.as_ref().is_some_and(|failure| failure.failures > 0 && failure.not_before > Instant::now());
        if resting && !awaited { Next::Publish(self.state()) } else { Next::Read }
    }

    /// Takes a snapshot in.
    pub(super) fn read(&mut self, snapshot: Arc<Snapshot>) {
        self.reading = false;
        self.failure = None;
        self.read_at = Some(Instant::now());
        // One that says the same is no news.
        if self.snapshot.as_ref() != Some(&snapshot) {
            self.snapshot = Some(snapshot);
        }
    }

    /// Whether rows were hidden when it was last read, and another read is due or asked for. In someone else's tables the
    /// digest sees rows appear.
    fn may_show_more(&self, awaited: bool) -> bool {
        let hides = |snapshot: &Arc<Snapshot>| {
            matches!(snapshot.version, SnapshotVersion::Revisions { .. }) && snapshot.hides_rows()
        };
        let is_due = || self.read_at.is_none_or(|read_at| read_at.elapsed() >= HIDDEN);
        self.snapshot.as_ref().is_some_and(hides) && (awaited || is_due())
    }

    /// Takes in that the registry did not answer, about this environment (`alone`) or at all. The first entry about an
    /// outage stands until it is over or of another kind: `since` is when it began.
    pub(super) fn failed(&mut self, error: &RegistryError, now: Timestamp, alone: bool) {
        let fault = Fault::of(error);
        let failures = self.failure.as_ref().map_or(0, |failure| failure.failures) + u32::from(alone);
        let pause = backoff(RETRY, failures);
        let (since, cause) = match self.failure.take() {
            Some(before) if before.fault == fault => (before.since, before.cause),
            Some(before) => (before.since, error.to_string()),
            None => (now, error.to_string()),
        };
        self.failure = Some(Failure { since, cause, fault, failures, not_before: Instant::now() + pause });
    }

    /// Whether the last attempt failed.
    pub(super) const fn is_failing(&self) -> bool {
        self.failure.is_some()
    }

    /// How it stands.
    pub(super) fn state(&self) -> SourceState {
        match (&self.failure, &self.snapshot) {
            (Some(failure), last) => SourceState::Unavailable {
                since: failure.since,
                cause: failure.cause.clone(),
                fault: failure.fault,
                last: last.clone(),
            },
            (None, Some(snapshot)) => SourceState::Ready(Arc::clone(snapshot)),
            (None, None) => SourceState::Pending,
        }
    }

    /// Whether what was read last is what the newest look found.
    pub(super) fn is_current(&self) -> bool {
        match (&self.found, &self.snapshot) {
            (Some(PollResult::Found { environment, version, production }), Some(snapshot)) => {
                *environment == snapshot.environment
                    && *version == snapshot.version
                    && *production == snapshot.production
            }
            _ => false,
        }
    }
}

/// The pause after so many failures in a row: the first, doubled with each, up to the longest.
pub(super) fn backoff((first, longest): (Duration, Duration), failures: u32) -> Duration {
    first.saturating_mul(1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX)).min(longest)
}
