//! What goes wrong between a program and the registry, told apart by what the caller does about it.
//!
//! No text here carries a value, and no cause that is kept does: the server's own errors can repeat a row in their
//! DETAIL, so of these only code, message and hint are taken over; what the driver says on its own account names types,
//! columns and addresses, and stays reachable as `source()`.

use std::borrow::Cow;
use std::fmt;

use crate::core::{Hint, causes};
use crate::crypto::{OpenError, SealError};

/// An error that another one was caused by.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An answer of the registry that is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The database cannot be reached, or broke off: the same call may succeed later.
    #[error("{attempt}: the database is unavailable: {}", causes(&**.cause))]
    Unavailable {
        /// What was tried.
        attempt: String,
        /// What the driver said, or the server's message.
        #[source]
        cause: Cause,
    },
    /// Not there, or not visible to the acting user: the registry does not tell these apart.
    #[error("{0}")]
    NotFound(Explanation),
    /// Refused, by role, policy or rule.
    #[error("{0}")]
    Refused(Explanation),
    /// Somebody else was first; to read again and repeat is the remedy.
    #[error("{0}")]
    Conflict(Explanation),
    /// A lock was not had in time: the same call may succeed later.
    #[error("{0}")]
    Blocked(Explanation),
    /// The request makes no sense to the registry.
    #[error("{0}")]
    Invalid(Explanation),
    /// The schema is missing, or of another age than this program serves.
    #[error("{0}")]
    Schema(Explanation),
    /// The schema is not as its migrations make it, and a person has to set it right.
    #[error("{0}")]
    SchemaAltered(Explanation),
    /// What the program was told about the database cannot be used.
    #[error("{setting}: {}", causes(&**.cause))]
    Settings {
        /// Which setting, and that it cannot be used.
        setting: String,
        /// What to write instead.
        hint: Option<String>,
        /// What the parser or the operating system said: a name or a position, never the URL.
        #[source]
        cause: Cause,
    },
    /// A row that does not fit the form it should have.
    #[error("{table} has a row that cannot be read: column {column}, row {row}: {}", causes(&**.cause))]
    Inconsistent {
        /// The table, view or function that the row came from.
        table: &'static str,
        /// The column, as the query names it.
        column: String,
        /// The row's id or key, never a value.
        row: String,
        /// What the driver said, or what is wrong with the row.
        #[source]
        cause: Cause,
    },
    /// Any other error of the database.
    #[error("{attempt}: the database answered {code}: {message}")]
    Database {
        /// What was tried.
        attempt: String,
        /// The SQLSTATE.
        code: String,
        /// The server's message, without the detail, which could repeat a row.
        message: String,
    },
}

/// What is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What was tried, on what, and why it failed.
    pub message: String,
    /// Not part of `Display`: who shows it to a person says [`Hint::with_hint`].
    pub hint: Option<String>,
}

impl Explanation {
    pub(super) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl From<String> for Explanation {
    fn from(message: String) -> Self {
        Self { message, hint: None }
    }
}

impl From<&str> for Explanation {
    fn from(message: &str) -> Self {
        Self::from(message.to_owned())
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl RegistryError {
    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Conflict(_) | Self::Blocked(_))
    }
}

impl Hint for RegistryError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::NotFound(explained)
            | Self::Refused(explained)
            | Self::Conflict(explained)
            | Self::Blocked(explained)
            | Self::Invalid(explained)
            | Self::Schema(explained)
            | Self::SchemaAltered(explained) => &explained.hint,
            Self::Settings { hint, .. } => hint,
            Self::Unavailable { .. } | Self::Inconsistent { .. } | Self::Database { .. } => return None,
        };
        hint.as_deref().map(Cow::from)
    }
}

/// A value that could not be brought into the registry, or out of it. Names keys and environments, never a value.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// The registry's answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It could not be sealed.
    #[error("sealing {what}: {source}")]
    Seal {
        /// What was to be sealed: a key and its environment.
        what: String,
        /// Why not.
        source: SealError,
    },
    /// It could not be opened.
    #[error("opening {what}: {source}")]
    Open {
        /// What was to be opened: a key and its environment.
        what: String,
        /// Why not.
        source: OpenError,
    },
    /// The project's hashing key could not be opened.
    #[error("opening the project's hashing key: {source}")]
    HashKey {
        /// Why not.
        source: OpenError,
    },
    /// It opened, and is not the value that the row's hash is of.
    #[error("the value of {what} is not the one that its value_hash was made of")]
    HashMismatch {
        /// A key and its environment.
        what: String,
    },
}

impl Hint for ValueError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Seal { source, .. } => source.hint(),
            Self::HashKey { source: OpenError::Tampered | OpenError::NotOurs } => {
                Some("have an ADMIN introduce another one: tidelock project rehash PROJECT --reason TEXT".into())
            }
            Self::Open { source, .. } | Self::HashKey { source } => source.hint(),
            Self::HashMismatch { .. } => Some("restore the row, or set it again".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_hint_is_told_to_people_and_is_no_part_of_the_message() {
        let error = RegistryError::Refused(Explanation::from("the login is a superuser").hint("use another"));
        assert_eq!(error.to_string(), "the login is a superuser");
        assert_eq!(error.with_hint(), "the login is a superuser (use another)");
        assert_eq!(ValueError::from(error).with_hint(), "the login is a superuser (use another)");
    }

    #[test]
    fn the_cause_is_told_and_stays_reachable() {
        let cause = std::io::Error::other("connection reset");
        let error = RegistryError::Unavailable { attempt: "listing keys".to_owned(), cause: cause.into() };
        assert_eq!(error.to_string(), "listing keys: the database is unavailable: connection reset");
        assert!(matches!(error.source(), Some(cause) if cause.is::<std::io::Error>()));
    }
}
