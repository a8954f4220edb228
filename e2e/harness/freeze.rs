//! A server whose processes are stopped in their tracks: the kernel still takes connections for it, and nobody answers.

use std::fs;

use super::Postgres;
use super::os::signal;

/// A server that is frozen for as long as this is held.
pub(crate) struct Frozen(Vec<u32>);

impl Postgres {
    /// Freezes all of its processes.
    pub(crate) fn freeze(&self) -> Frozen {
        let postmaster = self.pid().expect("it runs");
        // First the one that starts the others.
        signal(postmaster, "STOP").expect("its processes are ours");
        let mut pids = vec![postmaster];
        for child in children_of(postmaster) {
            signal(child, "STOP").expect("its processes are ours");
            pids.push(child);
        }
        Frozen(pids)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // Frozen, it could not be ended either.
        for pid in &self.0 {
            let _ = signal(*pid, "CONT");
        }
    }
}

fn children_of(parent: u32) -> Vec<u32> {
    let parent = parent.to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        // `pid (name) state parent`, where the name may have anything in it.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().nth(1) == Some(&parent)
    })
    .collect()
}
