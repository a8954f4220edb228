//! The envelope: what a value looks like in the database, and the keyring that opens it.
//!
//! Pure but for two edges: `random` asks the operating system for randomness, `keyring_file` reads and writes the
//! keyring. `docs/envelope.md` has the format byte by byte, with its reasons.

mod cipher;
mod context;
mod derive;
mod envelope;
mod framing;
mod hash_key;
mod keyring;
mod keyring_file;
#[cfg(test)]
mod keyring_fixtures;
mod keyring_permissions;
mod keyring_text;
mod mac;
mod material;
mod random;
mod sealing;
#[cfg(test)]
mod vectors;

pub use context::SealContext;
pub use envelope::{OpenError, key_id_of};
pub use hash_key::{HashCheck, HashKey, verify, verify_text};
pub use keyring::{EncryptionKeyId, EncryptionKeyState, HeldKey, InvalidEncryptionKeyId, Keyring, Ring};
pub use keyring_file::KeyringFileError;
pub use keyring_text::KeyringError;
pub use mac::MacKey;
pub use sealing::SealError;
