//! How the errors of a driver and a server are told apart: by SQLSTATE and place, and by words only where there is nothing else.

use super::{Explanation, RegistryError};

/// What to do about an answer that a schema such as ours cannot give.
pub(super) const NOT_AS_MADE: &str =
    "the schema is not as its migrations make it: `tidelock registry check` names what is different";

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
                Self::SchemaAltered(Explanation::from(format!("{attempt}: {error}")).hint(NOT_AS_MADE))
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
            "42501" if answer.is_of_the_schema() => Self::SchemaAltered(tried().hint(NOT_AS_MADE)),
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
                // On a standby nobody writes: what is replayed there was in the way.
                Explanation::from(format!("{attempt}: in conflict with what others did at the same time"))
                    .hint("try again"),
            ),
            // No such table, function or schema.
            "42P01" | "42883" | "3F000" => Self::Schema(tried().hint("has `tidelock migrate` run on this database?")),
            // No such column, type or role; of another type; not one to be written to; a policy that asks itself; a row
            // too many or too few.
            "42703" | "42704" | "42804" | "42809" | "42846" | "55000" | "42P17" | "54001" | "21000" | "P0002"
            | "P0003" => Self::SchemaAltered(tried().hint(NOT_AS_MADE)),
            // 08 connection, 53 resources, 57 operator intervention (shutdown, statement time-out).
            code if matches!(code.get(..2), Some("08" | "53" | "57")) => {
                Self::Unavailable { attempt, cause: message.into() }
            }
            code => Self::Database { attempt, code: code.to_owned(), message: message.to_owned() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Hint as _;

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
            assert!(
                matches!(error, RegistryError::Schema(_) | RegistryError::SchemaAltered(_)) && !error.is_transient(),
                "{code}: {error:?}"
            );
            assert!(error.with_hint().contains("tidelock "), "{code}: {}", error.with_hint());
        }
        let lacking = told("42501", "permission denied for table users", function, Some("aclcheck_error"));
        let hidden = told("42501", "new row violates row-level security policy", None, Some("ExecWithCheckOptions"));
        assert!(
            matches!((&lacking, &hidden), (RegistryError::SchemaAltered(_), RegistryError::SchemaAltered(_))),
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
}
