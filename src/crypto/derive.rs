//! From the keys of the keyring to the keys that are used: HKDF-SHA-256 (RFC 5869).

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::material::Material;

/// What a derived key is for. The last byte, found nowhere else in a label, keeps one label from starting another.
const CIPHER_KEY: &[u8] = b"tidelock/t1/key\0";
const COMMITMENT: &[u8] = b"tidelock/t1/commitment\0";
const FINGERPRINT: &[u8] = b"tidelock/fingerprint/1\0";

fn extract(salt: Option<&[u8]>, key: &[u8]) -> Hkdf<Sha256> {
    Hkdf::new(salt, key)
}

/// `info` is the concatenation of its parts.
fn expand(hkdf: &Hkdf<Sha256>, info: &[&[u8]], out: &mut [u8]) {
    hkdf.expand_multi_info(info, out).expect("HKDF-SHA-256 gives up to 8,160 bytes");
}

/// The keys of one message.
pub(super) struct MessageKeys {
    /// The key of the cipher: of this message alone, as long as its salt is.
    pub(super) cipher: Zeroizing<[u8; 32]>,
    /// Stored with the message: no other encryption key, salt or associated data gives the same.
    pub(super) commitment: [u8; 32],
}

impl MessageKeys {
    pub(super) fn derive(key: &Material, salt: &[u8; 32], associated_data: &[u8]) -> Self {
        let hkdf = extract(Some(salt), key.as_bytes());
        let mut keys = Self { cipher: Zeroizing::new([0; 32]), commitment: [0; 32] };
        expand(&hkdf, &[CIPHER_KEY], keys.cipher.as_mut_slice());
        expand(&hkdf, &[COMMITMENT, associated_data], &mut keys.commitment);
        keys
    }
}

/// The key for fingerprints of one purpose. Not salted: the same on every machine that holds the key.
pub(super) fn fingerprint_key(key: &Material, purpose: &str) -> Material {
    let mut derived = Zeroizing::new([0; 32]);
    expand(&extract(None, key.as_bytes()), &[FINGERPRINT, purpose.as_bytes()], derived.as_mut_slice());
    Material::from_slice(derived.as_slice()).expect("32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 5869, appendix A, the cases with SHA-256: key, salt, info, output.
    const RFC_5869: [(&str, &str, &str, &str); 3] = [
        (
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f\
             303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
            "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f\
             909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
            "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf\
             e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09\
             da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "",
            "",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];

    #[test]
    fn derivation_is_that_of_rfc_5869() {
        for (key, salt, info, expected) in RFC_5869 {
            let [key, salt, info] = [key, salt, info].map(|digits| hex::decode(digits).unwrap());
            let (front, back) = info.split_at(info.len() / 2);
            let mut output = vec![0; expected.len() / 2];
            expand(&extract(Some(&salt), &key), &[front, back], &mut output);
            assert_eq!(hex::encode(output), expected);
        }
    }

    #[test]
    fn no_label_is_the_start_of_another() {
        let labels = [CIPHER_KEY, COMMITMENT, FINGERPRINT];
        for label in labels {
            assert_eq!(labels.iter().filter(|other| other.starts_with(label)).count(), 1);
        }
    }

    #[test]
    fn every_part_of_a_message_changes_its_commitment() {
        let [one, two] = [1, 2].map(|byte| Material::from_slice(&[byte; 32]).unwrap());
        let commitment = |key, salt, data: &[u8]| MessageKeys::derive(key, &[salt; 32], data).commitment;
        let ours = commitment(&one, 0, b"here");
        assert_eq!(ours, commitment(&one, 0, b"here"));
        assert_ne!(ours, commitment(&two, 0, b"here"));
        assert_ne!(ours, commitment(&one, 1, b"here"));
        assert_ne!(ours, commitment(&one, 0, b"there"));
    }

    #[test]
    fn fingerprint_keys_differ_by_purpose_and_from_those_of_messages() {
        let key = Material::random();
        let inputs = fingerprint_key(&key, "inputs");
        assert_eq!(inputs.as_bytes(), fingerprint_key(&key, "inputs").as_bytes());
        assert_ne!(inputs.as_bytes(), fingerprint_key(&key, "input").as_bytes());
        // A salt that a stranger chose: zeros, which are what HKDF takes where there is none.
        let message = MessageKeys::derive(&key, &[0; 32], b"inputs");
        assert_ne!(inputs.as_bytes(), &*message.cipher);
        assert_ne!(inputs.as_bytes(), &message.commitment);
    }
}
