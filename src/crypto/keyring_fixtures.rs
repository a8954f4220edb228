//! Keyrings in files, for tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{Keyring, KeyringFileError};

/// With the rings `default` and `production`.
pub(super) fn keyring() -> Keyring {
    Keyring::generate(&["default".parse().unwrap(), "production".parse().unwrap()])
}

/// Why the file is not read.
pub(super) fn error(path: &Path) -> KeyringFileError {
    Keyring::read(path).err().expect("reading it should fail")
}

pub(super) fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
