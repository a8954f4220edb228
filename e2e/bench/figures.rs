//! What was measured, beside what was hoped for.

use std::time::Duration;

/// The table that a run prints at its end.
#[derive(Default)]
pub(crate) struct Figures(Vec<[String; 3]>);

impl Figures {
    /// A line; also printed at once, since a run takes minutes.
    pub(crate) fn add(&mut self, what: &str, measured: &str, goal: &str) {
        println!("{what}: {measured} (goal {goal})");
        self.0.push([what.to_owned(), measured.to_owned(), goal.to_owned()]);
    }

    /// All lines, as a table in Markdown.
    pub(crate) fn print(&self) {
        println!("\n| what | measured | goal |\n|---|---|---|");
        for [what, measured, goal] in &self.0 {
            println!("| {what} | {measured} | {goal} |");
        }
    }
}

/// The value below which this share of them lies; `times` is sorted in place.
pub(crate) fn percentile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a small index"
    )]
    let index = ((times.len() - 1) as f64 * share).round() as usize;
    times[index]
}

/// Milliseconds with one digit behind the point.
pub(crate) fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}
