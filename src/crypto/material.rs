//! 256 bits of key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::random;

/// A 256-bit key, wiped when dropped.
///
/// Boxed, so that moving it moves a pointer and leaves no copy behind.
pub(super) struct Material(Box<Zeroizing<[u8; 32]>>);

impl Material {
    /// Length of the key in base64, padding included.
    pub(super) const BASE64_LEN: usize = 44;

    pub(super) fn random() -> Self {
        let mut material = Self(Box::new(Zeroizing::new([0; 32])));
        random::fill(material.0.as_mut_slice());
        material
    }

    /// `None` unless `bytes` are 32.
    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut material = Self(Box::new(Zeroizing::new([0; 32])));
        if bytes.len() != material.0.len() {
            return None;
        }
        material.0.copy_from_slice(bytes);
        Some(material)
    }

    /// `None` unless `text` is the padded base64 of exactly 32 bytes, as `openssl rand -base64 32` prints it.
    pub(super) fn from_base64(text: &str) -> Option<Self> {
        // base64 wants room for the bytes that the padding stands for.
        let mut bytes = Zeroizing::new([0; 33]);
        let length = STANDARD.decode_slice(text, bytes.as_mut_slice()).ok()?;
        Self::from_slice(&bytes[..length])
    }

    pub(super) fn push_base64(&self, text: &mut String) {
        STANDARD.encode_string(self.as_bytes(), text);
    }

    pub(super) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_anything_but_32_bytes_is_refused() {
        for length in [0, 16, 31, 33, 48] {
            assert!(Material::from_base64(&STANDARD.encode(vec![1; length])).is_none(), "{length}");
        }
        let text = STANDARD.encode([1; 32]);
        assert_eq!(text.len(), Material::BASE64_LEN);
        assert_eq!(Material::from_base64(&text).unwrap().as_bytes(), &[1; 32]);
        assert!(Material::from_base64(text.trim_end_matches('=')).is_none());
    }

    #[test]
    fn two_random_keys_differ() {
        assert_ne!(Material::random().as_bytes(), Material::random().as_bytes());
    }
}
