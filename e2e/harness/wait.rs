//! Waiting for a condition instead of for a time.

use std::time::{Duration, Instant};

/// Looks again and again until `look` answers `Ok`, and gives that answer.
///
/// # Panics
///
/// After `deadline`, saying `what` was waited for and the last state that `look` saw.
pub(crate) async fn wait_for<T>(what: &str, deadline: Duration, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    match try_wait_for(what, deadline, look).await {
        Ok(found) => found,
        Err(why) => panic!("{why}"),
    }
}

/// As [`wait_for`], with the missed deadline as an error.
pub(crate) async fn try_wait_for<T>(
    what: &str,
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, String> {
    let started = Instant::now();
    let mut last_seen = "nothing: the first look did not come back".to_owned();
    let mut pause = Duration::from_millis(5);
    loop {
        let left = deadline.saturating_sub(started.elapsed());
        match tokio::time::timeout(left, look()).await {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(seen)) => last_seen = seen,
            Err(_) => {}
        }
        // A look that answers without waiting is never late to a timeout, not even to one of zero.
        if started.elapsed() >= deadline {
            return Err(format!("waited {deadline:?} for {what}; last seen: {last_seen}"));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}
