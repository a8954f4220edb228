//! Reading dotenv files: `KEY=value`, in quotes or not.
//!
//! The programs that read such files disagree about `$NAME`, and a library that expands it would put the environment of
//! this process into secrets. Here nothing is expanded: a value is what is written. Errors name a line and repeat
//! nothing of it.
//!
//! - `KEY=value`, with or without `export` in front; blank lines and lines that start with `#` are skipped.
//! - Without quotes: to the end of the line or to a `#` after white space; white space at both ends goes.
//! - In single quotes: exactly what is between them, line breaks too.
//! - In double quotes: the same, but `\n`, `\r`, `\t`, `\"`, `\\` and `\$` stand for line feed, carriage return, tab and
//!   the character itself.

use crate::core::{KeyName, SecretValue};

/// One assignment.
pub(super) struct Assignment {
    pub(super) key: KeyName,
    pub(super) value: SecretValue,
    /// Whether some programs would expand something in it.
    pub(super) expandable: bool,
    line: usize,
}

/// What is wrong with a file, and in which line, counted from 1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub(super) struct DotenvError {
    line: usize,
    problem: String,
}

/// Every assignment of a file, in its order.
pub(super) fn parse(text: &[u8]) -> Result<Vec<Assignment>, DotenvError> {
    let mut reader = Reader { rest: text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text), line: 1 };
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

struct Reader<'t> {
    rest: &'t [u8],
    line: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Option<Assignment>, DotenvError> {
        loop {
            self.skip_blanks();
            match self.rest.first() {
                None => return Ok(None),
                Some(b'\n') => self.take_line_break(),
                Some(b'#') => self.skip_to_line_end(),
                Some(_) => return self.assignment().map(Some),
            }
        }
    }

    fn assignment(&mut self) -> Result<Assignment, DotenvError> {
        let line = self.line;
        let here = self.rest_of_line();
        let equals = here
            .iter()
            .position(|&byte| byte == b'=')
            .ok_or_else(|| error(line, "there is no '=' in it; a value of several lines needs quotes"))?;
        let name = here[..equals].trim_ascii();
        let name = match name.strip_prefix(b"export") {
            Some(after) if after.starts_with(b" ") || after.starts_with(b"\t") => after.trim_ascii_start(),
            _ => name,
        };
        let key = std::str::from_utf8(name)
            .ok()
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| error(line, "what stands before the '=' is no name of a key"))?;
        self.rest = &self.rest[equals + 1..];
        self.skip_blanks();
        let (value, expandable) = match self.rest.first() {
            Some(b'\'') => (self.single_quoted()?, false),
            Some(b'"') => self.double_quoted()?,
            _ => self.unquoted(),
        };
        Ok(Assignment { key, value: SecretValue::from(value), expandable, line })
    }

    fn unquoted(&mut self) -> (Vec<u8>, bool) {
        let here = self.rest_of_line();
        let comment = (0..here.len()).find(|&i| here[i] == b'#' && (i == 0 || here[i - 1].is_ascii_whitespace()));
        let value = here[..comment.unwrap_or(here.len())].trim_ascii_end();
        self.skip_to_line_end();
        (value.to_vec(), has_reference(value))
    }

    fn single_quoted(&mut self) -> Result<Vec<u8>, DotenvError> {
        let opened = self.line;
        let inside = &self.rest[1..];
        let end = inside
            .iter()
            .position(|&byte| byte == b'\'')
            .ok_or_else(|| error(opened, "the single quote that is opened here is not closed"))?;
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
                        b't' => b'\t',
                        &same @ (b'"' | b'\\' | b'$') => same,
                        _ => {
                            let line = opened + count_lines(&inside[..at]);
                            let problem = "this \\ stands before something else than n, r, t, \", \\ or $; single \
                                           quotes take a value as it is";
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
            Some(_) => Err(error(self.line, "something follows the closing quote")),
        }
    }

    fn rest_of_line(&self) -> &'t [u8] {
        let end = self.rest.iter().position(|&byte| byte == b'\n').unwrap_or(self.rest.len());
        self.rest[..end].strip_suffix(b"\r").unwrap_or(&self.rest[..end])
    }

    fn skip_blanks(&mut self) {
        while let [b' ' | b'\t' | b'\r', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn skip_to_line_end(&mut self) {
        self.rest = &self.rest[self.rest.iter().position(|&byte| byte == b'\n').unwrap_or(self.rest.len())..];
    }

    fn take_line_break(&mut self) {
        self.pass(1);
    }

    fn pass(&mut self, count: usize) {
        self.line += count_lines(&self.rest[..count]);
        self.rest = &self.rest[count..];
    }
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

fn count_lines(bytes: &[u8]) -> usize {
    bytes.split(|&byte| byte == b'\n').count() - 1
}

fn error(line: usize, problem: impl Into<String>) -> DotenvError {
    DotenvError { line, problem: problem.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        let text_of = |value: &SecretValue| String::from_utf8(value.expose().to_vec()).unwrap();
        parse(text.as_bytes()).unwrap().iter().map(|found| (found.key.to_string(), text_of(&found.value))).collect()
    }

    fn one(text: &str) -> String {
        let [(_, value)] = read(text).try_into().unwrap();
        value
    }

    fn fails(text: &str) -> String {
        parse(text.as_bytes()).err().expect("it should not be read").to_string()
    }

    #[test]
    fn a_file_as_people_write_it_is_read() {
        let text = "# shop\n\nA=1\nexport B = two words  # why\nC='single # $x'\r\nD=\"a\\nb\"\nE=\n  F=x#y\n";
        let expected = [("A", "1"), ("B", "two words"), ("C", "single # $x"), ("D", "a\nb"), ("E", ""), ("F", "x#y")];
        assert_eq!(read(text), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_value_is_what_is_written_and_nothing_is_expanded() {
        for (text, value) in [
            ("A=pa$HOME", "pa$HOME"),
            ("A=\"${HOME}\"", "${HOME}"),
            ("A=a\\nb", "a\\nb"),
            ("A='it\\'", "it\\"),
            ("A=\"\\\"\\\\\\$\"", "\"\\$"),
            ("A=b==", "b=="),
            ("A=#", ""),
            ("exporting=1", "1"),
            ("A='1\n2'", "1\n2"),
            ("A=\"1\n2\"", "1\n2"),
        ] {
            assert_eq!(one(text), value, "{text}");
        }
    }

    #[test]
    fn what_others_would_expand_is_noticed() {
        for (text, expandable) in [
            ("A=$HOME", true),
            ("A=\"x${Y}\"", true),
            ("A='$HOME'", false),
            ("A=cost$5", false),
            ("A=\"\\$HOME\"", false),
        ] {
            assert_eq!(parse(text.as_bytes()).unwrap()[0].expandable, expandable, "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_taken_as_they_are() {
        assert_eq!(parse(b"A=\xff\xfe").unwrap()[0].value.expose(), b"\xff\xfe");
    }

    #[test]
    fn an_error_names_the_line_and_repeats_nothing_of_it() {
        for (text, line) in [
            ("A=1\nhunter2", 2),
            ("A=1\n =hunter2", 2),
            ("A='1\n2'\nB='hunter2", 3),
            ("A=\"hunter2", 1),
            ("A=\"1\nhunter2\\x\"", 2),
            ("A='1'hunter2", 1),
        ] {
            let message = fails(text);
            assert!(message.starts_with(&format!("line {line}: ")) && !message.contains("hunter2"), "{message}");
        }
        assert_eq!(fails("A=1\nB=2\nA=3"), "line 3: A is given in line 1 already");
    }
}
