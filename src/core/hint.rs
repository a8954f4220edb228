//! What an error advises.

use std::borrow::Cow;
use std::fmt;

/// An error that may know its remedy.
///
/// The remedy is no part of `Display`, which others put into their own messages: who shows an error to a person says
/// [`Hint::with_hint`].
pub trait Hint: fmt::Display {
    /// What to do about it, where that is known: an imperative without a full stop.
    fn hint(&self) -> Option<Cow<'_, str>>;

    /// Message and hint, as a person reads them on the terminal or in a condition.
    fn with_hint(&self) -> String {
        match self.hint() {
            Some(hint) => format!("{self} ({hint})"),
            None => self.to_string(),
        }
    }
}
