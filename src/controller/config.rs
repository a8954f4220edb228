//! What the operator needs to be told, and why it ends.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::runtime::ClientError;
use crate::crypto::KeyringFileError;
use crate::registry::{ConnectSettings, RegistryError};
use crate::server::BindError;

/// Most objects that are worked on at once because they are new or changed, where nobody says otherwise.
pub const URGENT: usize = 24;

/// Most objects that are worked on at once for any other reason, where nobody says otherwise.
pub const BULK: usize = 8;

/// Everything that an operator is told at its start. Has no `Debug`: the database's URL holds a password.
pub struct Config {
    /// The registry.
    pub database: ConnectSettings,
    /// Where to listen for notifications, if `database` leads to a pooler that delivers none.
    pub listen_url: Option<String>,
    /// The file with the rings that the operator holds.
    pub keyring: PathBuf,
    /// Where `/livez`, `/readyz` and `/metrics` answer; port 0 takes a free one, which the log says.
    pub http: SocketAddr,
    /// Name of this cluster; may be empty.
    pub cluster: String,
    /// The value of the label `tidelock.dev/class` on the objects that are this operator's; absent: those without it.
    pub class: Option<String>,
    /// Width of the lane for what is new or changed; see [`URGENT`].
    pub urgent: usize,
    /// Width of the lane for the rest; see [`BULK`].
    pub bulk: usize,
}

impl Config {
    /// An operator of that registry with that keyring; everything else as where nobody says otherwise.
    #[must_use]
    pub fn new(database: ConnectSettings, keyring: PathBuf) -> Self {
        Self {
            database,
            listen_url: None,
            keyring,
            http: SocketAddr::from(([0, 0, 0, 0], 8080)),
            cluster: String::new(),
            class: None,
            urgent: URGENT,
            bulk: BULK,
        }
    }
}

/// Why an operator ended, other than being asked to.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The keyring cannot be read.
    #[error(transparent)]
    Keyring(#[from] KeyringFileError),
    /// The database's address cannot be used.
    #[error(transparent)]
    Database(RegistryError),
    /// The login is one that the operator must not run with, or that may not read.
    #[error("the operator does not run with this login: {0}")]
    Login(RegistryError),
    /// There is no cluster.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Its HTTP endpoints have no address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// It cannot hear that it is to stop.
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
    /// A task that never ends ended.
    #[error("{task} ended unexpectedly; the operator stops, so that it is started anew")]
    Task {
        /// What it does.
        task: &'static str,
    },
}

impl ControllerError {
    /// Whether the answer was a refusal, which starting again does not change.
    #[must_use]
    pub const fn is_refused(&self) -> bool {
        matches!(self, Self::Login(_) | Self::Keyring(KeyringFileError::OpenToAll { .. }))
    }
}
