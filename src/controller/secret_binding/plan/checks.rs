//! The ordered list of checks: each looks at the facts and is silent, or says what is to be done; the first that speaks
//! ends the list.

mod content;
mod prerequisites;

use self::content::{
    base_is_known, creation_is_for_the_living, history_continues, named_keys_are_granted, named_keys_exist,
    names_are_valid, removals_are_known, removals_are_proven, something_changed, something_is_left, target_is_known,
    target_is_ours, values_are_known,
};
use self::prerequisites::{
    binding_is_there, grants_are_valid, namespace_is_granted, namespace_is_there, not_suspended, source_exists,
    source_is_not_suspended, source_is_read, spec_is_valid, takeover_is_for_the_living,
};
use super::Decision;
use super::facts::Facts;

pub(super) use self::content::ungranted;

/// Silent, or what is to be done.
type Check = fn(&Facts) -> Option<Decision>;

/// In this order. Up to `source_is_read` none needs the database; from there on each may rely on a snapshot.
const CHECKS: &[Check] = &[
    binding_is_there,
    namespace_is_there,
    takeover_is_for_the_living,
    not_suspended,
    spec_is_valid,
    source_exists,
    source_is_not_suspended,
    grants_are_valid,
    namespace_is_granted,
    source_is_read,
    target_is_known,
    history_continues,
    named_keys_are_granted,
    named_keys_exist,
    something_changed,
    removals_are_known,
    removals_are_proven,
    names_are_valid,
    target_is_ours,
    something_is_left,
    base_is_known,
    creation_is_for_the_living,
    values_are_known,
];

pub(super) fn first_to_speak(facts: &Facts) -> Option<Decision> {
    CHECKS.iter().find_map(|check| check(facts))
}
