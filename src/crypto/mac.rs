//! HMAC-SHA-256, and comparing its results in constant time.

use hmac::digest::CtOutput;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::framing::length_prefix;
use super::keyring::EncryptionKeyId;
use super::material::Material;

type HmacSha256 = Hmac<Sha256>;

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length")
}

/// HMAC-SHA-256 of a message.
pub(super) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    keyed(key).chain_update(message).finalize().into_bytes().into()
}

/// Whether two digests are equal, in a time that does not tell where they differ.
pub(super) fn equal(a: &[u8; 32], b: &[u8; 32]) -> bool {
    CtOutput::<HmacSha256>::new((*a).into()) == CtOutput::new((*b).into())
}

/// A key for tags over data that is not secret enough to seal and too telling to hash bare, such as the fingerprint
/// of what a Secret was made from: equal inputs give equal tags, and without the keyring nobody can test a guess.
///
/// ```compile_fail
/// fn print(key: &tidelock::crypto::MacKey) { println!("{key:?}"); }
/// ```
pub struct MacKey {
    encryption_key: EncryptionKeyId,
    material: Material,
}

impl MacKey {
    pub(super) fn new(encryption_key: EncryptionKeyId, material: Material) -> Self {
        Self { encryption_key, material }
    }

    /// The encryption key that this one was derived from. Tags under different keys say nothing about each other:
    /// keep it beside a stored tag, and a promotion does not look like a change of everything.
    #[must_use]
    pub fn encryption_key(&self) -> EncryptionKeyId {
        self.encryption_key
    }

    /// The tag of a list of parts. Each part counts with its length, so that `["ab", "c"]` and `["a", "bc"]` differ.
    #[must_use]
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = keyed(self.material.as_bytes());
        for part in parts {
            mac.update(&length_prefix(part));
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::framing::frame;
    use crate::crypto::random;

    /// RFC 4231, section 4, test cases 1 to 4, 6 and 7: key, data, HMAC-SHA-256.
    const RFC_4231: [(&[u8], &[u8], &str); 6] = [
        (&[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
        (b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
        (&[0xaa; 20], &[0xdd; 50], "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe"),
        (
            b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19",
            &[0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        (
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            &[0xaa; 131],
            b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to \
              be hashed before being used by the HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ];

    #[test]
    fn hmac_is_that_of_rfc_4231() {
        for (key, data, expected) in RFC_4231 {
            assert_eq!(hex::encode(hmac_sha256(key, data)), expected);
        }
    }

    #[test]
    fn a_tag_is_the_hmac_of_the_framed_parts() {
        let key = MacKey::new(EncryptionKeyId::from(random::id()), Material::random());
        let parts: [&[u8]; 3] = [b"ab", b"", b"c"];
        assert_eq!(key.tag(&parts), hmac_sha256(key.material.as_bytes(), &frame(&parts)));
        assert_ne!(key.tag(&[b"ab", b"c"]), key.tag(&[b"a", b"bc"]));
        assert_ne!(key.tag(&[]), key.tag(&[b""]));
    }

    #[test]
    fn digests_that_differ_in_one_bit_are_not_equal() {
        for bit in 0..256 {
            let mut other = [7; 32];
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!equal(&[7; 32], &other), "{bit}");
        }
        assert!(equal(&[7; 32], &[7; 32]));
    }
}
