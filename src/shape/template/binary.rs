//! Values that are no text. A template hands them on to filters; where it prints one, it is told, and nothing is printed.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::Value;
use minijinja::value::{Object, ObjectRepr};
use zeroize::Zeroizing;

/// Whether bytes that are no text were made text of, in any way.
#[derive(Clone, Default)]
pub(super) struct Printed(Arc<AtomicBool>);

impl Printed {
    pub(super) fn was_binary(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Bytes that are no text.
pub(super) struct Binary {
    bytes: Zeroizing<Vec<u8>>,
    printed: Printed,
}

impl Binary {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for Binary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binary({})", self.bytes.len())
    }
}

impl Object for Binary {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    // An error here would be a panic in whatever makes text of it.
    fn render(self: &Arc<Self>, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.printed.0.store(true, Ordering::Relaxed);
        Ok(())
    }
}

/// Bytes as a template has them.
pub(super) fn value_of(bytes: &[u8], printed: &Printed) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => Value::from(text),
        Err(_) => Value::from_object(Binary { bytes: Zeroizing::new(bytes.to_vec()), printed: printed.clone() }),
    }
}
