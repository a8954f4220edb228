//! What goes wrong between a program and the registry, told apart by what the caller does about it.

use tokio_postgres::error::{DbError, SqlState};

/// An answer of the registry that is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The database cannot be reached, or broke off: the same call may succeed later.
    #[error("{attempt}: the database is unavailable: {cause}")]
    Unavailable {
        /// What was tried.
        attempt: String,
        /// What the driver said, without parameters.
        cause: String,
    },
    /// Not there, or not visible to the acting user: the registry does not tell these apart.
    #[error("{0}")]
    NotFound(String),
    /// Refused, by role, policy or rule.
    #[error("{message}{}", hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default())]
    Refused {
        /// What was refused, and why.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
    /// Somebody else was first; to look again and repeat is the remedy.
    #[error("{0}")]
    Conflict(String),
    /// The request makes no sense to the registry.
    #[error("{0}")]
    Invalid(String),
    /// The schema is missing, or of another age than this program serves.
    #[error("{0}")]
    Schema(String),
    /// A row that does not fit the form it should have.
    #[error("{table} has a row that cannot be read: column {column}, {row}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// Which row: its id or key, never a value.
        row: String,
    },
    /// Any other error of the database.
    #[error("{attempt}: the database answered {code}: {message}")]
    Database {
        /// What was tried.
        attempt: String,
        /// Its SQLSTATE.
        code: String,
        /// Its message, without detail, which could repeat a row.
        message: String,
    },
}

impl RegistryError {
    /// Tells a driver's error apart. The server's DETAIL is left out: it can repeat the row that it is about.
    #[must_use]
    pub fn from_driver(attempt: impl Into<String>, error: &tokio_postgres::Error) -> Self {
        let attempt = attempt.into();
        let Some(answer) = error.as_db_error() else {
            return Self::Unavailable { attempt, cause: chain(error) };
        };
        let message = answer.message().to_owned();
        let hint = answer.hint().map(str::to_owned);
        match answer.code().code() {
            "TL404" => Self::NotFound(message),
            "TL403" => Self::Refused { message, hint },
            "TL409" => Self::Conflict(message),
            "TL422" => Self::Invalid(with_hint(message, hint)),
            _ => Self::from_sqlstate(attempt, answer),
        }
    }

    fn from_sqlstate(attempt: String, answer: &DbError) -> Self {
        let code = answer.code();
        let message = answer.message().to_owned();
        if *code == SqlState::INSUFFICIENT_PRIVILEGE {
            return Self::Refused {
                message: format!("{attempt}: {message}"),
                hint: Some("the login or its membership lacks the right; see: tidelock member list".to_owned()),
            };
        }
        if *code == SqlState::UNIQUE_VIOLATION {
            return Self::Conflict(format!("{attempt}: it exists already"));
        }
        if *code == SqlState::T_R_SERIALIZATION_FAILURE || *code == SqlState::T_R_DEADLOCK_DETECTED {
            return Self::Conflict(format!("{attempt}: somebody else wrote at the same time; try again"));
        }
        if *code == SqlState::UNDEFINED_TABLE
            || *code == SqlState::UNDEFINED_FUNCTION
            || *code == SqlState::INVALID_SCHEMA_NAME
        {
            return Self::Schema(format!("{attempt}: {message}; has `tidelock migrate` run on this database?"));
        }
        // 08 connection, 53 resources, 57 operator intervention (shutdown, statement time-out).
        if matches!(&code.code()[..2], "08" | "53" | "57") {
            return Self::Unavailable { attempt, cause: message };
        }
        Self::Database { attempt, code: code.code().to_owned(), message }
    }

    /// Whether the same call may succeed later without anybody doing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Conflict(_))
    }
}

fn with_hint(message: String, hint: Option<String>) -> String {
    match hint {
        Some(hint) => format!("{message} ({hint})"),
        None => message,
    }
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
