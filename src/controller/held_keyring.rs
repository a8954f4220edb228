//! The keyring that the operator holds. Its file is looked at again and again: another keyring that is put there takes the place
//! of the one that was read before, without a restart.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::config::ControllerError;
use crate::core::Hint as _;
use crate::crypto::{Keyring, KeyringFileError};

/// From one look at the file to the next. One that is found changed is read at the look after that, if it has not changed since:
/// somebody may be writing it just now.
const INTERVAL: Duration = Duration::from_secs(1);

/// The keyring that counts. Cheap to clone.
#[derive(Clone)]
pub(crate) struct HeldKeyring(Arc<RwLock<Arc<Keyring>>>);

impl HeldKeyring {
    /// One that no file takes the place of.
    pub(super) fn of(keyring: Arc<Keyring>) -> Self {
        Self(Arc::new(RwLock::new(keyring)))
    }

    /// As it is now; who works with it keeps it until the work is done.
    #[must_use]
    pub(crate) fn current(&self) -> Arc<Keyring> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, keyring: Keyring) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keyring);
    }
}

/// The file, as it was last looked at.
pub(super) struct KeyringFile {
    path: PathBuf,
    held: HeldKeyring,
    /// As it was when it was read last, whether that gave a keyring or not.
    read: FileState,
    /// As it was found last.
    found: FileState,
    /// What was said of a file that is not used.
    told: Option<String>,
}

/// Which file is there, and in which state; or why nobody can tell. A Secret's volume puts another file in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum FileState {
    There { file: (u64, u64), size: u64, modified: (i64, i64), changed: (i64, i64) },
    Unknown(io::ErrorKind),
}

impl FileState {
    fn of(path: &Path) -> Self {
        match std::fs::metadata(path) {
            Ok(file) => Self::There {
                file: (file.dev(), file.ino()),
                size: file.size(),
                modified: (file.mtime(), file.mtime_nsec()),
                changed: (file.ctime(), file.ctime_nsec()),
            },
            Err(error) => Self::Unknown(error.kind()),
        }
    }
}

/// What a look at the file came to.
#[derive(Debug)]
enum Look {
    /// There is nothing to say.
    Nothing,
    /// There is another keyring, which is held from now on.
    Replaced,
    /// What was wrong with it is put right, and it is the keyring that is held.
    AsBefore,
    /// What is there cannot be used; it is said for the first time.
    Unusable(KeyringFileError),
}

impl KeyringFile {
    /// Reads the file for the first time.
    pub(super) fn open(path: PathBuf) -> Result<Self, KeyringFileError> {
        let read = FileState::of(&path);
        let held = HeldKeyring::of(Arc::new(Keyring::read(&path)?));
        Ok(Self { found: read.clone(), read, held, path, told: None })
    }

    /// What is held, from now on, too.
    pub(super) fn held(&self) -> HeldKeyring {
        self.held.clone()
    }

    fn look(&mut self) -> Look {
        let now = FileState::of(&self.path);
        let is_settled = self.found == now;
        self.found = now;
        if self.found == self.read || !is_settled {
            return Look::Nothing;
        }
        let keyring = Keyring::read(&self.path);
        if FileState::of(&self.path) != self.found {
            return Look::Nothing;
        }
        self.read = self.found.clone();
        match keyring {
            Ok(keyring) if *keyring.to_text() == *self.held.current().to_text() => {
                self.told.take().map_or(Look::Nothing, |_| Look::AsBefore)
            }
            Ok(keyring) => {
                self.held.replace(keyring);
                self.told = None;
                Look::Replaced
            }
            Err(error) if self.told.replace(error.to_string()) == Some(error.to_string()) => Look::Nothing,
            Err(error) => Look::Unusable(error),
        }
    }

    /// Follows the file; calls `replaced` each time that another keyring is held. Ends only where looking at a file panics.
    pub(super) async fn follow(mut self, replaced: impl Fn() + Send) -> ControllerError {
        let mut looks = interval(INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            // A file system may take its time.
            let looked = tokio::task::spawn_blocking(move || {
                let look = self.look();
                (self, look)
            });
            let Ok((file, look)) = looked.await else {
                return ControllerError::Task { task: "the look at the keyring" };
            };
            self = file;
            let path = self.path.display();
            match look {
                Look::Nothing => {}
                Look::Replaced => {
                    let held = self.held.current();
                    let rings: Vec<&str> = held.rings().map(|ring| ring.name().as_str()).collect();
                    tracing::info!(%path, ?rings, "another keyring is in the file, and is held from now on");
                    replaced();
                }
                Look::AsBefore => tracing::info!(%path, "the keyring's file can be read again, and has what is held"),
                Look::Unusable(error) => {
                    tracing::warn!(error = %error.with_hint(), "the keyring that was read before stays in use");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
