//! `tidelock secret confirm`.

use clap::Args;
use jiff::Timestamp;

use crate::core::{KeyState, RegistryTime};
use crate::registry::ObservedTimes;

use crate::cli::context::Context;
use crate::cli::error::{Answer, CliError};
use crate::cli::key_arguments::KeyArguments;
use crate::cli::options::Reason;
use crate::cli::output::{Output, enumerate};

use super::behind_elsewhere;

/// Say that a value was looked at and stays, though it changed elsewhere
#[derive(Args)]
#[command(
    after_help = "Example: tidelock secret confirm DATABASE_URL -p shop -e staging --reason 'has its own database'"
)]
pub(in crate::cli) struct Confirm {
    #[command(flatten)]
    keys: KeyArguments,
    /// What was looked at is the state of this time, as `tidelock status -o json` shows it in lastUpdatedAt, and nothing
    /// later [default: now]
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    #[command(flatten)]
    reason: Reason,
}

impl Confirm {
    pub(in crate::cli) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let keys = self.keys.keys()?;
        let mut session = context.session().await?;
        let environment = context.environment_to_write(&mut session).await?;
        let observed = match self.at {
            Some(at) => {
                let at = RegistryTime::from_micros(at.as_microsecond());
                keys.iter().map(|key| (key.clone(), at)).collect::<ObservedTimes>()
            }
            None => session.observed_times(&environment, &keys).await?,
        };
        session.confirm_secrets(&environment, &keys, &observed, &self.reason.reason).await?;
        let names: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        output.note(&format!("confirmed {} in {}", enumerate(&borrowed), environment.name));
        let behind = behind_elsewhere(&mut session, context, &environment, &names, output).await;
        output.told(&behind.outcomes(&names, "confirmed"))?;
        let stale: Vec<&str> = borrowed.into_iter().filter(|key| behind.here(key) == Some(KeyState::Stale)).collect();
        if !stale.is_empty() {
            output.note(&format!(
                "{} changed elsewhere since that time, so {} is behind all the same: look, then repeat",
                enumerate(&stale),
                environment.name
            ));
        }
        Ok(Answer::differs_if(!stale.is_empty()))
    }
}
