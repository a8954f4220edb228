//! The folder of one run: data, logs and credentials of the servers that this process started.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result};

use super::os;

/// What the name of every run's folder begins with; this process's id follows.
const PREFIX: &str = "tidelock-e2e.";

/// Waits until the process at the other end of its standard input is gone, gives its servers ten seconds to follow, ends
/// those that did not (by id, and only while that id still names a process of this run), and removes the folder.
const REAPER: &str = r#"
cat
pids=$(cat "$1"/pids/* 2>/dev/null)
tries=0
while [ $tries -lt 100 ]; do
    left=
    for pid in $pids; do
        if grep -qF "$1" "/proc/$pid/cmdline" 2>/dev/null; then left="$left $pid"; fi
    done
    [ -n "$left" ] || break
    tries=$((tries + 1))
    sleep 0.1
done
[ -z "$left" ] || kill -KILL $left
[ -n "$2" ] || rm -rf -- "$1"
"#;

/// A folder that goes when this process does.
pub(crate) struct RunDir {
    path: PathBuf,
    /// Closed by the kernel when this process ends, in whatever way: that is what the reaper waits for.
    _reaper: ChildStdin,
}

impl RunDir {
    /// The folder that all shared servers of this process use.
    pub(crate) fn shared() -> Result<&'static Self, String> {
        static SHARED: OnceLock<Result<RunDir, String>> = OnceLock::new();
        SHARED.get_or_init(|| Self::new().map_err(|why| format!("{why:#}"))).as_ref().map_err(Clone::clone)
    }

    /// A new folder under the system's temporary one.
    ///
    /// With `TIDELOCK_E2E_KEEP` set, the folder stays when the servers are gone, for someone who wants to read the logs.
    fn new() -> Result<Self> {
        remove_what_dead_runs_left();
        let name = format!("{PREFIX}{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        // Left by an earlier process that had this id.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        fs::create_dir(path.join("pids"))?;
        // PostgreSQL may run as another user and has to reach its own folder; what is secret is closed further down.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;

        let keep = std::env::var("TIDELOCK_E2E_KEEP").unwrap_or_default();
        if !keep.is_empty() {
            fs::write(path.join("keep"), "remove this folder by hand\n")?;
        }
        let mut reaper = Command::new("sh");
        reaper
            .args(["-c", REAPER, "reaper"])
            .arg(&path)
            .arg(keep)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal reaches a process group; the reaper has to outlive it.
            .process_group(0);
        let mut reaper = reaper.spawn().context("starting the reaper")?;
        let stdin = reaper.stdin.take().context("the reaper has no standard input")?;
        Ok(Self { path, _reaper: stdin })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A folder in it that only this user may look into.
    pub(crate) fn private(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir(&path).with_context(|| format!("creating {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
        Ok(path)
    }

    /// A folder in it that belongs to the user whom servers run as that refuse to be root.
    pub(crate) fn for_unprivileged(&self, name: &str) -> Result<PathBuf> {
        let path = self.private(name)?;
        if let Some(user) = os::unprivileged_user() {
            chown(&path, Some(user.uid), Some(user.gid))
                .with_context(|| format!("giving {} to {}", path.display(), user.uid))?;
        }
        Ok(path)
    }
}

/// A machine that lost power, or a reaper that was ended with all the rest, leaves folders behind.
fn remove_what_dead_runs_left() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else {
        return;
    };
    for entry in entries.filter_map(io::Result::ok) {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let Some(pid) = pid.and_then(|pid| pid.parse::<u32>().ok()) else {
            continue;
        };
        if !os::is_alive(pid) && !entry.path().join("keep").exists() {
            // Another user's, or one that its reaper is just removing.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
