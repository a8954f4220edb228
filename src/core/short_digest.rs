//! What a Secret says of the keys and rows that it was made from: enough to be recognised by, and short.

use sha2::{Digest as _, Sha256};

use super::SecretId;

/// Bytes that are kept of a digest. Enough to tell some thousand keys of an environment apart, and short enough for the
/// annotations of a Secret, which may have 256 KiB.
pub const SHORT_DIGEST_LEN: usize = 8;

/// The first [`SHORT_DIGEST_LEN`] bytes of the SHA-256 of a key's name (UTF-8) or of a row's id (16 bytes). The database has
/// an index over the same (`secrets_tombstone_idx`).
pub type ShortDigest = [u8; SHORT_DIGEST_LEN];

/// The digest of a key's name in the registry.
#[must_use]
pub fn digest_of_key(key: &str) -> ShortDigest {
    first_bytes(&Sha256::digest(key.as_bytes()))
}

/// The digest of a row's id.
#[must_use]
pub fn digest_of_row(row: SecretId) -> ShortDigest {
    first_bytes(&Sha256::digest(row.0.as_bytes()))
}

/// What is missing is zero.
#[must_use]
pub(crate) fn first_bytes(bytes: &[u8]) -> ShortDigest {
    let mut digest = ShortDigest::default();
    for (to, from) in digest.iter_mut().zip(bytes) {
        *to = *from;
    }
    digest
}
