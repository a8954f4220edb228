//! One line for what many objects share: how many Secrets were written for a source, not which.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long is counted before it is told. What one change of a source leads to is mostly over by then.
const WINDOW: Duration = Duration::from_secs(2);

/// Writes that nobody was told of yet, by source and kind of write. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally(Arc<Mutex<BTreeMap<(String, &'static str), usize>>>);

impl Tally {
    /// Counts a write for that source. The first one has the line written a moment later.
    pub(crate) fn count(&self, source: &str, action: &'static str) {
        let is_first = {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let is_first = counts.is_empty();
            *counts.entry((source.to_owned(), action)).or_default() += 1;
            is_first
        };
        if is_first {
            let tally = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(WINDOW).await;
                tally.tell();
            });
        }
    }

    /// Writes the lines for what was counted.
    pub(crate) fn tell(&self) {
        for ((source, action), secrets) in self.take() {
            tracing::info!(source, action, secrets, "wrote Secrets");
        }
    }

    fn take(&self) -> BTreeMap<(String, &'static str), usize> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_thousand_writes_for_one_source_are_one_line() {
        let tally = Tally::default();
        for _ in 0..1_000 {
            tally.count("shop-dev", "replace");
        }
        tally.count("shop-dev", "create");
        tally.count("other", "replace");
        let lines: Vec<(String, usize)> = tally
            .clone()
            .take()
            .into_iter()
            .map(|((source, action), count)| (format!("{source} {action}"), count))
            .collect();
        assert_eq!(
            lines,
            [
                ("other replace".to_owned(), 1),
                ("shop-dev create".to_owned(), 1),
                ("shop-dev replace".to_owned(), 1_000)
            ]
        );
        tally.count("shop-dev", "delete");
        tokio::time::sleep(WINDOW * 2).await;
        assert!(tally.take().is_empty(), "it was told");
    }
}
