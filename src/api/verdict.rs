//! A verdict is what one look at the world says about one condition; `Ready` is derived from the others, here alone.

use std::fmt::Write;

use super::OutOfSyncPolicy;
use super::condition_type::{ConditionType, Standing};
use super::reason::Reason;
use crate::core::KeyState;

/// Most keys that a message names.
const KEYS_NAMED: usize = 10;

/// What a condition is to say. The status follows from the reason, so that the two never disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    condition: ConditionType,
    standing: Standing,
    reason: Reason,
    message: String,
}

impl Verdict {
    /// A verdict in words of its own. The message names what failed, on what and why; never a value.
    ///
    /// A reason that the table does not allow on the condition is a mistake in the caller: a panic in debug builds,
    /// `Unknown` otherwise.
    #[must_use]
    pub fn new(condition: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        let standing = reason.standing_on(condition);
        debug_assert!(standing.is_some(), "{reason} cannot stand on {condition}");
        Self { condition, standing: standing.unwrap_or(Standing::Unknown), reason, message: message.into() }
    }

    /// A verdict in the words of the table.
    #[must_use]
    pub fn plain(condition: ConditionType, reason: Reason) -> Self {
        Self::new(condition, reason, reason.entry().meaning)
    }

    /// The registry comparison over keys and their states, in the order given.
    #[must_use]
    pub fn in_sync<'a>(states: impl IntoIterator<Item = (&'a str, KeyState)>) -> Self {
        let (mut total, mut stale, mut missing, mut unregistered) = (0_usize, Vec::new(), Vec::new(), Vec::new());
        for (key, state) in states {
            total += 1;
            match state {
                KeyState::Stale => stale.push(key),
                KeyState::Missing => missing.push(key),
                KeyState::Unregistered => unregistered.push(key),
                KeyState::InSync | KeyState::Exempt => {}
            }
        }
        let behind = [
            (Reason::KeysStale, "stale", stale),
            (Reason::KeysMissing, "missing", missing),
            (Reason::KeysUnregistered, "unregistered", unregistered),
        ];
        let Some((reason, ..)) = behind.iter().find(|(.., keys)| !keys.is_empty()) else {
            let message = match total {
                0 => "there are no keys to compare".to_owned(),
                1 => "the only key is in sync".to_owned(),
                _ => format!("all {total} keys are in sync"),
            };
            return Self::new(ConditionType::InSync, Reason::AllKeysInSync, message);
        };
        let parts = behind.iter().filter(|(.., keys)| !keys.is_empty());
        let parts: Vec<String> =
            parts.map(|(_, state, keys)| format!("{} {state}: {}", keys.len(), list_keys(keys))).collect();
        Self::new(ConditionType::InSync, *reason, parts.join("; "))
    }

    /// `Ready` of a binding: the first of `ResolvedRefs`, `Delivered` and, under Degrade, `InSync` that is not true.
    #[must_use]
    pub fn binding_ready(resolved: &Self, delivered: &Self, in_sync: &Self, policy: OutOfSyncPolicy) -> Self {
        let counted = [Some(resolved), Some(delivered), degrading(in_sync, policy)];
        Self::first_failing(counted.into_iter().flatten())
            .unwrap_or_else(|| Self::new(ConditionType::Ready, Reason::Ready, delivered.message.clone()))
    }

    /// `Ready` of a source: whether it is available and, under Degrade, in sync.
    #[must_use]
    pub fn source_ready(availability: &Self, in_sync: &Self, policy: OutOfSyncPolicy) -> Self {
        let counted = [Some(availability), degrading(in_sync, policy)];
        Self::first_failing(counted.into_iter().flatten()).unwrap_or_else(|| availability.clone())
    }

    fn first_failing<'a>(mut verdicts: impl Iterator<Item = &'a Self> + Clone) -> Option<Self> {
        // Suspended stands for all: nobody looked, so no other reason is current.
        let suspended = verdicts.clone().find(|verdict| verdict.standing == Standing::AsBefore);
        let failing = suspended.or_else(|| verdicts.find(|verdict| verdict.standing != Standing::True))?;
        Some(Self { condition: ConditionType::Ready, ..failing.clone() })
    }

    /// The condition that it is about.
    #[must_use]
    pub const fn condition(&self) -> ConditionType {
        self.condition
    }

    /// The status that it gives to the condition.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// Why.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason
    }

    /// In words; not yet bounded.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the condition holds.
    #[must_use]
    pub fn is_true(&self) -> bool {
        self.standing == Standing::True
    }
}

fn degrading(in_sync: &Verdict, policy: OutOfSyncPolicy) -> Option<&Verdict> {
    (policy == OutOfSyncPolicy::Degrade).then_some(in_sync)
}

/// Keys for a message: the first 10, and how many more there are.
#[must_use]
pub fn list_keys<K: AsRef<str>>(keys: &[K]) -> String {
    let named: Vec<&str> = keys.iter().take(KEYS_NAMED).map(AsRef::as_ref).collect();
    let mut list = named.join(", ");
    if keys.len() > KEYS_NAMED {
        write!(list, " and {} more", keys.len() - KEYS_NAMED).expect("a string takes all that is written");
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConditionType::{Delivered, InSync, Ready, ResolvedRefs};
    use OutOfSyncPolicy::{Degrade, Report};

    fn plain(condition: ConditionType, reason: Reason) -> Verdict {
        Verdict::plain(condition, reason)
    }

    #[test]
    fn a_binding_is_ready_when_nothing_that_counts_fails_and_else_names_the_first_that_does() {
        let table = [
            // resolved, delivered, in sync, policy => status and reason of Ready
            (Reason::Resolved, Reason::Delivered, Reason::AllKeysInSync, Report, Standing::True, Reason::Ready),
            (Reason::Resolved, Reason::Delivered, Reason::AllKeysInSync, Degrade, Standing::True, Reason::Ready),
            (Reason::Resolved, Reason::Delivered, Reason::KeysStale, Report, Standing::True, Reason::Ready),
            (Reason::Resolved, Reason::Delivered, Reason::KeysStale, Degrade, Standing::False, Reason::KeysStale),
            (Reason::Resolved, Reason::OpenFailed, Reason::KeysStale, Degrade, Standing::False, Reason::OpenFailed),
            (Reason::KeyMissing, Reason::NotResolved, Reason::KeysMissing, Report, Standing::False, Reason::KeyMissing),
            (
                Reason::Resolved,
                Reason::DatabaseUnavailable,
                Reason::DatabaseUnavailable,
                Report,
                Standing::Unknown,
                Reason::DatabaseUnavailable,
            ),
            (Reason::Pending, Reason::Pending, Reason::Pending, Report, Standing::Unknown, Reason::Pending),
            (Reason::KeyMissing, Reason::Suspended, Reason::Suspended, Report, Standing::AsBefore, Reason::Suspended),
        ];
        for (resolved, delivered, in_sync, policy, standing, reason) in table {
            let ready = Verdict::binding_ready(
                &plain(ResolvedRefs, resolved),
                &plain(Delivered, delivered),
                &plain(InSync, in_sync),
                policy,
            );
            assert_eq!(
                (ready.condition(), ready.standing(), ready.reason()),
                (Ready, standing, reason),
                "{resolved}, {delivered}, {in_sync}, {policy:?}"
            );
        }
    }

    #[test]
    fn a_source_is_ready_when_available_and_under_degrade_in_sync() {
        let table = [
            (Reason::Available, Reason::KeysMissing, Report, Standing::True, Reason::Available),
            (Reason::Available, Reason::KeysMissing, Degrade, Standing::False, Reason::KeysMissing),
            (Reason::Available, Reason::AllKeysInSync, Degrade, Standing::True, Reason::Available),
            (
                Reason::DatabaseUnavailable,
                Reason::DatabaseUnavailable,
                Report,
                Standing::False,
                Reason::DatabaseUnavailable,
            ),
            (Reason::Suspended, Reason::Suspended, Degrade, Standing::AsBefore, Reason::Suspended),
        ];
        for (availability, in_sync, policy, standing, reason) in table {
            let ready = Verdict::source_ready(&plain(Ready, availability), &plain(InSync, in_sync), policy);
            assert_eq!((ready.standing(), ready.reason()), (standing, reason), "{availability}, {in_sync}, {policy:?}");
        }
    }

    #[test]
    fn the_comparison_names_the_keys_that_are_behind_and_stale_ones_give_the_reason() {
        let verdict = Verdict::in_sync([
            ("A", KeyState::Missing),
            ("B", KeyState::Stale),
            ("C", KeyState::InSync),
            ("D", KeyState::Stale),
            ("E", KeyState::Exempt),
        ]);
        assert_eq!(verdict.reason(), Reason::KeysStale);
        assert_eq!(verdict.message(), "2 stale: B, D; 1 missing: A");
    }

    #[test]
    fn exempt_keys_and_no_keys_at_all_are_in_sync() {
        let message = |states: &[(&str, KeyState)]| {
            let verdict = Verdict::in_sync(states.iter().copied());
            assert_eq!(verdict.reason(), Reason::AllKeysInSync);
            verdict.message().to_owned()
        };
        assert_eq!(message(&[]), "there are no keys to compare");
        assert_eq!(message(&[("A", KeyState::Exempt)]), "the only key is in sync");
        assert_eq!(message(&[("A", KeyState::InSync), ("B", KeyState::InSync)]), "all 2 keys are in sync");
    }

    #[test]
    fn a_long_list_names_ten_keys_and_counts_the_rest() {
        let keys: Vec<String> = (0..13).map(|n| format!("K{n}")).collect();
        assert_eq!(list_keys(&keys), "K0, K1, K2, K3, K4, K5, K6, K7, K8, K9 and 3 more");
        assert_eq!(list_keys(&keys[..10]), "K0, K1, K2, K3, K4, K5, K6, K7, K8, K9");
    }
}
