//! `tidelock secret`.

mod behind;
mod confirm;
mod get;
mod list;
mod restore;
mod rm;
mod set;

use clap::Subcommand;

use super::context::Context;
use super::error::{Answer, CliError};
use super::output::Output;

pub(super) use behind::behind_elsewhere;

/// Secrets of an environment
#[derive(Subcommand)]
pub(super) enum SecretVerb {
    Set(set::Set),
    Get(get::Get),
    List(list::List),
    Rm(rm::Rm),
    Restore(restore::Restore),
    Confirm(confirm::Confirm),
}

impl SecretVerb {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        match self {
            Self::Set(verb) => verb.run(context, output).await,
            Self::Get(verb) => verb.run(context, output).await,
            Self::List(verb) => verb.run(context, output).await,
            Self::Rm(verb) => verb.run(context, output).await,
            Self::Restore(verb) => verb.run(context, output).await,
            Self::Confirm(verb) => verb.run(context, output).await,
        }
    }
}
