//! `tidelock secret rm`.

use clap::Args;

use crate::core::KeyName;

use crate::cli::context::Context;
use crate::cli::error::{Answer, CliError};
use crate::cli::key_arguments::{KeyArguments, suggested};
use crate::cli::options::Reason;
use crate::cli::output::{Output, enumerate};

use super::behind_elsewhere;

/// Delete secrets; they can be restored
#[derive(Args)]
#[command(after_help = "Example: tidelock secret rm OLD_TOKEN -p shop -e dev --reason 'unused since May'")]
pub(in crate::cli) struct Rm {
    #[command(flatten)]
    keys: KeyArguments,
    #[command(flatten)]
    reason: Reason,
}

impl Rm {
    pub(in crate::cli) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let keys = self.keys.keys()?;
        let mut session = context.session().await?;
        let environment = context.environment_to_write(&mut session).await?;
        session.delete_secrets(&environment, &keys, &self.reason.reason).await?;
        let names: Vec<&str> = keys.iter().map(KeyName::as_str).collect();
        output.note(&format!("deleted {} in {}; to have it back:", enumerate(&names), environment.name));
        output.note(&format!(
            "  tidelock secret restore {}{} -e {}",
            suggested(names.iter().copied()),
            context.project_option(),
            environment.name
        ));
        let keys: Vec<String> = names.iter().map(ToString::to_string).collect();
        let behind = behind_elsewhere(&mut session, context, &environment, &keys, output).await;
        if !behind.environments().is_empty() {
            output.note(&format!(
                "a deletion is a change: {} now behind. To end a key everywhere: tidelock key retire",
                match behind.environments().as_slice() {
                    [one] => format!("{one} is"),
                    several => format!("{} are", enumerate(several)),
                }
            ));
        }
        output.told(&behind.outcomes(&keys, "deleted"))?;
        Ok(Answer::Done)
    }
}
