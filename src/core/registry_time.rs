//! Times as the database keeps them.

use std::fmt;

use jiff::Timestamp;

/// A `timestamptz` of the registry: microseconds since the Unix epoch, which is PostgreSQL's own resolution.
///
/// Kept as a number because two of them are compared for equality (a follow answers an exact time), which text in a
/// session's time zone or a float would spoil.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegistryTime(i64);

impl RegistryTime {
    /// From microseconds since the Unix epoch.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// As a timestamp of the calendar; a time outside years -9999 to 9999 becomes the nearest one inside.
    #[must_use]
    pub fn to_timestamp(self) -> Timestamp {
        Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 { Timestamp::MIN } else { Timestamp::MAX })
    }
}

impl fmt::Display for RegistryTime {
    /// RFC 3339 in UTC with microseconds.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6}", self.to_timestamp())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_prints_with_all_its_microseconds() {
        assert_eq!(RegistryTime::from_micros(1_700_000_000_000_001).to_string(), "2023-11-14T22:13:20.000001Z");
        assert_eq!(RegistryTime::from_micros(1_700_000_000_000_000).to_string(), "2023-11-14T22:13:20.000000Z");
    }
}
