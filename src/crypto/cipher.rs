//! AES-256-GCM-SIV (RFC 8452), in place.

use aes_gcm_siv::aead::AeadInOut as _;
use aes_gcm_siv::{Aes256GcmSiv, KeyInit as _};

/// Length of the authentication tag in bytes.
pub(super) const TAG_LEN: usize = 16;

/// The text failed authentication, or is longer than the cipher takes (64 GiB).
#[derive(Debug)]
pub(super) struct CipherError;

/// Encrypts `text` where it stands and returns the tag.
pub(super) fn encrypt(
    key: &[u8; 32],
    nonce: &[u8; 12],
    associated_data: &[u8],
    text: &mut [u8],
) -> Result<[u8; TAG_LEN], CipherError> {
    Aes256GcmSiv::new(key.into())
        .encrypt_inout_detached(nonce.into(), associated_data, text.into())
        .map(Into::into)
        .map_err(|_| CipherError)
}

/// Decrypts `text` where it stands; on an error it holds no plaintext.
pub(super) fn decrypt(
    key: &[u8; 32],
    nonce: &[u8; 12],
    associated_data: &[u8],
    text: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), CipherError> {
    Aes256GcmSiv::new(key.into())
        .decrypt_inout_detached(nonce.into(), associated_data, text.into(), tag.into())
        .map_err(|_| CipherError)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Vector {
        key: String,
        nonce: String,
        aad: String,
        plaintext: String,
        /// Ciphertext and tag.
        result: String,
    }

    #[test]
    fn the_cipher_is_that_of_rfc_8452() {
        let vectors: Vec<Vector> = serde_json::from_str(include_str!("vectors/rfc8452.json")).unwrap();
        assert_eq!(vectors.len(), 26);
        for vector in vectors {
            let bytes = |digits: &str| hex::decode(digits).unwrap();
            let key: [u8; 32] = bytes(&vector.key).try_into().unwrap();
            let nonce: [u8; 12] = bytes(&vector.nonce).try_into().unwrap();
            let (aad, plaintext) = (bytes(&vector.aad), bytes(&vector.plaintext));
            let mut text = plaintext.clone();
            let tag = encrypt(&key, &nonce, &aad, &mut text).unwrap();
            assert_eq!(hex::encode([text.as_slice(), tag.as_slice()].concat()), vector.result);
            decrypt(&key, &nonce, &aad, &mut text, &tag).unwrap();
            assert_eq!(text, plaintext);
        }
    }

    #[test]
    fn what_fails_authentication_is_not_left_decrypted() {
        let mut text = *b"plaintext";
        let tag = encrypt(&[1; 32], &[0; 12], b"here", &mut text).unwrap();
        let sealed = text;
        assert!(decrypt(&[1; 32], &[0; 12], b"there", &mut text, &tag).is_err());
        assert_eq!(text, sealed);
    }
}
