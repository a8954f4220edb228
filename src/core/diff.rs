//! Two environments side by side, by value hash, nothing decrypted.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{HashComparison, KeyName, ValueHash};

/// How a key differs between a left and a right environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Difference {
    /// Both have the key, with equal values.
    Same,
    /// Both have the key, with different values.
    Different,
    /// Both have it, hashed in ways that cannot be compared.
    Unknown,
    /// Only the left has it.
    OnlyLeft,
    /// Only the right has it.
    OnlyRight,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct KeyDifference {
    pub(crate) key: KeyName,
    pub(crate) difference: Difference,
}

/// Compares the live keys of two environments; the answer is sorted by key and holds equal keys too.
///
/// A hash of `None` (a row without one, or with one in a form that is not understood) compares as unknown.
#[must_use]
pub(crate) fn diff(
    left: &BTreeMap<KeyName, Option<ValueHash>>,
    right: &BTreeMap<KeyName, Option<ValueHash>>,
) -> Vec<KeyDifference> {
    let keys: BTreeSet<&KeyName> = left.keys().chain(right.keys()).collect();
    keys.into_iter()
        .map(|key| {
            let difference = match (left.get(key), right.get(key)) {
                (Some(_), None) => Difference::OnlyLeft,
                (None, _) => Difference::OnlyRight,
                (Some(Some(ours)), Some(Some(theirs))) => match ours.compare(theirs) {
                    HashComparison::Equal => Difference::Same,
                    HashComparison::Different => Difference::Different,
                    HashComparison::Unknown => Difference::Unknown,
                },
                (Some(_), Some(_)) => Difference::Unknown,
            };
            KeyDifference { key: key.clone(), difference }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_difference_is_told_apart() {
        let key = |name: &str| name.parse::<KeyName>().unwrap();
        let hash = |byte| Some(ValueHash::Sha256([byte; 32]));
        let left = BTreeMap::from([
            (key("same"), hash(1)),
            (key("changed"), hash(1)),
            (key("left"), hash(1)),
            (key("odd"), None),
        ]);
        let right = BTreeMap::from([
            (key("same"), hash(1)),
            (key("changed"), hash(2)),
            (key("right"), hash(1)),
            (key("odd"), hash(1)),
        ]);
        let found: Vec<_> = diff(&left, &right).into_iter().map(|d| (d.key.to_string(), d.difference)).collect();
        let expected = [
            ("changed", Difference::Different),
            ("left", Difference::OnlyLeft),
            ("odd", Difference::Unknown),
            ("right", Difference::OnlyRight),
            ("same", Difference::Same),
        ];
        assert_eq!(found, expected.map(|(k, d)| (k.to_owned(), d)));
    }
}
