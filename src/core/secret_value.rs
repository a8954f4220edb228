//! The decrypted value.

use zeroize::Zeroizing;

/// A decrypted value: any bytes, also none, wiped from memory when dropped.
///
/// It has no `Debug`, `Display`, `Serialize` or `PartialEq` on purpose: whoever wants the bytes says
/// [`expose`](Self::expose), and a reviewer finds every such place by that word.
///
/// ```compile_fail
/// let value = tidelock::core::SecretValue::from(b"hunter2".to_vec());
/// println!("{value:?}");
/// ```
///
/// ```compile_fail
/// let value = tidelock::core::SecretValue::from(b"hunter2".to_vec());
/// println!("{value}");
/// ```
///
/// ```compile_fail
/// let value = tidelock::core::SecretValue::from(b"hunter2".to_vec());
/// serde_json::to_string(&value);
/// ```
#[derive(Clone)]
pub struct SecretValue(Zeroizing<Vec<u8>>);

impl SecretValue {
    /// The bytes. Every call is a place where a value could leave its keeper.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Length in bytes.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no bytes.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Vec<u8>> for SecretValue {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<Zeroizing<Vec<u8>>> for SecretValue {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}
