//! A condition update is what one reconcile says about one condition; `Ready` is derived from the others, here alone.

use super::OutOfSyncPolicy;
use super::condition_type::{ConditionStatus, ConditionType};
use super::reason::Reason;
use crate::core::{KeyState, is_secret_key};

/// Most keys that a message names.
const KEYS_NAMED: usize = 10;

/// What a condition is to say. The status follows from the reason, so that the two never disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConditionUpdate {
    condition: ConditionType,
    status: ConditionStatus,
    reason: Reason,
    message: String,
}

impl ConditionUpdate {
    /// An update in words of its own. The message names what failed, on what and why; never a value.
    ///
    /// A reason that the table does not allow on the condition is a mistake in the caller: a panic in debug builds,
    /// `Unknown` otherwise.
    #[must_use]
    pub fn new(condition: ConditionType, reason: Reason, message: impl Into<String>) -> Self {
        let status = reason.status_on(condition);
        debug_assert!(status.is_some(), "{reason} cannot stand on {condition}");
        Self { condition, status: status.unwrap_or(ConditionStatus::Unknown), reason, message: message.into() }
    }

    /// An update in the words of the table.
    #[must_use]
    pub fn plain(condition: ConditionType, reason: Reason) -> Self {
        Self::new(condition, reason, reason.entry().meaning)
    }

    /// The registry comparison over `total` keys: those that are out of sync and their states, in the order given. Others
    /// may be among them.
    #[must_use]
    pub fn in_sync<'a>(total: usize, states: impl IntoIterator<Item = (&'a str, KeyState)>) -> Self {
        let (mut stale, mut missing, mut unregistered) = (Vec::new(), Vec::new(), Vec::new());
        for (key, state) in states {
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

    fn first_failing<'a>(mut updates: impl Iterator<Item = &'a Self> + Clone) -> Option<Self> {
        // Suspended stands for all: nobody looked, so no other reason is current.
        let suspended = updates.clone().find(|update| update.status == ConditionStatus::AsBefore);
        let failing = suspended.or_else(|| updates.find(|update| update.status != ConditionStatus::True))?;
        Some(Self { condition: ConditionType::Ready, ..failing.clone() })
    }

    /// The condition that it is about.
    #[must_use]
    pub const fn condition(&self) -> ConditionType {
        self.condition
    }

    /// The status that it gives to the condition.
    #[must_use]
    pub const fn status(&self) -> ConditionStatus {
        self.status
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
}

fn degrading(in_sync: &ConditionUpdate, policy: OutOfSyncPolicy) -> Option<&ConditionUpdate> {
    (policy == OutOfSyncPolicy::Degrade).then_some(in_sync)
}

/// Keys of a registry for a message: the first 10, and how many more there are. Whoever may look at an object reads it, so a name that
/// no Secret takes is counted and not told: it may be a secret that became a name.
#[must_use]
pub fn list_keys<K: AsRef<str>>(keys: &[K]) -> String {
    let (shown, odd): (Vec<&str>, Vec<&str>) = keys.iter().map(AsRef::as_ref).partition(|key| is_secret_key(key));
    let odd = (!odd.is_empty()).then(|| format!("{} whose name no Secret takes and is not shown", odd.len()));
    let shown = (!shown.is_empty()).then(|| list_names(&shown));
    shown.into_iter().chain(odd).collect::<Vec<_>>().join(" and ")
}

/// Names that the API server has checked, as [`list_keys`].
#[must_use]
pub(crate) fn list_names<N: AsRef<str>>(names: &[N]) -> String {
    let shown: Vec<&str> = names.iter().take(KEYS_NAMED).map(AsRef::as_ref).collect();
    let more = names.len() - shown.len();
    let counted = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &counted
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConditionType::{Delivered, InSync, Ready, ResolvedRefs};
    use OutOfSyncPolicy::{Degrade, Report};

    fn plain(condition: ConditionType, reason: Reason) -> ConditionUpdate {
        ConditionUpdate::plain(condition, reason)
    }

    #[test]
    fn a_binding_is_ready_when_nothing_that_counts_fails_and_else_names_the_first_that_does() {
        let table = [
            // resolved, delivered, in sync, policy => status and reason of Ready
            (Reason::Resolved, Reason::Delivered, Reason::AllKeysInSync, Report, ConditionStatus::True, Reason::Ready),
            (Reason::Resolved, Reason::Delivered, Reason::AllKeysInSync, Degrade, ConditionStatus::True, Reason::Ready),
            (Reason::Resolved, Reason::Delivered, Reason::KeysStale, Report, ConditionStatus::True, Reason::Ready),
            (
                Reason::Resolved,
                Reason::Delivered,
                Reason::KeysStale,
                Degrade,
                ConditionStatus::False,
                Reason::KeysStale,
            ),
            (
                Reason::Resolved,
                Reason::OpenFailed,
                Reason::KeysStale,
                Degrade,
                ConditionStatus::False,
                Reason::OpenFailed,
            ),
            (
                Reason::KeyMissing,
                Reason::NotResolved,
                Reason::KeysMissing,
                Report,
                ConditionStatus::False,
                Reason::KeyMissing,
            ),
            (
                Reason::Resolved,
                Reason::DatabaseUnavailable,
                Reason::DatabaseUnavailable,
                Report,
                ConditionStatus::Unknown,
                Reason::DatabaseUnavailable,
            ),
            (Reason::Pending, Reason::Pending, Reason::Pending, Report, ConditionStatus::Unknown, Reason::Pending),
            (
                Reason::KeyMissing,
                Reason::Suspended,
                Reason::Suspended,
                Report,
                ConditionStatus::AsBefore,
                Reason::Suspended,
            ),
        ];
        for (resolved, delivered, in_sync, policy, status, reason) in table {
            let ready = ConditionUpdate::binding_ready(
                &plain(ResolvedRefs, resolved),
                &plain(Delivered, delivered),
                &plain(InSync, in_sync),
                policy,
            );
            assert_eq!(
                (ready.condition(), ready.status(), ready.reason()),
                (Ready, status, reason),
                "{resolved}, {delivered}, {in_sync}, {policy:?}"
            );
        }
    }

    #[test]
    fn a_source_is_ready_when_available_and_under_degrade_in_sync() {
        let table = [
            (Reason::Available, Reason::KeysMissing, Report, ConditionStatus::True, Reason::Available),
            (Reason::Available, Reason::KeysMissing, Degrade, ConditionStatus::False, Reason::KeysMissing),
            (Reason::Available, Reason::AllKeysInSync, Degrade, ConditionStatus::True, Reason::Available),
            (
                Reason::DatabaseUnavailable,
                Reason::DatabaseUnavailable,
                Report,
                ConditionStatus::False,
                Reason::DatabaseUnavailable,
            ),
            (Reason::Suspended, Reason::Suspended, Degrade, ConditionStatus::AsBefore, Reason::Suspended),
        ];
        for (availability, in_sync, policy, status, reason) in table {
            let ready = ConditionUpdate::source_ready(&plain(Ready, availability), &plain(InSync, in_sync), policy);
            assert_eq!((ready.status(), ready.reason()), (status, reason), "{availability}, {in_sync}, {policy:?}");
        }
    }

    #[test]
    fn the_comparison_names_the_keys_that_are_behind_and_stale_ones_give_the_reason() {
        let update = ConditionUpdate::in_sync(
            5,
            [
                ("A", KeyState::Missing),
                ("B", KeyState::Stale),
                ("C", KeyState::InSync),
                ("D", KeyState::Stale),
                ("E", KeyState::Exempt),
            ],
        );
        assert_eq!(update.reason(), Reason::KeysStale);
        assert_eq!(update.message(), "2 stale: B, D; 1 missing: A");
    }

    #[test]
    fn exempt_keys_and_no_keys_at_all_are_in_sync() {
        let message = |states: &[(&str, KeyState)]| {
            let update = ConditionUpdate::in_sync(states.len(), states.iter().copied());
            assert_eq!(update.reason(), Reason::AllKeysInSync);
            update.message().to_owned()
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

    #[test]
    fn a_name_that_no_secret_takes_is_counted_and_not_told() {
        let odd = "DATABASE_URL: postgres://u:hunter2@h/d";
        assert_eq!(list_keys(&["A", odd, "tls.crt"]), "A, tls.crt and 1 whose name no Secret takes and is not shown");
        assert_eq!(list_keys(&[odd, "a b"]), "2 whose name no Secret takes and is not shown");
        let update = ConditionUpdate::in_sync(2, [(odd, KeyState::Stale), ("A", KeyState::Missing)]);
        assert!(update.message().starts_with("1 stale: 1 whose name"), "{}", update.message());
        assert!(!update.message().contains("hunter2"), "{}", update.message());
    }
}
