//! How far the database has come, by whichever of its servers answered.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::registry::ServerPosition;

/// Longest that answers of a standby that is behind another one are left aside. After that it is the database that was set
/// back, or the others are gone.
const TOLERANCE: Duration = Duration::from_mins(1);

/// The newest position of all that answered. Behind one address there may be several servers: what one has said is not
/// taken back by another that only has not heard of it yet.
#[derive(Debug, Default)]
pub(super) struct Newest(Mutex<NewestPosition>);

impl Newest {
    /// What it is now.
    pub(super) fn get(&self) -> NewestPosition {
        *self.lock()
    }

    /// Whether an answer comes from a standby that was behind already when it was asked, at `then`. Takes note of its position.
    pub(super) fn is_behind(&self, position: Option<ServerPosition>, then: NewestPosition) -> bool {
        self.lock().is_behind(position, then)
    }

    fn lock(&self) -> MutexGuard<'_, NewestPosition> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A position, and when it was told.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct NewestPosition(Option<(i64, Instant)>);

impl NewestPosition {
    /// Whether an answer comes from a standby that was behind already when it was asked: `then` is what was newest at that
    /// time, as one that takes long is overtaken by the polls of the very server that gives it. Takes note of its position.
    fn is_behind(&mut self, position: Option<ServerPosition>, then: Self) -> bool {
        let Some(ServerPosition { wal, is_standby }) = position else { return false };
        if then.0.is_some_and(|(newest, at)| is_standby && wal < newest && at.elapsed() < TOLERANCE) {
            return true;
        }
        if !is_standby || self.0.is_none_or(|(newest, at)| wal >= newest || at.elapsed() >= TOLERANCE) {
            self.0 = Some((wal, Instant::now()));
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_standby_that_is_behind_is_left_aside_for_a_minute_and_a_primary_never() {
        let standby = |wal| Some(ServerPosition { wal, is_standby: true });
        let primary = |wal| Some(ServerPosition { wal, is_standby: false });
        let mut newest = NewestPosition::default();
        let mut is_behind = |position| {
            let then = newest;
            newest.is_behind(position, then)
        };
        assert!(!is_behind(standby(10)));
        assert!(is_behind(standby(9)));
        assert!(!is_behind(standby(10)));
        assert!(!is_behind(standby(12)));
        assert!(is_behind(standby(11)));
        // One that was promoted from an older state is what there is now.
        assert!(!is_behind(primary(8)));
        assert!(!is_behind(standby(8)));
        assert!(is_behind(standby(7)));
        advance(TOLERANCE).await;
        assert!(!is_behind(standby(7)), "nobody else answers any more");
        assert!(!is_behind(None));
    }

    #[test]
    fn an_answer_that_took_long_is_not_behind_the_polls_that_came_meanwhile() {
        let standby = |wal| Some(ServerPosition { wal, is_standby: true });
        let mut newest = NewestPosition::default();
        assert!(!newest.is_behind(standby(10), newest));
        let when_it_began = newest;
        assert!(!newest.is_behind(standby(20), newest));
        assert!(!newest.is_behind(standby(11), when_it_began));
        assert!(newest.is_behind(standby(19), newest), "what it said is not the newest");
    }
}
