//! Where the programs are: the scripts in `e2e/tools` know, and get or build what is missing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The path of `kube-apiserver`, `kube-controller-manager`, `etcd`, `kubectl` or `helm`.
///
/// The first call ever on a machine builds the tool, which takes minutes and shows its progress; `make` does that before
/// the tests start.
pub(crate) fn tool(name: &str) -> Result<PathBuf> {
    Ok(path_from("build", &[name])?.join(name))
}

/// `kubectl`: the installed one, or else the one that goes with the API server.
pub(crate) fn kubectl() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|folder| folder.join("kubectl")).find(|file| file.is_file());
    installed.map_or_else(|| tool("kubectl"), Ok)
}

/// The folder that holds `postgres`, `initdb` and `pg_ctl`; often, but not surely, `psql` too.
pub(crate) fn postgres_bin() -> Result<PathBuf> {
    path_from("postgres", &[])
}

/// A packaged PostgreSQL, whatever is installed. Its version is the script's choice: the newest that there is.
pub(crate) fn packaged_postgres_bin() -> Result<PathBuf> {
    path_from("postgres", &["packaged"])
}

/// PgBouncer, where this machine has one or can fetch one.
pub(crate) fn pgbouncer() -> Result<Option<PathBuf>> {
    let found = path_from("pgbouncer", &[])?;
    Ok((!found.as_os_str().is_empty()).then_some(found))
}

/// What one of the scripts in `e2e/tools` prints, asked once per run.
fn path_from(script: &str, arguments: &[&str]) -> Result<PathBuf> {
    static FOUND: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    let found = found.get_or_insert_default();
    let asked = format!("{script} {}", arguments.join(" "));
    if let Some(path) = found.get(&asked) {
        return Ok(path.clone());
    }
    let script = repository().join("e2e/tools").join(script);
    // Progress goes to standard error, straight to whoever waits.
    let output = Command::new(&script)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("running {}", script.display()))?;
    ensure!(
        output.status.success(),
        "{asked} failed ({}); what it said is on standard error, and e2e/tools/check names what this machine lacks",
        output.status
    );
    let path = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    found.insert(asked, path.clone());
    Ok(path)
}
