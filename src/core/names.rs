//! Names and identifiers as types of their own, so that a project's name is never passed for an environment's.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// That something is no name of its kind. What it is instead may be a secret in the wrong place, so it is not kept and nobody
/// repeats it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("that is no name of {kind}: {rule}")]
pub struct InvalidName {
    kind: &'static str,
    rule: &'static str,
}

impl InvalidName {
    pub(super) const fn new(kind: &'static str, rule: &'static str) -> Self {
        Self { kind, rule }
    }
}

/// A name as a type, which is made of a text that keeps its rule alone.
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
                if check(&name) { Ok(Self(name)) } else { Err(InvalidName::new($kind, $rule)) }
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

pub(super) use name;

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

name!(
    /// A project's name: 1 to 63 of letters, digits, `.`, `_`, `-`, starting with a letter or digit.
    ProjectName, "a project", is_label, "use 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit"
);
name!(
    /// An environment's name within its project; same rule as [`ProjectName`].
    EnvironmentName, "an environment", is_label,
    "use 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit"
);
name!(
    /// A ring's name within the keyring; same rule as [`ProjectName`].
    RingName, "a ring", is_label, "use 1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit"
);
name!(
    /// A user's name; same rule as [`ProjectName`], with `@` and `+` too, for mail addresses.
    UserName, "a user",
    |name| is_label(&name.replace(['@', '+'], "-")),
    "use 1 to 63 letters, digits, '.', '_', '-', '@' or '+', starting with a letter or digit"
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
    }

    #[test]
    fn names_that_would_surprise_are_refused() {
        for name in ["", "-dev", "dev env", "dev/x", &"a".repeat(64)] {
            assert!(name.parse::<EnvironmentName>().is_err(), "{name}");
        }
    }

    #[test]
    fn the_error_says_which_kind_and_which_rule_and_repeats_nothing() {
        let error = "dev hunter2".parse::<EnvironmentName>().unwrap_err();
        assert!(error.to_string().starts_with("that is no name of an environment: use 1 to 63"), "{error}");
        assert!(!format!("{error:?} {error}").contains("hunter2"));
    }
}
