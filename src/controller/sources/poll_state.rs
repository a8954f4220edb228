//! One environment, as the poller knows it.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use jiff::Timestamp;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Fault, SourceState};
use crate::core::Hint as _;
use crate::registry::{PollResult, RegistryError, Snapshot, SnapshotVersion};

/// First and longest pause before an environment whose snapshot failed is read again.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(2));

/// Shortest time between two reads of an environment from which rows were hidden: what shows them again, a policy that is
/// dropped, moves no revision.
const HIDDEN: Duration = Duration::from_secs(2);

/// For how long it is put off to read an environment whose values are the same, and which only compares otherwise with the
/// registry. All of a project's do after each change in one of them, and who waits for that change goes first; the status
/// that says so is written at most once a second.
const COMPARISON_DELAY: Duration = Duration::from_millis(100);

/// Shortest time from one read of an environment to the next one that is only for the comparison.
const COMPARISONS: Duration = Duration::from_millis(400);

/// From one time that everything is read to the next, give or take a fifth, whether anything changed or not: what was done past
/// the triggers, which no revision tells of, is seen then.
const WHOLE: Duration = Duration::from_hours(1);

/// How long the reading of an environment may take at first: a large one, or a slow database, is given more the next times.
const PATIENCE: Duration = Duration::from_secs(4);

/// Most times that this is doubled: to a minute.
const LATE_MAX: u32 = 4;

/// One environment, as the poller knows it.
#[derive(Debug, Default)]
pub(super) struct PollState {
    /// The newest poll at it.
    pub(super) poll: u64,
    /// The newest poll that was answered at once, since it was refused or failed.
    pub(super) answered: u64,
    /// What the newest poll found, of those that did not fail.
    pub(super) found: Option<PollResult>,
    /// What was read last.
    pub(super) snapshot: Option<Arc<Snapshot>>,
    read_at: Option<Instant>,
    /// When everything is to be read again, and not just what has changed.
    whole_due: Option<Instant>,
    /// Whether what was read last is not what is there: everything has to be read anew.
    pub(super) distrusted: bool,
    /// Whether a snapshot is being read, or about to be.
    pub(super) reading: bool,
    /// Ends the wait before a read that was put off.
    pub(super) hurry: Arc<Notify>,
    failure: Option<Failure>,
    /// How often in a row it could not be read in time.
    late: u32,
}

/// Why the last attempt to read it failed.
#[derive(Debug)]
struct Failure {
    since: Timestamp,
    cause: String,
    fault: Fault,
    /// Where reading it failed, and not the poll as a whole: when to try again, and the pauses that are left.
    retry: Option<(Instant, ExponentialBackoff)>,
}

/// What to do after a poll.
#[derive(Debug)]
pub(super) enum Next {
    /// This is how it stands.
    Publish(SourceState),
    /// It changed, or was never read: read it.
    Read,
    /// It compares otherwise with the registry, and nothing else: read it after this while.
    ReadLater(Duration),
    /// It is being read: the answer comes with that.
    Wait,
}

impl PollState {
    /// Takes a poll's answer in.
    pub(super) fn polled(&mut self, poll: u64, found: PollResult, awaited: bool) -> Next {
        self.poll = poll;
        if let PollResult::Refused(refusal) = found {
            self.answered = poll;
            self.found = Some(found);
            self.snapshot = None;
            self.failure = None;
            return Next::Publish(SourceState::Refused { refusal });
        }
        self.found = Some(found);
        let only_compares_otherwise = !awaited && self.only_compares_otherwise();
        if self.reading {
            if !only_compares_otherwise {
                self.hurry.notify_one();
            }
            return Next::Wait;
        }
        if self.is_current() && !self.is_whole_due() && !self.may_show_more(awaited) {
            self.failure = None;
            return Next::Publish(self.state());
        }
        let resting = self
            .failure
            .as_ref()
            .and_then(|failure| failure.retry.as_ref())
            .is_some_and(|(at, _)| *at > Instant::now());
        match resting && !awaited {
            true => Next::Publish(self.state()),
            false if only_compares_otherwise => Next::ReadLater(self.until_comparison()),
            false => Next::Read,
        }
    }

    /// Begins to read: gives what is known already, so that only changes have to be read; unless that is nothing to build on.
    pub(super) fn begin_read(&mut self) -> Option<Arc<Snapshot>> {
        self.reading = true;
        self.snapshot.as_ref().filter(|known| !self.is_whole_due() && !known.hides_rows()).cloned()
    }

    /// How long it may take to read it: as long as anything, and twice that after each time that it was too long.
    pub(super) fn patience(&self) -> Duration {
        PATIENCE.saturating_mul(1 << self.late.min(LATE_MAX))
    }

    /// Whether it keeps others waiting who could be read in between.
    pub(super) const fn is_late(&self) -> bool {
        self.late > 0
    }

    /// Takes a snapshot in; `whole` if nothing was known when it was read, which took that long.
    pub(super) fn read(&mut self, snapshot: Arc<Snapshot>, whole: bool, took: Duration) {
        self.reading = false;
        if took < PATIENCE {
            self.late = 0;
        }
        self.failure = None;
        if whole {
            self.whole_due = Some(Instant::now() + WHOLE.mul_f64(rand::random_range(0.8..=1.2)));
            self.distrusted = false;
        }
        self.read_at = Some(Instant::now());
        // One that says the same is no news. Rows are compared only where nothing says that they changed.
        let is_same = |before: &Arc<Snapshot>| before.version == snapshot.version && *before == snapshot;
        if !self.snapshot.as_ref().is_some_and(is_same) {
            self.snapshot = Some(snapshot);
        }
    }

    /// Whether the newest poll found the content that was read last.
    fn only_compares_otherwise(&self) -> bool {
        let Some(PollResult::Found { environment, version, production }) = &self.found else { return false };
        self.snapshot.as_ref().is_some_and(|known| {
            (known.environment, known.production) == (*environment, *production)
                && known.version != *version
                && known.version.has_content_of(version)
        })
    }

    /// How long to put off what only compares otherwise.
    fn until_comparison(&self) -> Duration {
        let rest = self.read_at.map_or(Duration::ZERO, |read_at| COMPARISONS.saturating_sub(read_at.elapsed()));
        rest.max(COMPARISON_DELAY)
    }

    /// Whether everything has to be read anew, whatever the revision says.
    pub(super) fn is_whole_due(&self) -> bool {
        self.distrusted || self.whole_due.is_some_and(|due| due <= Instant::now())
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
        let (began, mut retry) = match self.failure.take() {
            Some(before) => (Some((before.fault, before.since, before.cause)), before.retry),
            None => (None, None),
        };
        let (since, cause) = match began {
            // An outage is said in many ways, one after the other; what a person must act on is said as it is now.
            Some((before, since, cause)) if before == fault && fault == Fault::Away => (since, cause),
            Some((before, since, _)) if before == fault => (since, error.with_hint()),
            Some((_, since, _)) => (since, error.with_hint()),
            None => (now, error.with_hint()),
        };
        if alone {
            self.late = if fault == Fault::Away { self.late.saturating_add(1) } else { 0 };
            let mut left = retry.map_or_else(|| pauses(RETRY).build(), |(_, left)| left);
            retry = Some((Instant::now() + left.next().unwrap_or(RETRY.1), left));
        }
        self.failure = Some(Failure { since, cause, fault, retry });
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

    /// Whether what was read last is what the newest poll found.
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

/// Pauses from the first on, doubled with each up to the longest, for ever.
pub(super) fn pauses((first, longest): (Duration, Duration)) -> ExponentialBuilder {
    ExponentialBuilder::new().with_min_delay(first).with_max_delay(longest).without_max_times()
}
