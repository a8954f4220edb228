//! `sb/NAME` and `penv/NAME`: an object as kubectl has it typed.

use std::fmt;
use std::str::FromStr;

/// The kinds that an operator answers for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ObjectKind {
    SecretBinding,
    ProjectEnvironment,
}

impl ObjectKind {
    /// The kind, as manifests have it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::SecretBinding => "SecretBinding",
            Self::ProjectEnvironment => "ProjectEnvironment",
        }
    }

    /// As it is typed.
    pub(crate) const fn short(self) -> &'static str {
        match self {
            Self::SecretBinding => "sb",
            Self::ProjectEnvironment => "penv",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind and a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ObjectName {
    pub(crate) kind: ObjectKind,
    pub(crate) name: String,
}

/// What was typed is no name of an object.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an object is named sb/NAME (a SecretBinding) or penv/NAME (a ProjectEnvironment)")]
pub(crate) struct NoObjectName;

impl FromStr for ObjectName {
    type Err = NoObjectName;

    fn from_str(text: &str) -> Result<Self, NoObjectName> {
        let (kind, name) = text.split_once('/').ok_or(NoObjectName)?;
        let kind = match kind.to_ascii_lowercase().trim_end_matches(".tidelock.dev") {
            "sb" | "secretbinding" | "secretbindings" => ObjectKind::SecretBinding,
            "penv" | "projectenvironment" | "projectenvironments" => ObjectKind::ProjectEnvironment,
            _ => return Err(NoObjectName),
        };
        let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
        let is_name = !name.is_empty() && name.len() <= 253 && name.chars().all(is_plain);
        if is_name { Ok(Self { kind, name: name.to_owned() }) } else { Err(NoObjectName) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_named_as_kubectl_takes_it() {
        let named = |text: &str| text.parse::<ObjectName>().map(|object| (object.kind, object.name));
        for text in ["sb/app", "secretbinding/app", "SecretBindings/app", "secretbindings.tidelock.dev/app"] {
            assert_eq!(named(text), Ok((ObjectKind::SecretBinding, "app".to_owned())), "{text}");
        }
        for text in ["penv/shop-dev", "projectenvironments/shop-dev"] {
            assert_eq!(named(text), Ok((ObjectKind::ProjectEnvironment, "shop-dev".to_owned())), "{text}");
        }
        for text in ["app", "secret/app", "sb/", "sb/a/b", "sb/../x", "sb/App", "/app", ""] {
            assert_eq!(named(text), Err(NoObjectName), "{text}");
        }
    }
}
