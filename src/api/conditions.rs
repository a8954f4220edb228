//! From updates to `status.conditions`.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::condition_type::{ConditionStatus, ConditionType, Progress};
use super::condition_update::ConditionUpdate;
use super::reason::{Reason, TABLE};
use super::schema::MESSAGE_MAX;

/// A time as Kubernetes keeps it, in whole seconds, so that what is read back equals what was written. The rest is cut off:
/// no status tells of a time that has not come.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Time {
    let whole = TimestampRound::new().smallest(Unit::Second).mode(RoundMode::Trunc);
    Time(time.round(whole).unwrap_or(time))
}

/// The conditions that the updates amount to, in the order of [`ConditionType`].
///
/// `Reconciling` and `Stalled` follow from the update on `Ready` and are present only while true. A time of
/// transition is kept where the status did not change.
#[must_use]
pub fn conditions(
    previous: &[Condition],
    updates: &[ConditionUpdate],
    generation: i64,
    now: Timestamp,
) -> Vec<Condition> {
    let now = whole_seconds(now);
    let build = |condition: ConditionType, status: ConditionStatus, update: &ConditionUpdate| {
        let before = previous.iter().find(|before| before.type_ == condition.as_str());
        // What was true of one generation is not claimed of the next, at which nobody has looked.
        let (status, generation) = match status {
            ConditionStatus::AsBefore => (
                before.map_or(ConditionStatus::Unknown.as_str(), |before| &before.status),
                before.and_then(|before| before.observed_generation).unwrap_or(generation),
            ),
            said => (said.as_str(), generation),
        };
        let since = before.filter(|before| before.status == status).map(|before| before.last_transition_time.clone());
        Condition {
            type_: condition.as_str().to_owned(),
            status: status.to_owned(),
            reason: update.reason().as_str().to_owned(),
            message: bounded(update.message()),
            observed_generation: Some(generation),
            last_transition_time: since.unwrap_or_else(|| now.clone()),
        }
    };

    let mut sorted: Vec<&ConditionUpdate> = updates.iter().collect();
    sorted.sort_by_key(|update| update.condition());
    let mut conditions: Vec<Condition> =
        sorted.iter().map(|update| build(update.condition(), update.status(), update)).collect();
    if let Some(ready) = updates.iter().find(|update| update.condition() == ConditionType::Ready) {
        match ready.reason().entry().progress {
            Progress::Waits => conditions.push(build(ConditionType::Reconciling, ConditionStatus::True, ready)),
            Progress::Stalled => conditions.push(build(ConditionType::Stalled, ConditionStatus::True, ready)),
            Progress::Fine | Progress::Suspended => {}
        }
    }
    conditions
}

/// Whether a status is worth writing. No time in it is set merely because it passed, so that a reconcile that found
/// nothing new compares equal.
#[must_use]
pub fn differs<S: PartialEq>(old: Option<&S>, new: &S) -> bool {
    old != Some(new)
}

/// The condition of that type, if a status has it.
#[must_use]
pub fn find(conditions: &[Condition], condition: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|found| found.type_ == condition.as_str())
}

/// The types of condition that people are told of when they turn; the first sums the others up.
pub const ANNOUNCED: &[&str] = &[ConditionType::Ready.as_str(), ConditionType::InSync.as_str()];

/// Whether somebody should have a look at a condition that turned. What a person asked for is nothing to look at.
#[must_use]
pub fn is_warning(turned: &Condition) -> bool {
    turned.status != ConditionStatus::True.as_str() && turned.reason != Reason::Suspended.as_str()
}

/// Whether a binding's condition turned with its source, which says so itself, for all of its bindings at once: a change that
/// a thousand of them share is one Event and one line. By the reasons before and after.
#[must_use]
pub fn is_said_of_source(before: Option<&str>, after: &str) -> bool {
    let of_source = [
        Reason::KeysStale,
        Reason::KeysMissing,
        Reason::KeysUnregistered,
        Reason::RowsMayBeHidden,
        Reason::DatabaseUnavailable,
        Reason::SourceNotReady,
    ];
    let is_of_source = |reason: &str| of_source.iter().any(|of_source| of_source.as_str() == reason);
    is_of_source(after) || before.is_some_and(is_of_source)
}

/// The reason of `Ready`, as the closed table has it: what somebody else wrote into a status is no label of a metric.
#[must_use]
pub fn ready_reason(conditions: &[Condition]) -> &'static str {
    let said = find(conditions, ConditionType::Ready).map(|ready| ready.reason.as_str());
    TABLE.iter().find(|entry| Some(entry.name) == said).map_or("Unknown", |entry| entry.name)
}

/// At most 32,768 bytes, cut between characters.
fn bounded(message: &str) -> String {
    if message.len() <= MESSAGE_MAX {
        return message.to_owned();
    }
    let mark = "…";
    format!("{}{mark}", &message[..message.floor_char_boundary(MESSAGE_MAX - mark.len())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConditionType::{Delivered, InSync, Ready, ResolvedRefs};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time of this century")
    }

    fn types(conditions: &[Condition]) -> Vec<&str> {
        conditions.iter().map(|condition| condition.type_.as_str()).collect()
    }

    fn binding(reason: Reason) -> Vec<ConditionUpdate> {
        let resolved = ConditionUpdate::plain(ResolvedRefs, Reason::Resolved);
        let delivered = ConditionUpdate::plain(Delivered, reason);
        let in_sync = ConditionUpdate::plain(InSync, Reason::AllKeysInSync);
        let ready =
            ConditionUpdate::binding_ready(&resolved, &delivered, &in_sync, super::super::OutOfSyncPolicy::Report);
        vec![in_sync, delivered, ready, resolved]
    }

    #[test]
    fn conditions_stand_in_one_order_whatever_the_order_of_the_updates() {
        let conditions = conditions(&[], &binding(Reason::Delivered), 1, at(10));
        assert_eq!(types(&conditions), ["Ready", "ResolvedRefs", "Delivered", "InSync"]);
        assert!(conditions.iter().all(|condition| condition.status == "True"
            && condition.observed_generation == Some(1)
            && condition.last_transition_time == Time(at(10))));
    }

    #[test]
    fn no_time_is_later_than_the_clock() {
        let now = at(10) + jiff::SignedDuration::from_millis(999);
        let conditions = conditions(&[], &binding(Reason::Delivered), 1, now);
        assert!(conditions.iter().all(|condition| condition.last_transition_time == Time(at(10))), "{conditions:?}");
    }

    #[test]
    fn the_time_of_transition_moves_only_with_the_status() {
        let first = conditions(&[], &binding(Reason::OpenFailed), 1, at(10));
        let second = conditions(&first, &binding(Reason::HashMismatch), 2, at(20));
        let third = conditions(&second, &binding(Reason::Delivered), 2, at(30));
        let time = |conditions: &[Condition], of| find(conditions, of).map(|found| found.last_transition_time.0);
        assert_eq!(time(&second, Delivered), Some(at(10)));
        assert_eq!(find(&second, Delivered).map(|found| found.reason.as_str()), Some("HashMismatch"));
        assert_eq!(time(&third, Delivered), Some(at(30)));
        assert_eq!(time(&third, ResolvedRefs), Some(at(10)));
    }

    #[test]
    fn a_look_that_finds_nothing_new_changes_nothing() {
        let first = conditions(&[], &binding(Reason::Delivered), 1, at(10));
        assert!(!differs(Some(&first), &conditions(&first, &binding(Reason::Delivered), 1, at(99))));
        assert!(differs(Some(&first), &conditions(&first, &binding(Reason::Delivered), 2, at(99))));
        assert!(differs(None, &first));
    }

    #[test]
    fn stalled_and_reconciling_are_there_only_while_true() {
        let stalled = conditions(&[], &binding(Reason::TargetForeign), 1, at(10));
        assert_eq!(types(&stalled)[4..], ["Stalled"]);
        let waiting = conditions(&stalled, &binding(Reason::DatabaseUnavailable), 1, at(20));
        assert_eq!(types(&waiting)[4..], ["Reconciling"]);
        assert_eq!(find(&waiting, Ready).map(|found| found.status.as_str()), Some("Unknown"));
        assert_eq!(conditions(&waiting, &binding(Reason::Delivered), 1, at(30)).len(), 4);
    }

    #[test]
    fn suspended_keeps_the_last_status_and_says_why() {
        let suspended =
            [ConditionUpdate::plain(Ready, Reason::Suspended), ConditionUpdate::plain(InSync, Reason::Suspended)];
        let ready = conditions(&[], &binding(Reason::Delivered), 1, at(10));
        let kept = conditions(&ready, &suspended, 2, at(20));
        assert_eq!(
            kept.iter().map(|c| (c.status.as_str(), c.reason.as_str())).collect::<Vec<_>>(),
            [("True", "Suspended"), ("True", "Suspended")]
        );
        assert_eq!(kept[0].last_transition_time, Time(at(10)));
        assert_eq!(kept[0].observed_generation, Some(1), "a wait for the second generation does not end");
        assert_eq!(conditions(&[], &suspended, 1, at(20))[0].status, "Unknown");
    }

    #[test]
    fn what_is_read_back_equals_what_was_written() {
        let written =
            conditions(&[], &binding(Reason::Delivered), 1, "2026-11-23T10:00:00.7Z".parse().expect("a time"));
        let read: Vec<Condition> =
            serde_json::from_value(serde_json::to_value(&written).expect("conditions are JSON")).expect("and back");
        assert_eq!(read, written);
    }

    #[test]
    fn a_message_is_cut_between_characters_at_the_limit_of_the_schema() {
        let update = ConditionUpdate::new(Ready, Reason::InvalidSpec, "é".repeat(MESSAGE_MAX));
        let message = conditions(&[], &[update], 1, at(0)).remove(0).message;
        assert!(message.len() <= MESSAGE_MAX && message.len() > MESSAGE_MAX - 5, "{}", message.len());
        assert!(message.ends_with("é…"));
    }

    #[test]
    fn only_what_somebody_should_look_at_is_a_warning() {
        let condition = |type_: &str, status: &str, reason: &str| Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(at(0)),
        };
        assert!(!is_warning(&condition("Ready", "True", "Ready")));
        assert!(is_warning(&condition("Ready", "False", "OpenFailed")));
        assert!(is_warning(&condition("InSync", "False", "KeysStale")));
        assert!(!is_warning(&condition("Ready", "Unknown", "Suspended")));
    }
}
