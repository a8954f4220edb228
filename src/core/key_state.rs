//! The state of a key in an environment: the registry comparison, in one place.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::RegistryTime;

/// How a key stands in an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeyState {
    /// Live, and nothing newer exists elsewhere.
    InSync,
    /// `secrets.updated_at < registry.last_updated_at`: a newer version exists in another environment, or the key's
    /// definition changed.
    Stale,
    /// Registered in the project, no live secret here.
    Missing,
    /// Live here, not in the registry.
    Unregistered,
    /// Declared not to be needed here.
    Exempt,
}

/// Text that is not the name of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the state of a key: expected InSync, Stale, Missing, Unregistered or Exempt")]
pub struct InvalidKeyState;

/// What the tables say about one key in one environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyFacts {
    /// `secrets.updated_at` of the live row, if there is one.
    pub updated_at: Option<RegistryTime>,
    /// `project_secret_registry.last_updated_at`, if the key is registered and not retired.
    pub last_updated_at: Option<RegistryTime>,
    /// Whether the environment is exempt from the key.
    pub exempt: bool,
}

impl KeyState {
    /// The state that the facts amount to; `None` for a key that neither lives here nor is registered.
    ///
    /// An exemption speaks only of absence: a live value is compared all the same.
    #[must_use]
    pub fn of(facts: KeyFacts) -> Option<Self> {
        match (facts.updated_at, facts.last_updated_at) {
            (None, None) => None,
            (None, Some(_)) if facts.exempt => Some(Self::Exempt),
            (None, Some(_)) => Some(Self::Missing),
            (Some(_), None) => Some(Self::Unregistered),
            (Some(updated), Some(last)) if updated < last => Some(Self::Stale),
            (Some(_), Some(_)) => Some(Self::InSync),
        }
    }

    /// Whether an environment with a key in this state is behind or at odds with the registry.
    #[must_use]
    pub const fn is_out_of_sync(self) -> bool {
        matches!(self, Self::Stale | Self::Missing | Self::Unregistered)
    }

    /// The name, as conditions and tables print it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "InSync",
            Self::Stale => "Stale",
            Self::Missing => "Missing",
            Self::Unregistered => "Unregistered",
            Self::Exempt => "Exempt",
        }
    }
}

impl FromStr for KeyState {
    type Err = InvalidKeyState;

    fn from_str(name: &str) -> Result<Self, InvalidKeyState> {
        [Self::InSync, Self::Stale, Self::Missing, Self::Unregistered, Self::Exempt]
            .into_iter()
            .find(|state| state.as_str() == name)
            .ok_or(InvalidKeyState)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many keys stand in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateCounts {
    /// All keys counted.
    pub total: usize,
    /// [`KeyState::InSync`].
    pub in_sync: usize,
    /// [`KeyState::Stale`].
    pub stale: usize,
    /// [`KeyState::Missing`].
    pub missing: usize,
    /// [`KeyState::Unregistered`].
    pub unregistered: usize,
    /// [`KeyState::Exempt`].
    pub exempt: usize,
}

impl StateCounts {
    /// Whether nothing counted is out of sync.
    #[must_use]
    pub const fn all_in_sync(&self) -> bool {
        self.stale == 0 && self.missing == 0 && self.unregistered == 0
    }

    /// Counts one more key.
    pub const fn add(&mut self, state: KeyState) {
        self.total += 1;
        *self.of(state) += 1;
    }

    /// Takes back what [`add`](Self::add) counted.
    pub const fn remove(&mut self, state: KeyState) {
        self.total -= 1;
        *self.of(state) -= 1;
    }

    const fn of(&mut self, state: KeyState) -> &mut usize {
        match state {
            KeyState::InSync => &mut self.in_sync,
            KeyState::Stale => &mut self.stale,
            KeyState::Missing => &mut self.missing,
            KeyState::Unregistered => &mut self.unregistered,
            KeyState::Exempt => &mut self.exempt,
        }
    }
}

impl FromIterator<KeyState> for StateCounts {
    fn from_iter<I: IntoIterator<Item = KeyState>>(states: I) -> Self {
        let mut counts = Self::default();
        states.into_iter().for_each(|state| counts.add(state));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(updated_at: Option<i64>, last_updated_at: Option<i64>, exempt: bool) -> Option<KeyState> {
        KeyState::of(KeyFacts {
            updated_at: updated_at.map(RegistryTime::from_micros),
            last_updated_at: last_updated_at.map(RegistryTime::from_micros),
            exempt,
        })
    }

    #[test]
    fn a_key_is_stale_exactly_when_its_time_is_before_the_registrys() {
        assert_eq!(state(Some(1), Some(2), false), Some(KeyState::Stale));
        assert_eq!(state(Some(2), Some(2), false), Some(KeyState::InSync));
        assert_eq!(state(Some(3), Some(2), false), Some(KeyState::InSync));
    }

    #[test]
    fn absence_is_missing_unless_exempt_and_nothing_unless_registered() {
        assert_eq!(state(None, Some(1), false), Some(KeyState::Missing));
        assert_eq!(state(None, Some(1), true), Some(KeyState::Exempt));
        assert_eq!(state(Some(1), None, false), Some(KeyState::Unregistered));
        assert_eq!(state(None, None, true), None);
    }

    #[test]
    fn a_state_is_read_back_from_its_name_and_nothing_else_is() {
        for state in [KeyState::InSync, KeyState::Stale, KeyState::Missing, KeyState::Unregistered, KeyState::Exempt] {
            assert_eq!(state.as_str().parse(), Ok(state));
        }
        assert_eq!("stale".parse::<KeyState>(), Err(InvalidKeyState));
    }

    #[test]
    fn an_exemption_does_not_hide_a_live_value_that_is_behind() {
        assert_eq!(state(Some(1), Some(2), true), Some(KeyState::Stale));
    }
}
