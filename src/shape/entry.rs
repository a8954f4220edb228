//! An entry on its way into a Secret, which still knows where it came from.

use std::fmt;

use super::error::ShapeError;
use super::value::{self, Unsuitable};
use crate::api::DecodingStrategy;
use crate::core::{SecretValue, shown_key};

/// What of a spec an entry comes of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Neither `data` nor `dataFrom`.
    Every,
    /// Place in `spec.data`.
    Data(usize),
    /// Place in `spec.dataFrom`.
    DataFrom(usize),
}

/// An entry. Has no `Debug`: it may hold a value.
#[derive(Clone)]
pub(super) struct Entry {
    /// What it is called now.
    pub(super) name: String,
    /// Its key in the registry.
    pub(super) key: String,
    pub(super) place: Place,
    /// Absent where only names are asked for.
    pub(super) value: Option<SecretValue>,
}

impl Entry {
    pub(super) fn new(key: &str, place: Place, value: Option<&SecretValue>) -> Self {
        Self { name: key.to_owned(), key: key.to_owned(), place, value: value.cloned() }
    }

    pub(super) fn decoded(mut self, strategy: DecodingStrategy) -> Result<Self, ShapeError> {
        if let Some(value) = self.value.take() {
            self.value = Some(value::decoded(value, strategy).map_err(|cause| self.unsuitable(cause))?);
        }
        Ok(self)
    }

    pub(super) fn unsuitable(&self, cause: Unsuitable) -> ShapeError {
        ShapeError::ValueUnsuitable { entry: self.to_string(), cause }
    }
}

/// Where it comes from, in words.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = shown_key(&self.key);
        match self.place {
            Place::Every => write!(f, "key {key}"),
            Place::Data(place) => write!(f, "spec.data[{place}] (key {key})"),
            Place::DataFrom(place) => write!(f, "spec.dataFrom[{place}] (key {key})"),
        }
    }
}
