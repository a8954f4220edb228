//! The only place that prints. Results go to standard output, everything else to standard error.

use std::io::{self, ErrorKind, IsTerminal, Write};

use serde_json::Value;
use terminal_size::terminal_size;

use crate::core::{Hint as _, KeyState, RegistryTime, is_secret_key};

use super::error::CliError;
use super::options::Format;
use super::table::{Cell, Colour, Table};

/// One line of a listing: as cells for people, as an object for programs.
pub(super) struct Line {
    pub(super) cells: Vec<Cell>,
    pub(super) json: Value,
}

pub(super) struct Output {
    format: Format,
    terminal: bool,
    colours: bool,
}

#[expect(clippy::unused_self, reason = "who prints holds the output, whatever it needs of it")]
impl Output {
    pub(super) fn new(format: Format) -> Self {
        let terminal = io::stdout().is_terminal();
        // https://no-color.org: set and not empty.
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { format, terminal, colours }
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// A listing: a table, or an array of objects.
    pub(super) fn list(&self, header: &[&str], lines: impl IntoIterator<Item = Line>) -> Result<(), CliError> {
        if self.is_json() {
            return self.json(&lines.into_iter().map(|line| line.json).collect());
        }
        let mut table = Table::new(header, self.colours);
        for line in lines {
            table.add(line.cells);
        }
        write(table.to_text().as_bytes())
    }

    /// How many characters a line has on the terminal; `None` where there is none.
    pub(super) fn width(&self) -> Option<usize> {
        self.terminal.then(terminal_size).flatten().map(|(width, _)| usize::from(width.0))
    }

    /// A result for programs.
    pub(super) fn json(&self, value: &Value) -> Result<(), CliError> {
        write(format!("{value:#}\n").as_bytes())
    }

    /// For programs, what people are told in a note.
    pub(super) fn told(&self, value: &Value) -> Result<(), CliError> {
        if self.is_json() { self.json(value) } else { Ok(()) }
    }

    /// A result that is text already.
    pub(super) fn text(&self, text: &str) -> Result<(), CliError> {
        write(text.as_bytes())
    }

    /// The exact bytes; on a terminal a line break follows, so that the prompt starts where it should.
    pub(super) fn value(&self, bytes: &[u8]) -> Result<(), CliError> {
        write(bytes)?;
        if self.terminal && !bytes.ends_with(b"\n") {
            write(b"\n")?;
        }
        Ok(())
    }

    /// Something to know beside the result.
    pub(super) fn note(&self, text: &str) {
        // Where standard error is gone, nobody is there to be told so.
        let _ = writeln!(io::stderr().lock(), "{}", printable(text));
    }

    pub(super) fn error(&self, error: &CliError) {
        self.note(&format!("error: {}", error.with_hint()));
    }
}

/// Text that a person may have put into the database must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "cells are made of what is at hand, temporaries too")]
pub(super) fn plain(text: impl ToString) -> Cell {
    Cell::of(printable(&text.to_string()).replace('\n', " "))
}

/// A time to the second; programs get all of it.
pub(super) fn time_cell(time: Option<RegistryTime>) -> Cell {
    plain(time.map_or("-".to_owned(), |time| format!("{:.0}", time.to_timestamp())))
}

pub(super) fn time_json(time: Option<RegistryTime>) -> Value {
    time.map_or(Value::Null, |time| time.to_string().into())
}

pub(super) fn state_cell(state: Option<KeyState>) -> Cell {
    let Some(state) = state else { return Cell::of("-") };
    let cell = Cell::of(state.as_str());
    match state {
        KeyState::InSync => cell.coloured(Colour::Green),
        KeyState::Stale | KeyState::Missing => cell.coloured(Colour::Yellow),
        KeyState::Unregistered => cell.coloured(Colour::Red),
        KeyState::Exempt => cell,
    }
}

/// `a`, `a and b`, `a, b and c`; of more than ten the first ten and how many there are besides.
pub(super) fn enumerate(names: &[&str]) -> String {
    const SHOWN: usize = 10;
    if names.len() <= SHOWN {
        return all_of(names);
    }
    format!("{} and {} more", names[..SHOWN].join(", "), names.len() - SHOWN)
}

/// As [`enumerate`], but every one, where each is to be looked at.
pub(super) fn all_of(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// `1 key`, `2 keys`.
pub(super) fn keys_in_words(count: usize) -> String {
    format!("{count} {}", if count == 1 { "key" } else { "keys" })
}

/// What to know about keys that bindings cannot take under their own names; `None` where there is none.
pub(super) fn undeliverable<'a>(keys: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = keys.into_iter().filter(|key| !is_secret_key(key)).collect();
    (!names.is_empty()).then(|| {
        format!(
            "no key of a Secret can be named {}: bindings that take every key stop at it, others rename it with \
             spec.data[].secretKey",
            enumerate(&names)
        )
    })
}

/// A reader that has seen enough (`| head`) is no failure.
fn write(bytes: &[u8]) -> Result<(), CliError> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(CliError::failed("writing to standard output")(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_enumerated_as_one_would_say_them() {
        assert_eq!(enumerate(&["a"]), "a");
        assert_eq!(enumerate(&["a", "b"]), "a and b");
        assert_eq!(enumerate(&["a", "b", "c"]), "a, b and c");
        assert_eq!(enumerate(&["k"; 12]), "k, k, k, k, k, k, k, k, k, k and 2 more");
    }

    #[test]
    fn names_that_no_secret_takes_are_told() {
        assert_eq!(undeliverable(["DATABASE_URL", "tls.crt"]), None);
        let told = undeliverable(["DATABASE_URL", "a b", "c/d"]).unwrap();
        assert!(told.starts_with("no key of a Secret can be named a b and c/d:"), "{told}");
    }

    #[test]
    fn what_would_steer_a_terminal_is_replaced() {
        assert_eq!(printable("a\u{1b}[2Jb\r\n"), "a\u{fffd}[2Jb\u{fffd}\n");
    }
}
