//! What a reconcile answers.

use std::time::Duration;

/// When to look at an object again, if nothing happens to it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it says when the object has to be looked at again"]
pub struct Action(Option<Duration>);

impl Action {
    /// Only when something happens to it.
    pub const fn await_change() -> Self {
        Self(None)
    }

    /// After that time at the latest.
    pub const fn requeue(after: Duration) -> Self {
        Self(Some(after))
    }

    /// The time; none where nothing but a change leads to another look.
    #[must_use]
    pub const fn after(self) -> Option<Duration> {
        self.0
    }
}
