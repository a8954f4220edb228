//! `tidelock secret set`.

use std::ffi::OsString;

use clap::Args;

use crate::core::KeyState;
use crate::registry::{Environment, Session, WriteOptions, WriteOutcome};

use crate::cli::context::Context;
use crate::cli::error::{Answer, CliError};
use crate::cli::key_arguments::KeyArgument;
use crate::cli::options::Reason;
use crate::cli::output::{Output, undeliverable};
use crate::cli::value_input::ValueInput;

use super::behind_elsewhere;

/// Set a secret; the value comes from standard input, a hidden prompt or a file
#[derive(Args)]
#[command(after_help = "Example: tidelock secret set DATABASE_URL -p shop -e dev < url.txt")]
pub(in crate::cli) struct Set {
    #[command(flatten)]
    key: KeyArgument,
    #[arg(hide = true)]
    value_in_the_open: Option<OsString>,
    /// Only catch up with what changed elsewhere: no other environment becomes stale
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    input: ValueInput,
    #[command(flatten)]
    reason: Reason,
}

impl Set {
    pub(in crate::cli) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        if self.value_in_the_open.is_some() || self.key.has_equals() {
            return Err(CliError::Usage(
                "a value is never taken from the arguments, which every process of the machine can see: pipe it to \
                 standard input, or leave it out to be asked; a key has no '=' in it"
                    .to_owned(),
            ));
        }
        let key = self.key.key()?;
        let keyring = context.keyring()?;
        let mut session = context.session().await?;
        let environment = context.environment_to_write(&mut session).await?;
        // Before the value is read: who typed it cannot have known of what changes from here on.
        let observed = session.observed_times(&environment, std::slice::from_ref(&key)).await?;
        if self.follow && observed.time(&key).is_none() {
            return Err(CliError::NotFound(format!(
                "project {} has no key {key}, so there is nothing to follow; leave out --follow to make it",
                environment.project_name
            )));
        }
        let value = self.input.read(&format!("{key} in {}", environment.name))?;
        let options = WriteOptions {
            follow: self.follow,
            observed: &observed,
            dry_run: false,
            // Who brings an empty value to one key has said so already.
            allow_empty: true,
            reason: &self.reason.reason,
        };
        let values = [(key.clone(), value)];
        let written = session.write_values(&keyring, &environment, &values, options).await?;
        let outcome = written.first().map_or(WriteOutcome::Unchanged, |(_, outcome)| *outcome);
        report(&mut session, context, output, &environment, key.as_str(), outcome).await
    }
}

async fn report(
    session: &mut Session,
    context: &Context,
    output: &Output,
    environment: &Environment,
    key: &str,
    outcome: WriteOutcome,
) -> Result<Answer, CliError> {
    let place = format!("{key} in {}", environment.name);
    let change = matches!(outcome, WriteOutcome::Created | WriteOutcome::Changed);
    output.note(&match outcome {
        WriteOutcome::Created => format!("created {place}"),
        WriteOutcome::Changed => format!("changed {place}"),
        WriteOutcome::Followed => format!("followed with {place}: it catches up, and nobody else is behind for it"),
        WriteOutcome::Confirmed => format!("confirmed {place}: it has this value already, and counts as looked at"),
        WriteOutcome::Repaired => {
            format!("repaired {place}: its stored text did not open as this value any more, and is sealed anew")
        }
        WriteOutcome::Unchanged => format!("{place} has this value already, and is in sync: nothing was written"),
    });
    if outcome == WriteOutcome::Created
        && let Some(note) = undeliverable([key])
    {
        output.note(&note);
    }
    let behind = behind_elsewhere(session, context, environment, &[key.to_owned()], output).await;
    if change {
        behind.advise(key, context, output);
    }
    output.told(&behind.outcome(key, word(outcome)))?;
    let overtaken = !change && behind.here(key) == Some(KeyState::Stale);
    if overtaken {
        output.note(&format!("{place} is behind all the same: it changed elsewhere in between; look, then repeat"));
    }
    Ok(Answer::differs_if(overtaken))
}

fn word(outcome: WriteOutcome) -> &'static str {
    match outcome {
        WriteOutcome::Created => "created",
        WriteOutcome::Changed => "changed",
        WriteOutcome::Followed => "followed",
        WriteOutcome::Confirmed => "confirmed",
        WriteOutcome::Repaired => "repaired",
        WriteOutcome::Unchanged => "unchanged",
    }
}
