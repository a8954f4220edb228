//! Who is behind after a write, and how to follow.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::core::{Hint as _, KeyState};
use crate::registry::{Environment, Session};

use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::key_arguments::{allowing, suggested};
use crate::cli::output::{Output, enumerate, keys_in_words};

/// Where some keys stand after a write, and which other environments are behind for them.
pub(in crate::cli) struct Behind {
    /// The environment of the write.
    place: String,
    /// The state of each key there.
    here: BTreeMap<String, KeyState>,
    /// The environments that are behind, production last, each with the state of each key.
    environments: Vec<(String, BTreeMap<String, KeyState>)>,
    /// Whether that could be asked.
    is_known: bool,
}

/// Who is behind now, apart from where the write was. The write is committed: that this cannot be asked does not make it
/// fail.
pub(in crate::cli) async fn behind_elsewhere(
    session: &mut Session,
    context: &Context,
    here: &Environment,
    keys: &[String],
    output: &Output,
) -> Behind {
    match ask(session, context, here, keys).await {
        Ok(behind) => behind,
        Err(error) => {
            output.note(&format!(
                "that is done, but who is behind now could not be asked: {}; see: tidelock status",
                error.with_hint()
            ));
            Behind { place: here.name.clone(), here: BTreeMap::new(), environments: Vec::new(), is_known: false }
        }
    }
}

async fn ask(
    session: &mut Session,
    context: &Context,
    here: &Environment,
    keys: &[String],
) -> Result<Behind, CliError> {
    let mut found: BTreeMap<String, BTreeMap<String, KeyState>> = BTreeMap::new();
    let mut states = BTreeMap::new();
    if !keys.is_empty() {
        for state in session.key_states(context.project()?, keys, None).await? {
            if state.environment == here.name {
                states.insert(state.key, state.state);
            } else if matches!(state.state, KeyState::Stale | KeyState::Missing) {
                found.entry(state.environment).or_default().insert(state.key, state.state);
            }
        }
    }
    let mut environments = Vec::with_capacity(found.len());
    if !found.is_empty() {
        // The order of the list: what is tried in production comes last.
        for environment in session.environments(context.project()?).await? {
            environments.extend(found.remove_entry(&environment.name));
        }
    }
    Ok(Behind { place: here.name.clone(), here: states, environments, is_known: true })
}

impl Behind {
    /// Where a key stands in the environment of the write.
    pub(in crate::cli) fn here(&self, key: &str) -> Option<KeyState> {
        self.here.get(key).copied()
    }

    /// For programs: what a write was, where its key stands now, and who is behind for it; null where that is not known.
    pub(in crate::cli) fn outcome(&self, key: &str, write: &str) -> Value {
        let behind: Option<Vec<&str>> =
            self.is_known.then(|| self.behind_for(key).into_iter().map(|(environment, _)| environment).collect());
        json!({"key": key, "environment": self.place, "write": write, "state": self.here(key), "behind": behind})
    }

    /// As [`Behind::outcome`], of several keys in their order.
    pub(in crate::cli) fn outcomes(&self, keys: &[String], write: &str) -> Value {
        keys.iter().map(|key| self.outcome(key, write)).collect()
    }

    /// The environments that are behind for a key, production last, with its state there.
    fn behind_for(&self, key: &str) -> Vec<(&str, KeyState)> {
        self.environments
            .iter()
            .filter_map(|(environment, keys)| keys.get(key).map(|state| (environment.as_str(), *state)))
            .collect()
    }

    /// The environments, production last.
    pub(in crate::cli) fn environments(&self) -> Vec<&str> {
        self.environments.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// For one key: who, and what to do there.
    pub(in crate::cli) fn advise(&self, key: &str, context: &Context, output: &Output) {
        for line in self.advice(key, &context.project_option()) {
            output.note(&line);
        }
    }

    /// The commands for the first environment, whatever the number: for the others they are the same.
    fn advice(&self, key: &str, project: &str) -> Vec<String> {
        let behind = self.behind_for(key);
        let names: Vec<&str> = behind.iter().map(|(environment, _)| *environment).collect();
        let ([first, others @ ..], [(_, state), ..]) = (names.as_slice(), behind.as_slice()) else { return Vec::new() };
        let argument = suggested([key]);
        let mut lines = vec![
            format!("{} {} now behind for {key}; to follow:", enumerate(&names), are(&names)),
            format!("  tidelock secret set {argument}{project} -e {first} --follow"),
        ];
        // What is missing has no value to stay with, but may not be needed.
        if *state == KeyState::Stale {
            lines.push("or, where the value there stays:".to_owned());
            lines.push(format!("  tidelock secret confirm {argument}{project} -e {first}"));
        } else {
            lines.push("or, where it is not needed:".to_owned());
            lines.push(format!("  tidelock key exempt {argument}{project} -e {first} --reason WHY"));
        }
        if !others.is_empty() {
            lines.push(format!("and the same with -e {}", others_of(others)));
        }
        lines
    }

    /// For many keys: how many, where. `imported` are all that the file has, which the next import has to be allowed as well.
    pub(in crate::cli) fn summarise<'k>(
        &self,
        imported: impl IntoIterator<Item = &'k str>,
        context: &Context,
        output: &Output,
    ) {
        for (environment, keys) in &self.environments {
            let names: Vec<&str> = keys.keys().map(String::as_str).collect();
            output.note(&format!(
                "{environment} is now behind for {}: {}",
                keys_in_words(names.len()),
                enumerate(&names)
            ));
        }
        let names = self.environments();
        if let [first, others @ ..] = names.as_slice() {
            let others = match others {
                [] => String::new(),
                some => format!(", and the same with -e {}", others_of(some)),
            };
            let (project, allowed) = (context.project_option(), allowing(imported));
            output
                .note(&format!("to follow there: tidelock import FILE{project} -e {first} --follow{allowed}{others}"));
        }
    }
}

fn are(names: &[&str]) -> &'static str {
    if names.len() == 1 { "is" } else { "are" }
}

/// `a`, `a or b`; of more than three, that they are all.
fn others_of(names: &[&str]) -> String {
    match names {
        [few @ .., last] if !few.is_empty() && names.len() <= 3 => format!("{} or {last}", few.join(", ")),
        [one] => (*one).to_owned(),
        _ => "each of the others".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(environments: &[(&str, KeyState)]) -> Behind {
        let one = |(name, state): &(&str, KeyState)| ((*name).to_owned(), BTreeMap::from([("URL".to_owned(), *state)]));
        Behind {
            place: "dev".to_owned(),
            here: BTreeMap::from([("URL".to_owned(), KeyState::InSync)]),
            environments: environments.iter().map(one).collect(),
            is_known: true,
        }
    }

    #[test]
    fn a_program_is_told_of_each_key_who_is_behind_for_that_key() {
        let both = behind(&[("staging", KeyState::Stale), ("production", KeyState::Missing)]);
        assert_eq!(
            both.outcomes(&["URL".to_owned(), "OTHER".to_owned()], "deleted"),
            json!([
                {"key": "URL", "environment": "dev", "write": "deleted", "state": "InSync", "behind": ["staging", "production"]},
                {"key": "OTHER", "environment": "dev", "write": "deleted", "state": null, "behind": []},
            ])
        );
    }

    #[test]
    fn advice_is_for_the_first_and_says_where_else_it_goes() {
        let both = behind(&[("staging", KeyState::Stale), ("production", KeyState::Missing)]);
        assert_eq!(
            both.advice("URL", " -p shop"),
            [
                "staging and production are now behind for URL; to follow:",
                "  tidelock secret set URL -p shop -e staging --follow",
                "or, where the value there stays:",
                "  tidelock secret confirm URL -p shop -e staging",
                "and the same with -e production",
            ]
        );
        let one = behind(&[("staging", KeyState::Missing)]);
        assert_eq!(one.advice("URL", "").len(), 4);
        assert_eq!(one.advice("URL", "")[3], "  tidelock key exempt URL -e staging --reason WHY");
        assert!(behind(&[]).advice("URL", "").is_empty());
    }

    #[test]
    fn the_others_are_named_while_they_are_few() {
        assert_eq!(others_of(&["a"]), "a");
        assert_eq!(others_of(&["a", "b", "c"]), "a, b or c");
        assert_eq!(others_of(&["a", "b", "c", "d"]), "each of the others");
    }
}
