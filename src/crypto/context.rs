//! The place that a sealed value belongs to.

use crate::core::{EnvironmentId, ProjectId, SecretId};

use super::envelope::VERSION;
use super::framing::frame;
use super::keyring::EncryptionKeyId;

/// The row that a value is sealed for. It opens there and nowhere else.
///
/// Identifiers, not names, so that renaming a project or an environment needs no re-encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealContext<'a> {
    /// `projects.id`.
    pub project: ProjectId,
    /// `environments.id`.
    pub environment: EnvironmentId,
    /// `secrets.id`.
    pub secret: SecretId,
    /// `secrets.key`.
    pub key: &'a str,
    /// The row's version, so that an older value of the same row does not pass for the current one.
    pub version: i64,
}

impl SealContext<'_> {
    /// The associated data of a value.
    pub(super) fn associated_data(&self, encryption_key: EncryptionKeyId) -> Vec<u8> {
        frame(&[
            VERSION.as_bytes(),
            b"value",
            encryption_key.as_uuid().as_bytes(),
            self.project.0.as_bytes(),
            self.environment.0.as_bytes(),
            self.secret.0.as_bytes(),
            self.key.as_bytes(),
            &self.version.to_be_bytes(),
        ])
    }
}

/// The associated data of a project's hashing key.
pub(super) fn hash_key_associated_data(project: ProjectId, encryption_key: EncryptionKeyId) -> Vec<u8> {
    frame(&[VERSION.as_bytes(), b"hash-key", encryption_key.as_uuid().as_bytes(), project.0.as_bytes()])
}
