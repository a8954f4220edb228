//! `secrets.value_hash`: reading and comparing it. Computing it is the matter of `crypto`.

use std::fmt;
use std::str::FromStr;

/// The deterministic hash of a decrypted value, as the database stores it.
///
/// Two forms are understood: our own keyed `h1:<hash key id>:<64 hex digits>` (HMAC-SHA-256 under the project's
/// hashing key), and the bare 64 hex digits of an unkeyed SHA-256 that other writers store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ValueHash {
    /// `h1:<hash key id>:<hex>`.
    Keyed {
        /// Which hashing key it was computed under.
        key_id: String,
        /// HMAC-SHA-256 of the value.
        digest: [u8; 32],
    },
    /// Bare SHA-256 of the value, from another writer.
    Sha256([u8; 32]),
}

/// What two hashes say about their values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HashComparison {
    /// The values are equal.
    Equal,
    /// The values differ.
    Different,
    /// Hashes of different kinds or keys say nothing.
    Unknown,
}

/// Text that is neither form of a value hash. The text itself is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a value hash: expected h1:<hash key id>:<64 hex digits>, or 64 hex digits of a SHA-256")]
pub struct InvalidValueHash;

impl ValueHash {
    /// Whether the values behind two hashes are equal, differ, or cannot be compared.
    #[must_use]
    pub fn compare(&self, other: &Self) -> HashComparison {
        let (ours, theirs) = match (self, other) {
            (Self::Keyed { key_id: a, digest: ours }, Self::Keyed { key_id: b, digest: theirs }) if a == b => {
                (ours, theirs)
            }
            (Self::Sha256(ours), Self::Sha256(theirs)) => (ours, theirs),
            _ => return HashComparison::Unknown,
        };
        if ours == theirs { HashComparison::Equal } else { HashComparison::Different }
    }
}

impl FromStr for ValueHash {
    type Err = InvalidValueHash;

    fn from_str(text: &str) -> Result<Self, InvalidValueHash> {
        let digest = |digits: &str| {
            let mut digest = [0; 32];
            hex::decode_to_slice(digits, &mut digest).map_err(|_| InvalidValueHash).map(|()| digest)
        };
        match text.strip_prefix("h1:") {
            None => digest(text).map(Self::Sha256),
            Some(keyed) => {
                let (key_id, digits) = keyed.rsplit_once(':').ok_or(InvalidValueHash)?;
                if key_id.is_empty() {
                    return Err(InvalidValueHash);
                }
                Ok(Self::Keyed { key_id: key_id.to_owned(), digest: digest(digits)? })
            }
        }
    }
}

impl fmt::Display for ValueHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyed { key_id, digest } => write!(f, "h1:{key_id}:{}", hex::encode(digest)),
            Self::Sha256(digest) => f.write_str(&hex::encode(digest)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keyed(key_id: &str, byte: u8) -> ValueHash {
        ValueHash::Keyed { key_id: key_id.into(), digest: [byte; 32] }
    }

    #[test]
    fn both_forms_survive_a_round_trip() {
        for hash in [keyed("hk-1", 7), ValueHash::Sha256([9; 32])] {
            assert_eq!(hash.to_string().parse(), Ok(hash));
        }
    }

    #[test]
    fn hashes_of_different_kinds_or_keys_compare_as_unknown() {
        assert_eq!(keyed("a", 1).compare(&keyed("a", 1)), HashComparison::Equal);
        assert_eq!(keyed("a", 1).compare(&keyed("a", 2)), HashComparison::Different);
        assert_eq!(keyed("a", 1).compare(&keyed("b", 1)), HashComparison::Unknown);
        assert_eq!(keyed("a", 1).compare(&ValueHash::Sha256([1; 32])), HashComparison::Unknown);
    }

    #[test]
    fn other_text_is_not_a_hash_and_is_not_repeated() {
        for text in ["", "h1:", "h1::00", "h1:a:zz", "plaintext"] {
            let error = text.parse::<ValueHash>().unwrap_err();
            assert!(text.is_empty() || !error.to_string().contains("plaintext"));
        }
    }
}
