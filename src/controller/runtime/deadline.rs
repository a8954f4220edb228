//! The deadline of a reconcile. Waiting for a place in a lane does not count against it: a full lane is no error.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// Longest that a reconcile may take, waiting in a lane aside.
pub(crate) const RECONCILE: Duration = Duration::from_secs(30);

tokio::task_local! {
    static PHASE: watch::Sender<Phase>;
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Working { until: Instant },
    Waiting,
}

impl Phase {
    fn working() -> Self {
        Self::Working { until: Instant::now() + RECONCILE }
    }
}

/// Why a reconcile was ended before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ended {
    /// It took too long.
    #[error("it did not end within {} s", RECONCILE.as_secs())]
    Late,
    /// The operator stops, and it had not begun to write.
    #[error("the operator stops")]
    Stopped,
}

/// Runs a reconcile until it ends, its time is over, or the operator stops while it still waits for a place.
pub(crate) async fn within<F: Future>(stop: &CancellationToken, reconcile: F) -> Result<F::Output, Ended> {
    let (phase, mut phases) = watch::channel(Phase::working());
    tokio::select! {
        result = PHASE.scope(phase, reconcile) => Ok(result),
        ended = ended(stop, &mut phases) => Err(ended),
    }
}

/// Waits for something that does not count against the deadline, which begins anew after it. Outside of [`within`],
/// just waits.
pub(crate) async fn waiting<F: Future>(wait: F) -> F::Output {
    let say = |phase| PHASE.try_with(|sender| sender.send_replace(phase)).map(drop).unwrap_or_default();
    say(Phase::Waiting);
    let result = wait.await;
    say(Phase::working());
    result
}

async fn ended(stop: &CancellationToken, phases: &mut watch::Receiver<Phase>) -> Ended {
    loop {
        let phase = *phases.borrow_and_update();
        let over = async {
            match phase {
                Phase::Working { until } => sleep_until(until).await,
                Phase::Waiting => stop.cancelled().await,
            }
        };
        tokio::select! {
            () = over => {
                return if matches!(phase, Phase::Waiting) { Ended::Stopped } else { Ended::Late };
            }
            changed = phases.changed() => {
                if changed.is_err() {
                    // The reconcile is gone, and with it whoever would ask.
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_reconcile_that_hangs_is_ended() {
        let stop = CancellationToken::new();
        assert_eq!(within(&stop, pending::<()>()).await, Err(Ended::Late));
        assert_eq!(within(&stop, async { 1 }).await, Ok(1));
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_place_does_not_count() {
        let stop = CancellationToken::new();
        let slow = async {
            waiting(sleep(Duration::from_mins(10))).await;
            sleep(RECONCILE / 2).await;
        };
        assert_eq!(within(&stop, slow).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_what_waits_and_lets_finish_what_works() {
        let stop = CancellationToken::new();
        stop.cancel();
        assert_eq!(within(&stop, waiting(pending::<()>())).await, Err(Ended::Stopped));
        assert_eq!(within(&stop, sleep(RECONCILE / 2)).await, Ok(()));
    }
}
