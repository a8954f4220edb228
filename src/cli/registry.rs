//! `tidelock registry`.

mod backup;
mod subscriber;

use clap::Subcommand;
use serde_json::json;

use crate::core::Hint as _;
use crate::registry::{Difference, Finding, differences};

use super::context::Context;
use super::error::{Answer, CliError};
use super::options::reason;
use super::output::{Line, Output, plain};

/// The registry as a whole
#[derive(Subcommand)]
pub(super) enum RegistryVerb {
    /// Compare the schema with its migrations, and recount what triggers keep in your projects: exit code 3 where something does not match
    #[command(after_help = "Example: tidelock registry check --repair")]
    Check {
        /// Set wrong counts right, in the projects that you administer
        #[arg(long)]
        repair: bool,
        /// Why, for a repair; it stands in the audit log
        #[arg(long, value_name = "TEXT", value_parser = reason, default_value = "registry check --repair", hide_default_value = true)]
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
    // First: where it has one, the rest may not be answered, or not rightly.
    let differences = differences(&context.settings()?).await?;
    for difference in &differences {
        output.note(&difference.to_string());
    }
    let findings = match findings(context, output, repair.as_deref()).await {
        Ok(findings) => findings,
        Err(error) if !differences.is_empty() => {
            output.note(&format!("nothing was counted: {}", error.with_hint()));
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let differs = !findings.is_empty() || !differences.is_empty();
    if !differs {
        output.note("what is kept matches what was counted, and the schema is as its migrations make it");
    }
    if output.is_json() || differs {
        let lines = differences.iter().map(of_difference).chain(findings.iter().map(of_finding));
        output.list(&["PROJECT", "FINDING", "KEPT", "COUNTED"], lines)?;
    }
    Ok(Answer::differs_if(differs))
}

async fn findings(context: &Context, output: &Output, repair: Option<&str>) -> Result<Vec<Finding>, CliError> {
    let mut session = context.session().await?;
    if let Some(reason) = repair {
        let corrected = session.repair(reason).await?;
        output.note(&format!("corrected {corrected} counts"));
    }
    Ok(session.findings().await?)
}

fn of_finding(finding: &Finding) -> Line {
    Line {
        cells: vec![
            plain(&finding.project),
            plain(&finding.mismatch),
            plain(finding.stored.as_deref().unwrap_or("-")),
            plain(finding.counted.as_deref().unwrap_or("-")),
        ],
        json: json!({
            "project": finding.project, "finding": finding.mismatch,
            "stored": finding.stored, "counted": finding.counted, "remedy": null,
        }),
    }
}

/// Of no project. What should be there is what the migrations made.
fn of_difference(difference: &Difference) -> Line {
    let finding = format!("{} {}", difference.object, difference.problem);
    Line {
        cells: vec![
            plain("-"),
            plain(&finding),
            plain(difference.found.as_deref().unwrap_or("-")),
            plain(difference.expected.as_deref().unwrap_or("-")),
        ],
        json: json!({
            "project": null, "finding": finding, "stored": difference.found, "counted": difference.expected,
            "remedy": difference.remedy,
        }),
    }
}
