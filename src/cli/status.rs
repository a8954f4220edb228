//! `tidelock status`.

use std::collections::HashMap;

use clap::Args;
use serde_json::json;

use crate::core::StateCounts;
use crate::registry::StateOfKey;

use super::context::Context;
use super::error::{Answer, CliError};
use super::key_arguments::OnlyKeys;
use super::output::{Line, Output, state_cell, time_json};

/// Show every key in every environment: exit code 3 unless all, or those asked for, are in sync
#[derive(Args)]
#[command(after_help = "Example: tidelock status -p shop -e staging DATABASE_URL")]
pub(super) struct Status {
    #[command(flatten)]
    keys: OnlyKeys,
}

const SUBSCRIBER: &str = "THIS REGISTRY IS A SUBSCRIBER, and takes no writes: they go to the publisher";

impl Status {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let asked: Vec<String> = self.keys.keys()?.into_iter().map(String::from).collect();
        let project = context.project()?;
        let mut session = context.session().await?;
        if session.is_subscriber() {
            output.note(SUBSCRIBER);
        }
        let mut environments: Vec<String> =
            session.environments(project).await?.into_iter().map(|environment| environment.name).collect();
        let mut only_in = None;
        if let Some(asked) = context.spoken_environment() {
            // Asked by name, so that the answer about a name that does not exist is the usual one.
            let asked = session.environment(project, asked).await?;
            environments.retain(|name| *name == asked.name);
            only_in = Some(asked.id);
        }
        let states = session.key_states(project, &asked, only_in).await?;
        if let Some(key) = asked.iter().find(|key| states.iter().all(|state| state.key != **key)) {
            return Err(CliError::NotFound(format!("project {project} has no key {key} (see: tidelock key list)")));
        }
        // By its place among them: names are not compared once for each cell and environment.
        let places: HashMap<&str, usize> =
            environments.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
        let place = |state: &StateOfKey| places.get(state.environment.as_str()).copied();
        let shown: Vec<(usize, &StateOfKey)> = states.iter().filter_map(|state| Some((place(state)?, state))).collect();
        print(&shown, &environments, output)?;
        if shown.is_empty() {
            output.note("no keys yet; the first comes with: tidelock secret set KEY -e ENVIRONMENT");
        }
        let mut counts = vec![StateCounts::default(); environments.len()];
        for (place, state) in &shown {
            counts[*place].add(state.state);
        }
        let mut in_sync = true;
        for (environment, counts) in environments.iter().zip(counts) {
            if !counts.all_in_sync() {
                in_sync = false;
                output.note(&summary(environment, counts));
            }
        }
        Ok(Answer::differs_if(!in_sync))
    }
}

/// States by key, each with the place of its environment.
fn print(states: &[(usize, &StateOfKey)], environments: &[String], output: &Output) -> Result<(), CliError> {
    if output.is_json() {
        let lines = states.iter().map(|(_, state)| Line {
            cells: Vec::new(),
            json: json!({
                "key": state.key, "environment": state.environment, "state": state.state,
                "updatedAt": time_json(state.updated_at), "lastUpdatedAt": time_json(state.last_updated_at),
            }),
        });
        return output.list(&[], lines);
    }
    let rows: Vec<&[(usize, &StateOfKey)]> = states.chunk_by(|(_, one), (_, next)| one.key == next.key).collect();
    let longest = rows.iter().map(|row| row[0].1.key.chars().count()).max().unwrap_or_default();
    let mut first = 0;
    for shown in fitting(environments, longest, output.width()) {
        if first > 0 {
            output.text("\n")?;
        }
        let mut header = vec!["KEY"];
        header.extend(shown.iter().map(String::as_str));
        let lines = rows.iter().map(|row| {
            let mut found = vec![None; shown.len()];
            for (place, state) in *row {
                if let Some(cell) = place.checked_sub(first).and_then(|place| found.get_mut(place)) {
                    *cell = Some(state.state);
                }
            }
            let mut cells = vec![super::output::plain(&row[0].1.key)];
            cells.extend(found.into_iter().map(state_cell));
            Line { cells, json: json!(null) }
        });
        output.list(&header, lines)?;
        first += shown.len();
    }
    Ok(())
}

/// The environments in tables that fit, one below the other, each with at least one environment.
fn fitting(environments: &[String], longest_key: usize, width: Option<usize>) -> Vec<&[String]> {
    const GAP: usize = 3;
    let room = width.unwrap_or(usize::MAX).saturating_sub(longest_key.max("KEY".len()));
    let mut tables = Vec::new();
    let (mut first, mut used) = (0, 0);
    for (index, environment) in environments.iter().enumerate() {
        let column = GAP + environment.chars().count().max("InSync".len());
        if index > first && used + column > room {
            tables.push(&environments[first..index]);
            (first, used) = (index, 0);
        }
        used += column;
    }
    tables.push(&environments[first..]);
    tables
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
    use crate::core::KeyState;

    #[test]
    fn many_environments_are_shown_in_tables_that_fit() {
        let environments: Vec<String> = (0..6).map(|number| format!("env-{number}")).collect();
        let sizes = |longest, width| -> Vec<usize> {
            fitting(&environments, longest, width).into_iter().map(<[String]>::len).collect()
        };
        assert_eq!(sizes(10, None), [6]);
        assert_eq!(sizes(10, Some(64)), [6]);
        assert_eq!(sizes(10, Some(63)), [5, 1]);
        assert_eq!(sizes(10, Some(30)), [2, 2, 2]);
        assert_eq!(sizes(300, Some(80)), [1; 6], "a long key leaves no room, and each has one all the same");
        assert_eq!(fitting(&[], 10, Some(80)), [&[] as &[String]]);
    }

    #[test]
    fn a_summary_names_only_what_there_is() {
        let counts = [KeyState::Stale, KeyState::Stale, KeyState::InSync, KeyState::Missing].into_iter().collect();
        assert_eq!(summary("staging", counts), "staging is behind: 2 stale, 1 missing");
    }
}
