//! Names and identifiers as types of their own, so that a project's name is never passed for an environment's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A name that does not follow the rules of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {name:?} is not valid: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    name: String,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $check:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = InvalidName;
            fn from_str(name: &str) -> Result<Self, InvalidName> {
                Self::try_from(name.to_owned())
            }
        }

        impl TryFrom<String> for $type {
            type Error = InvalidName;
            fn try_from(name: String) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(&name) { Ok(Self(name)) } else { Err(InvalidName { kind: $kind, name, rule: $rule }) }
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! id {
    ($(#[$doc:meta])* $type:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $type(pub Uuid);

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

/// 1 to 63 of letters, digits, `.`, `_` and `-`, starting with a letter or digit: fits a label value and a file name.
fn is_label(name: &str) -> bool {
    name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
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

/// Anything that can be seen on one line; whether it is also a valid key of a Kubernetes Secret is the binding's matter.
/// The database has the same rule (`is_key_name` in `migrations/V1__tables.sql`).
fn is_key(name: &str) -> bool {
    (1..=253).contains(&name.len()) && !name.starts_with(' ') && !name.ends_with(' ') && !name.chars().any(is_invisible)
}

/// Control characters, every space but the plain one, and what has no width: format characters, fillers, selectors.
fn is_invisible(c: char) -> bool {
    matches!(
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

/// Whether a text says nothing: no character in it can be seen. The database has the same rule (`is_blank`).
#[must_use]
pub fn is_blank(text: &str) -> bool {
    text.chars().all(|c| c == ' ' || is_invisible(c))
}

name!(
    /// A project's name: 1 to 63 of letters, digits, `.`, `_`, `-`, starting with a letter or digit.
    ProjectName, "project", is_label, "use 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit"
);
name!(
    /// An environment's name within its project; same rule as [`ProjectName`].
    EnvironmentName, "environment", is_label,
    "use 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit"
);
name!(
    /// A ring's name within the keyring; same rule as [`ProjectName`].
    RingName, "ring", is_label, "use 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit"
);
name!(
    /// A user's name; same rule as [`ProjectName`], with `@` and `+` too, for mail addresses.
    UserName, "user",
    |name| is_label(&name.replace(['@', '+'], "-")),
    "use 1 to 63 letters, digits, '.', '_', '-', '@' or '+', starting with a letter or digit"
);
name!(
    /// The name of a secret in a project: 1 to 253 bytes, without characters that cannot be seen but spaces inside.
    KeyName, "key", is_key, "use 1 to 253 bytes, without spaces at either end and without characters that cannot be seen"
);

id!(
    /// `projects.id`.
    ProjectId
);
id!(
    /// `environments.id`.
    EnvironmentId
);
id!(
    /// `secrets.id`: one row, so one life of a key in an environment.
    SecretId
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_people_use_are_taken() {
        for name in ["dev", "dev-john", "staging-v1", "Prod_2", "a.b"] {
            assert!(name.parse::<EnvironmentName>().is_ok(), "{name}");
        }
        assert!("ana@example.com".parse::<UserName>().is_ok());
        for key in ["DATABASE_URL", "tls.crt", "with space", "ключ", "a/b"] {
            assert!(key.parse::<KeyName>().is_ok(), "{key}");
        }
    }

    #[test]
    fn names_that_would_surprise_are_refused() {
        for name in ["", "-dev", "dev env", "dev/x", &"a".repeat(64)] {
            assert!(name.parse::<EnvironmentName>().is_err(), "{name}");
        }
        for key in ["", " A", "A ", "A\nB", "A\0", &"k".repeat(254)] {
            assert!(key.parse::<KeyName>().is_err(), "{key:?}");
        }
    }

    #[test]
    fn the_error_says_which_name_and_which_rule() {
        let error = "dev env".parse::<EnvironmentName>().unwrap_err().to_string();
        assert!(error.starts_with("environment name \"dev env\" is not valid: use 1 to 63"), "{error}");
    }
}
