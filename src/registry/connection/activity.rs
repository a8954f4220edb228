//! Whether a server owes an answer, and since when nothing came from it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// The parts of making a connection, by which a message says where it came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Resolve,
    Connect,
    Tls,
    StartUp,
    Authentication,
    SessionStart,
    SessionChecks,
}

impl Step {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "looking up its name",
            Self::Connect => "connecting",
            Self::Tls => "TLS",
            Self::StartUp => "start-up",
            Self::Authentication => "authentication",
            Self::SessionStart => "start of the session",
            Self::SessionChecks => "checks of the session",
        }
    }
}

#[derive(Debug)]
struct State {
    step: Step,
    /// Questions whose end has not been answered.
    owed: u32,
    heard: Instant,
    /// The server's process, as it says.
    process: i32,
}

/// Shared by the stream that sees what goes by and whoever watches over it.
#[derive(Debug, Clone)]
pub(super) struct Activity(Arc<Mutex<State>>);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { step: Step::Resolve, owed: 0, heard: Instant::now(), process: 0 })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, step: Step) {
        self.state().step = step;
    }

    pub(super) fn step(&self) -> Step {
        self.state().step
    }

    pub(super) fn is_served_by(&self, process: i32) {
        self.state().process = process;
    }

    pub(super) fn process(&self) -> i32 {
        self.state().process
    }

    pub(super) fn asked(&self) {
        let mut state = self.state();
        if state.owed == 0 {
            state.heard = Instant::now();
        }
        state.owed += 1;
    }

    pub(super) fn answered(&self) {
        let mut state = self.state();
        state.owed = state.owed.saturating_sub(1);
    }

    /// How long nothing has come while an answer was owed.
    pub(super) fn silent_for(&self) -> Duration {
        let state = self.state();
        if state.owed > 0 { state.heard.elapsed() } else { Duration::ZERO }
    }

    /// Something came.
    pub(super) fn heard(&self) {
        self.state().heard = Instant::now();
    }

    /// Comes back once the server has owed an answer and been silent for that long; an eighth later at most.
    pub(super) async fn silence(&self, longest: Duration) {
        loop {
            let silent = self.silent_for();
            if silent >= longest {
                return;
            }
            sleep(if silent.is_zero() { longest / 8 } else { longest.saturating_sub(silent) }).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(4);

    #[tokio::test(start_paused = true)]
    async fn only_silence_of_a_server_that_owes_an_answer_counts() {
        let activity = Activity::new();
        let silent = async |for_how_long| tokio::time::timeout(for_how_long, activity.silence(LONGEST)).await.is_ok();
        assert!(!silent(LONGEST * 3).await, "nothing was asked");
        activity.asked();
        activity.asked();
        assert!(!silent(LONGEST / 2).await);
        activity.heard();
        assert!(!silent(LONGEST / 2).await, "a part of the answer came");
        activity.answered();
        assert!(silent(LONGEST).await, "one of two was answered");
        activity.answered();
        assert!(!silent(LONGEST * 3).await, "all was answered");
    }
}
