//! Environment variables of ours: an empty one is as good as none, for each of them.
//!
//! Templates, CI systems and `docker run -e NAME` set variables to nothing where nothing was meant.

use std::ffi::{OsStr, OsString};

use clap::Command;
use clap::builder::Resettable;

const OURS: &str = "TIDELOCK_";

/// A variable that says something.
pub(super) fn said(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The command without the variables of ours that say nothing, which the parser would take for values.
pub(super) fn without_empty(command: Command) -> Command {
    let is_empty = |name: &OsStr| {
        name.to_str()
            .is_some_and(|name| name.starts_with(OURS) && std::env::var_os(name).is_some() && said(name).is_none())
    };
    command
        .mut_args(|argument| match argument.get_env() {
            Some(name) if is_empty(name) => argument.env(Resettable::Reset),
            _ => argument,
        })
        .mut_subcommands(without_empty)
}
