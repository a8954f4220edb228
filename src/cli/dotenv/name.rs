//! What stands before the `=`: a name, or what people have there instead.

use std::collections::BTreeSet;

use crate::core::KeyName;

/// The start of an assignment.
pub(super) struct Before {
    pub(super) key: KeyName,
    /// Up to and with the `=`.
    pub(super) length: usize,
    /// Whether it is the name and `=` alone, as kubectl wants it.
    pub(super) plain: bool,
}

/// The name that a line gives a value to, or what to write instead of what is there.
pub(super) fn before_equals(line: &[u8], allowed: &BTreeSet<String>) -> Result<Before, String> {
    let Some(equals) = line.iter().position(|&byte| byte == b'=') else {
        return Err(without_equals(line));
    };
    let written = std::str::from_utf8(&line[..equals]).unwrap_or_default();
    let trimmed = written.trim_matches([' ', '\t']);
    let name = match trimmed.strip_prefix("export") {
        Some(after) if after.starts_with([' ', '\t']) => after.trim_start_matches([' ', '\t']),
        // `export =`: the word, and no name behind it.
        Some("") if trimmed.len() < written.len() => "",
        _ => trimmed,
    };
    let plain = name.len() == written.len();
    match KeyName::from_person(name, allowed) {
        Ok(key) => Ok(Before { key, length: equals + 1, plain }),
        Err(_) => Err(no_name(name)),
    }
}

const REMEDY: &str = "write NAME=value, with a name of letters, digits and '_' that starts with none of the digits";

fn without_equals(line: &[u8]) -> String {
    let text = std::str::from_utf8(line).unwrap_or_default();
    known_form(text).unwrap_or_else(|| {
        if text.contains(':') {
            "it is written NAME: value: write NAME=value".to_owned()
        } else {
            "there is no '=' in it: where it belongs to the value before, put all of that value in quotes".to_owned()
        }
    })
}

fn no_name(name: &str) -> String {
    known_form(name).unwrap_or_else(|| {
        if name.is_empty() {
            format!("no name stands before the '=': {REMEDY}")
        } else if name.contains(':') {
            "a ':' stands before the '=': where it is written NAME: value, write NAME=value, and in quotes what has a # or a \
             quote in it"
                .to_owned()
        } else if name.contains([' ', '\t']) {
            format!("several words stand before the '=', and just `export` may stand before a name: {REMEDY}")
        } else if crate::core::is_secret_key(name) {
            format!("the name before the '=' is none that a shell can have: {REMEDY}; or say --allow-name with that name")
        } else {
            format!(
                "what stands before the '=' is no name of a key: {REMEDY}; where it belongs to the value before, put all of that \
                 value in quotes; a name that is really so takes --allow-name with that name"
            )
        }
    })
}

/// What other kinds of files have at the start of a line.
fn known_form(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let said = if text.starts_with('\u{feff}') {
        "a mark of byte order stands at its start, where files were put together: take it away".to_owned()
    } else if [";", "//", "--", "!", "%", "rem ", "/*"].iter().any(|mark| lower.starts_with(mark)) {
        format!("comments begin with # here; or, where it is an assignment, {REMEDY}")
    } else if text.starts_with(['"', '\'', '`']) {
        format!("a quote stands before the name: {REMEDY}")
    } else if text.starts_with(['{', '[', '}', ']']) {
        "this looks like another format than dotenv: write NAME=value lines".to_owned()
    } else {
        return None;
    };
    Some(said)
}
