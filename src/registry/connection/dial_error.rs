//! Why no host of the list gave a session: each with its address, the step and the whole chain of causes.

use std::fmt;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

use super::activity::Step;
use super::stream::AuthRefusal;
use super::tls::TlsError;
use crate::core::causes;
use crate::registry::error::Cause;
use crate::registry::{Explanation, RegistryError};

/// One host, or one of its addresses, and why it was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) host: String,
    pub(super) step: Step,
    pub(super) cause: String,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}: {}", self.host, self.step.name(), self.cause)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Unreachable(pub(super) Vec<Attempt>);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut told: Vec<String> = Vec::new();
        for attempt in self.0.iter().map(ToString::to_string) {
            if !told.contains(&attempt) {
                told.push(attempt);
            }
        }
        f.write_str(&told.join("; "))
    }
}

impl std::error::Error for Unreachable {}

/// Why a step did not come through.
#[derive(Debug)]
pub(super) enum StepError {
    /// The network, TLS or the operating system.
    Io(io::Error),
    /// tokio-postgres: the protocol, or what the server answered.
    Driver(tokio_postgres::Error),
    /// Another kind of server was asked for, or none with TLS is there.
    Unsuitable(String),
    /// TLS cannot be set up as it was asked for.
    Tls(TlsError),
    /// A check of the session's.
    Check(RegistryError),
    /// The budget, or this address's part of it, was used up.
    GaveUp(Duration),
}

impl From<io::Error> for StepError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<tokio_postgres::Error> for StepError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Driver(error)
    }
}

impl StepError {
    /// Whether the server turned the login away, as it may over one kind of connection and not over the other.
    pub(super) fn is_rejection(&self) -> bool {
        matches!(self, Self::Driver(error) if error.code().is_some_and(|code| code.code().starts_with("28")))
    }

    /// Whether TLS did not come about, for another reason than that it could not even be set up here.
    pub(super) fn is_of_tls(&self, step: Step) -> bool {
        step == Step::Tls && !matches!(self, Self::Tls(_))
    }

    /// In the registry's terms: `Ok` where another host may do, the error where none would.
    pub(super) fn of(self, host: &str, step: Step) -> Result<Attempt, RegistryError> {
        let attempt = |cause: String| Ok(Attempt { host: host.to_owned(), step, cause });
        let tried = || format!("connecting to the database at {host}, {}", step.name());
        match self {
            Self::Io(error) => attempt(certificate_problem(&error).unwrap_or_else(|| causes(&error))),
            Self::Unsuitable(why) => attempt(why),
            Self::GaveUp(after) => attempt(format!("given up on after {:.1} s", after.as_secs_f64())),
            Self::Tls(error) => Err(RegistryError::Settings {
                setting: "TLS to the database cannot be set up".to_owned(),
                hint: None,
                cause: Cause::from(error),
            }),
            Self::Check(RegistryError::Unavailable { cause, .. }) => attempt(causes(&*cause)),
            Self::Check(error) => Err(error),
            Self::Driver(error) => {
                if let Some(refusal) = refusal(&error) {
                    return Err(RegistryError::Refused(Explanation::from(format!("{}: {refusal}", tried()))));
                }
                match RegistryError::from_driver(tried(), error) {
                    RegistryError::Unavailable { cause, .. } => attempt(causes(&*cause)),
                    other => Err(other),
                }
            }
        }
    }
}

/// What is wrong with a certificate, in place of a variant's name.
fn certificate_problem(error: &io::Error) -> Option<String> {
    let error: &rustls::Error = error.get_ref()?.downcast_ref()?;
    let rustls::Error::InvalidCertificate(problem) = error else { return None };
    Some(match problem {
        CertificateError::UnknownIssuer => {
            "the server's certificate was issued by none of the root certificates: is sslrootcert the right file?"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the server's certificate has expired".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: is the clock right?".to_owned()
        }
        CertificateError::Revoked => "the server's certificate was revoked".to_owned(),
        CertificateError::Other(other) => format!("the server's {}", other.0),
        other => format!("the server's certificate cannot be used: {other}"),
    })
}

/// What this program refused itself, on the way through tokio-postgres.
fn refusal(error: &tokio_postgres::Error) -> Option<&AuthRefusal> {
    let io: &io::Error = std::error::Error::source(error)?.downcast_ref()?;
    io.get_ref()?.downcast_ref()
}
