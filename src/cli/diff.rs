//! `tidelock diff`.

use clap::Args;
use serde_json::json;

use crate::core::{Difference, EnvironmentName, diff};

use super::context::Context;
use super::error::{Answer, CliError};
use super::output::{Line, Output, plain};

/// Compare two environments by the hashes of their values, nothing decrypted: exit code 3 where they differ
#[derive(Args)]
#[command(after_help = "Example: tidelock diff dev staging -p shop")]
pub(super) struct Diff {
    /// One environment
    #[arg(value_name = "ENV_A")]
    left: EnvironmentName,
    /// The other one
    #[arg(value_name = "ENV_B")]
    right: EnvironmentName,
    /// Equal keys, too
    #[arg(long)]
    all: bool,
}

impl Diff {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let project = context.project()?;
        let mut session = context.session().await?;
        let left = session.environment(project, &self.left).await?;
        let right = session.environment(project, &self.right).await?;
        let [ours, theirs] = session.value_hashes(&left, &right).await?;
        let differences = diff(&ours, &theirs);
        let differs = differences.iter().any(|key| key.difference != Difference::Same);
        if !differs {
            output.note(&format!("{} and {} have the same keys with the same values", left.name, right.name));
        }
        let shown = differences.iter().filter(|key| self.all || key.difference != Difference::Same);
        if output.is_json() || differs || self.all {
            let lines = shown.map(|key| Line {
                cells: vec![plain(&key.key), plain(in_words(key.difference, &left.name, &right.name))],
                json: json!({"key": key.key, "difference": key.difference}),
            });
            output.list(&["KEY", "DIFFERENCE"], lines)?;
        }
        Ok(Answer::differs_if(differs))
    }
}

fn in_words(difference: Difference, left: &str, right: &str) -> String {
    match difference {
        Difference::Same => "same".to_owned(),
        Difference::Different => "different".to_owned(),
        Difference::Unknown => "unknown: hashed in ways that cannot be compared".to_owned(),
        Difference::OnlyLeft => format!("only in {left}"),
        Difference::OnlyRight => format!("only in {right}"),
    }
}
