//! The sealed text: `t1:<encryption key id>:<base64 of salt, commitment, ciphertext and tag>`.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::core::{Hint, RingName};

use super::cipher::{self, CipherError, TAG_LEN};
use super::derive::MessageKeys;
use super::keyring::EncryptionKeyId;
use super::mac;
use super::material::Material;

/// The version of the format, as it stands in front of a sealed text and in its associated data.
pub(super) const VERSION: &str = "t1";

const SALT_LEN: usize = 32;
const COMMITMENT_LEN: usize = 32;
const HEAD_LEN: usize = SALT_LEN + COMMITMENT_LEN;

/// One for all: each message has a key of its own.
const NONCE: [u8; 12] = [0; 12];

/// Why a sealed text did not open. Never holds any of the text but the id of its encryption key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Another program wrote it, or it is no sealed text at all.
    #[error("not sealed by Tidelock: the text does not start with a format version such as \"{VERSION}:\"")]
    NotOurs,
    /// A later version of Tidelock wrote it.
    #[error("sealed in format t{0}, which this version of Tidelock does not know")]
    UnknownVersion(u16),
    /// The keyring lacks its encryption key.
    #[error("the keyring does not hold encryption key {key}{}",
        .ring.as_ref().map(|ring| format!(" of ring {ring}")).unwrap_or_default())]
    KeyNotHeld {
        /// The encryption key that the text names.
        key: EncryptionKeyId,
        /// The key's ring, where the caller knows it; the text does not say.
        ring: Option<RingName>,
    },
    /// It was cut, altered, moved from another row or version, or sealed under another key of the same id.
    #[error("the sealed text was altered, or was sealed for another row, version or key")]
    Tampered,
}

impl Hint for OpenError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::NotOurs => None,
            Self::UnknownVersion(_) => Some("use a later version".into()),
            Self::KeyNotHeld { .. } => Some("use a keyring that does".into()),
            Self::Tampered => Some("restore the row".into()),
        }
    }
}

impl OpenError {
    /// The same error with the ring of the key that is not held; other errors stay as they are.
    #[must_use]
    pub fn in_ring(self, ring: &RingName) -> Self {
        match self {
            Self::KeyNotHeld { key, .. } => Self::KeyNotHeld { key, ring: Some(ring.clone()) },
            other => other,
        }
    }
}

/// The id of the encryption key that a text says it was sealed under; `None` where it is no sealed text that this
/// version reads. The claim is only proven by opening.
#[must_use]
pub fn key_id_of(sealed: &str) -> Option<&str> {
    Header::parse(sealed).ok()?;
    let start = VERSION.len() + 1;
    sealed.get(start..start + EncryptionKeyId::LEN)
}

/// A sealed text taken apart, nothing proven yet.
pub(super) struct Header<'a> {
    pub(super) key: EncryptionKeyId,
    body: &'a str,
}

impl<'a> Header<'a> {
    pub(super) fn parse(sealed: &'a str) -> Result<Self, OpenError> {
        let (version, rest) = sealed.split_once(':').ok_or(OpenError::NotOurs)?;
        if version != VERSION {
            return Err(later_version(version).map_or(OpenError::NotOurs, OpenError::UnknownVersion));
        }
        let (key, body) = rest.split_once(':').ok_or(OpenError::Tampered)?;
        let key = key.parse().map_err(|_| OpenError::Tampered)?;
        Ok(Self { key, body })
    }

    /// Opens the body with the key that the header names.
    pub(super) fn open(&self, key: &Material, associated_data: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let mut body = Zeroizing::new(URL_SAFE_NO_PAD.decode(self.body).map_err(|_| OpenError::Tampered)?);
        let (head, rest) = body.split_at_mut_checked(HEAD_LEN).ok_or(OpenError::Tampered)?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG_LEN>().ok_or(OpenError::Tampered)?;
        let (salt, commitment) = head.split_first_chunk::<SALT_LEN>().ok_or(OpenError::Tampered)?;
        let commitment = commitment.try_into().map_err(|_| OpenError::Tampered)?;

        let keys = MessageKeys::derive(key, salt, associated_data);
        if !mac::equal(&keys.commitment, commitment) {
            return Err(OpenError::Tampered);
        }
        cipher::decrypt(&keys.cipher, &NONCE, associated_data, text, tag).map_err(|CipherError| OpenError::Tampered)?;

        // Moved within its own allocation, which is wiped as a whole.
        let length = text.len();
        body.copy_within(HEAD_LEN..HEAD_LEN + length, 0);
        body.truncate(length);
        Ok(body)
    }
}

/// Seals under `key`, whose id is `id`. Equal arguments give equal text: `salt` must be fresh and random.
pub(super) fn seal(
    id: EncryptionKeyId,
    key: &Material,
    salt: &[u8; SALT_LEN],
    associated_data: &[u8],
    plaintext: &[u8],
) -> Result<String, CipherError> {
    let keys = MessageKeys::derive(key, salt, associated_data);
    // As large as it gets, so that it never moves and leaves plaintext behind.
    let mut body = Zeroizing::new(Vec::with_capacity(HEAD_LEN + plaintext.len() + TAG_LEN));
    body.extend_from_slice(salt);
    body.extend_from_slice(&keys.commitment);
    body.extend_from_slice(plaintext);
    let tag = cipher::encrypt(&keys.cipher, &NONCE, associated_data, &mut body[HEAD_LEN..])?;
    body.extend_from_slice(&tag);

    let mut text = String::with_capacity(VERSION.len() + EncryptionKeyId::LEN + 2 + (body.len() * 4).div_ceil(3));
    text.push_str(VERSION);
    text.push(':');
    id.push_to(&mut text);
    text.push(':');
    URL_SAFE_NO_PAD.encode_string(body.as_slice(), &mut text);
    Ok(text)
}

/// The number of a version that this program does not know: `t` and up to four digits, without a leading zero.
fn later_version(version: &str) -> Option<u16> {
    let digits = version.strip_prefix('t')?;
    let plain =
        (1..=4).contains(&digits.len()) && !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
