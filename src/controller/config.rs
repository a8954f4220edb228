//! What the operator needs to be told, and why it ends.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::runtime::{ClientError, LeaseLost};
use crate::core::Hint;
use crate::crypto::KeyringFileError;
use crate::registry::{ConnectSettings, RegistryError};
use crate::server::BindError;

/// Most objects that are reconciled at once because they are new or changed, where nobody says otherwise.
pub const CONCURRENCY: usize = 24;

/// Most objects that are reconciled at once for any other reason, where nobody says otherwise.
const LOW_PRIORITY_CONCURRENCY: usize = 8;

/// Everything that an operator is told at its start. Has no `Debug`: the database's URL holds a password.
pub(crate) struct Config {
    pub(crate) database: ConnectSettings,
    /// Where to listen for notifications, if `database` leads to a pooler that delivers none.
    pub(crate) listen_url: Option<String>,
    /// Where to ask what standbys do not know yet, if `database` leads to some.
    pub(crate) primary_url: Option<String>,
    /// The file with the rings that the operator holds.
    pub(crate) keyring: PathBuf,
    /// Where `/livez`, `/readyz` and `/metrics` answer; port 0 takes a free one, which the log says.
    pub(crate) http: SocketAddr,
    /// The value of the label `tidelock.dev/class` on the objects that are this operator's; absent: those without it.
    pub(crate) class: Option<String>,
    /// Which Lease to hold while working; absent: none, and this operator works whoever else does.
    pub(crate) lease: Option<LeaseOptions>,
    /// Whether ConfigMaps with templates are watched.
    pub(crate) template_config_maps: bool,
    /// Whether there is a series of metrics for each object.
    pub(crate) metrics_per_object: bool,
    /// Whether workloads are restarted that bindings name.
    pub(crate) rollout_restarts: bool,
    /// How many objects are reconciled at once because they are new or changed; see [`CONCURRENCY`].
    pub(crate) concurrency: usize,
    /// How many are reconciled at once for any other reason.
    pub(crate) low_priority_concurrency: usize,
}

impl Config {
    /// An operator of that registry with that keyring; everything else as where nobody says otherwise.
    #[must_use]
    pub(crate) fn new(database: ConnectSettings, keyring: PathBuf) -> Self {
        Self {
            database,
            listen_url: None,
            primary_url: None,
            keyring,
            http: SocketAddr::from(([0, 0, 0, 0], 8080)),
            class: None,
            lease: None,
            template_config_maps: false,
            metrics_per_object: false,
            rollout_restarts: false,
            concurrency: CONCURRENCY,
            low_priority_concurrency: LOW_PRIORITY_CONCURRENCY,
        }
    }
}

/// A Lease as a person names it.
#[derive(Debug, Clone)]
pub(crate) struct LeaseOptions {
    /// Absent: the pod's, or that of the kubeconfig.
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
    /// How long a replica that fell silent is waited for.
    pub(crate) duration: Duration,
}

/// Why an operator ended, other than being asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ControllerError {
    /// The keyring cannot be read.
    #[error(transparent)]
    Keyring(#[from] KeyringFileError),
    /// The database's address cannot be used.
    #[error("{0}")]
    Database(#[source] RegistryError),
    /// The login is one that the operator must not run with, or that may not read.
    #[error("the operator does not run with this login: {0}")]
    Login(#[source] RegistryError),
    /// There is no cluster.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its HTTP endpoints have no address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// It cannot hear that it is to stop.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
    /// Another replica works now, or may by now.
    #[error("{0}; the operator stops, so that it is started anew")]
    Lease(#[from] LeaseLost),
    /// A task that never ends ended.
    #[error("{task} ended unexpectedly; the operator stops, so that it is started anew")]
    Task {
        /// What it does.
        task: &'static str,
    },
}

impl Hint for ControllerError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Keyring(error) => error.hint(),
            Self::Database(error) | Self::Login(error) => error.hint(),
            Self::Client(_) | Self::Bind(_) | Self::Signals(_) | Self::Lease(_) | Self::Task { .. } => None,
        }
    }
}

impl ControllerError {
    /// Whether the answer was a refusal, which starting again does not change.
    #[must_use]
    pub(crate) const fn is_refused(&self) -> bool {
        matches!(self, Self::Login(_) | Self::Keyring(KeyringFileError::OpenToAll { .. }))
    }
}
