//! `tidelock registry`.

mod backup;
mod subscriber;

use clap::Subcommand;
use serde_json::json;

use super::context::Context;
use super::error::{Answer, CliError};
use super::output::{Line, Output, plain};

/// The registry as a whole
#[derive(Subcommand)]
pub(super) enum RegistryVerb {
    /// Recount what triggers keep, in your projects: exit code 3 where something does not match
    #[command(after_help = "Example: tidelock registry check --repair")]
    Check {
        /// Set wrong counts right, in the projects that you administer
        #[arg(long)]
        repair: bool,
        /// Why, for a repair; it stands in the audit log
        #[arg(long, value_name = "TEXT", default_value = "registry check --repair", hide_default_value = true)]
        reason: String,
    },
    Backup(backup::BackupArguments),
    #[command(subcommand)]
    Subscriber(subscriber::SubscriberVerb),
}

impl RegistryVerb {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        match self {
            Self::Check { repair, reason } => check(repair.then_some(reason), context, output).await,
            Self::Backup(arguments) => arguments.run(context, output).await,
            Self::Subscriber(verb) => verb.run(context, output).await,
        }
    }
}

async fn check(repair: Option<String>, context: &Context, output: &Output) -> Result<Answer, CliError> {
    let mut session = context.session().await?;
    if let Some(reason) = repair {
        let corrected = session.repair(&reason).await?;
        output.note(&format!("corrected {corrected} counts"));
    }
    let findings = session.findings().await?;
    if findings.is_empty() {
        output.note("what is kept matches what was counted");
    }
    if output.is_json() || !findings.is_empty() {
        let lines = findings.iter().map(|finding| Line {
            cells: vec![
                plain(&finding.project),
                plain(&finding.mismatch),
                plain(finding.stored.as_deref().unwrap_or("-")),
                plain(finding.counted.as_deref().unwrap_or("-")),
            ],
            json: json!({
                "project": finding.project, "finding": finding.mismatch,
                "stored": finding.stored, "counted": finding.counted,
            }),
        });
        output.list(&["PROJECT", "FINDING", "KEPT", "COUNTED"], lines)?;
    }
    Ok(Answer::differs_if(!findings.is_empty()))
}
