//! The names of keys in arguments.
//!
//! They are texts until a verb asks for them: the parser of arguments repeats what it refuses, and what stands where a name
//! should may be a secret.

use std::collections::BTreeSet;

use clap::Args;

use crate::core::KeyName;

use super::context::shell;
use super::error::CliError;

/// Names that need a word: see [`KeyName::from_person`]. An allowed name is one of these, and no other.
#[derive(Args)]
pub(super) struct AllowedNames {
    /// Take this name of a key although no shell can have it; once for each such name
    #[arg(long = "allow-name", value_name = "NAME")]
    allowed: Vec<String>,
}

impl AllowedNames {
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.allowed.iter().cloned().collect()
    }
}

/// Of a verb that takes one key.
#[derive(Args)]
pub(super) struct KeyArgument {
    /// The key
    key: String,
    #[command(flatten)]
    allowed: AllowedNames,
}

impl KeyArgument {
    pub(super) fn key(&self) -> Result<KeyName, CliError> {
        Ok(KeyName::from_person(&self.key, &self.allowed.names())?)
    }

    /// Whether somebody put a value beside the name, where everybody sees it.
    pub(super) fn has_equals(&self) -> bool {
        self.key.contains('=')
    }
}

/// Of a verb that takes several keys.
#[derive(Args)]
pub(super) struct KeyArguments {
    /// The keys
    #[arg(required = true, value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    allowed: AllowedNames,
}

impl KeyArguments {
    pub(super) fn keys(&self) -> Result<Vec<KeyName>, CliError> {
        keys(&self.keys, &self.allowed)
    }
}

/// Of a verb that takes several keys, or none for all of them.
#[derive(Args)]
pub(super) struct OnlyKeys {
    /// Only these keys
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
    #[command(flatten)]
    allowed: AllowedNames,
}

impl OnlyKeys {
    pub(super) fn keys(&self) -> Result<Vec<KeyName>, CliError> {
        keys(&self.keys, &self.allowed)
    }
}

fn keys(arguments: &[String], allowed: &AllowedNames) -> Result<Vec<KeyName>, CliError> {
    let allowed = allowed.names();
    arguments.iter().map(|argument| Ok(KeyName::from_person(argument, &allowed)?)).collect()
}

/// Keys as the arguments of a command that is suggested.
pub(super) fn suggested<'k>(keys: impl IntoIterator<Item = &'k str>) -> String {
    let written = keys.into_iter().map(|key| {
        let argument = shell(key);
        if is_plain(key) { argument } else { format!("--allow-name={argument} {argument}") }
    });
    written.collect::<Vec<_>>().join(" ")
}

/// What has to be said of keys to a command that is suggested and finds them by itself, a space before each.
pub(super) fn allowing<'k>(keys: impl IntoIterator<Item = &'k str>) -> String {
    let odd = keys.into_iter().filter(|key| !is_plain(key));
    odd.fold(String::new(), |allowed, key| allowed + " --allow-name=" + &shell(key))
}

fn is_plain(key: &str) -> bool {
    KeyName::from_person(key, &BTreeSet::new()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suggested_command_is_taken_as_it_is() {
        assert_eq!(suggested(["A", "B"]), "A B");
        assert_eq!(suggested(["a b", "B"]), "--allow-name='a b' 'a b' B");
        assert_eq!(allowing(["a b", "B", "tls.crt"]), " --allow-name='a b' --allow-name=tls.crt");
    }
}
