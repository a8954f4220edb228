//! Users and processes of this machine.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};

/// A user by number.
#[derive(Clone, Copy)]
pub(crate) struct User {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// Whom to run servers as that refuse to be root: `nobody` where this process is root, else nobody else.
pub(crate) fn unprivileged_user() -> Option<User> {
    static USER: OnceLock<Option<User>> = OnceLock::new();
    let ids = |of: &str, flag| {
        let output = Command::new("id").args([flag, of]).output().ok()?;
        String::from_utf8(output.stdout).ok()?.trim().parse().ok()
    };
    *USER.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let effective = status.lines().find_map(|line| line.strip_prefix("Uid:"))?.split_whitespace().nth(1)?;
        (effective == "0").then_some(User { uid: ids("nobody", "-u")?, gid: ids("nobody", "-g")? })
    })
}

/// Whether a process with this id runs. One that ended and was not waited for does not.
pub(crate) fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
        !state.starts_with(['Z', 'X'])
    })
}

/// Sends a signal, named without `SIG`, to a process.
pub(crate) fn signal(pid: u32, name: &str) -> Result<()> {
    let status = Command::new("sh")
        .args(["-c", r#"kill -s "$1" "$2""#, "kill", name, &pid.to_string()])
        .stderr(Stdio::null())
        .status()
        .context("running kill")?;
    if !status.success() && is_alive(pid) {
        bail!("could not send SIG{name} to process {pid}");
    }
    Ok(())
}
