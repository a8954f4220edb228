//! Writes that are repeated though nothing new was asked for, since something undoes them: an admission policy, or another
//! program. The pauses between them grow, so that two that disagree do not keep the API server busy.

use std::time::Duration;

use jiff::Timestamp;

/// Longest pause. What is undone no longer is put right within a minute, the time of the write included.
const LONGEST: Duration = Duration::from_secs(45);

/// How many repairs go out at once: a person who tries something twice need not wait.
const FREE_REPAIRS: u32 = 5;

/// For how long repairs are counted: after this much quiet, the next one is the first again.
const MEMORY: Duration = Duration::from_mins(5);

/// What undoes the writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Undoing {
    /// Admission stores another Secret than was sent. The sentence that says so is kept, so that a wait repeats it.
    Admission { message: String },
    /// Somebody changes or deletes the Secret afterwards.
    Afterwards,
}

/// Writes of one content that did not last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Repeats {
    /// The fingerprint of that content: another one is written at once.
    inputs: Option<String>,
    pub(crate) undoing: Undoing,
    count: u32,
    last: Timestamp,
}

impl Repeats {
    /// After one more write of this content.
    #[must_use]
    pub(crate) fn after(before: Option<&Self>, inputs: Option<&str>, undoing: Undoing, now: Timestamp) -> Self {
        let same = before.filter(|before| {
            before.is_about(inputs, now) && std::mem::discriminant(&before.undoing) == std::mem::discriminant(&undoing)
        });
        let count = same.map_or(0, |before| before.count).saturating_add(1);
        Self { inputs: inputs.map(str::to_owned), undoing, count, last: now }
    }

    /// Whether it still counts, and for this content.
    #[must_use]
    pub(crate) fn is_about(&self, inputs: Option<&str>, now: Timestamp) -> bool {
        self.inputs.as_deref() == inputs && since(self.last, now) < MEMORY
    }

    /// How long the next write has to wait from now on; `None` where it has not.
    #[must_use]
    pub(crate) fn pause_left(&self, now: Timestamp) -> Option<Duration> {
        let left = self.pause().saturating_sub(since(self.last, now));
        (!left.is_zero()).then_some(left)
    }

    /// From the last write to the next: 1 s, doubled with each up to the longest.
    fn pause(&self) -> Duration {
        let counted = match self.undoing {
            Undoing::Admission { .. } => self.count,
            Undoing::Afterwards => self.count.saturating_sub(FREE_REPAIRS),
        };
        match counted.checked_sub(1) {
            None => Duration::ZERO,
            Some(doublings) => Duration::from_secs(1_u64 << doublings.min(6)).min(LONGEST),
        }
    }
}

/// A clock that was set back has not waited.
fn since(last: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(last)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    fn after(undoing: &Undoing, count: usize) -> Repeats {
        let next =
            |before: Option<Repeats>, _| Some(Repeats::after(before.as_ref(), Some("a"), undoing.clone(), at(0)));
        (0..count).fold(None, next).expect("at least one")
    }

    #[test]
    fn pauses_grow_up_to_one_that_heals_within_a_minute() {
        let pauses = |undoing: &Undoing| {
            (1..=12).map(|count| after(undoing, count).pause_left(at(0)).map_or(0, |left| left.as_secs())).collect()
        };
        let altered: Vec<u64> = pauses(&Undoing::Admission { message: String::new() });
        assert_eq!(altered, [1, 2, 4, 8, 16, 32, 45, 45, 45, 45, 45, 45]);
        let repaired: Vec<u64> = pauses(&Undoing::Afterwards);
        assert_eq!(repaired, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 45]);
    }

    #[test]
    fn a_pause_ends_and_a_clock_that_was_set_back_does_not_make_it_longer() {
        let repeats = after(&Undoing::Admission { message: String::new() }, 3);
        assert_eq!(repeats.pause_left(at(1)), Some(Duration::from_secs(3)));
        assert_eq!(repeats.pause_left(at(4)), None);
        assert_eq!(repeats.pause_left(at(-9_999)), Some(Duration::from_secs(4)));
    }

    #[test]
    fn another_content_another_cause_and_a_long_quiet_begin_anew() {
        let many = after(&Undoing::Afterwards, 9);
        let count = |inputs, undoing, now| Repeats::after(Some(&many), Some(inputs), undoing, now).count;
        assert_eq!(count("a", Undoing::Afterwards, at(10)), 10);
        assert_eq!(count("b", Undoing::Afterwards, at(10)), 1);
        assert_eq!(count("a", Undoing::Admission { message: String::new() }, at(10)), 1);
        assert_eq!(count("a", Undoing::Afterwards, at(300)), 1);
    }
}
