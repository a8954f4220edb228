//! Whether the registry has ever answered.

use std::sync::{Arc, Mutex, PoisonError};

/// Set by the poller, for whoever asks how the operator is. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Reach(Arc<Mutex<Option<String>>>);

impl Default for Reach {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some("it is being asked".to_owned()))))
    }
}

impl Reach {
    /// It did, and outages from now on are told by the sources.
    pub(super) fn answered(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// It did not, for this reason.
    pub(super) fn failed(&self, why: &str) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(told) = state.as_mut() {
            why.clone_into(told);
        }
    }

    /// In words, as long as it never answered.
    pub(crate) fn remark(&self) -> Option<String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.as_ref().map(|why| format!("the registry has not answered since this operator started: {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_the_newest_reason_until_the_first_answer() {
        let reach = Reach::default();
        assert!(reach.remark().is_some_and(|told| told.ends_with("it is being asked")));
        reach.failed("127.0.0.1:5432, connecting: refused");
        assert!(reach.remark().is_some_and(|told| told.ends_with("connecting: refused")));
        reach.answered();
        reach.failed("an outage later");
        assert_eq!(reach.remark(), None);
    }
}
