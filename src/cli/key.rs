//! `tidelock key`.

mod purge_name;

use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::core::KeyName;
use crate::registry::{ListedKey, Session, Tracking};

use super::context::Context;
use super::error::{Answer, CliError};
use super::key_arguments::{KeyArgument, KeyArguments};
use super::options::RequiredReason;
use super::output::{Line, Output, enumerate, plain, time_cell, time_json};

/// The master list of a project's keys
#[derive(Subcommand)]
pub(super) enum KeyVerb {
    /// List the keys of a project
    #[command(after_help = "Example: tidelock key list -p shop")]
    List {
        /// Retired keys, too
        #[arg(long)]
        retired: bool,
    },
    /// Say what a key is for, or whether environments follow each other in it; each of them then has to look
    #[command(
        after_help = "Example: tidelock key define HOSTNAME --tracking independent --reason 'differs everywhere'"
    )]
    Define {
        #[command(flatten)]
        key: KeyArgument,
        /// What it is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
        /// Whether a change in one environment makes the others stale
        #[arg(long, value_enum)]
        tracking: Option<TrackingName>,
        #[command(flatten)]
        reason: RequiredReason,
    },
    /// End a key in the whole project: every secret of that name is deleted, and can be restored
    #[command(after_help = "Example: tidelock key retire LEGACY_TOKEN --reason 'no longer read by anything'")]
    Retire {
        #[command(flatten)]
        key: KeyArgument,
        #[command(flatten)]
        reason: RequiredReason,
    },
    /// Take a name out of the registry and its audit log, such as a secret that became one; the key ends everywhere, for good
    #[command(
        after_help = "Example: tidelock key purge-name -p shop --reason 'a password was pasted as a name' < name.txt"
    )]
    PurgeName(purge_name::PurgeName),
    /// Declare that an environment does not need keys
    #[command(after_help = "Example: tidelock key exempt STRIPE_KEY -e dev --reason 'payments are stubbed'")]
    Exempt {
        #[command(flatten)]
        keys: KeyArguments,
        /// Take the declaration back
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        reason: RequiredReason,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum TrackingName {
    Tracked,
    Independent,
}

impl KeyVerb {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        match self {
            Self::List { retired } => list(retired, context, output).await?,
            Self::Define { key, description, tracking, reason } => {
                if description.is_none() && tracking.is_none() {
                    return Err(CliError::Usage("say --description TEXT, --tracking HOW, or both".to_owned()));
                }
                let key = key.key()?;
                let tracking = tracking.map(|tracking| match tracking {
                    TrackingName::Tracked => Tracking::Tracked,
                    TrackingName::Independent => Tracking::Independent,
                });
                let (project, mut session) = (context.project()?, context.session().await?);
                session.define_key(project, &key, description.as_deref(), tracking, &reason.reason).await?;
                output.note(&format!("defined {key}"));
                tell(&mut session, &key, context, output).await?;
            }
            Self::Retire { key, reason } => {
                let key = key.key()?;
                let mut session = context.session().await?;
                session.retire_key(context.project()?, &key, &reason.reason).await?;
                output.note(&format!("retired {key}; every secret of that name is deleted"));
                tell(&mut session, &key, context, output).await?;
            }
            Self::PurgeName(verb) => return verb.run(context, output).await,
            Self::Exempt { keys, undo, reason } => {
                let keys = keys.keys()?;
                let mut session = context.session().await?;
                let environment = context.environment_to_write(&mut session).await?;
                let named: Vec<&str> = keys.iter().map(KeyName::as_str).collect();
                if undo {
                    session.unexempt_keys(&environment, &keys, &reason.reason).await?;
                    output.note(&format!("{} is no longer exempt from {}", environment.name, enumerate(&named)));
                } else {
                    session.exempt_keys(&environment, &keys, &reason.reason).await?;
                    output.note(&format!("{} is exempt from {}", environment.name, enumerate(&named)));
                }
                let told =
                    named.iter().map(|key| json!({"key": key, "environment": environment.name, "exempt": !undo}));
                output.told(&told.collect())?;
            }
        }
        Ok(Answer::Done)
    }
}

async fn list(retired: bool, context: &Context, output: &Output) -> Result<(), CliError> {
    let keys = context.session().await?.keys(context.project()?).await?;
    let shown = keys.iter().filter(|key| retired || key.retired_at.is_none());
    let lines = shown.map(|key| Line {
        cells: vec![
            plain(&key.key),
            plain(if key.retired_at.is_some() { "retired" } else { &key.tracking }),
            time_cell(key.last_updated_at),
            plain(if key.exempt.is_empty() { "-".to_owned() } else { key.exempt.join(", ") }),
            plain(&key.description),
        ],
        json: of_key(key),
    });
    output.list(&["KEY", "TRACKING", "CHANGED", "EXEMPT", "DESCRIPTION"], lines)
}

/// For programs, a key as it is now, in the shape of the list.
async fn tell(session: &mut Session, key: &KeyName, context: &Context, output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        let keys = session.keys(context.project()?).await?;
        if let Some(now) = keys.iter().find(|listed| listed.key == key.as_str()) {
            output.json(&of_key(now))?;
        }
    }
    Ok(())
}

fn of_key(key: &ListedKey) -> Value {
    json!({
        "key": key.key, "tracking": key.tracking, "lastUpdatedAt": time_json(key.last_updated_at),
        "retiredAt": time_json(key.retired_at), "exempt": key.exempt, "description": key.description,
    })
}
