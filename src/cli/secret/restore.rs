//! `tidelock secret restore`.

use clap::Args;

use crate::core::KeyName;

use crate::cli::context::Context;
use crate::cli::error::{Answer, CliError};
use crate::cli::key_arguments::KeyArguments;
use crate::cli::options::Reason;
use crate::cli::output::{Output, enumerate};

use super::behind_elsewhere;

/// Bring deleted secrets back, with the values that they had
#[derive(Args)]
#[command(after_help = "Example: tidelock secret restore OLD_TOKEN -p shop -e dev --reason 'still in use'")]
pub(in crate::cli) struct Restore {
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    reason: Reason,
}

impl Restore {
    pub(in crate::cli) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let keys = self.keys.keys()?;
        let mut session = context.session().await?;
        let environment = context.environment_to_write(&mut session).await?;
        session.restore_secrets(&environment, &keys, &self.reason.reason).await?;
        let names: Vec<&str> = keys.iter().map(KeyName::as_str).collect();
        output.note(&format!("restored {} in {}", enumerate(&names), environment.name));
        let keys: Vec<String> = names.iter().map(ToString::to_string).collect();
        let behind = behind_elsewhere(&mut session, context, &environment, &keys, output).await;
        for name in names {
            behind.advise(name, context, output);
        }
        output.told(&behind.outcomes(&keys, "restored"))?;
        Ok(Answer::Done)
    }
}
