//! From a target to a session: host after host, each within its budget.

use std::future::Future;
use std::sync::Arc;

use futures::future::BoxFuture;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::{SslMode as DriverSslMode, SslNegotiation};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, Connection};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::activity::{Activity, Step};
use super::dial_error::{Attempt, StepError, Unreachable};
use super::host_order::HostOrder;
use super::session_kind::mismatch;
use super::socket::{Endpoint, connect, endpoints};
use super::stream::{AuthRules, DatabaseStream, Negotiated, RawSocket, Transport};
use super::target::{Host, SessionKind, Target};
use super::tls::client_config;
use super::tls_settings::SslMode;
use crate::registry::RegistryError;

/// What a session has to pass before it is used, within the budget of its host.
pub(in crate::registry) type Check =
    Arc<dyn for<'c> Fn(&'c Client) -> BoxFuture<'c, Result<(), RegistryError>> + Send + Sync>;

/// A session that nobody drives yet.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) connection: Connection<DatabaseStream, DatabaseStream>,
    pub(super) activity: Activity,
    /// Its place in the list of hosts.
    pub(super) host: usize,
    /// What it is called in messages.
    pub(super) told: String,
}

/// A session of the first host that gives one of the kind that is asked for.
pub(super) async fn dial(
    target: &Target,
    order: &HostOrder,
    check: Option<&Check>,
) -> Result<Connected, RegistryError> {
    let rounds: &[SessionKind] = match target.session_kind {
        SessionKind::PreferStandby => &[SessionKind::Standby, SessionKind::Any],
        ref kind => std::slice::from_ref(kind),
    };
    let mut attempts = Vec::new();
    for kind in rounds {
        for host in order.of(target.hosts.len(), target.in_random_order) {
            match dial_host(target, host, *kind, check).await {
                Ok(connected) => {
                    order.answered(host);
                    return Ok(connected);
                }
                Err(HostError::Final(error)) => return Err(error),
                Err(HostError::Next { attempts: more, gave_up }) => {
                    if gave_up {
                        order.gave_up(host);
                    }
                    attempts.extend(more);
                }
            }
        }
    }
    Err(RegistryError::Unavailable {
        attempt: "connecting to the database".to_owned(),
        cause: Unreachable(attempts).into(),
    })
}

pub(super) enum HostError {
    /// Another one may do.
    Next { attempts: Vec<Attempt>, gave_up: bool },
    /// No other one would.
    Final(RegistryError),
}

/// A session of one host. Each of its addresses has an equal part of the time that is left, so that one that does not answer
/// does not use up the budget of those that do.
pub(super) async fn dial_host(
    target: &Target,
    place: usize,
    kind: SessionKind,
    check: Option<&Check>,
) -> Result<Connected, HostError> {
    let host = &target.hosts[place];
    let deadline = Instant::now() + target.budget;
    let resolved = timeout_at(deadline, endpoints(host, target.in_random_order)).await;
    let failed = |told: &str, step, error: StepError| error.of(told, step).map_err(HostError::Final);
    let found = match resolved {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            let attempt = failed(&host.told(), Step::Resolve, error.into())?;
            return Err(HostError::Next { attempts: vec![attempt], gave_up: false });
        }
        Err(_) => {
            let attempt = failed(&host.told(), Step::Resolve, StepError::GaveUp(target.budget))?;
            return Err(HostError::Next { attempts: vec![attempt], gave_up: true });
        }
    };
    let (mut attempts, mut gave_up) = (Vec::new(), false);
    for (at, endpoint) in found.iter().enumerate() {
        let left = u32::try_from(found.len() - at).unwrap_or(u32::MAX);
        let part = deadline.saturating_duration_since(Instant::now()) / left;
        let activity = Activity::new();
        let told = host.told_at(endpoint);
        let dialled = timeout(part, dial_endpoint(target, host, endpoint, kind, check, &activity)).await;
        let error = match dialled {
            Ok(Ok((client, connection))) => return Ok(Connected { client, connection, activity, host: place, told }),
            Ok(Err(error)) => error,
            Err(_) => StepError::GaveUp(part),
        };
        gave_up |= matches!(error, StepError::GaveUp(_));
        attempts.push(failed(&told, activity.step(), error)?);
    }
    Err(HostError::Next { attempts, gave_up })
}

type Session = (Client, Connection<DatabaseStream, DatabaseStream>);

/// A session with TLS or without, in the order that the mode says.
async fn dial_endpoint(
    target: &Target,
    host: &Host,
    endpoint: &Endpoint,
    kind: SessionKind,
    check: Option<&Check>,
    activity: &Activity,
) -> Result<Session, StepError> {
    let (first, second) = match (endpoint, target.tls.mode) {
        // There is no TLS on a socket of the machine's own.
        (Endpoint::Unix(_), _) | (_, SslMode::Disable) => (false, None),
        (_, SslMode::Allow) => (false, Some(true)),
        (_, SslMode::Prefer) => (true, Some(false)),
        (_, SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull) => (true, None),
    };
    let attempt = async |with_tls| Box::pin(session(target, host, endpoint, with_tls, activity)).await;
    let (client, mut connection) = match (attempt(first).await, second) {
        (Err(error), Some(second)) if error.is_rejection() || first && error.is_of_tls(activity.step()) => {
            match attempt(second).await {
                // What was said first is what was preferred, and the second try has nothing to add.
                Err(StepError::Unsuitable(_)) => return Err(error),
                answer => answer?,
            }
        }
        (answer, _) => answer?,
    };
    activity.begin(Step::SessionChecks);
    if let Some(why) = driven(&mut connection, mismatch(kind, &client)).await?? {
        return Err(StepError::Unsuitable(why.to_owned()));
    }
    if let Some(check) = check {
        driven(&mut connection, check(&client)).await?.map_err(StepError::Check)?;
    }
    Ok((client, connection))
}

/// The answer to a question to a session that nobody drives yet.
async fn driven<T>(
    connection: &mut Connection<DatabaseStream, DatabaseStream>,
    question: impl Future<Output = T>,
) -> Result<T, StepError> {
    tokio::select! {
        biased;
        answer = question => Ok(answer),
        ended = connection => Err(match ended {
            Err(error) => error.into(),
            Ok(()) => StepError::Unsuitable("the server ended the connection".to_owned()),
        }),
    }
}

/// Socket, TLS, start-up and authentication.
async fn session(
    target: &Target,
    host: &Host,
    endpoint: &Endpoint,
    with_tls: bool,
    activity: &Activity,
) -> Result<Session, StepError> {
    activity.begin(Step::Connect);
    let socket = connect(endpoint, &target.liveness).await?;
    let transport = if with_tls {
        activity.begin(Step::Tls);
        encrypted(target, host, endpoint, socket).await?
    } else {
        Transport::Plain(socket)
    };
    activity.begin(Step::StartUp);
    let rules = AuthRules {
        required: target.required_auth.clone(),
        has_password: host.password.is_some(),
        ignored_passfile: target.ignored_passfile.clone(),
        asked: None,
    };
    let stream = DatabaseStream::new(transport, activity.clone(), rules);
    Ok(start_up(target, host).connect_raw(stream, Negotiated).await?)
}

/// What tokio-postgres has to know: whom to be, and that TLS is a matter of the stream's.
fn start_up(target: &Target, host: &Host) -> Config {
    let mut config = Config::new();
    config
        .user(&target.user)
        .dbname(&target.database)
        .application_name(&target.application_name)
        .channel_binding(target.channel_binding)
        .ssl_mode(DriverSslMode::Require)
        .ssl_negotiation(SslNegotiation::Direct);
    if let Some(password) = &host.password {
        config.password(password);
    }
    if let Some(options) = &target.options {
        config.options(options);
    }
    config
}

/// Asks for TLS, and makes it. In the mode `prefer` a server may have none.
async fn encrypted(
    target: &Target,
    host: &Host,
    endpoint: &Endpoint,
    mut socket: RawSocket,
) -> Result<Transport, StepError> {
    let config = client_config(&target.tls, host.name.as_deref()).map_err(StepError::Tls)?;
    if !target.tls.is_direct && !asks_for_tls(&mut socket).await? {
        return match target.tls.mode {
            SslMode::Prefer => Ok(Transport::Plain(socket)),
            _ => Err(StepError::Unsuitable("the server does not support TLS, and sslmode insists on it".to_owned())),
        };
    }
    let mut tls = MakeRustlsConnect::new(config);
    let connect =
        <MakeRustlsConnect as MakeTlsConnect<RawSocket>>::make_tls_connect(&mut tls, &server_name(host, endpoint));
    let stream = match connect {
        Ok(connect) => connect.connect(socket).await?,
        Err(never) => match never {},
    };
    Ok(Transport::Tls(Box::new(stream)))
}

/// What the server is told, where it is a name; an address is not told.
fn server_name(host: &Host, endpoint: &Endpoint) -> String {
    let named = host.name.clone().filter(|name| ServerName::try_from(name.as_str()).is_ok());
    named.unwrap_or_else(|| match endpoint {
        Endpoint::Tcp(address) => address.ip().to_string(),
        Endpoint::Unix(_) => "localhost".to_owned(),
    })
}

/// PostgreSQL's own request for TLS: four bytes of length and a number, answered by one letter.
async fn asks_for_tls(socket: &mut RawSocket) -> std::io::Result<bool> {
    socket.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await?;
    match socket.read_u8().await? {
        b'S' => Ok(true),
        b'N' => Ok(false),
        b'E' => Err(std::io::Error::other(
            "the server answers the request for TLS with an error: is it PostgreSQL, and ready?",
        )),
        _ => Err(std::io::Error::other("what answers is no PostgreSQL server")),
    }
}
