//! Logs: text for people, JSON for machines, and never a value.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

/// In what form log lines are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For reading.
    Text,
}

/// Starts logging to standard error, by the directives of `RUST_LOG` or at `info`. Once per process.
///
/// `RUST_LOG` can make this program talk in every detail, but no library: see [`may_be_logged`].
///
/// # Errors
/// Where the process has a subscriber already.
pub fn init(format: LogFormat) -> Result<(), TryInitError> {
    let wanted = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let filter = wanted.and(filter_fn(may_be_logged));
    let json = match format {
        LogFormat::Auto => !std::io::stderr().is_terminal(),
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    // Spans are the libraries': they would say twice, in their own words, which object a line names already.
    let lines = if json {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    } else {
        lines.boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()
}

/// Whether a line may be written at all, whatever anybody asks for: those of this program, and of libraries those at
/// `info` and above.
///
/// Below that, libraries print what passes through them: tokio-postgres its statements' parameters (ciphertext, when a
/// person's command writes), kube the API server's answers that it cannot read and every error answer whole, h2 and
/// rustls frames and handshakes. None of that is ours to vouch for, and a release of theirs may print more.
fn may_be_logged(line: &Metadata<'_>) -> bool {
    let of_ours = line.target() == "tidelock" || line.target().starts_with("tidelock::");
    of_ours || *line.level() <= Level::INFO
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn libraries_never_talk_below_info_and_this_program_does_when_asked() {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = fmt::layer()
            .with_writer(move || writer.clone())
            .with_filter(EnvFilter::new("trace").and(filter_fn(may_be_logged)));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::trace!(target: "tidelock::controller", "ours");
            tracing::info!(target: "kube_client::client", "theirs at info");
            tracing::debug!(target: "kube_client::client", "theirs at debug");
            tracing::trace!(target: "tidelock_other", "a stranger");
        });
        let written = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(written.contains("ours") && written.contains("theirs at info"), "{written}");
        assert!(!written.contains("theirs at debug") && !written.contains("a stranger"), "{written}");
    }
}
