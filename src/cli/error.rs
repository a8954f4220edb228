//! How a command ends: the one place that knows exit codes.

use std::borrow::Cow;

use crate::controller::{ControllerError, PreviewError};
use crate::core::{Hint, InvalidName, causes};
use crate::crypto::{KeyringFileError, OpenError};
use crate::registry::{BackupError, Cause, RegistryError, ValueError};

use super::dotenv::DotenvError;
use super::plan::ManifestError;

/// Wrong usage.
pub(super) const USAGE: u8 = 2;

/// What a verb that got through has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// Done.
    Done,
    /// Done, and the answer is "differs" or "behind".
    Differs,
}

impl Answer {
    pub(super) const fn exit_code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Differs => 3,
        }
    }

    /// [`Answer::Differs`] where something does.
    pub(super) const fn differs_if(differs: bool) -> Self {
        if differs { Self::Differs } else { Self::Done }
    }
}

/// Why a verb did not get through. Its text names no value.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// Something outside failed.
    #[error("{attempt}: {}", causes(&**.source))]
    Failed { attempt: String, source: Cause },
    /// The command was not used as it wants to be.
    #[error("{0}")]
    Usage(String),
    /// A name from the command line that breaks the rules of names.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// As [`CliError::Name`], from an environment variable.
    #[error("{name}: {source}")]
    Variable { name: &'static str, source: InvalidName },
    #[error("{file}, {source}")]
    Dotenv { file: String, source: DotenvError },
    #[error("{file}: {source}")]
    Manifest { file: String, source: ManifestError },
    /// A rule of the command's own says no.
    #[error("{0}")]
    Refused(String),
    /// What was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// Nobody answered in time, and what was seen last.
    #[error("{0}")]
    Unanswered(String),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Backup(#[from] BackupError),
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error(transparent)]
    Keyring(#[from] KeyringFileError),
    #[error(transparent)]
    Controller(#[from] ControllerError),
    #[error(transparent)]
    Preview(Box<PreviewError>),
}

impl CliError {
    /// For `map_err`, on whatever failed outside.
    pub(super) fn failed<E: Into<Cause>>(attempt: impl Into<String>) -> impl FnOnce(E) -> Self {
        |error| Self::Failed { attempt: attempt.into(), source: error.into() }
    }

    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Registry(error)
            | Self::Backup(BackupError::Registry(error))
            | Self::Value(ValueError::Registry(error)) => of_registry(error),
            Self::Value(ValueError::Open { source, .. } | ValueError::HashKey { source }) => of_opening(source),
            Self::Usage(_) | Self::Name(_) | Self::Variable { .. } | Self::Dotenv { .. } | Self::Manifest { .. } => {
                USAGE
            }
            Self::Preview(error) => of_preview(error),
            Self::Controller(error) if error.is_refused() => 4,
            Self::Refused(_)
            | Self::Backup(BackupError::Exists(_))
            | Self::Value(ValueError::Seal { .. })
            | Self::Keyring(
                KeyringFileError::Exists { .. }
                | KeyringFileError::OpenToAll { .. }
                | KeyringFileError::OpenToGroup { .. }
                | KeyringFileError::NotYours { .. }
                | KeyringFileError::Replaceable { .. },
            ) => 4,
            Self::NotFound(_) => 5,
            Self::Value(ValueError::HashMismatch { .. }) => 6,
            Self::Failed { .. } | Self::Unanswered(_) | Self::Backup(_) | Self::Keyring(_) | Self::Controller(_) => 1,
        }
    }
}

impl Hint for CliError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Backup(error) => error.hint(),
            Self::Value(error) => error.hint(),
            Self::Keyring(error) => error.hint(),
            Self::Controller(error) => error.hint(),
            Self::Preview(error) => error.hint(),
            _ => None,
        }
    }
}

impl From<PreviewError> for CliError {
    fn from(error: PreviewError) -> Self {
        Self::Preview(Box::new(error))
    }
}

fn of_preview(error: &PreviewError) -> u8 {
    match error {
        PreviewError::Registry(error) => of_registry(error),
        PreviewError::Unread { .. } | PreviewError::Binding { .. } => 1,
    }
}

fn of_registry(error: &RegistryError) -> u8 {
    match error {
        RegistryError::Invalid(_) | RegistryError::Settings { .. } => USAGE,
        RegistryError::Refused(_) => 4,
        RegistryError::NotFound(_) => 5,
        RegistryError::Unavailable { .. }
        | RegistryError::Conflict(_)
        | RegistryError::Blocked(_)
        | RegistryError::Schema(_)
        | RegistryError::SchemaAltered(_)
        | RegistryError::Inconsistent { .. }
        | RegistryError::Database { .. } => 1,
    }
}

fn of_opening(error: &OpenError) -> u8 {
    match error {
        OpenError::NotOurs | OpenError::UnknownVersion(_) => 1,
        OpenError::KeyNotHeld { .. } => 4,
        OpenError::Tampered => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_has_the_exit_code_that_the_help_says() {
        let refused = || RegistryError::Refused("".into());
        let open = |source| CliError::from(ValueError::Open { what: String::new(), source });
        let mismatch = CliError::from(ValueError::HashMismatch { what: String::new() });
        let key = "0192d5f0-5a3e-4c1b-8f21-9d7c1a2b3c4d".parse().unwrap();
        for (error, code) in [
            (CliError::failed("")("it failed"), 1),
            (CliError::Usage(String::new()), 2),
            (CliError::Refused(String::new()), 4),
            (RegistryError::Invalid("".into()).into(), 2),
            (RegistryError::NotFound("".into()).into(), 5),
            (RegistryError::Conflict("".into()).into(), 1),
            (refused().into(), 4),
            (ValueError::from(refused()).into(), 4),
            (open(OpenError::KeyNotHeld { key, ring: None }), 4),
            (open(OpenError::Tampered), 6),
            (mismatch, 6),
        ] {
            assert_eq!(error.exit_code(), code, "{error:?}");
        }
        assert_eq!(Answer::differs_if(true).exit_code(), 3);
        assert_eq!(Answer::differs_if(false).exit_code(), 0);
    }
}
