//! The keyring: rings of encryption keys, each with one primary.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;
use uuid::fmt::Hyphenated;

use crate::core::RingName;

use super::material::Material;
use super::random;

/// The id of an encryption key: a random uuid, so that `vault.secrets.key_id` can hold one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EncryptionKeyId(Uuid);

/// Text that is not the id of an encryption key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the id of an encryption key: expected a uuid in lower case with hyphens")]
pub struct InvalidEncryptionKeyId;

impl EncryptionKeyId {
    /// The id as a uuid.
    #[must_use]
    pub const fn as_uuid(&self) -> &Uuid {
        &self.0
    }

    /// Length of the id as text.
    pub(super) const LEN: usize = Hyphenated::LENGTH;

    pub(super) fn push_to(self, text: &mut String) {
        text.push_str(self.0.hyphenated().encode_lower(&mut [0; Self::LEN]));
    }
}

impl From<Uuid> for EncryptionKeyId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl FromStr for EncryptionKeyId {
    type Err = InvalidEncryptionKeyId;

    /// Takes the one form that we write: were other spellings taken, a sealed text could be altered and still open.
    fn from_str(text: &str) -> Result<Self, InvalidEncryptionKeyId> {
        let id = Uuid::try_parse(text).map_err(|_| InvalidEncryptionKeyId)?;
        if id.hyphenated().encode_lower(&mut [0; Self::LEN]) == text {
            Ok(Self(id))
        } else {
            Err(InvalidEncryptionKeyId)
        }
    }
}

impl fmt::Display for EncryptionKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// What a key of a ring is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncryptionKeyState {
    /// Seals and opens. Each ring has exactly one.
    Primary,
    /// Opens only: one that was added and not yet promoted, or an earlier primary.
    Secondary,
}

impl EncryptionKeyState {
    /// The name, as the keyring file and tables have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Secondary => "secondary",
        }
    }
}

impl fmt::Display for EncryptionKeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// An encryption key of a ring, without the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldKey {
    /// As in the sealed texts that need it.
    pub id: EncryptionKeyId,
    /// What it is for.
    pub state: EncryptionKeyState,
}

pub(super) struct EncryptionKey {
    pub(super) id: EncryptionKeyId,
    pub(super) material: Material,
}

impl EncryptionKey {
    fn random() -> Self {
        Self { id: random::id().into(), material: Material::random() }
    }
}

/// A named set of encryption keys.
///
/// ```compile_fail
/// fn print(ring: &tidelock::crypto::Ring) { println!("{ring:?}"); }
/// ```
pub struct Ring {
    pub(super) name: RingName,
    pub(super) primary: EncryptionKey,
    pub(super) secondary: Vec<EncryptionKey>,
}

impl Ring {
    fn generate(name: RingName) -> Self {
        Self { name, primary: EncryptionKey::random(), secondary: Vec::new() }
    }

    /// Unique in the keyring.
    #[must_use]
    pub fn name(&self) -> &RingName {
        &self.name
    }

    #[cfg(test)]
    pub(super) fn primary(&self) -> EncryptionKeyId {
        self.primary.id
    }

    /// All keys, the primary first.
    pub fn keys(&self) -> impl Iterator<Item = HeldKey> {
        self.held().map(|(key, state)| HeldKey { id: key.id, state })
    }

    pub(super) fn held(&self) -> impl Iterator<Item = (&EncryptionKey, EncryptionKeyState)> {
        let secondary = self.secondary.iter().map(|key| (key, EncryptionKeyState::Secondary));
        std::iter::once((&self.primary, EncryptionKeyState::Primary)).chain(secondary)
    }
}

/// The rings that a person or operator holds.
///
/// It wipes its keys when dropped, and has no `Debug`, `Display` or `Serialize` on purpose:
///
/// ```compile_fail
/// fn print(keyring: &tidelock::crypto::Keyring) { println!("{keyring:?}"); }
/// ```
///
/// ```compile_fail
/// fn print(keyring: &tidelock::crypto::Keyring) { println!("{keyring}"); }
/// ```
///
/// ```compile_fail
/// fn print(keyring: &tidelock::crypto::Keyring) { serde_json::to_string(keyring); }
/// ```
pub struct Keyring {
    pub(super) rings: Vec<Ring>,
}

impl Keyring {
    /// A keyring with the rings named, each with one fresh primary key. A name that comes twice makes one ring.
    #[must_use]
    pub fn generate(rings: &[RingName]) -> Self {
        let mut keyring = Self { rings: Vec::with_capacity(rings.len()) };
        for name in rings {
            if keyring.ring(name).is_none() {
                keyring.rings.push(Ring::generate(name.clone()));
            }
        }
        keyring
    }

    /// The rings, in the order of the file.
    pub fn rings(&self) -> impl Iterator<Item = &Ring> {
        self.rings.iter()
    }

    /// The ring of that name.
    #[must_use]
    pub fn ring(&self, name: &RingName) -> Option<&Ring> {
        self.rings.iter().find(|ring| ring.name == *name)
    }

    pub(super) fn find(&self, id: EncryptionKeyId) -> Option<(&Ring, &EncryptionKey)> {
        self.rings.iter().find_map(|ring| ring.held().find(|(key, _)| key.id == id).map(|(key, _)| (ring, key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> RingName {
        name.parse().unwrap()
    }

    #[test]
    fn each_ring_starts_with_one_fresh_primary_of_its_own() {
        let keyring = Keyring::generate(&[name("default"), name("production"), name("default"), name("eu")]);
        assert_eq!(
            keyring.rings().map(|ring| ring.name().as_str()).collect::<Vec<_>>(),
            ["default", "production", "eu"]
        );
        for ring in keyring.rings() {
            assert_eq!(
                ring.keys().collect::<Vec<_>>(),
                [HeldKey { id: ring.primary(), state: EncryptionKeyState::Primary }]
            );
            assert_eq!(keyring.find(ring.primary()).unwrap().0.name(), ring.name());
        }
        let [default, production, eu] = keyring.rings.as_slice() else { panic!("three rings") };
        for (one, other) in [(default, production), (production, eu), (eu, default)] {
            assert_ne!(one.primary(), other.primary());
            assert_ne!(one.primary.material.as_bytes(), other.primary.material.as_bytes());
        }
    }

    #[test]
    fn a_ring_that_is_there_is_not_made_again() {
        let keyring = Keyring::generate(&[name("default"), name("default")]);
        let [ring] = keyring.rings.as_slice() else { panic!("one ring") };
        assert_eq!(keyring.ring(&name("default")).unwrap().primary(), ring.primary());
    }

    #[test]
    fn an_id_has_one_spelling() {
        let id = "0192d5f0-5a3e-4c1b-8f21-9d7c1a2b3c4d";
        assert_eq!(id.parse::<EncryptionKeyId>().unwrap().to_string(), id);
        for other in
            [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), format!("urn:uuid:{id}"), String::new()]
        {
            assert!(other.parse::<EncryptionKeyId>().is_err(), "{other}");
        }
    }
}
