//! Where to connect and how, with everything that was said understood.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::gathered::{Gathered, SettingError};
use super::passfile::{self, Login};
use super::require_auth::RequiredAuth;
use super::surroundings::Surroundings;
use super::tls_settings::TlsSettings;

/// How long one host may take for everything until its session can be used, where `connect_timeout` says nothing.
const BUDGET: Duration = Duration::from_secs(5);

/// After how much silence the kernel asks whether the other end is there, where nothing was said.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// How long what was sent may stay unacknowledged, where nothing was said.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);

const PORT: u16 = 5432;

/// The folders where servers put their sockets: Debian's, and PostgreSQL's own.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

/// One host of the list. Has no `Debug`: it may have a password.
pub(super) struct Host {
    /// As it was named; for certificates, passwords and messages.
    pub(super) name: Option<String>,
    pub(super) place: Place,
    pub(super) port: u16,
    pub(super) password: Option<String>,
}

/// Where a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// Its name is looked up.
    Name(String),
    /// It is not.
    Address(IpAddr),
    /// A folder with the server's socket, or an abstract name that begins with `@`.
    Socket(PathBuf),
}

/// Which server of several will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionKind {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

/// How the kernel tells that the other end is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Liveness {
    /// Idle time, interval and count of keep-alives; `None` for none.
    pub(super) keepalive: Option<(Duration, Option<Duration>, Option<u32>)>,
    /// `None` for the system's own.
    pub(super) user_timeout: Option<Duration>,
}

/// All of it. Has no `Debug`: hosts have passwords.
pub(super) struct Target {
    pub(super) hosts: Vec<Host>,
    /// For each host.
    pub(super) budget: Duration,
    pub(super) user: String,
    pub(super) database: String,
    pub(super) options: Option<String>,
    pub(super) application_name: String,
    pub(super) liveness: Liveness,
    pub(super) tls: TlsSettings,
    pub(super) channel_binding: tokio_postgres::config::ChannelBinding,
    pub(super) required_auth: Option<RequiredAuth>,
    pub(super) session_kind: SessionKind,
    /// Whether hosts are tried in an order by lot.
    pub(super) in_random_order: bool,
    /// Why a passfile was not used.
    pub(super) ignored_passfile: Option<String>,
    /// What was said, for other programs.
    pub(super) gathered: Gathered,
}

impl Target {
    /// Understands a connection string, with the name that the program goes by where nobody gives another.
    pub(super) fn from(text: &str, application_name: &str, surroundings: &Surroundings) -> Result<Self, SettingError> {
        let gathered = Gathered::from(text, surroundings)?;
        let user = gathered.get("user").or(surroundings.user.as_deref());
        let user =
            user.ok_or_else(|| gathered.wrong("user", "is not given, and the system has no name for this one"))?;
        let user = user.to_owned();
        let database = gathered.get("dbname").unwrap_or(&user).to_owned();
        let mut hosts = hosts(&gathered)?;
        let ignored_passfile = add_passwords(&mut hosts, &gathered, &user, &database, surroundings);
        let name = gathered.get("application_name").or_else(|| gathered.get("fallback_application_name"));
        Ok(Self {
            budget: budget(&gathered)?,
            options: gathered.get("options").map(str::to_owned),
            application_name: name.unwrap_or(application_name).to_owned(),
            liveness: liveness(&gathered)?,
            tls: TlsSettings::from(&gathered, surroundings)?,
            channel_binding: channel_binding(&gathered)?,
            required_auth: RequiredAuth::from(&gathered)?,
            session_kind: session_kind(&gathered)?,
            in_random_order: gathered.word("load_balance_hosts", &[("disable", false), ("random", true)])?,
            hosts,
            user,
            database,
            ignored_passfile,
            gathered,
        })
    }

    /// Whether it leads to the same sessions, as far as it was said: certificates are read anew by each connection.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        let passwords =
            |target: &Self| -> Vec<Option<String>> { target.hosts.iter().map(|host| host.password.clone()).collect() };
        self.gathered == other.gathered && passwords(self) == passwords(other)
    }

    /// How long a connection may take to come about, all hosts tried.
    pub(super) fn longest(&self) -> Duration {
        let rounds = if self.session_kind == SessionKind::PreferStandby { 2 } else { 1 };
        self.budget * u32::try_from(self.hosts.len()).unwrap_or(u32::MAX).saturating_mul(rounds)
    }
}

fn hosts(gathered: &Gathered) -> Result<Vec<Host>, SettingError> {
    let (names, addresses) = (gathered.list("host"), gathered.list("hostaddr"));
    if !names.is_empty() && !addresses.is_empty() && names.len() != addresses.len() {
        let problem = format!("names {} addresses for {} hosts", addresses.len(), names.len());
        return Err(gathered.wrong("hostaddr", problem));
    }
    let count = names.len().max(addresses.len()).max(1);
    let ports = ports(gathered, count)?;
    (0..count)
        .map(|at| {
            let name = names.get(at).copied().filter(|name| !name.is_empty());
            let address = addresses.get(at).copied().filter(|address| !address.is_empty());
            let place = match (name, address) {
                (_, Some(address)) => Place::Address(
                    address.parse().map_err(|_| gathered.wrong("hostaddr", "has to be a numeric address"))?,
                ),
                (Some(name), None) => place(name),
                (None, None) => Place::Socket(socket_folder()),
            };
            Ok(Host { name: name.map(str::to_owned), place, port: ports[at], password: None })
        })
        .collect()
}

fn place(name: &str) -> Place {
    if name.starts_with(['/', '@']) {
        return Place::Socket(name.into());
    }
    name.parse().map_or_else(|_| Place::Name(name.to_owned()), Place::Address)
}

fn socket_folder() -> PathBuf {
    let found = SOCKET_FOLDERS.into_iter().find(|folder| Path::new(folder).is_dir());
    found.unwrap_or(SOCKET_FOLDERS[1]).into()
}

/// One for each host, or one for all.
fn ports(gathered: &Gathered, hosts: usize) -> Result<Vec<u16>, SettingError> {
    let said = gathered.list("port");
    let wrong = || gathered.wrong("port", "has to be a number from 1 to 65535");
    let ports = said.iter().map(|port| match *port {
        "" => Ok(PORT),
        port => port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong),
    });
    let ports: Vec<u16> = ports.collect::<Result<_, _>>()?;
    match ports.len() {
        0 => Ok(vec![PORT; hosts]),
        1 => Ok(vec![ports[0]; hosts]),
        count if count == hosts => Ok(ports),
        count => Err(gathered.wrong("port", format!("names {count} ports for {hosts} hosts"))),
    }
}

/// The password that was said is for every host; else each looks into the passfile. Answers why that was not used.
fn add_passwords(
    hosts: &mut [Host],
    gathered: &Gathered,
    user: &str,
    database: &str,
    surroundings: &Surroundings,
) -> Option<String> {
    if let Some(password) = gathered.get("password") {
        for host in hosts {
            host.password = Some(password.to_owned());
        }
        return None;
    }
    let file = gathered.get("passfile").map(PathBuf::from);
    let file = file.or_else(|| surroundings.home.as_ref().map(|home| home.join(".pgpass")))?;
    for host in hosts {
        let name = match (&host.name, &host.place) {
            (_, Place::Socket(folder)) if *folder == socket_folder() => "localhost".to_owned(),
            (Some(name), _) => name.clone(),
            (None, Place::Address(address)) => address.to_string(),
            (None, Place::Name(_) | Place::Socket(_)) => "localhost".to_owned(),
        };
        let login = Login { host: &name, port: host.port, database, user };
        match passfile::password(&file, &login) {
            Ok(password) => host.password = password,
            Err(why) => return Some(why),
        }
    }
    None
}

/// libpq waits for ever where it is zero, negative or unsaid; nothing here waits for ever.
fn budget(gathered: &Gathered) -> Result<Duration, SettingError> {
    let seconds = gathered.number("connect_timeout")?.filter(|seconds| *seconds > 0);
    Ok(seconds.map_or(BUDGET, |seconds| Duration::from_secs(seconds.unsigned_abs().min(u32::MAX.into()))))
}

fn liveness(gathered: &Gathered) -> Result<Liveness, SettingError> {
    // Zero, as unsaid, leaves it to whoever has a default.
    let positive = |option| Ok::<_, SettingError>(gathered.number(option)?.filter(|n| *n > 0).map(i64::unsigned_abs));
    let is_on = gathered.number("keepalives")?.is_none_or(|on| on != 0);
    let idle = positive("keepalives_idle")?.map_or(KEEPALIVE_IDLE, Duration::from_secs);
    let interval = positive("keepalives_interval")?.map(Duration::from_secs);
    let count = positive("keepalives_count")?.map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let user_timeout = match gathered.number("tcp_user_timeout")? {
        None => Some(TCP_USER_TIMEOUT),
        Some(milliseconds) if milliseconds > 0 => Some(Duration::from_millis(milliseconds.unsigned_abs())),
        Some(_) => None,
    };
    Ok(Liveness { keepalive: is_on.then_some((idle, interval, count)), user_timeout })
}

fn channel_binding(gathered: &Gathered) -> Result<tokio_postgres::config::ChannelBinding, SettingError> {
    use tokio_postgres::config::ChannelBinding::{Disable, Prefer, Require};
    gathered.word("channel_binding", &[("prefer", Prefer), ("disable", Disable), ("require", Require)])
}

fn session_kind(gathered: &Gathered) -> Result<SessionKind, SettingError> {
    use SessionKind::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
    let kinds = [
        ("any", Any),
        ("read-write", ReadWrite),
        ("read-only", ReadOnly),
        ("primary", Primary),
        ("standby", Standby),
        ("prefer-standby", PreferStandby),
    ];
    gathered.word("target_session_attrs", &kinds)
}
