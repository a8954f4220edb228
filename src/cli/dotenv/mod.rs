//! Reading dotenv files: `NAME=value`, in quotes or not.
//!
//! There is no standard for such files, and the programs that read them disagree. A value that another program has read all
//! the time must not become another one here without a word: a form that at least two of python-dotenv, npm's dotenv, Node.js
//! (`--env-file`) and `kubectl create secret generic --from-env-file` read alike is read as they do, and every other form is
//! refused by its line (`tests/forms.rs` compares them). Errors repeat nothing of a line, since all of it may be secret.
//!
//! - `NAME=value`, with or without `export` in front; blank lines and lines that start with `#` are skipped.
//! - Without quotes: to the end of the line or to a `#` after white space; white space at both ends goes. A `#` that stands
//!   right after the `=` or another character belongs to the value, where the line has nothing else that programs cut.
//! - In single quotes: exactly what is between them, line breaks too.
//! - In double quotes: the same, but `\n` and `\r` stand for line feed and carriage return, and no other `\` is taken.
//! - Nothing is expanded: `$NAME` stays as it is.
//! - CRLF is a line break like LF; a mark of byte order at the start of the file is passed over.

mod name;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use zeroize::Zeroizing;

use crate::core::{KeyName, SecretValue};

use super::line_breaks::unify_line_breaks;
use reader::Reader;

/// One assignment.
pub(super) struct Assignment {
    pub(super) key: KeyName,
    pub(super) value: SecretValue,
    /// Whether some programs would expand something in it.
    pub(super) expandable: bool,
    /// Whether a comment follows on its line, and the value has no quotes that say where it ends.
    pub(super) cut_by_comment: bool,
    line: usize,
}

/// What is wrong with a file, and in which line, counted from 1. Its text repeats nothing of the line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(super) struct DotenvError {
    line: usize,
    problem: String,
}

/// Every assignment of a file, in its order. `allowed` are the names that a person named one by one, beside those that need no
/// word: `[A-Za-z_][A-Za-z0-9_]*`.
///
/// # Errors
/// The first line that is not read, or that gives a name a second time.
pub(super) fn parse(text: &[u8], allowed: &BTreeSet<String>) -> Result<Vec<Assignment>, DotenvError> {
    let text = as_lines(text)?;
    let mut reader = Reader::new(text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&text), allowed);
    let mut assignments: Vec<Assignment> = Vec::new();
    while let Some(assignment) = reader.next()? {
        assignments.push(assignment);
    }
    let mut by_key: Vec<(&KeyName, usize)> = assignments.iter().map(|found| (&found.key, found.line)).collect();
    by_key.sort();
    match by_key.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(error(pair[1].1, format!("{} is given in line {} already", pair[1].0, pair[0].1))),
        None => Ok(assignments),
    }
}

/// What some editors put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// UTF-8 with one kind of line break, or the line in which it is not.
fn as_lines(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, DotenvError> {
    if text.starts_with(b"\xff\xfe") || text.starts_with(b"\xfe\xff") {
        return Err(error(1, "the file is UTF-16: save it as UTF-8"));
    }
    let mut text = Zeroizing::new(text.to_vec());
    unify_line_breaks(&mut text);
    if let Err(found) = std::str::from_utf8(&text) {
        let line = 1 + count_lines(&text[..found.valid_up_to()]);
        let problem = "it has bytes that are no UTF-8: set that key by itself, with secret set --from-file";
        return Err(error(line, problem));
    }
    if let Some(at) = text.iter().position(|&byte| byte == b'\r') {
        let problem = "it has a carriage return without a line feed, which programs read differently: end lines with LF or \
                       CRLF, and write \\r in double quotes where a value has one";
        return Err(error(1 + count_lines(&text[..at]), problem));
    }
    Ok(text)
}

fn count_lines(bytes: &[u8]) -> usize {
    bytes.split(|&byte| byte == b'\n').count() - 1
}

fn error(line: usize, problem: impl Into<String>) -> DotenvError {
    DotenvError { line, problem: problem.into() }
}
