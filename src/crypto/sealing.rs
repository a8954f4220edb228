//! Sealing and opening with a keyring.

use std::borrow::Cow;

use zeroize::Zeroizing;

use crate::core::{Hint, ProjectId, RingName, SecretValue};

use super::context::{SealContext, hash_key_associated_data};
use super::derive;
use super::envelope::{self, Header, OpenError};
use super::hash_key::HashKey;
use super::keyring::{EncryptionKey, EncryptionKeyId, Keyring};
use super::mac::MacKey;
use super::random;

/// Why nothing was sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The keyring lacks the ring.
    #[error("the keyring does not hold ring {0}")]
    RingNotHeld(RingName),
    /// The value is longer than the cipher takes.
    #[error("the value is longer than 64 GiB")]
    TooLong,
}

impl Hint for SealError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::RingNotHeld(_) => Some("use a keyring that does".into()),
            Self::TooLong => None,
        }
    }
}

impl Keyring {
    /// Seals a value for the row that it will be stored at, under the primary key of `ring`.
    pub fn seal(&self, ring: &RingName, context: &SealContext, value: &SecretValue) -> Result<String, SealError> {
        let key = self.primary(ring)?;
        seal_salted(key, &random::salt(), &context.associated_data(key.id), value.expose())
    }

    /// Opens a value that was sealed for just that row and version, under whichever key of whichever ring it names.
    pub fn open(&self, context: &SealContext, sealed: &str) -> Result<SecretValue, OpenError> {
        self.open_bytes(sealed, |key| context.associated_data(key)).map(SecretValue::from)
    }

    /// Seals a project's hashing key under the primary key of `ring`. Its id is sealed with it.
    pub fn seal_hash_key(&self, ring: &RingName, project: ProjectId, key: &HashKey) -> Result<String, SealError> {
        let primary = self.primary(ring)?;
        seal_hash_key_salted(primary, &random::salt(), project, key)
    }

    /// Opens a hashing key that was sealed for just that project.
    pub fn open_hash_key(&self, project: ProjectId, sealed: &str) -> Result<HashKey, OpenError> {
        let bytes = self.open_bytes(sealed, |key| hash_key_associated_data(project, key))?;
        HashKey::from_bytes(&bytes).ok_or(OpenError::Tampered)
    }

    /// A key for tags of one purpose, derived from the primary key of `ring`: the same wherever the ring is held, and
    /// another one after a promotion (see [`MacKey::encryption_key`]).
    pub fn fingerprint_key(&self, ring: &RingName, purpose: &str) -> Result<MacKey, SealError> {
        self.primary(ring).map(|key| fingerprint_key(key, purpose))
    }

    /// The key for tags of one purpose that was derived from that very encryption key, to check a tag from before a
    /// promotion; `None` where the keyring does not hold it.
    #[must_use]
    pub fn fingerprint_key_under(&self, key: EncryptionKeyId, purpose: &str) -> Option<MacKey> {
        self.find(key).map(|(_, key)| fingerprint_key(key, purpose))
    }

    fn primary(&self, ring: &RingName) -> Result<&EncryptionKey, SealError> {
        self.ring(ring).map(|ring| &ring.primary).ok_or_else(|| SealError::RingNotHeld(ring.clone()))
    }

    fn open_bytes(
        &self,
        sealed: &str,
        associated_data: impl FnOnce(EncryptionKeyId) -> Vec<u8>,
    ) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let header = Header::parse(sealed)?;
        let (_, key) = self.find(header.key).ok_or(OpenError::KeyNotHeld { key: header.key, ring: None })?;
        header.open(&key.material, &associated_data(key.id))
    }
}

/// Deterministic, for tests with a given salt.
pub(super) fn seal_salted(
    key: &EncryptionKey,
    salt: &[u8; 32],
    associated_data: &[u8],
    plaintext: &[u8],
) -> Result<String, SealError> {
    envelope::seal(key.id, &key.material, salt, associated_data, plaintext).map_err(|_| SealError::TooLong)
}

/// Deterministic, for tests with a given salt.
pub(super) fn seal_hash_key_salted(
    key: &EncryptionKey,
    salt: &[u8; 32],
    project: ProjectId,
    hash_key: &HashKey,
) -> Result<String, SealError> {
    seal_salted(key, salt, &hash_key_associated_data(project, key.id), hash_key.to_bytes().as_slice())
}

fn fingerprint_key(key: &EncryptionKey, purpose: &str) -> MacKey {
    MacKey::new(key.id, derive::fingerprint_key(&key.material, purpose))
}
