//! `tidelock secret list`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{Answer, CliError};
use crate::cli::output::{Line, Output, plain, state_cell, time_cell, time_json};

/// List the keys of an environment with state, version and time, and no value
#[derive(Args)]
#[command(after_help = "Example: tidelock secret list -p shop -e dev")]
pub(in crate::cli) struct List {}

impl List {
    pub(in crate::cli) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let mut session = context.session().await?;
        let environment = context.environment(&mut session).await?;
        let states = session.key_states(context.project()?, &[], Some(environment.id)).await?;
        // Only what the user may read has a version here; states and times are everybody's.
        let versions: BTreeMap<String, i64> =
            session.secrets(&environment).await?.into_iter().map(|secret| (secret.key, secret.version)).collect();
        let here = states.iter().filter(|state| state.environment == environment.name);
        let lines = here.map(|state| {
            let version = versions.get(&state.key);
            Line {
                cells: vec![
                    plain(&state.key),
                    state_cell(Some(state.state)),
                    plain(version.map_or("-".to_owned(), ToString::to_string)),
                    time_cell(state.updated_at),
                    time_cell(state.last_updated_at),
                ],
                json: json!({
                    "key": state.key, "state": state.state, "version": version,
                    "updatedAt": time_json(state.updated_at), "lastUpdatedAt": time_json(state.last_updated_at),
                }),
            }
        });
        output.list(&["KEY", "STATE", "VERSION", "UPDATED", "CHANGED ANYWHERE"], lines)?;
        if !environment.readable {
            output.note(&format!("versions are not shown: your membership does not read {}", environment.name));
        }
        Ok(Answer::Done)
    }
}
