//! `tidelock status`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use crate::core::{KeyName, KeyState, StateCounts};
use crate::registry::StateOfKey;

use super::context::Context;
use super::error::{Answer, CliError};
use super::output::{Line, Output, state_cell, time_json};

/// Show every key in every environment: exit code 3 unless all, or those asked for, are in sync
#[derive(Args)]
#[command(after_help = "Example: tidelock status -p shop -e staging DATABASE_URL")]
pub(super) struct Status {
    /// Only these keys
    #[arg(value_name = "KEY")]
    keys: Vec<KeyName>,
}

impl Status {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let project = context.project()?;
        let mut session = context.session().await?;
        let mut environments: Vec<String> =
            session.environments(project).await?.into_iter().map(|environment| environment.name).collect();
        if let Some(asked) = context.spoken_environment() {
            // Asked by name, so that the answer about a name that does not exist is the usual one.
            let asked = session.environment(project, asked).await?;
            environments.retain(|name| *name == asked.name);
        }
        let asked: Vec<String> = self.keys.iter().map(ToString::to_string).collect();
        let states = session.key_states(project, &asked).await?;
        if let Some(key) = asked.iter().find(|key| states.iter().all(|state| state.key != **key)) {
            return Err(CliError::NotFound(format!("project {project} has no key {key}; see: tidelock key list")));
        }
        let shown: Vec<&StateOfKey> = states.iter().filter(|state| environments.contains(&state.environment)).collect();
        print(&shown, &environments, output)?;
        if shown.is_empty() {
            output.note("no keys yet; the first comes with: tidelock secret set KEY -e ENVIRONMENT");
        }
        let mut in_sync = true;
        for environment in &environments {
            let counts: StateCounts =
                shown.iter().filter(|state| state.environment == *environment).map(|state| state.state).collect();
            if !counts.all_in_sync() {
                in_sync = false;
                output.note(&summary(environment, counts));
            }
        }
        Ok(Answer::differs_if(!in_sync))
    }
}

fn print(states: &[&StateOfKey], environments: &[String], output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        let lines = states.iter().map(|state| Line {
            cells: Vec::new(),
            json: json!({
                "key": state.key, "environment": state.environment, "state": state.state,
                "updatedAt": time_json(state.updated_at), "lastUpdatedAt": time_json(state.last_updated_at),
            }),
        });
        return output.list(&[], lines);
    }
    let mut table: BTreeMap<&str, BTreeMap<&str, KeyState>> = BTreeMap::new();
    for state in states {
        table.entry(&state.key).or_default().insert(&state.environment, state.state);
    }
    let mut header = vec!["KEY"];
    header.extend(environments.iter().map(String::as_str));
    let lines = table.iter().map(|(key, row)| {
        let mut cells = vec![super::output::plain(key)];
        cells.extend(environments.iter().map(|environment| state_cell(row.get(environment.as_str()).copied())));
        Line { cells, json: json!(null) }
    });
    output.list(&header, lines)
}

/// `staging is behind: 2 stale, 1 missing`
fn summary(environment: &str, counts: StateCounts) -> String {
    let parts = [(counts.stale, "stale"), (counts.missing, "missing"), (counts.unregistered, "unregistered")];
    let parts: Vec<String> =
        parts.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
    format!("{environment} is behind: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_only_what_there_is() {
        let counts = [KeyState::Stale, KeyState::Stale, KeyState::InSync, KeyState::Missing].into_iter().collect();
        assert_eq!(summary("staging", counts), "staging is behind: 2 stale, 1 missing");
    }
}
