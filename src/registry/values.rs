//! What goes wrong between a value and the registry.

use crate::crypto::{OpenError, SealError};

use super::RegistryError;

/// A value that could not be brought into the registry, or out of it.
#[derive(Debug, thiserror::Error)]
pub enum ValueError {
    /// The registry's answer.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// It could not be sealed.
    #[error("sealing {what}: {error}")]
    Seal {
        /// What was to be sealed: a key and its environment, never a value.
        what: String,
        /// Why.
        error: SealError,
    },
    /// It could not be opened.
    #[error("opening {what}: {error}")]
    Open {
        /// What was to be opened.
        what: String,
        /// Why.
        error: OpenError,
    },
    /// It opened, and is not the value that the row's hash is of.
    #[error("the value of {what} is not the one that its value_hash was made of: restore the row, or set it again")]
    HashMismatch {
        /// Which value.
        what: String,
    },
}
