//! A connection string as libpq reads it: a URI, or `keyword=value` pairs. Pure, and it repeats nothing of what it read: any
//! part of a string that was quoted wrongly may be part of a password.

use super::keywords::{Keyword, find};

/// An option and its value, in the order of the text; of two for one option the later counts.
pub(super) type Pair = (&'static Keyword, String);

/// What is wrong with a connection string.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseError {
    /// Neither form.
    #[error("it is neither a URI (postgresql://...) nor a list of keyword=value")]
    NeitherForm,
    /// None of libpq's, or mistyped.
    #[error("the option that begins at character {at} is none of libpq's")]
    UnknownOption { at: usize },
    /// No `=` after what should be an option.
    #[error("the option that begins at character {at} has no \"=\"; a value with a space stands in single quotes")]
    NoValue { at: usize },
    /// A second `=` in a parameter of a URI.
    #[error("the value of {option} has an \"=\" in it: write %3D")]
    ExtraSeparator { option: &'static str },
    /// A quote that does not end.
    #[error("the quoted value of {option} does not end")]
    OpenQuote { option: &'static str },
    /// A `[` that does not end, or is not followed by what may follow.
    #[error(
        "the IPv6 address at character {at} is not closed, or empty, or followed by something else than : / ? or ,"
    )]
    Brackets { at: usize },
    /// `%` without two hexadecimal digits, or `%00`.
    #[error("{option} has a % that is not followed by two hexadecimal digits other than 00; a % itself is %25")]
    Percent { option: &'static str },
    /// Bytes that are no text.
    #[error("{option} is not UTF-8 after its percent-encoding")]
    NotText { option: &'static str },
}

/// Reads a connection string, without looking at what its values mean.
pub(super) fn parse(text: &str) -> Result<Vec<Pair>, ParseError> {
    for scheme in ["postgresql://", "postgres://"] {
        if let Some(rest) = text.strip_prefix(scheme) {
            return Uri { text, rest, pairs: Vec::new() }.read();
        }
    }
    if text.contains('=') { pairs(text) } else { Err(ParseError::NeitherForm) }
}

/// The position of a part within the text, in characters from 1.
fn position(text: &str, rest: &str) -> usize {
    text[..text.len() - rest.len()].chars().count() + 1
}

fn known(name: &str, at: usize) -> Result<&'static Keyword, ParseError> {
    find(name).ok_or(ParseError::UnknownOption { at })
}

struct Uri<'a> {
    text: &'a str,
    rest: &'a str,
    pairs: Vec<Pair>,
}

impl<'a> Uri<'a> {
    fn read(mut self) -> Result<Vec<Pair>, ParseError> {
        self.credentials()?;
        self.hosts()?;
        if let Some(rest) = self.rest.strip_prefix('/') {
            self.rest = rest;
            let name = self.until(&['?']);
            self.store("dbname", name)?;
        }
        if let Some(rest) = self.rest.strip_prefix('?') {
            self.rest = rest;
            self.parameters()?;
        }
        Ok(self.pairs)
    }

    /// What stands before one of these, or the end, which is left.
    fn until(&mut self, ends: &[char]) -> &'a str {
        let (part, rest) = self.rest.split_at(self.rest.find(ends).unwrap_or(self.rest.len()));
        self.rest = rest;
        part
    }

    fn store(&mut self, option: &'static str, encoded: &str) -> Result<(), ParseError> {
        if !encoded.is_empty() {
            let keyword = known(option, 0)?;
            self.pairs.push((keyword, decode(encoded, option)?));
        }
        Ok(())
    }

    /// An `@` before the first `/` ends them, whatever else comes before it.
    fn credentials(&mut self) -> Result<(), ParseError> {
        let Some(end) = self.rest.find(['@', '/']).filter(|end| self.rest[*end..].starts_with('@')) else {
            return Ok(());
        };
        let (credentials, rest) = self.rest.split_at(end);
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        self.rest = &rest[1..];
        self.store("user", user)?;
        self.store("password", password)
    }

    fn hosts(&mut self) -> Result<(), ParseError> {
        let (mut hosts, mut ports) = (Vec::new(), Vec::new());
        loop {
            let at = position(self.text, self.rest);
            if let Some(address) = self.rest.strip_prefix('[') {
                let end = address.find(']').filter(|end| *end > 0).ok_or(ParseError::Brackets { at })?;
                hosts.push(&address[..end]);
                self.rest = &address[end + 1..];
                if !self.rest.is_empty() && !self.rest.starts_with([':', '/', '?', ',']) {
                    return Err(ParseError::Brackets { at });
                }
            } else {
                hosts.push(self.until(&[':', '/', '?', ',']));
            }
            if let Some(rest) = self.rest.strip_prefix(':') {
                self.rest = rest;
                ports.push(self.until(&['/', '?', ',']));
            } else {
                ports.push("");
            }
            match self.rest.strip_prefix(',') {
                Some(rest) => self.rest = rest,
                None => break,
            }
        }
        self.store("host", &hosts.join(","))?;
        // A list of ports that says nothing would say more hosts than there are.
        if ports.iter().any(|port| !port.is_empty()) {
            self.store("port", &ports.join(","))?;
        }
        Ok(())
    }

    fn parameters(&mut self) -> Result<(), ParseError> {
        while !self.rest.is_empty() {
            let at = position(self.text, self.rest);
            let parameter = self.until(&['&']);
            self.rest = self.rest.strip_prefix('&').unwrap_or_default();
            let (name, value) = parameter.split_once('=').ok_or(ParseError::NoValue { at })?;
            let name = decode(name, "the name of an option")?;
            // What other drivers write.
            if name == "ssl" && value == "true" {
                self.store("sslmode", "require")?;
                continue;
            }
            let keyword = known(&name, at)?;
            if value.contains('=') {
                return Err(ParseError::ExtraSeparator { option: keyword.name });
            }
            self.pairs.push((keyword, decode(value, keyword.name)?));
        }
        Ok(())
    }
}

/// Without percent-encoding. A `+` is a `+`.
fn decode(encoded: &str, option: &'static str) -> Result<String, ParseError> {
    let mut bytes = encoded.bytes();
    let mut decoded = Vec::with_capacity(encoded.len());
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digits = [bytes.next().unwrap_or_default(), bytes.next().unwrap_or_default()];
        match hex::decode(digits) {
            Ok(byte) if byte != [0] => decoded.extend(byte),
            _ => return Err(ParseError::Percent { option }),
        }
    }
    String::from_utf8(decoded).map_err(|_| ParseError::NotText { option })
}

/// `keyword = value`, with spaces around the `=` or none; a backslash takes the next character as it is.
fn pairs(text: &str) -> Result<Vec<Pair>, ParseError> {
    let mut rest = text.trim_start();
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let at = position(text, rest);
        let end = rest.find(|c: char| c == '=' || c.is_ascii_whitespace()).ok_or(ParseError::NoValue { at })?;
        let (name, after) = rest.split_at(end);
        let value = after.trim_start().strip_prefix('=').ok_or(ParseError::NoValue { at })?;
        let keyword = known(name, at)?;
        let (value, after) = value_of(value.trim_start(), keyword.name)?;
        pairs.push((keyword, value));
        rest = after.trim_start();
    }
    Ok(pairs)
}

/// The value that stands first, and what comes after it.
fn value_of<'a>(text: &'a str, option: &'static str) -> Result<(String, &'a str), ParseError> {
    let quoted = text.strip_prefix('\'');
    let mut value = String::new();
    let mut characters = quoted.unwrap_or(text).chars();
    loop {
        let rest = characters.as_str();
        match characters.next() {
            Some('\\') => value.extend(characters.next()),
            Some('\'') if quoted.is_some() => return Ok((value, characters.as_str())),
            Some(space) if quoted.is_none() && space.is_ascii_whitespace() => return Ok((value, rest)),
            Some(other) => value.push(other),
            None if quoted.is_some() => return Err(ParseError::OpenQuote { option }),
            None => return Ok((value, "")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `option=value` lines.
    fn read(text: &str) -> Result<String, ParseError> {
        let pairs = parse(text)?;
        Ok(pairs.iter().map(|(keyword, value)| format!("{}={value}", keyword.name)).collect::<Vec<_>>().join(" | "))
    }

    #[test]
    fn both_forms_are_read_as_libpq_documents_them() {
        for (text, expected) in [
            ("postgresql://", ""),
            ("postgresql://localhost", "host=localhost"),
            ("postgresql://localhost:5433", "host=localhost | port=5433"),
            ("postgres://localhost/mydb", "host=localhost | dbname=mydb"),
            ("postgresql://user@localhost", "user=user | host=localhost"),
            ("postgresql://user:secret@localhost", "user=user | password=secret | host=localhost"),
            (
                "postgresql://other@localhost/otherdb?connect_timeout=10&application_name=myapp",
                "user=other | host=localhost | dbname=otherdb | connect_timeout=10 | application_name=myapp",
            ),
            (
                "postgresql://host1:123,host2:456/somedb?target_session_attrs=any",
                "host=host1,host2 | port=123,456 | dbname=somedb | target_session_attrs=any",
            ),
            ("postgresql://host1,host2:456", "host=host1,host2 | port=,456"),
            ("postgresql://a,b/d", "host=a,b | dbname=d"),
            ("postgresql:///mydb?host=localhost&port=5433", "dbname=mydb | host=localhost | port=5433"),
            ("postgresql://[2001:db8::1234]/database", "host=2001:db8::1234 | dbname=database"),
            ("postgresql://[::1]:5433,[::2]/d", "host=::1,::2 | port=5433, | dbname=d"),
            ("postgresql:///dbname?host=/var/lib/postgresql", "dbname=dbname | host=/var/lib/postgresql"),
            ("postgresql://%2Fvar%2Flib%2Fpostgresql/dbname", "host=/var/lib/postgresql | dbname=dbname"),
            (
                "postgresql://u%40x:p%40ss%2Fw%3F%25@h/d%20b?sslrootcert=%2Fca+1%20.pem",
                "user=u@x | password=p@ss/w?% | host=h | dbname=d b | sslrootcert=/ca+1 .pem",
            ),
            // As libpq has it, only a / or an @ ends them.
            ("postgresql://u:p?w#d@h", "user=u | password=p?w#d | host=h"),
            ("postgresql://u:p:w@h", "user=u | password=p:w | host=h"),
            ("postgresql://h?ssl=true", "host=h | sslmode=require"),
            ("postgresql://h/d?sslmode=disable&", "host=h | dbname=d | sslmode=disable"),
            ("host=localhost port=5432 dbname=mydb", "host=localhost | port=5432 | dbname=mydb"),
            ("  host = localhost\tport= 5432 ", "host=localhost | port=5432"),
            (r"user='it''s'", "user=it | s'"),
            (r"user='it\'s' password=a\ b\\c", r"user=it's | password=a b\c"),
            ("password='' user=''", "password= | user="),
            ("password=p=w user=u", "password=p=w | user=u"),
        ] {
            let answer = read(text);
            // Two quotes are no escape: what follows the first value has no "=".
            if text == "user='it''s'" {
                assert_eq!(answer, Err(ParseError::NoValue { at: 10 }), "{text}");
            } else {
                assert_eq!(answer.as_deref(), Ok(expected), "{text}");
            }
        }
    }

    #[test]
    fn what_cannot_be_read_is_named_by_its_option_or_place_and_nothing_is_repeated() {
        for text in [
            "",
            "h4nter2",
            "mysql://u:h4nter2@h/d",
            "postgresql://u:h4nter2%@h",
            "postgresql://u:h4nter2%zz@h",
            "postgresql://u:h4nter2%00@h",
            "postgresql://u:h4nter2%ff@h",
            "postgresql://[::1h4nter2",
            "postgresql://[]",
            "postgresql://[::1]h4nter2",
            "postgresql://h?h4nter2",
            "postgresql://h?password=a=h4nter2",
            "postgresql://h?h4nter2=h4nter2",
            "postgresql://h?SSLMODE=h4nter2",
            "host=h h4nter2",
            "host=h h4nter2=x",
            "password='h4nter2",
            "password=x h4nter2 user=u",
        ] {
            let error = parse(text).map(|pairs| pairs.len()).expect_err(text).to_string();
            assert!(!error.contains("h4nter2"), "{text}: {error}");
        }
        assert_eq!(read("postgresql://u:p%@h"), Err(ParseError::Percent { option: "password" }));
        assert_eq!(read("host=h sslmod=require"), Err(ParseError::UnknownOption { at: 8 }));
        assert_eq!(read("postgresql://h/d?sslmode=require&sslmod=x"), Err(ParseError::UnknownOption { at: 34 }));
    }
}
