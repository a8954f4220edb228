//! Tables as people read them: columns as wide as what is in them, three spaces apart.
//!
//! A line too long is for the terminal to wrap: in cells wrapped to fit, no name can be found or copied.

use std::borrow::Cow;

use unicode_width::UnicodeWidthStr as _;

const GAP: usize = 3;

/// One cell, of one line.
#[derive(Clone)]
pub(super) struct Cell {
    text: Cow<'static, str>,
    colour: Option<Colour>,
}

/// What a terminal shows a cell in.
#[derive(Clone, Copy)]
pub(super) enum Colour {
    Green,
    Yellow,
    Red,
}

/// A header and lines of as many cells.
pub(super) struct Table {
    header: Vec<Cell>,
    lines: Vec<Vec<Cell>>,
    colours: bool,
}

impl Cell {
    /// A text without line breaks, and without what would steer a terminal.
    pub(super) fn of(text: impl Into<Cow<'static, str>>) -> Self {
        Self { text: text.into(), colour: None }
    }

    pub(super) fn coloured(mut self, colour: Colour) -> Self {
        self.colour = Some(colour);
        self
    }

    /// How many columns of a terminal it takes.
    fn width(&self) -> usize {
        // Of ASCII, which most of a large table is, each character takes one.
        if self.text.is_ascii() { self.text.len() } else { self.text.width() }
    }
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Self::Green => "\u{1b}[38;5;10m",
            Self::Yellow => "\u{1b}[38;5;11m",
            Self::Red => "\u{1b}[38;5;9m",
        }
    }
}

impl Table {
    pub(super) fn new(header: &[&str], colours: bool) -> Self {
        let header = header.iter().map(|title| Cell::of((*title).to_owned())).collect();
        Self { header, lines: Vec::new(), colours }
    }

    pub(super) fn add(&mut self, line: Vec<Cell>) {
        self.lines.push(line);
    }

    /// All lines, each with a line break and without spaces at its end.
    pub(super) fn to_text(&self) -> String {
        let mut widths = vec![0; self.header.len()];
        for line in self.all() {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.width().max(*width);
            }
        }
        let length = widths.iter().map(|width| width + GAP).sum::<usize>() + 1;
        let mut text = String::with_capacity(length * (self.lines.len() + 1));
        for line in self.all() {
            self.put(line, &widths, &mut text);
        }
        text
    }

    fn all(&self) -> impl Iterator<Item = &[Cell]> {
        std::iter::once(self.header.as_slice()).chain(self.lines.iter().map(Vec::as_slice))
    }

    fn put(&self, line: &[Cell], widths: &[usize], text: &mut String) {
        // Spaces are owed until something follows them.
        let mut owed = 0;
        for (cell, width) in line.iter().zip(widths) {
            let shown = cell.text.trim_end_matches(' ');
            if !shown.is_empty() {
                text.extend(std::iter::repeat_n(' ', owed));
                owed = 0;
            }
            match cell.colour.filter(|_| self.colours) {
                Some(colour) => text.extend([colour.code(), shown, "\u{1b}[39m"]),
                None => text.push_str(shown),
            }
            owed += width + GAP - cell.width() + (cell.text.len() - shown.len());
        }
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(colours: bool, header: &[&str], lines: Vec<Vec<Cell>>) -> String {
        let mut table = Table::new(header, colours);
        for line in lines {
            table.add(line);
        }
        table.to_text()
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let lines = vec![
            vec![Cell::of("A"), Cell::of("InSync"), Cell::of("x")],
            vec![Cell::of("A_LONG_NAME"), Cell::of("-"), Cell::of("")],
        ];
        assert_eq!(
            shown(false, &["KEY", "dev", "staging"], lines),
            "KEY           dev      staging\nA             InSync   x\nA_LONG_NAME   -\n",
            "no line ends with spaces"
        );
    }

    #[test]
    fn a_wide_character_takes_two_columns_and_an_empty_cell_its_place() {
        let lines = vec![
            vec![Cell::of("\u{9375}"), Cell::of(""), Cell::of("x")],
            vec![Cell::of("a "), Cell::of("b"), Cell::of("y")],
        ];
        assert_eq!(shown(false, &["K", "L", "M"], lines), "K    L   M\n\u{9375}       x\na    b   y\n");
    }

    #[test]
    fn colours_take_no_columns_and_are_for_terminals() {
        let lines = || vec![vec![Cell::of("Stale").coloured(Colour::Yellow), Cell::of("x")]];
        assert_eq!(shown(true, &["S", "T"], lines()), "S       T\n\u{1b}[38;5;11mStale\u{1b}[39m   x\n");
        assert_eq!(shown(false, &["S", "T"], lines()), "S       T\nStale   x\n");
    }

    #[test]
    fn without_lines_there_is_the_header() {
        assert_eq!(shown(false, &["KEY", "STATE"], Vec::new()), "KEY   STATE\n");
    }
}
