//! The file of passwords, as libpq's manual has it under "The Password File".

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Where a password is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Login<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// The password for a login, from the first line that matches it. One that libpq would not read, since others may, is not
/// read either: with why, for whoever wonders where the password is. A file that is not there has none.
pub(super) fn password(file: &Path, login: &Login<'_>) -> Result<Option<String>, String> {
    let ignored = |why: &str| Err(format!("the passfile {} is ignored: {why}", file.display()));
    let metadata = match fs::metadata(file) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return ignored(&error.to_string()),
    };
    if !metadata.is_file() {
        return ignored("it is no plain file");
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return ignored("its group or everybody has access to it; give it the mode 0600");
    }
    match fs::read_to_string(file) {
        Ok(text) => Ok(find(&text, login)),
        Err(error) => ignored(&error.to_string()),
    }
}

/// `host:port:database:user:password`, where `*` alone is anything, and a backslash takes the next character as it is.
fn find(text: &str, login: &Login<'_>) -> Option<String> {
    let port = login.port.to_string();
    let wanted = [login.host, &port, login.database, login.user];
    text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let mut rest = line.strip_suffix('\r').unwrap_or(line);
        for wanted in wanted {
            let end = end_of_field(rest)?;
            let field = &rest[..end];
            if field != "*" && unescaped(field) != wanted {
                return None;
            }
            rest = &rest[end + 1..];
        }
        // Empty is as good as none.
        Some(unescaped(rest)).filter(|password| !password.is_empty())
    })
}

/// Where the colon is that ends the first field.
fn end_of_field(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, character)| {
        let ends = character == ':' && !escaped;
        escaped = character == '\\' && !escaped;
        ends.then_some(at)
    })
}

fn unescaped(field: &str) -> String {
    let mut characters = field.chars();
    let mut plain = String::with_capacity(field.len());
    while let Some(character) = characters.next() {
        let escaped = (character == '\\').then(|| characters.next()).flatten();
        plain.push(escaped.unwrap_or(character));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: Login<'_> = Login { host: "db.internal", port: 5432, database: "registry", user: "ana" };

    #[test]
    fn the_first_line_that_matches_has_the_password() {
        for (text, expected) in [
            ("db.internal:5432:registry:ana:one\ndb.internal:5432:registry:ana:two", Some("one")),
            ("other:5432:registry:ana:one\n*:*:*:*:two\n", Some("two")),
            ("# db.internal:5432:registry:ana:one\n\n*:*:*:ana:two", Some("two")),
            ("*:5433:*:*:one\n*:*:*:bob:two", None),
            (r"*:*:*:*:with\:colon\\and:more", Some(r"with:colon\and:more")),
            ("db.internal:5432:registry:ana:crlf\r\n", Some("crlf")),
            ("db*:5432:registry:ana:one", None),
            ("db.internal:5432:registry:one", None),
            ("*:*:*:*:", None),
            ("", None),
        ] {
            assert_eq!(find(text, &LOGIN).as_deref(), expected, "{text}");
        }
        let odd = Login { host: "::1", user: r"a:n\a", ..LOGIN };
        assert_eq!(find(r"\:\:1:5432:*:a\:n\\a:one", &odd).as_deref(), Some("one"));
    }

    #[test]
    fn one_that_others_may_read_is_ignored_with_why_and_one_that_is_not_there_has_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("passfile");
        assert_eq!(password(&file, &LOGIN), Ok(None));
        fs::write(&file, "*:*:*:*:h4nter2\n").unwrap();
        for (mode, expected) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false), (0o610, false)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            match password(&file, &LOGIN) {
                Ok(found) => assert_eq!((found.as_deref(), expected), (Some("h4nter2"), true), "{mode:o}"),
                Err(why) => assert!(!expected && why.contains("0600") && !why.contains("h4nter2"), "{mode:o}: {why}"),
            }
        }
        assert!(password(folder.path(), &LOGIN).unwrap_err().contains("no plain file"));
    }
}
