//! A pool of sessions that give up on servers, and are not used again once they did.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use deadpool::Runtime;
use deadpool::managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult, Timeouts};

use super::ConnectSettings;
use super::dial::{Check, dial};
use super::followed::{Followed, Verdict, Version};
use super::host_order::HostOrder;
use super::link::{Link, Patience};
use crate::registry::RegistryError;

/// Makes the sessions of a pool.
pub(in crate::registry) struct Dialer {
    settings: Followed,
    order: HostOrder,
    check: Check,
    /// How long a server may be silent that owes an answer.
    silence: Duration,
}

/// A session of a pool's.
pub(in crate::registry) struct Session {
    link: Link,
    made_by: Version,
}

impl Dialer {
    async fn dial(&self, by: &Version) -> Result<Session, RegistryError> {
        // A large future, and who waits for it holds it.
        let connected = Box::pin(dial(&by.target, &self.order, Some(&self.check))).await?;
        self.settings.works(by);
        let link = Link::start(connected, Patience::Silence(self.silence), None);
        Ok(Session { link, made_by: by.clone() })
    }
}

impl managed::Manager for Dialer {
    type Type = Session;
    type Error = RegistryError;

    /// A password may be in its file before the server has it: what worked before is tried, too.
    async fn create(&self) -> Result<Session, RegistryError> {
        let newest = self.settings.newest();
        let error = match self.dial(&newest).await {
            Ok(session) => return Ok(session),
            Err(error) => error,
        };
        match self.settings.instead_of(&newest, &error) {
            Some(earlier) => self.dial(&earlier).await.map_err(|_| error),
            None => Err(error),
        }
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<RegistryError> {
        if session.link.is_closed() {
            return Err(RecycleError::message("it was closed"));
        }
        match self.settings.verdict(&session.made_by) {
            Verdict::Keep => Ok(()),
            Verdict::Replace => Err(RecycleError::message("the settings were replaced")),
            Verdict::Try(newest) => {
                match self.dial(&newest).await {
                    Ok(replacement) => *session = replacement,
                    Err(error) => self.settings.failed(&newest, &error),
                }
                Ok(())
            }
        }
    }
}

/// Cheap to clone.
#[derive(Clone)]
pub(in crate::registry) struct Pool {
    pool: managed::Pool<Dialer>,
}

impl Pool {
    /// Of at most `size` sessions, made when they are needed. Each has passed the check, and gives up on a server that owes
    /// an answer and is silent for so long.
    pub(super) fn new(
        settings: &ConnectSettings,
        size: usize,
        check: Check,
        silence: Duration,
    ) -> Result<Self, RegistryError> {
        let dialer = Dialer { settings: Followed::new(settings)?, order: HostOrder::default(), check, silence };
        let pool = managed::Pool::builder(dialer).max_size(size).runtime(Runtime::Tokio1).build().map_err(|error| {
            RegistryError::Settings {
                setting: "the connection pool cannot be built".to_owned(),
                hint: None,
                cause: error.into(),
            }
        })?;
        Ok(Self { pool })
    }

    /// How long it may take until there is a session, all hosts tried.
    pub(in crate::registry) fn longest(&self) -> Duration {
        self.pool.manager().settings.longest()
    }

    pub(in crate::registry) async fn get(&self, attempt: &str) -> Result<Borrowed, RegistryError> {
        // Making one gives up by itself.
        let timeouts = Timeouts { wait: Some(self.longest()), create: None, recycle: None };
        match self.pool.timeout_get(&timeouts).await {
            Ok(object) => Ok(Borrowed { object: Some(object), pool: self.pool.clone(), settled: false }),
            Err(PoolError::Backend(RegistryError::Unavailable { attempt: made, cause })) => {
                Err(RegistryError::Unavailable { attempt: format!("{attempt}, {made}"), cause })
            }
            Err(PoolError::Backend(error)) => Err(error),
            Err(other) => {
                Err(RegistryError::Unavailable { attempt: attempt.to_owned(), cause: other.to_string().into() })
            }
        }
    }
}

/// A session of the pool's. It goes back there once it was [`settle`](Self::settle)d; dropped before, its server may still owe
/// an answer that nobody waits for, and it is closed.
pub(in crate::registry) struct Borrowed {
    object: Option<Object<Dialer>>,
    pool: managed::Pool<Dialer>,
    settled: bool,
}

impl Borrowed {
    /// Everything that was asked is answered, or will be before what is asked next.
    pub(in crate::registry) const fn settle(&mut self) {
        self.settled = true;
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        if self.settled && !object.link.is_closed() {
            return;
        }
        Object::take(object).link.abandon();
        // Those that idle are likely to lead to the same server, and each would have to be waited for.
        self.pool.retain(|_, _| false);
    }
}

impl Deref for Borrowed {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.object.as_ref().expect("it is there until it is dropped").link
    }
}

impl DerefMut for Borrowed {
    fn deref_mut(&mut self) -> &mut Link {
        &mut self.object.as_mut().expect("it is there until it is dropped").link
    }
}
