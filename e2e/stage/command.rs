//! The command as a process: how it is started, and how it ended.

use std::path::PathBuf;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: i32,
    /// Standard output, byte for byte.
    pub(crate) bytes: Vec<u8>,
    /// Standard output as text.
    pub(crate) stdout: String,
    /// Standard error as text.
    pub(crate) stderr: String,
    told: String,
}

impl Finished {
    /// Itself, if the code is the one expected.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\nstdout: {}\nstderr: {}", self.told, self.stdout, self.stderr);
        self
    }

    /// What it answered to `--output json`.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("{}: {why}: {}", self.told, self.stdout))
    }
}

/// A command that runs, and waits for its standard input.
pub(crate) struct Running {
    child: Child,
    told: String,
}

impl Running {
    /// Starts one; it ends with the test.
    pub(crate) fn start(mut command: Command) -> Self {
        let told = format!("{:?}", command.as_std().get_args().collect::<Vec<_>>());
        let child = command.spawn().unwrap_or_else(|why| panic!("starting {}: {why}", program().display()));
        Self { child, told }
    }

    /// Gives it its standard input, to the end, and waits for its own.
    pub(crate) async fn end(mut self, input: &[u8]) -> Finished {
        if let Some(mut stdin) = self.child.stdin.take() {
            // One that reads nothing may be gone already, and has not failed thereby.
            let _ = stdin.write_all(input).await;
        }
        let output = self.child.wait_with_output().await.unwrap_or_else(|why| panic!("{}: {why}", self.told));
        Finished {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
            told: self.told,
        }
    }
}

/// The command under test: the one that cargo built for this run, or the one that the demo was told of.
pub(crate) fn program() -> PathBuf {
    match (std::env::var_os("TIDELOCK_BIN"), option_env!("CARGO_BIN_EXE_tidelock")) {
        (Some(told), _) => PathBuf::from(told),
        (None, Some(built)) => PathBuf::from(built),
        (None, None) => PathBuf::from("tidelock"),
    }
}
