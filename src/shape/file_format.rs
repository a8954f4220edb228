//! `format`: one entry that holds all others, as a file.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::error::ShapeError;
use super::value;
use crate::api::{FileFormat, Format};
use crate::core::{SecretValue, shown_key};

/// The file.
pub(super) fn file(format: &Format, entries: &BTreeMap<String, SecretValue>) -> Result<SecretValue, ShapeError> {
    let text = |(name, secret): (&String, &SecretValue)| {
        let entry = || format!("entry {}", shown_key(name));
        let text = value::text(secret).map_err(|cause| ShapeError::ValueUnsuitable { entry: entry(), cause })?;
        Ok((name.clone(), text.to_owned()))
    };
    let texts: BTreeMap<String, String> = entries.iter().map(text).collect::<Result<_, _>>()?;
    let file = match format.as_ {
        FileFormat::Dotenv => dotenv(&texts)?,
        // Maps of texts: neither can fail.
        FileFormat::Json => serde_json::to_string(&texts).unwrap_or_default(),
        FileFormat::Yaml => serde_yaml::to_string(&texts).unwrap_or_default(),
        FileFormat::Properties => properties(&texts),
        // The spec was refused before.
        FileFormat::Unknown => String::new(),
    };
    Ok(SecretValue::from(file.into_bytes()))
}

/// Quoted so that what reads dotenv files reads what was written: as it is where nothing is special, in single quotes, which
/// mean all but themselves, where they are not in the value, and else in double quotes, as a shell has them.
fn dotenv(texts: &BTreeMap<String, String>) -> Result<String, ShapeError> {
    let is_variable = |name: &&String| {
        !name.starts_with(|c: char| c.is_ascii_digit())
            && !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let others: Vec<String> =
        texts.keys().filter(|name| !is_variable(name)).map(|name| shown_key(name).to_owned()).collect();
    if !others.is_empty() {
        return Err(ShapeError::NameNotForFile { names: others });
    }
    let mut file = String::new();
    for (name, text) in texts {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:@%+,=".contains(&byte));
        let _ = if is_plain {
            writeln!(file, "{name}={text}")
        } else if !text.contains('\'') {
            writeln!(file, "{name}='{text}'")
        } else {
            let mut quoted = String::with_capacity(text.len() + 8);
            for c in text.chars() {
                match c {
                    '"' | '\\' | '$' | '`' => quoted.extend(['\\', c]),
                    '\n' => quoted.push_str("\\n"),
                    '\r' => quoted.push_str("\\r"),
                    _ => quoted.push(c),
                }
            }
            writeln!(file, "{name}=\"{quoted}\"")
        };
    }
    Ok(file)
}

/// As `java.util.Properties` stores them, in ASCII.
fn properties(texts: &BTreeMap<String, String>) -> String {
    let escaped = |text: &str, is_name: bool| {
        let mut escaped = String::with_capacity(text.len() + 8);
        for (place, c) in text.chars().enumerate() {
            match c {
                '\\' | '#' | '!' | '=' | ':' => escaped.extend(['\\', c]),
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                '\t' => escaped.push_str("\\t"),
                ' ' if is_name || place == 0 => escaped.push_str("\\ "),
                ' '..='~' => escaped.push(c),
                _ => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        let _ = write!(escaped, "\\u{unit:04X}");
                    }
                }
            }
        }
        escaped
    };
    texts.iter().fold(String::new(), |mut file, (name, text)| {
        let _ = writeln!(file, "{}={}", escaped(name, true), escaped(text, false));
        file
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(as_: FileFormat, entries: &[(&str, &[u8])]) -> Result<String, ShapeError> {
        let entries =
            entries.iter().map(|(name, value)| ((*name).to_owned(), SecretValue::from(value.to_vec()))).collect();
        let file = file(&Format { as_, secret_key: "file".into() }, &entries)?;
        Ok(String::from_utf8(file.expose().to_vec()).expect("text"))
    }

    #[test]
    fn each_format_holds_what_its_own_readers_read_back() {
        let values: [(&str, &[u8]); 5] = [
            ("A", b"plain"),
            ("B", b"two words # $x"),
            ("C", b"it's \"so\"\nand $x\\"),
            ("D", "é=:".as_bytes()),
            ("E", b" lead"),
        ];
        let json = written(FileFormat::Json, &values).expect("JSON");
        let yaml = written(FileFormat::Yaml, &values).expect("YAML");
        let expected: BTreeMap<String, String> = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), String::from_utf8_lossy(value).into_owned()))
            .collect();
        assert_eq!(serde_json::from_str::<BTreeMap<String, String>>(&json).expect("read"), expected);
        assert_eq!(serde_yaml::from_str::<BTreeMap<String, String>>(&yaml).expect("read"), expected);
        assert_eq!(
            written(FileFormat::Dotenv, &values).expect("dotenv"),
            "A=plain\nB='two words # $x'\nC=\"it's \\\"so\\\"\\nand \\$x\\\\\"\nD='é=:'\nE=' lead'\n"
        );
        assert_eq!(
            written(FileFormat::Properties, &values).expect("properties"),
            "A=plain\nB=two words \\# $x\nC=it's \"so\"\\nand $x\\\\\nD=\\u00E9\\=\\:\nE=\\ lead\n"
        );
    }

    #[test]
    fn what_is_no_text_and_what_is_no_name_of_a_variable_is_named() {
        let error = written(FileFormat::Json, &[("KEYSTORE", &[0xff])]).expect_err("binary");
        assert_eq!(error.to_string(), "entry KEYSTORE: the value is not text in UTF-8");
        let error = written(FileFormat::Dotenv, &[("tls.crt", b"x"), ("1A", b"x")]).expect_err("names");
        assert!(error.to_string().ends_with("the names that come of 1A, tls.crt"), "{error}");
        assert!(written(FileFormat::Properties, &[("tls.crt", b"x")]).is_ok());
    }
}
