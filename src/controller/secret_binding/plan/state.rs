//! What one reconcile of a binding amounts to: a single value, from which all its conditions follow.

use crate::api::{ConditionType, ConditionUpdate, OutOfSyncPolicy, Reason};

/// What one reconcile of a binding amounts to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BindingState {
    /// A person asked to leave everything as it is, here or on the source.
    Suspended {
        /// Who was asked.
        message: String,
    },
    /// The spec asks for something that cannot be done.
    InvalidSpec {
        /// Which field, and why.
        message: String,
    },
    /// The source cannot be used: not there, not ready, or not granted.
    Unresolved {
        /// [`Reason::SourceNotFound`], [`Reason::SourceNotReady`] or [`Reason::NotGranted`].
        reason: Reason,
        /// What is wrong, in words.
        message: String,
    },
    /// The grant was withdrawn, and the Secret with it.
    Revoked {
        /// What was deleted.
        message: String,
    },
    /// The source can be used, but not without taking something away that must not go.
    Held {
        /// [`Reason::KeyMissing`], [`Reason::RemovalUnproven`], [`Reason::RowsMayBeHidden`] or [`Reason::MassRemoval`].
        reason: Reason,
        /// Which keys.
        message: String,
        in_sync: ConditionUpdate,
    },
    /// What was resolved could not be delivered.
    Undelivered {
        /// One of those that stand on `Delivered`.
        reason: Reason,
        /// What is wrong, in words.
        message: String,
        in_sync: ConditionUpdate,
    },
    /// The database has been away for longer than the binding may stand on its last word.
    DatabaseUnavailable {
        /// [`Reason::DatabaseUnavailable`], [`Reason::DatabaseRefused`] or [`Reason::SchemaNotServed`].
        reason: Reason,
        /// What the database answered.
        message: String,
    },
    /// The source has nothing that the binding selects, and so there is no Secret.
    Empty {
        /// What there is none of.
        message: String,
        in_sync: ConditionUpdate,
    },
    /// The Secret holds what the source has.
    Delivered {
        /// What it holds, in words.
        message: String,
        in_sync: ConditionUpdate,
    },
}

impl BindingState {
    /// What it says about each condition.
    #[must_use]
    pub(crate) fn updates(&self, policy: OutOfSyncPolicy) -> [ConditionUpdate; 4] {
        use ConditionType::{Delivered, InSync, ResolvedRefs};
        let all = |reason, message: &str| {
            [ResolvedRefs, Delivered, InSync].map(|condition| ConditionUpdate::new(condition, reason, message))
        };
        let not_resolved = || ConditionUpdate::plain(Delivered, Reason::NotResolved);
        let unknown = |reason, message: &str| ConditionUpdate::new(InSync, reason, message);
        let resolved = || ConditionUpdate::plain(ResolvedRefs, Reason::Resolved);
        let [resolved, delivered, in_sync] = match self {
            Self::Suspended { message } => all(Reason::Suspended, message),
            Self::InvalidSpec { message } => [
                ConditionUpdate::new(ResolvedRefs, Reason::InvalidSpec, message),
                not_resolved(),
                unknown(Reason::InvalidSpec, message),
            ],
            Self::Unresolved { reason, message } => {
                [ConditionUpdate::new(ResolvedRefs, *reason, message), not_resolved(), unknown(*reason, message)]
            }
            Self::Revoked { message } => [
                ConditionUpdate::new(ResolvedRefs, Reason::NotGranted, message),
                ConditionUpdate::new(Delivered, Reason::Revoked, message),
                unknown(Reason::NotGranted, message),
            ],
            Self::Held { reason, message, in_sync } => {
                [ConditionUpdate::new(ResolvedRefs, *reason, message), not_resolved(), in_sync.clone()]
            }
            Self::Undelivered { reason, message, in_sync } => {
                [resolved(), ConditionUpdate::new(Delivered, *reason, message), in_sync.clone()]
            }
            Self::DatabaseUnavailable { reason, message } => {
                [resolved(), ConditionUpdate::new(Delivered, *reason, message), unknown(*reason, message)]
            }
            Self::Empty { message, in_sync } => {
                [resolved(), ConditionUpdate::new(Delivered, Reason::SourceEmpty, message), in_sync.clone()]
            }
            Self::Delivered { message, in_sync } => {
                [resolved(), ConditionUpdate::new(Delivered, Reason::Delivered, message), in_sync.clone()]
            }
        };
        let ready = ConditionUpdate::binding_ready(&resolved, &delivered, &in_sync, policy);
        [ready, resolved, delivered, in_sync]
    }

    /// Whether it answers a person who asked for a poll: it does, where it rests on such a poll, or
    /// needs none. Suspended is no answer, as nobody polls, and neither is a database that is away: a gate that waits
    /// for the answer must not pass on what was known before.
    #[must_use]
    pub(crate) const fn answers_sync(&self) -> bool {
        !matches!(self, Self::Suspended { .. } | Self::DatabaseUnavailable { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ConditionStatus;

    fn in_sync() -> ConditionUpdate {
        ConditionUpdate::in_sync(0, [])
    }

    #[test]
    fn every_state_gives_each_condition_a_reason_that_the_table_allows() {
        let message = || "why".to_owned();
        let mut states = vec![
            BindingState::Suspended { message: message() },
            BindingState::InvalidSpec { message: message() },
            BindingState::Revoked { message: message() },
            BindingState::Delivered { message: message(), in_sync: in_sync() },
            BindingState::Empty { message: message(), in_sync: in_sync() },
        ];
        for reason in [Reason::DatabaseUnavailable, Reason::DatabaseRefused, Reason::SchemaNotServed] {
            states.push(BindingState::DatabaseUnavailable { reason, message: message() });
        }
        for reason in [Reason::SourceNotFound, Reason::SourceNotReady, Reason::NotGranted] {
            states.push(BindingState::Unresolved { reason, message: message() });
        }
        for reason in [Reason::KeyMissing, Reason::RemovalUnproven, Reason::RowsMayBeHidden, Reason::MassRemoval] {
            states.push(BindingState::Held { reason, message: message(), in_sync: in_sync() });
        }
        for reason in [
            Reason::TargetForeign,
            Reason::TargetTaken,
            Reason::TargetTooLarge,
            Reason::TargetImmutable,
            Reason::TargetAltered,
            Reason::TargetContested,
            Reason::KeyNameInvalid,
            Reason::ValueUnsuitable,
            Reason::TemplateFailed,
            Reason::TemplateNotFound,
            Reason::SecretTypeInvalid,
            Reason::MergeConflict,
            Reason::TargetMissing,
            Reason::RingNotHeld,
            Reason::OpenFailed,
            Reason::HashMismatch,
            Reason::HistoryDiverged,
            Reason::StandbyBehind,
            Reason::WriteRefused,
            Reason::WriteFailed,
        ] {
            states.push(BindingState::Undelivered { reason, message: message(), in_sync: in_sync() });
        }
        for state in states {
            // A reason that the table does not allow panics in debug builds.
            let [ready, ..] = state.updates(OutOfSyncPolicy::Report);
            let is_ready = ready.status() == ConditionStatus::True;
            assert_eq!(
                is_ready,
                matches!(state, BindingState::Delivered { .. } | BindingState::Empty { .. }),
                "{state:?}"
            );
        }
    }

    #[test]
    fn what_cannot_be_resolved_is_not_delivered_and_not_in_sync_either() {
        let state = BindingState::Unresolved { reason: Reason::NotGranted, message: "no".into() };
        let statuses = state.updates(OutOfSyncPolicy::Report).map(|update| update.status());
        assert_eq!(
            statuses,
            [ConditionStatus::False, ConditionStatus::False, ConditionStatus::False, ConditionStatus::Unknown]
        );
    }

    #[test]
    fn a_database_that_is_away_makes_delivery_and_comparison_unknown_and_nothing_false() {
        let state =
            BindingState::DatabaseUnavailable { reason: Reason::DatabaseUnavailable, message: "no route".into() };
        let statuses = state.updates(OutOfSyncPolicy::Report).map(|update| update.status());
        assert_eq!(
            statuses,
            [ConditionStatus::Unknown, ConditionStatus::True, ConditionStatus::Unknown, ConditionStatus::Unknown]
        );
    }
}
