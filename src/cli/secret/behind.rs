//! Who is behind after a write, and how to follow.

use std::collections::BTreeMap;

use crate::core::KeyState;
use crate::registry::{Environment, Session};

use crate::cli::context::{Context, shell};
use crate::cli::error::CliError;
use crate::cli::output::{Output, enumerate};

/// The other environments that are behind for some keys.
pub(in crate::cli) struct Behind {
    /// The state of each key in each environment that is behind, by environment.
    environments: BTreeMap<String, BTreeMap<String, KeyState>>,
}

/// Who is behind now, apart from where the write was.
pub(in crate::cli) async fn behind_elsewhere(
    session: &mut Session,
    context: &Context,
    here: &Environment,
    keys: &[String],
) -> Result<Behind, CliError> {
    let mut environments: BTreeMap<String, BTreeMap<String, KeyState>> = BTreeMap::new();
    if !keys.is_empty() {
        for state in session.key_states(context.project()?, keys).await? {
            if state.environment != here.name && matches!(state.state, KeyState::Stale | KeyState::Missing) {
                environments.entry(state.environment).or_default().insert(state.key, state.state);
            }
        }
    }
    Ok(Behind { environments })
}

impl Behind {
    /// The environments, by name.
    pub(in crate::cli) fn environments(&self) -> Vec<&str> {
        self.environments.keys().map(String::as_str).collect()
    }

    /// For one key: who, and what to do there.
    pub(in crate::cli) fn advise(&self, key: &str, context: &Context, output: &Output) {
        let names = self.environments();
        let Some(first) = names.first() else { return };
        output.note(&format!("{} {} now behind for {key}; to follow:", enumerate(&names), are(&names)));
        let (key_argument, project) = (shell(key), context.project_option());
        output.note(&format!("  tidelock secret set {key_argument}{project} -e {first} --follow"));
        // What is missing has no value to stay with, but may not be needed.
        let stale = self.environments.iter().find(|(_, keys)| keys.get(key) == Some(&KeyState::Stale));
        if let Some((name, _)) = stale {
            output.note("or, where the value there stays:");
            output.note(&format!("  tidelock secret confirm {key_argument}{project} -e {name}"));
        } else {
            output.note("or, where it is not needed:");
            output.note(&format!("  tidelock key exempt {key_argument}{project} -e {first} --reason WHY"));
        }
    }

    /// For many keys: how many, where.
    pub(in crate::cli) fn summarise(&self, output: &Output) {
        for (environment, keys) in &self.environments {
            let names: Vec<&str> = keys.keys().map(String::as_str).collect();
            output.note(&format!("{environment} is now behind for {} keys: {}", names.len(), enumerate(&names)));
        }
        if let Some(first) = self.environments.keys().next() {
            output.note(&format!("to follow there: tidelock import -e {first} --follow FILE"));
        }
    }
}

fn are(names: &[&str]) -> &'static str {
    if names.len() == 1 { "is" } else { "are" }
}
