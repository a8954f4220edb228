//! Where values come from: standard input, a hidden prompt, a file. Never from arguments, which everyone can see.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use clap::Args;
use zeroize::Zeroizing;

use crate::core::SecretValue;

use super::error::CliError;
use super::line_breaks::unify_line_breaks;

/// All values of one Kubernetes Secret together may not be larger.
pub(super) const LARGEST_VALUE: usize = 1024 * 1024;

#[derive(Args)]
pub(super) struct ValueInput {
    /// Take the value from this file, every byte of it
    #[arg(long, value_name = "FILE")]
    pub(super) from_file: Option<PathBuf>,

    /// Take standard input as it is: every byte belongs to the value, also its last line break
    #[arg(long, conflicts_with = "from_file")]
    pub(super) raw: bool,
}

impl ValueInput {
    /// The value for `what`; on a terminal it is asked for.
    pub(super) fn read(&self, what: &str) -> Result<SecretValue, CliError> {
        self.ask(&format!("Value for {what}: "))
    }

    /// Something that may be secret; on a terminal it is asked for by `prompt`.
    pub(super) fn ask(&self, prompt: &str) -> Result<SecretValue, CliError> {
        if let Some(path) = &self.from_file {
            return Ok(SecretValue::from(read_file(path, LARGEST_VALUE)?));
        }
        if io::stdin().is_terminal() {
            let value = rpassword::prompt_password(prompt).map_err(CliError::failed("asking for the value"))?;
            let bytes = as_typed(Zeroizing::new(value.into_bytes()))?;
            refuse_nothing(&bytes, "nothing was typed")?;
            return Ok(SecretValue::from(bytes));
        }
        let mut bytes = read_stdin(LARGEST_VALUE)?;
        if !self.raw {
            bytes = as_typed(bytes)?;
            // A pipe whose first program failed looks like this, and `echo` of a variable that is not set.
            refuse_nothing(&bytes, "standard input had nothing in it")?;
        }
        Ok(SecretValue::from(bytes))
    }
}

/// An empty value is one to mean.
fn refuse_nothing(bytes: &[u8], found: &str) -> Result<(), CliError> {
    if bytes.is_empty() {
        return Err(CliError::Usage(format!(
            "{found}: for an empty value say --from-file /dev/null, or --raw with an empty standard input"
        )));
    }
    Ok(())
}

/// Standard input to its end.
pub(super) fn read_stdin(limit: usize) -> Result<Zeroizing<Vec<u8>>, CliError> {
    // Past the standard library's buffer, which nobody wipes.
    let mut stdin =
        io::stdin().as_fd().try_clone_to_owned().map(File::from).map_err(CliError::failed("reading standard input"))?;
    read_to_end(&mut stdin, "standard input", limit)
}

/// A file, every byte of it.
pub(super) fn read_file(path: &Path, limit: usize) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let mut file = File::open(path).map_err(CliError::failed(format!("reading {}", path.display())))?;
    read_to_end(&mut file, &path.display().to_string(), limit)
}

/// Into one allocation, which is wiped; a buffer that grows would leave copies behind.
fn read_to_end(from: &mut impl Read, name: &str, limit: usize) -> Result<Zeroizing<Vec<u8>>, CliError> {
    let mut bytes = Zeroizing::new(vec![0; limit + 1]);
    let mut length = 0;
    loop {
        match from.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(CliError::failed(format!("reading {name}"))(error)),
        }
        if length > limit {
            return Err(CliError::Refused(format!(
                "{name} holds more than {limit} bytes, and nothing that large can be delivered"
            )));
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// A text as somebody typed it, whichever line breaks their machine has, without the one at its end that `echo` and editors
/// put there. In what is no text a CRLF may be two bytes of a key, and so may the last byte.
fn as_typed(mut bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, CliError> {
    if bytes.contains(&0) || std::str::from_utf8(&bytes).is_err() {
        return Err(CliError::Usage(
            "standard input is no text, so its line breaks may be part of the value: take it as it is with --raw, or a file with \
             --from-file"
                .to_owned(),
        ));
    }
    unify_line_breaks(&mut bytes);
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_are_of_one_kind_and_the_last_one_goes_and_no_more() {
        for (given, kept) in [
            ("a\n", "a"),
            ("a\n\n", "a\n"),
            ("a\r\n", "a"),
            ("a\r\nb\r\n\r\n", "a\nb\n"),
            ("a\r", "a\r"),
            ("a", "a"),
            ("\r\n", ""),
            ("", ""),
        ] {
            let typed = as_typed(Zeroizing::new(given.as_bytes().to_vec())).unwrap();
            assert_eq!(typed.as_slice(), kept.as_bytes(), "{given:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_taken_by_another_option_alone() {
        for given in [&b"\xff\xfe"[..], b"a\0\r\n", b"\x80\n"] {
            assert_eq!(as_typed(Zeroizing::new(given.to_vec())).unwrap_err().exit_code(), 2, "{given:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_refused_and_what_just_fits_is_not() {
        assert_eq!(read_to_end(&mut [7; 4].as_slice(), "it", 4).unwrap().as_slice(), [7; 4]);
        assert_eq!(read_to_end(&mut [7; 5].as_slice(), "it", 4).unwrap_err().exit_code(), 4);
    }
}
