//! Options that every verb takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::core::{EnvironmentName, ProjectName, UserName, is_blank};
use crate::registry::DEFAULT_SCHEMA;

/// How results are printed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    // Without doc comments: clap would make every help text long for them.
    Table,
    Json,
}

#[derive(Args)]
#[command(next_help_heading = "Common options")]
pub(super) struct CommonOptions {
    /// Where the registry is: postgresql://LOGIN:PASSWORD@HOST/DATABASE, what else psql takes, or file:/PATH for a file that holds it
    #[arg(long, env = "TIDELOCK_DATABASE_URL", hide_env_values = true, value_name = "URL", global = true)]
    pub(super) database_url: Option<String>,

    /// The schema that holds the registry's tables
    #[arg(long, env = "TIDELOCK_SCHEMA", value_name = "NAME", default_value = DEFAULT_SCHEMA, global = true)]
    pub(super) schema: String,

    /// The keyring [default: tidelock/keyring in the folder of your configuration]
    #[arg(long, env = "TIDELOCK_KEYRING", value_name = "FILE", global = true)]
    pub(super) keyring: Option<PathBuf>,

    /// The user to act for, where the login may
    #[arg(long, env = "TIDELOCK_USER", value_name = "NAME", global = true)]
    pub(super) user: Option<UserName>,

    /// The project; else the one in .tidelock.toml
    #[arg(long, short, env = "TIDELOCK_PROJECT", value_name = "NAME", global = true)]
    pub(super) project: Option<ProjectName>,

    // Not by clap's `env`: what may be written depends on whether it was spoken.
    /// The environment; else the one in .tidelock.toml, but writing to production takes this very option [env: TIDELOCK_ENVIRONMENT]
    #[arg(long, short, value_name = "NAME", global = true)]
    pub(super) environment: Option<EnvironmentName>,

    /// How results are printed
    #[arg(long, short, value_enum, default_value = "table", global = true)]
    pub(super) output: Format,
}

/// Why, for a change.
#[derive(Args)]
pub(super) struct Reason {
    /// Why; it stands in the audit log
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub(super) reason: String,
}

/// Why, for a declaration that somebody will question one day.
#[derive(Args)]
pub(super) struct RequiredReason {
    /// Why; it stands in the audit log
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    pub(super) reason: String,
}

/// A reason that says something.
pub(super) fn reason(text: &str) -> Result<String, &'static str> {
    if is_blank(text) { Err("a reason is needed, and nothing in this one can be seen") } else { Ok(text.to_owned()) }
}
