//! How a program reaches the database: what libpq's connection strings say, and sessions that give up on a server that is
//! silent.
//!
//! From text to session: `parse` and `gathered` (what was said, by the string, a service, the environment), `target` (what it
//! means), `dial` (host after host, within a budget each), `link` (a session that is watched over), `pool`. Nothing of the
//! crates that read service files or passfiles is used: they know a few of the options, and follow other rules than libpq.

mod activity;
mod certificate_names;
mod dial;
mod dial_error;
mod followed;
mod frames;
mod gathered;
mod host_order;
mod keywords;
mod libpq;
mod link;
#[cfg(test)]
mod options_tests;
mod parse;
mod passfile;
mod pool;
mod require_auth;
mod service_file;
mod session_kind;
mod socket;
mod stream;
mod surroundings;
mod target;
mod tls;
mod tls_settings;
mod url_file;
mod verifier;

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::mpsc;
use tokio_postgres::{Client, SimpleQueryMessage};

use self::dial::{Check, HostError, dial, dial_host};
use self::gathered::SettingError;
use self::host_order::HostOrder;
pub(super) use self::link::{Ended, Link};
use self::link::{Patience, Probe, Work};
pub(super) use self::pool::{Borrowed, Pool};
use self::surroundings::Surroundings;
use self::target::{SessionKind, Target};
use self::url_file::connection_string;
use super::{RegistryError, login};

/// The schema where nothing else is said.
pub const DEFAULT_SCHEMA: &str = "tidelock";

/// How long a server that the operator asked may be silent: longer than it may take for a statement, so that a busy server is
/// told from one that is gone, and shorter than the operator waits.
const SILENCE: Duration = Duration::from_millis(4_500);

/// Where the registry is. Has no `Debug`: the URL holds a password.
#[derive(Clone)]
pub struct ConnectSettings {
    /// A connection string as libpq takes it, `postgresql://…` or `keyword=value`. What it leaves open, a service file, a
    /// passfile and the variables `PG…` may say. `file:/PATH` is what that file has.
    pub url: String,
    /// The schema that holds the tables. What logins may use of them is in another beside it, named `<schema>_api`.
    pub schema: String,
    /// What the server's own views show for these sessions, where the URL names nothing else.
    pub application_name: String,
}

impl ConnectSettings {
    /// The default schema, and the program's own name.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), schema: DEFAULT_SCHEMA.to_owned(), application_name: "tidelock".to_owned() }
    }

    /// The schema as SQL spells it.
    #[must_use]
    pub fn quoted_schema(&self) -> String {
        format!("\"{}\"", self.schema.replace('"', "\"\""))
    }

    /// The schema of what logins may use, as SQL spells it.
    #[must_use]
    pub fn quoted_interface(&self) -> String {
        format!("\"{}\"", self.interface().replace('"', "\"\""))
    }

    /// The schema of what logins may use, as the catalogs have it.
    pub(super) fn interface(&self) -> String {
        format!("{}_api", self.schema)
    }

    /// What the URL and the process's surroundings mean now: files are read anew each time, so that they may change while a
    /// program runs.
    fn target(&self) -> Result<Target, RegistryError> {
        let understood = connection_string(&self.url)
            .and_then(|text| Target::from(&text, &self.application_name, &Surroundings::of_process()));
        understood.map_err(unusable)
    }

    /// Why a passfile that could have had the password is not used, if one is not.
    ///
    /// # Errors
    /// [`RegistryError::Settings`] where the connection string cannot be used.
    pub fn ignored_passfile(&self) -> Result<Option<String>, RegistryError> {
        Ok(self.target()?.ignored_passfile)
    }

    /// A pool of at most `size` connections, made when they are needed. Each is checked for what its login may before it is
    /// used: a role's settings and memberships change while a program runs.
    pub(super) fn pool(&self, size: usize) -> Result<Pool, RegistryError> {
        let schema = self.schema.clone();
        let check: Check = Arc::new(move |client| {
            let schema = schema.clone();
            async move { login::check(client, &schema).await }.boxed()
        });
        Pool::new(self, size, check, SILENCE)
    }

    /// One connection of its own. A statement on it may take as long as it does, while the server works on it; where that
    /// cannot be told, as behind a pooler, as long as is said here.
    pub(super) async fn connect(&self, longest: Option<Duration>) -> Result<Link, RegistryError> {
        let target = self.target()?;
        let quiet = target.budget * 2;
        let connected = Box::pin(dial(&target, &HostOrder::default(), None)).await?;
        let probe = self.probe(connected.host);
        Ok(Link::start(connected, Patience::WhileItWorks { quiet, probe, longest }, None))
    }

    /// Does something on one connection of its own, and takes leave of the server. What ends the connection is told.
    pub(super) async fn with_connection<T>(
        &self,
        work: impl AsyncFnOnce(&mut Client) -> Result<T, RegistryError>,
    ) -> Result<T, RegistryError> {
        let mut link = self.connect(None).await?;
        let ended = link.ended();
        let done = work(&mut link).await.map_err(|error| ended.add_to(error));
        link.close().await;
        done
    }

    /// What leads to sessions now; `None` where it cannot be used.
    pub(super) fn in_force(&self) -> Option<InForce> {
        self.target().ok().map(InForce)
    }

    /// One connection of its own, whose notifications become hints. A server that owes an answer is given up on as in
    /// [`pool`](Self::pool).
    pub(super) async fn connect_to_listen(&self, hints: mpsc::Sender<()>) -> Result<Link, RegistryError> {
        let target = self.target()?;
        let connected = Box::pin(dial(&target, &HostOrder::default(), None)).await?;
        Ok(Link::start(connected, Patience::Silence(SILENCE), Some(hints)))
    }

    /// Asks a host of the list what one of its processes does. A server that refuses is there, and cannot be asked.
    fn probe(&self, host: usize) -> Probe {
        let settings = self.clone();
        Box::new(move |process| {
            let settings = settings.clone();
            async move { Box::pin(settings.ask_about(host, process)).await }.boxed()
        })
    }

    async fn ask_about(&self, host: usize, process: i32) -> Result<Work, String> {
        let target = self.target().map_err(|error| error.to_string())?;
        let connected = match dial_host(&target, host, SessionKind::Any, None).await {
            Ok(connected) => connected,
            Err(HostError::Final(_)) => return Ok(Work::Unknown),
            Err(HostError::Next { attempts, .. }) => {
                return Err(attempts.first().map(ToString::to_string).unwrap_or_default());
            }
        };
        let link = Link::start(connected, Patience::Silence(target.budget), None);
        // A server that cannot get rid of its answer waits in ClientWrite, and is active.
        let question = format!(
            "SELECT NULLIF(state, 'disabled') = 'active' AND wait_event IS DISTINCT FROM 'ClientWrite' FROM pg_catalog.pg_stat_activity WHERE pid = {process}"
        );
        let rows = match link.simple_query(&question).await {
            Ok(rows) => rows,
            Err(error) => {
                return match link.explain("asking a server what it does", error) {
                    RegistryError::Unavailable { cause, .. } if link.is_closed() => Err(cause.to_string()),
                    _ => Ok(Work::Unknown),
                };
            }
        };
        let works = rows.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        });
        Ok(match works {
            Some("t") => Work::Working,
            Some(_) => Work::Done,
            // Or it is somebody else's process, of which nothing is told.
            None => Work::Unknown,
        })
    }
}

/// What leads to sessions at a time, for whoever wants to know whether that has changed. Has no `Debug`: passwords are in it.
pub(super) struct InForce(Target);

impl PartialEq for InForce {
    fn eq(&self, other: &Self) -> bool {
        self.0.is_same_as(&other.0)
    }
}

fn unusable(error: SettingError) -> RegistryError {
    RegistryError::Settings {
        setting: "the database URL cannot be used".to_owned(),
        hint: error.remedy().map(str::to_owned),
        cause: error.into(),
    }
}
