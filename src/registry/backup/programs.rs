//! `pg_dump` and `pg_restore`: where they are, and how they are run.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::BufReader;
use tokio::process::Command;

use super::{BackupError, copied_rows};

const WHERE_TO_FIND: &str =
    "install PostgreSQL's client programs, at least as new as the server, or name their folder with --pg-bin";

#[derive(Debug)]
pub(super) struct Programs {
    dump: PathBuf,
    restore: PathBuf,
}

impl Programs {
    /// In the folder named, else in `PATH`, else where `pg_config` says.
    pub(super) async fn find(folder: Option<&Path>) -> Result<Self, BackupError> {
        let both = |folder: &Path| {
            let found = Self { dump: folder.join("pg_dump"), restore: folder.join("pg_restore") };
            (found.dump.is_file() && found.restore.is_file()).then_some(found)
        };
        let found = if let Some(folder) = folder {
            both(folder)
        } else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            let in_path = std::env::split_paths(&path).find_map(|folder| both(&folder));
            if in_path.is_some() { in_path } else { bindir().await.as_deref().and_then(both) }
        };
        found.ok_or_else(|| BackupError::Program {
            program: "pg_dump".to_owned(),
            problem: folder.map_or_else(
                || "and pg_restore are neither in PATH nor where pg_config says".to_owned(),
                |folder| format!("and pg_restore are not in {}", folder.display()),
            ),
            hint: WHERE_TO_FIND.to_owned(),
        })
    }

    /// Writes the schemas, as the snapshot shows them, in `pg_dump`'s own format.
    pub(super) async fn dump(
        &self,
        connection: Vec<(&'static str, Option<OsString>)>,
        schemas: &[String],
        snapshot: &str,
        file: &Path,
    ) -> Result<(), BackupError> {
        let mut command = Command::new(&self.dump);
        command.args(["--format=custom", "--enable-row-security", "--no-password"]);
        command.arg(format!("--snapshot={snapshot}"));
        for schema in schemas {
            // In quotes, so that it is no pattern.
            command.arg(format!("--schema=\"{}\"", schema.replace('"', "\"\"")));
        }
        command.arg("--file").arg(file);
        for (name, value) in connection {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let ended = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
        let ended = ended.map_err(|error| failed(&self.dump, format!("could not be run: {error}")))?;
        if ended.status.success() { Ok(()) } else { Err(failed(&self.dump, said(&ended.stderr))) }
    }

    /// How many rows of each table the file has. They pass through this process, and nowhere else.
    pub(super) async fn rows_in(&self, file: &Path) -> Result<BTreeMap<String, u64>, BackupError> {
        let unreadable = |error: std::io::Error| failed(&self.restore, format!("could not be run: {error}"));
        let mut child = Command::new(&self.restore)
            .args(["--data-only", "--file=-"])
            .arg(file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(unreadable)?;
        let script = child.stdout.take().map(BufReader::new);
        let counting = async {
            match script {
                Some(script) => copied_rows::count(script).await,
                None => Ok(BTreeMap::new()),
            }
        };
        let (counted, ended) = tokio::join!(counting, child.wait_with_output());
        let ended = ended.map_err(unreadable)?;
        if ended.status.success() {
            counted.map_err(unreadable)
        } else {
            Err(failed(&self.restore, said(&ended.stderr)))
        }
    }
}

/// The folder of the PostgreSQL that `pg_config` belongs to.
async fn bindir() -> Option<PathBuf> {
    let told = Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).output().await.ok()?;
    let told = String::from_utf8(told.stdout).ok()?;
    Some(PathBuf::from(told.trim())).filter(|folder| folder.is_absolute())
}

fn failed(program: &Path, problem: String) -> BackupError {
    let name = program.file_name().unwrap_or(OsStr::new("pg_dump")).to_string_lossy().into_owned();
    let hint = if problem.contains("version mismatch") {
        WHERE_TO_FIND
    } else {
        "no file is left; put that right, then repeat"
    };
    BackupError::Program { program: name, problem, hint: hint.to_owned() }
}

/// What a program said of its failing: its messages name tables and statements, and no row.
fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(6).collect();
    format!("failed: {}", lines.join("; "))
}
