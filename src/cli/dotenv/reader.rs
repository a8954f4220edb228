//! From line to line, and what a value is.

use std::collections::BTreeSet;

use crate::core::{SecretValue, is_visible};

use super::name::{self, Before};
use super::{Assignment, DotenvError, count_lines, error};

pub(super) struct Reader<'t> {
    rest: &'t [u8],
    line: usize,
    allowed: &'t BTreeSet<String>,
}

impl<'t> Reader<'t> {
    /// `text` is UTF-8, and has no carriage return.
    pub(super) fn new(text: &'t [u8], allowed: &'t BTreeSet<String>) -> Self {
        Self { rest: text, line: 1, allowed }
    }

    pub(super) fn next(&mut self) -> Result<Option<Assignment>, DotenvError> {
        loop {
            self.skip_blanks();
            match self.rest.first() {
                None => return Ok(None),
                Some(b'\n') => self.pass(1),
                Some(b'#') => self.skip_to_line_end(),
                Some(_) => return self.assignment().map(Some),
            }
        }
    }

    fn assignment(&mut self) -> Result<Assignment, DotenvError> {
        let line = self.line;
        let here = self.rest_of_line();
        let Before { key, length, plain } = name::before_equals(here, self.allowed).map_err(|why| error(line, why))?;
        self.rest = &self.rest[length..];
        let before = self.skip_blanks();
        let (value, expandable, cut_by_comment) = match self.rest {
            [b'\'', ..] => (self.single_quoted()?, false, false),
            [b'"', ..] => {
                let (value, expandable) = self.double_quoted()?;
                (value, expandable, false)
            }
            _ => self.unquoted(before, plain)?,
        };
        Ok(Assignment { key, value: SecretValue::from(value), expandable, cut_by_comment, line })
    }

    /// Answers the value, whether it has a reference in it, and whether a comment ends it.
    fn unquoted(&mut self, before: &[u8], plain: bool) -> Result<(Vec<u8>, bool, bool), DotenvError> {
        let behind_blanks = !before.is_empty();
        let here = self.rest_of_line();
        let is_blank = |i: usize| matches!(here[i], b' ' | b'\t');
        let comment =
            (0..here.len()).find(|&i| here[i] == b'#' && if i == 0 { behind_blanks } else { is_blank(i - 1) });
        let written = &here[..comment.unwrap_or(here.len())];
        let value = written.trim_ascii_end();
        let exact = plain && !behind_blanks && comment.is_none() && value.len() == written.len();
        let between_tabs = before.contains(&b'\t') || written[value.len()..].contains(&b'\t');
        if let Some(problem) = ambiguity(value, exact, between_tabs) {
            return Err(error(self.line, format!("{problem}: put the value in single quotes, which take it as it is")));
        }
        if value.ends_with(b"\\") {
            let problem = "its value ends with \\, which continues a line for a shell and for no other program: put what \
                           belongs together in double quotes with \\n for a line break; a value that really ends so takes \
                           secret set --from-file";
            return Err(error(self.line, problem));
        }
        self.skip_to_line_end();
        Ok((value.to_vec(), has_reference(value), comment.is_some()))
    }

    fn single_quoted(&mut self) -> Result<Vec<u8>, DotenvError> {
        let opened = self.line;
        let inside = &self.rest[1..];
        let end = inside
            .iter()
            .position(|&byte| byte == b'\'')
            .ok_or_else(|| error(opened, "the single quote that is opened here is not closed"))?;
        if inside[..end].ends_with(b"\\") {
            let line = opened + count_lines(&inside[..end]);
            let problem = "a \\ stands before the single quote, and programs disagree whether the value ends there: where the \
                           value has a single quote in it, use double quotes; one that ends with \\ takes secret set --from-file";
            return Err(error(line, problem));
        }
        self.pass(1 + end + 1);
        self.end_of_value()?;
        Ok(inside[..end].to_vec())
    }

    fn double_quoted(&mut self) -> Result<(Vec<u8>, bool), DotenvError> {
        let opened = self.line;
        let unclosed = || error(opened, "the double quote that is opened here is not closed");
        let inside = &self.rest[1..];
        // As large as it can get, so that it never moves and leaves a copy behind.
        let mut value = Vec::with_capacity(closing_quote(inside).ok_or_else(unclosed)?);
        let (mut expandable, mut at) = (false, 0);
        loop {
            match inside.get(at).ok_or_else(unclosed)? {
                b'"' => break,
                b'\\' => {
                    value.push(match inside.get(at + 1).ok_or_else(unclosed)? {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        _ => {
                            let line = opened + count_lines(&inside[..at]);
                            let problem = "a \\ stands in double quotes before something else than n or r, which programs \
                                           read differently: single quotes take a value as it is";
                            return Err(error(line, problem));
                        }
                    });
                    at += 2;
                }
                byte => {
                    expandable |= *byte == b'$' && has_reference(&inside[at..]);
                    value.push(*byte);
                    at += 1;
                }
            }
        }
        self.pass(1 + at + 1);
        self.end_of_value()?;
        Ok((value, expandable))
    }

    /// After a closing quote only a comment may follow.
    fn end_of_value(&mut self) -> Result<(), DotenvError> {
        self.skip_blanks();
        match self.rest_of_line().first() {
            None | Some(b'#') => {
                self.skip_to_line_end();
                Ok(())
            }
            Some(_) => Err(error(
                self.line,
                "something follows the closing quote: where the value has that quote in it, use the other one around it",
            )),
        }
    }

    fn rest_of_line(&self) -> &'t [u8] {
        &self.rest[..self.rest.iter().position(|&byte| byte == b'\n').unwrap_or(self.rest.len())]
    }

    /// Answers what they were.
    fn skip_blanks(&mut self) -> &'t [u8] {
        let count = self.rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let (blanks, rest) = self.rest.split_at(count);
        self.rest = rest;
        blanks
    }

    fn skip_to_line_end(&mut self) {
        self.rest = &self.rest[self.rest_of_line().len()..];
    }

    fn pass(&mut self, count: usize) {
        self.line += count_lines(&self.rest[..count]);
        self.rest = &self.rest[count..];
    }
}

/// Why programs would read a value without quotes differently. `exact` is one that the whole line after its name and `=` is;
/// `between_tabs` one that had a tab beside it, which Node.js takes for part of it.
fn ambiguity(value: &[u8], exact: bool, between_tabs: bool) -> Option<&'static str> {
    let text = std::str::from_utf8(value).unwrap_or_default();
    if text.starts_with('`') {
        return Some("a ` opens a quote for some programs and not for others");
    }
    if text.starts_with(['“', '”', '„', '‟', '‘', '’', '‚', '«', '»']) {
        return Some("the value begins with a typographic quote, which no program takes for one");
    }
    if text.starts_with("$'") || text.starts_with("$\"") {
        return Some("$ before a quote has a meaning for a shell and not for others");
    }
    if text.chars().any(|c| c != '\t' && !is_visible(c)) {
        return Some("the value has a character that cannot be seen, and some programs cut it off");
    }
    if text == "#" || text.starts_with("# ") || text.starts_with("#\t") || (text.contains('#') && !exact) {
        return Some("programs disagree whether a comment begins at the #");
    }
    // Where one expands, the others have to agree.
    if text.contains("${") && (text.contains('#') || between_tabs) {
        return Some("programs disagree whether ${ is expanded, and what else belongs to the value");
    }
    None
}

/// Where a double-quoted value ends, if it does.
fn closing_quote(inside: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match inside.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// `$NAME`, `${...}` or `$(...)`.
fn has_reference(value: &[u8]) -> bool {
    value
        .windows(2)
        .any(|pair| pair[0] == b'$' && (pair[1].is_ascii_alphabetic() || matches!(pair[1], b'_' | b'{' | b'(')))
}
