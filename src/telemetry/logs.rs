//! Logs: text for people, JSON for machines, and never the value of a secret.

use std::io::IsTerminal;

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, fmt};

/// Starts logging to standard error, as text on a terminal and as JSON elsewhere, by the directives of `RUST_LOG` or at
/// `info`. Once per process.
///
/// `RUST_LOG` raises the detail of this program's own lines, not of libraries': see [`may_be_logged`].
///
/// # Errors
/// If the process has a subscriber already.
pub(crate) fn init() -> Result<(), TryInitError> {
    let wanted = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let filter = wanted.and(filter_fn(may_be_logged));
    let lines = fmt::layer().with_writer(std::io::stderr);
    // Without spans: only libraries open them, and they repeat which object a line is about.
    let lines = if std::io::stderr().is_terminal() {
        lines.boxed()
    } else {
        lines.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed()
    };
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()
}

/// Whether a line may be written at all, whatever `RUST_LOG` says: every line of this program, and those of libraries
/// at `info` and above.
///
/// Below `info`, libraries print the data that passes through them: tokio-postgres the parameters of statements (with
/// ciphertext in them, where a command writes), kube every error answer of the API server and every answer that it
/// cannot decode, h2 and rustls frames and handshakes. We cannot promise what is in there, and their next release may
/// print more.
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
