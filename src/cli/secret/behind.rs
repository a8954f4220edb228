//! Who is behind after a write, and how to follow.

use std::collections::BTreeMap;

use crate::core::KeyState;
use crate::registry::{Environment, Session};

use crate::cli::context::{Context, shell};
use crate::cli::error::CliError;
use crate::cli::output::{Output, enumerate, keys_in_words};

/// The other environments that are behind for some keys.
pub(in crate::cli) struct Behind {
    /// The environments that are behind, production last, each with the state of each key.
    environments: Vec<(String, BTreeMap<String, KeyState>)>,
}

/// Who is behind now, apart from where the write was.
pub(in crate::cli) async fn behind_elsewhere(
    session: &mut Session,
    context: &Context,
    here: &Environment,
    keys: &[String],
) -> Result<Behind, CliError> {
    let mut found: BTreeMap<String, BTreeMap<String, KeyState>> = BTreeMap::new();
    if !keys.is_empty() {
        for state in session.key_states(context.project()?, keys).await? {
            if state.environment != here.name && matches!(state.state, KeyState::Stale | KeyState::Missing) {
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
    Ok(Behind { environments })
}

impl Behind {
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
        let names = self.environments();
        let [first, others @ ..] = names.as_slice() else { return Vec::new() };
        let argument = shell(key);
        let mut lines = vec![
            format!("{} {} now behind for {key}; to follow:", enumerate(&names), are(&names)),
            format!("  tidelock secret set {argument}{project} -e {first} --follow"),
        ];
        // What is missing has no value to stay with, but may not be needed.
        if self.environments[0].1.get(key) == Some(&KeyState::Stale) {
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

    /// For many keys: how many, where.
    pub(in crate::cli) fn summarise(&self, context: &Context, output: &Output) {
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
            let project = context.project_option();
            output.note(&format!("to follow there: tidelock import FILE{project} -e {first} --follow{others}"));
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
        Behind { environments: environments.iter().map(one).collect() }
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
