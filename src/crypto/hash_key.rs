//! `secrets.value_hash`: computing it, and checking an opened value against it.

use sha2::{Digest as _, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::core::{SecretValue, ValueHash};

use super::mac;
use super::material::Material;
use super::random;

const ID_LEN: usize = 16;
const BYTES_LEN: usize = ID_LEN + 32;

/// A project's hashing key: equal values of one project have equal hashes, and who has only a dump of the database
/// cannot test guesses against them.
///
/// The database holds it sealed, once for each ring that the project's environments use.
///
/// ```compile_fail
/// fn print(key: &tidelock::crypto::HashKey) { println!("{key:?}"); }
/// ```
///
/// ```compile_fail
/// fn print(key: &tidelock::crypto::HashKey) { println!("{key}"); }
/// ```
///
/// ```compile_fail
/// fn print(key: &tidelock::crypto::HashKey) { serde_json::to_string(key); }
/// ```
pub struct HashKey {
    uuid: Uuid,
    id: String,
    material: Material,
}

impl HashKey {
    /// A fresh key with a fresh id.
    #[must_use]
    pub fn generate() -> Self {
        Self::new(random::id(), Material::random())
    }

    fn new(uuid: Uuid, material: Material) -> Self {
        Self { uuid, id: uuid.to_string(), material }
    }

    /// Its id, as it stands in the hashes: a uuid in lower case with hyphens.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The hash of a value: HMAC-SHA-256 under this key.
    #[must_use]
    pub fn hash(&self, value: &SecretValue) -> ValueHash {
        ValueHash::Keyed { key_id: self.id.clone(), digest: self.digest(value) }
    }

    fn digest(&self, value: &SecretValue) -> [u8; 32] {
        mac::hmac_sha256(self.material.as_bytes(), value.expose())
    }

    /// What is sealed of it: the id's 16 bytes and the key's 32.
    pub(super) fn to_bytes(&self) -> Zeroizing<[u8; BYTES_LEN]> {
        let mut bytes = Zeroizing::new([0; BYTES_LEN]);
        bytes[..ID_LEN].copy_from_slice(self.uuid.as_bytes());
        bytes[ID_LEN..].copy_from_slice(self.material.as_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (id, material) = bytes.split_first_chunk::<ID_LEN>()?;
        Some(Self::new(Uuid::from_bytes(*id), Material::from_slice(material)?))
    }
}

/// What a stored hash says about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashCheck {
    /// It is this value's.
    Matches,
    /// It is another value's.
    Differs,
    /// It was made under a hashing key that is not at hand: nothing follows.
    Unknown,
}

/// Checks an opened value against `secrets.value_hash`, in a time that does not tell where they differ. Of `hash_keys` that
/// one counts which the hash names.
///
/// The bare SHA-256 of another writer needs no key.
#[must_use]
pub fn verify<'k>(
    value: &SecretValue,
    stored: &ValueHash,
    hash_keys: impl IntoIterator<Item = &'k HashKey>,
) -> HashCheck {
    let (actual, stored) = match stored {
        ValueHash::Sha256(stored) => (Sha256::digest(value.expose()).into(), stored),
        ValueHash::Keyed { key_id, digest } => match hash_keys.into_iter().find(|key| key.id == *key_id) {
            Some(key) => (key.digest(value), digest),
            None => return HashCheck::Unknown,
        },
    };
    if mac::equal(&actual, stored) { HashCheck::Matches } else { HashCheck::Differs }
}

/// As [`verify`], of a hash as it is stored: one in a form that is not understood says nothing.
#[must_use]
pub fn verify_text<'k>(
    value: &SecretValue,
    stored: &str,
    hash_keys: impl IntoIterator<Item = &'k HashKey>,
) -> HashCheck {
    stored.parse().map_or(HashCheck::Unknown, |stored| verify(value, &stored, hash_keys))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::HashComparison;

    fn value(bytes: &[u8]) -> SecretValue {
        bytes.to_vec().into()
    }

    #[test]
    fn a_value_matches_its_own_hash_and_no_others() {
        let key = HashKey::generate();
        for bytes in [&b""[..], b"\0", b"s3cret"] {
            let hash = key.hash(&value(bytes));
            assert_eq!(verify(&value(bytes), &hash, [&key]), HashCheck::Matches);
            assert_eq!(verify(&value(b"other"), &hash, [&key]), HashCheck::Differs);
        }
    }

    #[test]
    fn a_hash_under_a_key_that_is_not_at_hand_says_nothing() {
        let (ours, theirs) = (HashKey::generate(), HashKey::generate());
        let hash = theirs.hash(&value(b"s3cret"));
        assert_eq!(verify(&value(b"s3cret"), &hash, [&ours]), HashCheck::Unknown);
        assert_eq!(verify(&value(b"s3cret"), &hash, []), HashCheck::Unknown);
    }

    #[test]
    fn the_bare_sha_256_of_another_writer_is_understood_without_a_key() {
        // printf s3cret | sha256sum
        let hash = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0".parse().unwrap();
        assert_eq!(verify(&value(b"s3cret"), &hash, []), HashCheck::Matches);
        assert_eq!(verify(&value(b"s3cret\n"), &hash, [&HashKey::generate()]), HashCheck::Differs);
    }

    #[test]
    fn a_hash_survives_its_text_form_and_compares_by_value() {
        let key = HashKey::generate();
        let hash = key.hash(&value(b"s3cret"));
        let read: ValueHash = hash.to_string().parse().unwrap();
        assert_eq!(read, hash);
        assert_eq!(read.compare(&key.hash(&value(b"s3cret"))), HashComparison::Equal);
        assert_eq!(read.compare(&key.hash(&value(b"other"))), HashComparison::Different);
        assert_eq!(read.compare(&HashKey::generate().hash(&value(b"s3cret"))), HashComparison::Unknown);
    }
}
