//! How far the database has come, by whichever of its servers answered.

use std::time::Duration;

use tokio::time::Instant;

use crate::registry::ServerPosition;

/// Longest that answers of a standby that is behind another one are left aside. After that it is the database that was set
/// back, or the others are gone.
const TOLERANCE: Duration = Duration::from_mins(1);

/// The newest position of all that answered. Behind one address there may be several servers: what one has said is not
/// taken back by another that only has not heard of it yet.
#[derive(Debug, Default)]
pub(super) struct NewestPosition(Option<(i64, Instant)>);

impl NewestPosition {
    /// Whether an answer comes from a standby that is behind what answered before; takes note of its position.
    pub(super) fn is_behind(&mut self, position: Option<ServerPosition>) -> bool {
        let Some(ServerPosition { wal, is_standby }) = position else { return false };
        let is_behind = self.0.is_some_and(|(newest, at)| is_standby && wal < newest && at.elapsed() < TOLERANCE);
        if !is_behind {
            self.0 = Some((wal, Instant::now()));
        }
        is_behind
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
        assert!(!newest.is_behind(standby(10)));
        assert!(newest.is_behind(standby(9)));
        assert!(!newest.is_behind(standby(10)));
        assert!(!newest.is_behind(standby(12)));
        assert!(newest.is_behind(standby(11)));
        // One that was promoted from an older state is what there is now.
        assert!(!newest.is_behind(primary(8)));
        assert!(!newest.is_behind(standby(8)));
        assert!(newest.is_behind(standby(7)));
        advance(TOLERANCE).await;
        assert!(!newest.is_behind(standby(7)), "nobody else answers any more");
        assert!(!newest.is_behind(None));
    }
}
