//! The names of keys, and what is none.
//!
//! There are three rules, each within the next:
//! - what needs no word: a name that a shell and a Secret can have ([`KeyName::from_person`]);
//! - what is shown: a name that a Secret can have ([`is_secret_key`], `is_key_name` in `migrations/V1__tables.sql`). The
//!   database takes another one only for a key that somebody allowed by that very name;
//! - what can be a name at all: one line of what can be seen ([`KeyName`], `is_allowable_name`).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::InvalidName;
use super::names::name;

name!(
    /// The name of a secret in a project: 1 to 253 bytes, without characters that cannot be seen but spaces inside.
    KeyName, "a key", is_allowable,
    "use 1 to 253 bytes, without spaces at either end and without characters that cannot be seen"
);

impl KeyName {
    /// The name that a person wrote into a file or an argument, where it is one that a shell can have (`[A-Za-z_][A-Za-z0-9_]*`,
    /// at most 253 bytes), or is `allowed` by that very name. What else stands there may be a secret in the wrong place.
    ///
    /// # Errors
    /// It is none of these.
    pub fn from_person(name: &str, allowed: &BTreeSet<String>) -> Result<Self, InvalidName> {
        if is_variable(name) || allowed.contains(name) {
            return name.parse();
        }
        Err(InvalidName::new(
            "a key",
            "use letters, digits and '_', starting with none of the digits; for another name say --allow-name with it, too",
        ))
    }
}

/// Whether a shell can have a variable of this name.
fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Whether a Secret may have a key of this name: `[-._a-zA-Z0-9]+`, at most 253 bytes, neither `.` nor anything that
/// starts with `..`.
#[must_use]
pub fn is_secret_key(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        && name != "."
        && !name.starts_with("..")
}

/// Anything that can be seen on one line.
fn is_allowable(name: &str) -> bool {
    (1..=253).contains(&name.len())
        && !name.starts_with(' ')
        && !name.ends_with(' ')
        && name.chars().all(|c| c == ' ' || is_visible(c))
}

/// Whether a text says nothing: no character in it can be seen. The database has the same rule (`is_blank`).
#[must_use]
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c == ' ' || !is_visible(c))
}

/// No control character, no space but the plain one, and nothing that has no width: format characters, fillers, selectors.
pub(crate) fn is_visible(c: char) -> bool {
    !matches!(
        u32::from(c),
        0..=0x1f
            | 0x7f..=0xa0
            | 0xad
            | 0x34f
            | 0x61c
            | 0x115f
            | 0x1160
            | 0x1680
            | 0x17b4
            | 0x17b5
            | 0x180b..=0x180f
            | 0x2000..=0x200f
            | 0x2028..=0x202f
            | 0x205f..=0x206f
            | 0x2800
            | 0x3000
            | 0x3164
            | 0xfe00..=0xfe0f
            | 0xfeff
            | 0xffa0
            | 0xfff0..=0xffff
            | 0xe0000..=0xe0fff
    )
}

/// A key's name where everybody reads it: conditions, Events, metrics, logs. What a Secret could not be given as a name may be
/// a secret that got into the wrong column, and not even a digest is told of it, by which guesses could be tried.
#[must_use]
pub fn shown_key(name: &str) -> &str {
    if is_secret_key(name) { name } else { NOT_SHOWN }
}

const NOT_SHOWN: &str = "(name not shown)";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_shell_can_have_needs_no_word_and_every_other_one_does() {
        for name in ["DATABASE_URL", "_x", "a1", &"k".repeat(253)] {
            assert!(KeyName::from_person(name, &BTreeSet::new()).is_ok(), "{name}");
        }
        for name in ["tls.crt", "my-key", "with space", "ключ", "a/b", "DATABASE_URL: postgres://u", "1A", "a@b", "a?b"]
        {
            assert!(KeyName::from_person(name, &BTreeSet::new()).is_err(), "{name}");
            assert!(KeyName::from_person(name, &BTreeSet::from([name.to_owned()])).is_ok(), "{name}");
            assert!(KeyName::from_person(name, &BTreeSet::from([format!("{name}2")])).is_err(), "{name}");
        }
        for name in ["", " A", "A ", "A\nB", "A\0", "A\u{feff}", &"k".repeat(254)] {
            assert!(KeyName::from_person(name, &BTreeSet::from([name.to_owned()])).is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_a_secret_could_not_be_given_as_a_name_is_not_repeated() {
        assert_eq!(shown_key("tls.crt"), "tls.crt");
        for name in ["DATABASE_URL: postgres://u:hunter2@h/d", "with space", "..", "ключ", ""] {
            assert_eq!(shown_key(name), "(name not shown)", "{name}");
        }
    }
}
