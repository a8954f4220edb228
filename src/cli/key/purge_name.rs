//! `tidelock key purge-name`.

use clap::Args;
use serde_json::json;

use crate::core::KeyName;

use crate::cli::context::Context;
use crate::cli::error::{Answer, CliError};
use crate::cli::options::RequiredReason;
use crate::cli::output::Output;
use crate::cli::value_input::ValueInput;

#[derive(Args)]
pub(in crate::cli) struct PurgeName {
    #[command(flatten)]
    name: ValueInput,
    #[command(flatten)]
    reason: RequiredReason,
}

impl PurgeName {
    /// The name is asked for as a value is, since it may be one.
    pub(in crate::cli) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let keyring = context.keyring()?;
        let project = context.project()?;
        let name = self.name.ask("Name to purge: ")?;
        let key: KeyName = String::from_utf8_lossy(name.expose()).parse()?;
        let mut session = context.session().await?;
        let purged = session.purge_key_name(&keyring, project, &key, &self.reason.reason).await?;
        output.note(&format!("purged the name: {purged} stands for it, and the key is retired for good"));
        output.note(
            "what was secret in it counts as known: change it where it is used; backups, the server's log of statements and \
             its files until the next VACUUM may still have it",
        );
        output.told(&json!({"key": purged, "purged": true}))?;
        Ok(Answer::Done)
    }
}
