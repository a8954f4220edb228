//! A connection string that is in a file: what a pod's environment says is read once, and a mounted file can be replaced while
//! a program runs.

use std::borrow::Cow;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::gathered::SettingError;

/// Longer than any connection string. What is larger is another file.
const LARGEST: u64 = 64 * 1024;

/// The connection string: the text itself, or what the file has that it names as `file:/PATH` or `file:///PATH`.
pub(super) fn connection_string(text: &str) -> Result<Cow<'_, str>, SettingError> {
    let Some(path) = text.strip_prefix("file:") else { return Ok(text.into()) };
    let path = Path::new(path.strip_prefix("//").unwrap_or(path));
    if !path.is_absolute() {
        return Err(SettingError::File(
            "file: takes the whole path of a file, as in file:/etc/tidelock/url".to_owned(),
        ));
    }
    read(path).map(Cow::from).map_err(|why| SettingError::File(format!("the file {} {why}", path.display())))
}

/// A line break at the end is the editor's.
fn read(path: &Path) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("cannot be read: {error}");
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err("is no plain file".to_owned());
    }
    let mode = metadata.mode() & 0o7777;
    // As of a keyring: a Secret that is mounted with `fsGroup` is its group's to read.
    if mode & 0o026 != 0 {
        return Err(format!(
            "is open to others (mode {mode:04o}): chmod 600 it, or in a pod mount its Secret with `defaultMode: 0400`"
        ));
    }
    let mut text = String::new();
    let read = file.by_ref().take(LARGEST + 1).read_to_string(&mut text);
    // The error of text that is none quotes nothing, and says no more than this.
    let length = read.map_err(|_| "is no text".to_owned())?;
    match text.trim() {
        _ if u64::try_from(length).is_ok_and(|length| length > LARGEST) => Err("is too large for one".to_owned()),
        "" => Err("is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_names_no_file_is_the_string_itself() {
        for text in ["postgresql://ana@h/d", "host=h dbname=d", "service=file:"] {
            assert_eq!(connection_string(text), Ok(text.into()));
        }
    }

    #[test]
    fn a_file_is_read_anew_each_time_and_an_error_names_it_and_nothing_that_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        let named = [format!("file:{}", path.display()), format!("file://{}", path.display())];
        let error = |expected: &str| {
            let told = connection_string(&named[0]).unwrap_err().to_string();
            assert!(told.contains(expected) && !told.contains("h4nter2"), "{told}");
            assert!(told.contains(path.to_str().unwrap()), "{told}");
        };
        let write = |bytes: &[u8], mode| {
            fs::write(&path, bytes).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        error("cannot be read: No such file");
        for text in ["postgresql://ana:h4nter2@h/d", "postgresql://ana:h4nter2@h/d\n", " host=h password=h4nter2\r\n"] {
            write(text.as_bytes(), 0o440);
            for named in &named {
                assert_eq!(connection_string(named), Ok(text.trim().into()));
            }
        }
        for mode in [0o644, 0o602, 0o660] {
            write(b"postgresql://ana:h4nter2@h/d", mode);
            error("is open to others");
        }
        write(b"h4nter2\xff", 0o600);
        error("is no text");
        write(b" \n", 0o600);
        error("is empty");
        write(&vec![b'h'; 70_000], 0o600);
        error("too large");
        for text in ["file:", "file:h4nter2", "file://h4nter2/x"] {
            let told = connection_string(text).unwrap_err().to_string();
            assert!(told.contains("the whole path") && !told.contains("h4nter2"), "{told}");
        }
    }
}
