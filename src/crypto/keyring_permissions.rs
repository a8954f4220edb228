//! Who else could read a keyring's file, or put other keys into it.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::keyring_file::{KeyringFileError, directory_of};

/// Refuses a file that is not its owner's alone but for reading by its group, and whoever's it is who is not the user.
pub(super) fn require_private(path: &Path, metadata: &Metadata) -> Result<(), KeyringFileError> {
    let mode = metadata.mode() & 0o7777;
    if mode & 0o006 != 0 {
        return Err(KeyringFileError::OpenToAll { path: path.to_owned(), mode });
    }
    if mode & 0o020 != 0 {
        return Err(KeyringFileError::OpenToGroup { path: path.to_owned(), mode });
    }
    require_owner(path, metadata.uid(), rustix::process::geteuid().as_raw())?;
    require_own_folder(path)
}

fn require_owner(path: &Path, owner: u32, user: u32) -> Result<(), KeyringFileError> {
    if owner == user || owner == 0 {
        return Ok(());
    }
    Err(KeyringFileError::NotYours { path: path.to_owned(), owner })
}

/// Where the path is, and where it leads: who may write to a folder may put another file under the name, unless only owners
/// may take away what is in it.
fn require_own_folder(path: &Path) -> Result<(), KeyringFileError> {
    let failed = |source| KeyringFileError::Io { action: "read", path: path.to_owned(), source };
    let real = fs::canonicalize(path).map_err(failed)?;
    for folder in [directory_of(path), directory_of(&real)] {
        let mode = fs::metadata(folder).map_err(failed)?.mode() & 0o7777;
        if mode & 0o002 != 0 && mode & 0o1000 == 0 {
            let (path, folder) = (path.to_owned(), folder.to_owned());
            return Err(KeyringFileError::Replaceable { path, folder, mode });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::core::Hint as _;
    use crate::crypto::Keyring;
    use crate::crypto::keyring_fixtures::{chmod, error, keyring};

    #[test]
    fn a_file_open_to_everyone_is_refused_with_the_remedy_and_one_open_to_its_group_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidelock.keyring");
        keyring().create(&path).unwrap();
        for mode in [0o644, 0o604, 0o602, 0o666] {
            chmod(&path, mode);
            let message = error(&path).with_hint();
            assert!(message.contains(&format!("(mode {mode:04o}) (chmod 600 it")), "{message}");
        }
        for mode in [0o400, 0o440, 0o600, 0o640] {
            chmod(&path, mode);
            assert!(Keyring::read(&path).is_ok(), "{mode:o}");
        }
    }

    #[test]
    fn a_file_that_its_group_can_write_to_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidelock.keyring");
        keyring().create(&path).unwrap();
        for mode in [0o620, 0o660, 0o420] {
            chmod(&path, mode);
            let message = error(&path).with_hint();
            assert!(message.contains(&format!("by its group (mode {mode:04o}) (chmod g-w it")), "{message}");
        }
    }

    #[test]
    fn a_file_of_another_user_is_refused_and_one_of_roots_is_not() {
        let path = Path::new("tidelock.keyring");
        assert!(require_owner(path, 1000, 1000).is_ok() && require_owner(path, 0, 1000).is_ok());
        for (owner, user) in [(1001, 1000), (1000, 0)] {
            let message = require_owner(path, owner, user).unwrap_err().with_hint();
            assert!(message.contains(&format!("the id {owner}, who is neither you nor root (run")), "{message}");
        }
        // For real, where the test may give a file away.
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tidelock.keyring");
        keyring().create(&path).unwrap();
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
            assert!(matches!(error(&path), KeyringFileError::NotYours { owner: 65_534, .. }));
        }
    }

    #[test]
    fn a_file_that_anybody_can_replace_is_refused_wherever_a_link_leads() {
        let directory = tempfile::tempdir().unwrap();
        let (open, link) = (directory.path().join("open"), directory.path().join("link"));
        fs::create_dir(&open).unwrap();
        let path = open.join("tidelock.keyring");
        keyring().create(&path).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for (mode, is_refused) in
            [(0o777, true), (0o757, true), (0o1777, false), (0o3777, false), (0o755, false), (0o775, false)]
        {
            chmod(&open, mode);
            for path in [&path, &link] {
                match Keyring::read(path) {
                    Ok(_) => assert!(!is_refused, "{mode:o}"),
                    Err(error) => {
                        let message = error.with_hint();
                        assert!(is_refused && message.contains(&format!("(mode {mode:04o}) (keep it in")), "{message}");
                    }
                }
            }
        }
    }

    /// As the kubelet mounts it: links into a folder that is exchanged, root's, readable by the group.
    #[test]
    fn a_secret_mounted_in_a_pod_is_read() {
        let mount = tempfile::tempdir().unwrap();
        let data = mount.path().join("..2026_11_23");
        fs::create_dir(&data).unwrap();
        keyring().create(&data.join("keyring")).unwrap();
        std::os::unix::fs::symlink("..2026_11_23", mount.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/keyring", mount.path().join("keyring")).unwrap();
        for (file, folder) in [(0o440, 0o2755), (0o640, 0o755), (0o400, 0o755)] {
            chmod(&data.join("keyring"), file);
            chmod(&data, folder);
            chmod(mount.path(), 0o3777);
            assert!(Keyring::read(&mount.path().join("keyring")).is_ok(), "{file:o}");
        }
    }
}
