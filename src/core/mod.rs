//! The words of the registry as types: names, identifiers, values, times and the states of keys.
//!
//! Nothing here does I/O, reads a clock or knows PostgreSQL or Kubernetes; everything else builds on it.

mod causes;
mod diff;
mod hint;
mod key_name;
mod key_state;
mod names;
mod registry_time;
mod secret_value;
mod short_digest;
mod value_hash;

pub(crate) use causes::causes;
pub(crate) use diff::{Difference, diff};
pub use hint::Hint;
pub(crate) use key_name::is_visible;
pub use key_name::{KeyName, is_blank, is_secret_key, shown_key};
pub use key_state::{InvalidKeyState, KeyFacts, KeyState, StateCounts};
pub use names::{EnvironmentId, EnvironmentName, InvalidName, ProjectId, ProjectName, RingName, SecretId, UserName};
pub use registry_time::RegistryTime;
pub use secret_value::SecretValue;
pub(crate) use short_digest::first_bytes;
pub use short_digest::{SHORT_DIGEST_LEN, ShortDigest, digest_of_key, digest_of_row};
pub use value_hash::{HashComparison, InvalidValueHash, ValueHash};
