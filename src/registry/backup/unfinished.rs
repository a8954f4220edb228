//! A file that is there under its name only when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::BackupError;

/// A file in the making, for nobody else to read. Dropped before [`Unfinished::finish`], it is removed.
#[derive(Debug)]
pub(super) struct Unfinished {
    part: PathBuf,
    file: PathBuf,
    finished: bool,
}

impl Unfinished {
    /// Makes `FILE.part`. Refuses where `FILE` is there already.
    pub(super) fn create(file: &Path) -> Result<Self, BackupError> {
        if file.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(file.to_owned()));
        }
        let mut part = file.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part);
        made.map_err(BackupError::file(format!("making {}", part.display())))?;
        Ok(Self { part, file: file.to_owned(), finished: false })
    }

    /// Where to write, until it is finished.
    pub(super) fn path(&self) -> &Path {
        &self.part
    }

    pub(super) fn write(&self, text: &str) -> Result<(), BackupError> {
        let written =
            OpenOptions::new().write(true).open(&self.part).and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(BackupError::file(format!("writing {}", self.part.display())))
    }

    /// On the disk, then under its name. Refuses where somebody else made one of that name meanwhile.
    pub(super) fn finish(mut self) -> Result<PathBuf, BackupError> {
        let attempt = format!("finishing {}", self.file.display());
        File::open(&self.part).and_then(|file| file.sync_all()).map_err(BackupError::file(&attempt))?;
        // A rename would put it in the place of whatever is there; a link does not.
        match fs::hard_link(&self.part, &self.file) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(BackupError::Exists(self.file.clone()));
            }
            // Where files have one name only.
            Err(_) => fs::rename(&self.part, &self.file).map_err(BackupError::file(&attempt))?,
            Ok(()) => fs::remove_file(&self.part).map_err(BackupError::file(&attempt))?,
        }
        self.finished = true;
        Ok(self.file.clone())
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.finished {
            // What cannot be removed still is not called FILE.
            let _ = fs::remove_file(&self.part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_there_only_when_it_is_finished_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dump");
        drop(Unfinished::create(&file).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

        let unfinished = Unfinished::create(&file).unwrap();
        unfinished.write("whole").unwrap();
        assert!(!file.exists());
        unfinished.finish().unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "whole");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_is_there_is_not_overwritten_also_where_it_came_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("dump");
        let unfinished = Unfinished::create(&file).unwrap();
        fs::write(&file, "another's").unwrap();
        assert!(matches!(unfinished.finish(), Err(BackupError::Exists(_))));
        assert!(matches!(Unfinished::create(&file), Err(BackupError::Exists(_))));
        assert_eq!(fs::read_to_string(&file).unwrap(), "another's");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
