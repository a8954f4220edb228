//! What psql connects to this program connects to, and what psql refuses it refuses: the same connection string, the same
//! environment, the same server.

mod strings;
mod tls;

use std::path::PathBuf;
use std::process::Stdio;

use tokio::process::Command;

use crate::stage::program;

/// A place to connect from: a home folder, and what both programs are told by their environment.
struct Place {
    home: tempfile::TempDir,
    port: u16,
    database: String,
    password: String,
    psql: PathBuf,
}

impl Place {
    fn command(&self, program: impl Into<PathBuf>, environment: &[(&str, String)]) -> Command {
        let mut command = Command::new(program.into());
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("PGCONNECT_TIMEOUT", "20")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if !environment.iter().any(|(name, _)| *name == "PGPASSWORD") {
            command.env("PGPASSWORD", &self.password);
        }
        command.envs(environment.iter().filter(|(_, value)| !value.is_empty()).cloned());
        command
    }

    /// Whether both connect or both refuse, with what they say where they differ.
    async fn agree(&self, case: &Case) -> Result<bool, String> {
        let text = case.text.replace("{port}", &self.port.to_string()).replace("{db}", &self.database);
        let mut psql = self.command(&self.psql, &case.environment);
        psql.args(["--no-psqlrc", "--no-password", "--tuples-only", "--command", "SELECT 1"])
            .arg("--dbname")
            .arg(&text);
        let psql = psql.output().await.expect("psql runs");
        let mut ours = self.command(program(), &case.environment);
        ours.args(["migrate", "--check"]).env("TIDELOCK_DATABASE_URL", &text);
        let ours = ours.output().await.expect("the program runs");
        // An empty database lacks migrations, which is an answer.
        let (theirs, mine) = (psql.status.success(), matches!(ours.status.code(), Some(0 | 3)));
        if theirs == mine {
            return Ok(mine);
        }
        let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(format!(
            "{text} {:?}\n  psql: {theirs}, {}\n  ours: {mine}, {}",
            case.environment,
            said(&psql),
            said(&ours)
        ))
    }

    /// Goes through a table; answers how many strings both took.
    async fn all_agree(&self, cases: &[Case]) -> usize {
        let (mut taken, mut differ) = (0, Vec::new());
        for case in cases {
            match self.agree(case).await {
                Ok(true) => taken += 1,
                Ok(false) => {}
                Err(difference) => differ.push(difference),
            }
        }
        assert!(differ.is_empty(), "{} of {} differ:\n{}", differ.len(), cases.len(), differ.join("\n"));
        taken
    }
}

struct Case {
    text: String,
    environment: Vec<(&'static str, String)>,
}

fn case(text: impl Into<String>) -> Case {
    Case { text: text.into(), environment: Vec::new() }
}

fn with(text: impl Into<String>, environment: &[(&'static str, &str)]) -> Case {
    let environment = environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Case { text: text.into(), environment }
}
