//! The keyring on disk.

use std::borrow::Cow;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use crate::core::Hint;

use super::keyring::Keyring;
use super::keyring_permissions::require_private;
use super::keyring_text::KeyringError;

/// More than a thousand keys. What is larger is another file.
const LARGEST: usize = 256 * 1024;

/// Why a keyring file could not be read or made. Names the file, never what is in it.
#[derive(Debug, thiserror::Error)]
pub enum KeyringFileError {
    /// The operating system refused.
    #[error("cannot {action} the keyring {}: {source}", .path.display())]
    Io {
        /// `read` or `create`.
        action: &'static str,
        /// As it was given.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// Everyone on the machine can read it or write to it.
    #[error("the keyring {} is open to everyone on this machine (mode {mode:04o})", .path.display())]
    OpenToAll {
        /// As it was given.
        path: PathBuf,
        /// The permission bits.
        mode: u32,
    },
    /// Others in its group can write to it.
    #[error("the keyring {} can be written to by its group (mode {mode:04o})", .path.display())]
    OpenToGroup {
        /// As it was given.
        path: PathBuf,
        /// The permission bits.
        mode: u32,
    },
    /// It belongs to another user, who may put other keys into it.
    #[error("the keyring {} belongs to the user with the id {owner}, who is neither you nor root", .path.display())]
    NotYours {
        /// As it was given.
        path: PathBuf,
        /// The owner's id.
        owner: u32,
    },
    /// Everyone on the machine can put another file in its place.
    #[error("the keyring {} is in {}, where everyone on this machine may replace files (mode {mode:04o})", .path.display(), .folder.display())]
    Replaceable {
        /// As it was given.
        path: PathBuf,
        /// The folder, or where a link leads.
        folder: PathBuf,
        /// The permission bits of the folder.
        mode: u32,
    },
    /// It is not text, or far too long.
    #[error("{} is not a keyring", .path.display())]
    NotAKeyring {
        /// As it was given.
        path: PathBuf,
    },
    /// Its text is not a valid keyring.
    #[error("the keyring {} is not valid: {source}", .path.display())]
    Invalid {
        /// As it was given.
        path: PathBuf,
        /// Where, and what is wrong.
        source: KeyringError,
    },
    /// There is a file already; it was left as it is.
    #[error("{} exists already and is left as it is", .path.display())]
    Exists {
        /// As it was given.
        path: PathBuf,
    },
}

impl Hint for KeyringFileError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        let hint = match self {
            Self::Io { action: "read", source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "make one with `tidelock keyring init`, or name yours with --keyring FILE"
            }
            Self::Io { .. } | Self::Invalid { .. } => return None,
            Self::OpenToAll { .. } => {
                "chmod 600 it, or in a pod mount its Secret with `defaultMode: 0400` and an `fsGroup`"
            }
            Self::OpenToGroup { .. } => {
                "chmod g-w it: the group may read a keyring, and nobody but its owner writes to it"
            }
            Self::NotYours { .. } => "run this as its owner, or make a copy of your own with mode 0600",
            Self::Replaceable { .. } => "keep it in a folder of your own: chmod o-w the folder, or move the keyring",
            Self::NotAKeyring { .. } => "create one with `tidelock keyring init`",
            Self::Exists { .. } => "name another file for a new keyring",
        };
        Some(hint.into())
    }
}

impl Keyring {
    /// Reads a keyring file.
    ///
    /// A file that others than its owner can write to or others than its group can read is refused, and so is one that
    /// belongs to neither the user nor root, or that anybody could replace. The group may read it, because that is how a
    /// Secret mounted with `fsGroup` appears in a pod: root's, behind links, in a folder with the sticky bit.
    pub fn read(path: &Path) -> Result<Self, KeyringFileError> {
        let failed = |source| KeyringFileError::Io { action: "read", path: path.to_owned(), source };
        let mut file = File::open(path).map_err(failed)?;
        // Of the file that is open, not of whatever the path names by now.
        let metadata = file.metadata().map_err(failed)?;
        if metadata.is_dir() {
            return Err(failed(io::ErrorKind::IsADirectory.into()));
        }
        require_private(path, &metadata)?;
        let bytes = read_at_most(&mut file, LARGEST).map_err(failed)?;
        let text = bytes.as_ref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        let text = text.ok_or_else(|| KeyringFileError::NotAKeyring { path: path.to_owned() })?;
        Self::parse(text).map_err(|source| KeyringFileError::Invalid { path: path.to_owned(), source })
    }

    /// Writes the keyring to a new file that only its owner can read, and waits until it is on disk: a value sealed
    /// under a key that a power cut took is lost.
    ///
    /// Never overwrites: a keyring that is gone takes every value with it.
    pub fn create(&self, path: &Path) -> Result<(), KeyringFileError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyringFileError::Exists { path: path.to_owned() },
            _ => KeyringFileError::Io { action: "create", path: path.to_owned(), source },
        };
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
        let written = file
            .write_all(self.to_text().as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| File::open(directory_of(path))?.sync_all());
        written.map_err(|error| {
            // Half a keyring helps nobody, and would be in the way of the next attempt. Where even this fails, the
            // first error is the one to tell.
            let _ = fs::remove_file(path);
            failed(error)
        })
    }
}

pub(super) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// All that there is to read, `None` where it is more than `limit`.
///
/// Into one allocation, which is wiped; a buffer that grows would leave copies of the keys behind.
fn read_at_most(file: &mut File, limit: usize) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut bytes = Zeroizing::new(vec![0; limit + 1]);
    let mut length = 0;
    while length < bytes.len() {
        match file.read(&mut bytes[length..]) {
            Ok(0) => {
                bytes.truncate(length);
                return Ok(Some(bytes));
            }
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::crypto::keyring_fixtures::{chmod, error, keyring};

    #[test]
    fn a_keyring_that_was_created_reads_back_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidelock.keyring");
        let keyring = keyring();
        keyring.create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(*Keyring::read(&path).ok().unwrap().to_text(), *keyring.to_text());
    }

    #[test]
    fn a_file_that_is_there_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidelock.keyring");
        fs::write(&path, "precious").unwrap();
        let refused = keyring().create(&path).unwrap_err();
        assert!(matches!(&refused, KeyringFileError::Exists { path: named } if *named == path), "{refused}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn an_error_names_the_file_the_ring_and_the_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidelock.keyring");
        assert!(error(&path).to_string().starts_with(&format!("cannot read the keyring {}: No such", path.display())));

        keyring().create(&path).unwrap();
        let text = fs::read_to_string(&path).unwrap().replace("primary", "first");
        fs::write(&path, text).unwrap();
        let expected =
            format!("the keyring {} is not valid: line 10, ring default: a key has a state, ", path.display());
        assert!(error(&path).to_string().starts_with(&expected), "{}", error(&path));
    }

    #[test]
    fn what_is_no_keyring_at_all_is_refused_before_it_is_parsed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidelock.keyring");
        for content in [vec![b'#'; LARGEST + 1], vec![0xff; 10]] {
            fs::write(&path, content).unwrap();
            chmod(&path, 0o600);
            assert!(matches!(error(&path), KeyringFileError::NotAKeyring { .. }));
        }
        assert!(matches!(error(directory.path()), KeyringFileError::Io { action: "read", .. }));
    }
}
