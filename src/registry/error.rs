//! What goes wrong between a program and the registry, told apart by what the caller does about it.
//!
//! No text here carries a value, and no cause that is kept does: the server's own errors can repeat a row in their
//! DETAIL, so of these only code, message and hint are taken over; what the driver says on its own account names types,
//! columns and addresses, and stays reachable as `source()`.

use std::borrow::Cow;
use std::fmt;

use crate::core::Hint;
use crate::crypto::{OpenError, SealError};

/// What to do about an answer that a schema such as ours cannot give.
pub(super) const NOT_AS_MADE: &str =
    "the schema is not as its migrations make it: `tidelock registry check` names what is different";

/// An error that another one was caused by.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An answer of the registry that is not what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The database cannot be reached, or broke off: the same call may succeed later.
    #[error("{attempt}: the database is unavailable: {}", chain(&**.cause))]
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
    /// What the program was told about the database cannot be used.
    #[error("{setting}: {cause}")]
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
    #[error("{table} has a row that cannot be read: column {column}, row {row}: {}", chain(&**.cause))]
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

/// What the server says of an error, as far as it holds no value.
struct Answer<'a> {
    code: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
    /// In which functions it happened.
    context: Option<&'a str>,
    /// The server's own function that raised it: in the messages' place, which may be in any language.
    routine: Option<&'a str>,
}

impl Answer<'_> {
    /// Whether a function lacked a right, in place of saying no on its own account or being a statement of a migration's.
    fn is_of_the_schema(&self) -> bool {
        let is_a_function = |context: &str| !context.is_empty() && !context.contains("inline_code_block");
        // A policy of somebody else's; ours hide and never refuse.
        self.routine == Some("ExecWithCheckOptions")
            || self.context.is_some_and(is_a_function) && self.routine != Some("exec_stmt_raise")
    }
}

/// What the driver says where the server answered, and with something else than was asked for; its kinds have no names.
fn is_impossible(message: &str) -> bool {
    let kinds = ["error deserializing column", "invalid column", "query returned an unexpected number of"];
    kinds.iter().any(|kind| message.starts_with(kind))
}

fn only_to_be_read(attempt: &str) -> Explanation {
    Explanation::from(format!("{attempt}: this database is a standby, or only to be read, and takes no writes"))
        .hint("write to the primary: name its address in --database-url")
}

impl RegistryError {
    /// Tells a driver's error apart.
    pub(super) fn from_driver(attempt: impl Into<String>, error: tokio_postgres::Error) -> Self {
        let attempt = attempt.into();
        match error.as_db_error() {
            Some(answer) => Self::from_answer(
                attempt,
                &Answer {
                    code: answer.code().code(),
                    message: answer.message(),
                    hint: answer.hint(),
                    context: answer.where_(),
                    routine: answer.routine(),
                },
            ),
            None if is_impossible(&error.to_string()) => {
                Self::Schema(Explanation::from(format!("{attempt}: {error}")).hint(NOT_AS_MADE))
            }
            None => Self::Unavailable { attempt, cause: error.into() },
        }
    }

    fn from_answer(attempt: String, answer: &Answer<'_>) -> Self {
        let message = answer.message;
        let explained = || Explanation { message: message.to_owned(), hint: answer.hint.map(str::to_owned) };
        let tried = || Explanation::from(format!("{attempt}: {message}"));
        match answer.code {
            "TL404" => Self::NotFound(explained()),
            "TL403" => Self::Refused(explained()),
            "TL409" => Self::Conflict(explained()),
            "TL422" => Self::Invalid(explained()),
            // Our functions have every right that they need.
            "42501" if answer.is_of_the_schema() => Self::Schema(tried().hint(NOT_AS_MADE)),
            "42501" => {
                Self::Refused(tried().hint("the login or its membership lacks the right; see: tidelock member list"))
            }
            // A standby says the one where a transaction asks to write, the other where a statement does.
            "25006" => Self::Refused(only_to_be_read(&attempt)),
            "0A000" if message.contains("read-write mode during recovery") => Self::Refused(only_to_be_read(&attempt)),
            "55P03" => Self::Blocked(
                Explanation::from(format!("{attempt}: somebody else's transaction was in the way for too long"))
                    .hint("an administrator sees whose: SELECT * FROM pg_locks, pg_blocking_pids(pid)"),
            ),
            "23505" => Self::Conflict(format!("{attempt}: it exists already").into()),
            "40001" | "40P01" => Self::Conflict(
                Explanation::from(format!("{attempt}: somebody else wrote at the same time")).hint("try again"),
            ),
            // No such table, function or schema.
            "42P01" | "42883" | "3F000" => Self::Schema(tried().hint("has `tidelock migrate` run on this database?")),
            // No such column, type or role; of another type; not one to be written to; a policy that asks itself; a row
            // too many or too few.
            "42703" | "42704" | "42804" | "42809" | "42846" | "55000" | "42P17" | "54001" | "21000" | "P0002"
            | "P0003" => Self::Schema(tried().hint(NOT_AS_MADE)),
            // 08 connection, 53 resources, 57 operator intervention (shutdown, statement time-out).
            code if matches!(code.get(..2), Some("08" | "53" | "57")) => {
                Self::Unavailable { attempt, cause: message.into() }
            }
            code => Self::Database { attempt, code: code.to_owned(), message: message.to_owned() },
        }
    }

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
            | Self::Schema(explained) => &explained.hint,
            Self::Settings { hint, .. } => hint,
            Self::Unavailable { .. } | Self::Inconsistent { .. } | Self::Database { .. } => return None,
        };
        hint.as_deref().map(Cow::from)
    }
}

/// An error and its causes on one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
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
            Self::Open { source, .. } => source.hint(),
            Self::HashMismatch { .. } => Some("restore the row, or set it again".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    fn told(code: &str, message: &str, context: Option<&str>, routine: Option<&str>) -> RegistryError {
        RegistryError::from_answer("asking".to_owned(), &Answer { code, message, hint: None, context, routine })
    }

    #[test]
    fn an_answer_that_cannot_be_is_the_schemas_fault_and_is_not_asked_for_again() {
        let function = Some("PL/pgSQL function tidelock.actor() line 9 at SQL statement");
        for code in
            ["42P01", "42883", "3F000", "42703", "42704", "42804", "42809", "55000", "42P17", "54001", "21000", "P0002"]
        {
            let error = told(code, "what it says", function, None);
            assert!(matches!(error, RegistryError::Schema(_)) && !error.is_transient(), "{code}: {error:?}");
            assert!(error.with_hint().contains("tidelock "), "{code}: {}", error.with_hint());
        }
        let lacking = told("42501", "permission denied for table users", function, Some("aclcheck_error"));
        let hidden = told("42501", "new row violates row-level security policy", None, Some("ExecWithCheckOptions"));
        assert!(
            matches!((&lacking, &hidden), (RegistryError::Schema(_), RegistryError::Schema(_))),
            "{lacking:?} {hidden:?}"
        );
        for kind in
            ["query returned an unexpected number of rows", "error deserializing column 2: x", "invalid column `x`"]
        {
            assert!(is_impossible(kind), "{kind}");
        }
        assert!(!is_impossible("connection closed") && !is_impossible("error communicating with the server"));
    }

    #[test]
    fn what_a_person_may_not_do_is_a_refusal() {
        let function = Some("PL/pgSQL function require_writable(uuid,uuid) line 5 at RAISE");
        let inline = Some("PL/pgSQL function inline_code_block line 2 at SQL statement");
        for (context, routine) in
            [(None, Some("aclcheck_error")), (function, Some("exec_stmt_raise")), (inline, Some("CreateRole"))]
        {
            let error = told("42501", "no", context, routine);
            assert!(matches!(error, RegistryError::Refused(_)), "{error:?}");
        }
        assert!(matches!(told("TL403", "no", function, Some("exec_stmt_raise")), RegistryError::Refused(_)));
    }

    #[test]
    fn only_what_passes_by_itself_is_tried_again() {
        for code in ["08006", "53300", "57P01", "57014", "23505", "40001", "40P01", "55P03", "TL409"] {
            assert!(told(code, "later", None, None).is_transient(), "{code}");
        }
        for code in ["25006", "28P01", "3D000", "22P02", "23502", "23514", "XX000", "TL404", "TL422", ""] {
            assert!(!told(code, "no", None, None).is_transient(), "{code}");
        }
    }

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
