//! Connection settings whose files are replaced while a program runs, as when a password is rotated.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::ConnectSettings;
use super::target::Target;
use crate::registry::RegistryError;

/// How old a look at the files may be where a session is there already.
const FRESH: Duration = Duration::from_secs(1);

/// From one try of settings that were refused to the next, while there are sessions by earlier ones.
const RETRY: Duration = Duration::from_secs(5);

/// The same, where nobody answered: to wait for that again and again would hold up what works.
const RETRY_SILENT: Duration = Duration::from_mins(1);

/// What the settings meant at a time. Cheap to clone.
#[derive(Clone)]
pub(super) struct Version {
    pub(super) target: Arc<Target>,
    number: u64,
}

/// The settings of a pool.
pub(super) struct Followed {
    settings: ConnectSettings,
    known: Mutex<Known>,
}

struct Known {
    newest: Version,
    looked: Instant,
    /// By which a session came about last.
    working: Option<Version>,
    /// When to try the newest again, which did not lead to a session.
    retry: Option<Instant>,
    /// What was said of settings that are not used, since they were.
    told: BTreeSet<String>,
}

/// What to do with a session.
pub(super) enum Verdict {
    /// Nothing newer is known to work.
    Keep,
    /// Others have sessions by newer settings.
    Replace,
    /// There are newer settings, and nobody has tried them lately.
    Try(Version),
}

impl Followed {
    /// # Errors
    /// Where they cannot be used: then there is nothing to go on with.
    pub(super) fn new(settings: &ConnectSettings) -> Result<Self, RegistryError> {
        let newest = Version { target: settings.target()?.into(), number: 0 };
        let known = Known { newest, looked: Instant::now(), working: None, retry: None, told: BTreeSet::new() };
        Ok(Self { settings: settings.clone(), known: known.into() })
    }

    /// As long as a connection may take by the newest settings that were read.
    pub(super) fn longest(&self) -> Duration {
        self.lock().newest.target.longest()
    }

    /// As the files are now. Where they cannot be used, as they were.
    pub(super) fn newest(&self) -> Version {
        let read = self.settings.target();
        let mut known = self.lock();
        known.looked = Instant::now();
        match read {
            Ok(target) if target.is_same_as(&known.newest.target) => {}
            Ok(target) => {
                known.newest = Version { target: target.into(), number: known.newest.number + 1 };
                known.retry = None;
            }
            Err(error) => known.tell(error.to_string(), &error),
        }
        known.newest.clone()
    }

    /// What becomes of a session that was made by these settings.
    pub(super) fn verdict(&self, made_by: &Version) -> Verdict {
        if self.lock().looked.elapsed() >= FRESH {
            self.newest();
        }
        let known = self.lock();
        let number = known.newest.number;
        if made_by.number == number {
            Verdict::Keep
        } else if known.working.as_ref().is_some_and(|working| working.number == number) {
            Verdict::Replace
        } else if known.retry.is_some_and(|retry| retry > Instant::now()) {
            Verdict::Keep
        } else {
            Verdict::Try(known.newest.clone())
        }
    }

    /// A session came about.
    pub(super) fn works(&self, version: &Version) {
        let mut known = self.lock();
        let before = known.working.replace(version.clone()).map(|before| before.number);
        if before.is_some_and(|before| before != version.number) && version.number == known.newest.number {
            known.told.clear();
            tracing::info!("the database is reached by the settings that took the place of earlier ones");
        }
    }

    /// None did, and those that are there stay in use.
    pub(super) fn failed(&self, version: &Version, error: &RegistryError) {
        let mut known = self.lock();
        if version.number == known.newest.number {
            let pause = if error.is_transient() { RETRY_SILENT } else { RETRY };
            known.retry = Some(Instant::now() + pause);
        }
        // An outage is said in many ways, one after the other.
        known.tell(format!("{} {}", version.number, error.is_transient()), error);
    }

    /// None did: earlier settings that worked, if there are any, and if that is the fault of the newer ones.
    pub(super) fn instead_of(&self, version: &Version, error: &RegistryError) -> Option<Version> {
        let earlier = self.lock().working.clone().filter(|working| working.number != version.number)?;
        if error.is_transient() {
            return None;
        }
        self.failed(version, error);
        Some(earlier)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Once for each thing to say.
    fn tell(&mut self, what: String, error: &RegistryError) {
        if self.told.insert(what) {
            tracing::warn!(%error, "the settings of the database's connection have changed and do not work; earlier ones stay in use");
        }
    }
}
