//! `tidelock secret get`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{Answer, CliError};
use crate::cli::key_arguments::KeyArgument;
use crate::cli::output::{Output, time_json};

/// Print a value, every byte of it; on a terminal a line break follows
#[derive(Args)]
#[command(after_help = "Example: tidelock secret get DATABASE_URL -p shop -e dev")]
pub(in crate::cli) struct Get {
    #[command(flatten)]
    key: KeyArgument,
}

impl Get {
    pub(in crate::cli) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let key = self.key.key()?;
        let keyring = context.keyring()?;
        let mut session = context.session().await?;
        let environment = context.environment(&mut session).await?;
        let secret = session.secret(&keyring, &environment, &key).await?;
        if !secret.checked {
            output.note(&format!(
                "the value of {key} could not be checked against its hash: the keyring does not open the project's \
                 hashing key, or the hash is of another kind"
            ));
        }
        if !output.is_json() {
            output.value(secret.value.expose())?;
            return Ok(Answer::Done);
        }
        // JSON has no bytes: text where it is text, and base64 in a field of another name where it is not.
        let mut result = json!({
            "key": key, "environment": environment.name, "version": secret.version,
            "updatedAt": time_json(secret.updated_at),
        });
        match std::str::from_utf8(secret.value.expose()) {
            Ok(text) => result["value"] = text.into(),
            Err(_) => result["valueBase64"] = STANDARD.encode(secret.value.expose()).into(),
        }
        output.json(&result)?;
        Ok(Answer::Done)
    }
}
