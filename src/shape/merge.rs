//! `merge`: several entries become one, or JSON values are taken apart.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::entry::Entry;
use super::error::ShapeError;
use super::value;
use crate::api::{ConflictPolicy, MergeStrategy, PriorityPolicy, RewriteMerge};
use crate::core::{SecretValue, shown_key};

/// What a merge leaves of the entries. `at` says where it stands.
pub(super) fn merged(merge: &RewriteMerge, entries: Vec<Entry>, at: &str) -> Result<Vec<Entry>, ShapeError> {
    let strategy = merge.strategy.unwrap_or_default();
    let entries = in_order(merge, entries, strategy, at)?;
    match strategy {
        MergeStrategy::Name => by_name(merge, entries),
        MergeStrategy::Extract => extracted(merge, &entries),
        MergeStrategy::Json => into_one(merge, &entries),
        // The spec was refused before.
        MergeStrategy::Unknown => Ok(entries),
    }
}

/// In the order in which they are merged: the later one wins.
fn in_order(
    merge: &RewriteMerge,
    mut entries: Vec<Entry>,
    strategy: MergeStrategy,
    at: &str,
) -> Result<Vec<Entry>, ShapeError> {
    // By the name that it has now, all with one name are one and the same to a priority.
    let called = |entry: &Entry| if strategy == MergeStrategy::Name { entry.key.clone() } else { entry.name.clone() };
    let priority = merge.priority.as_deref().unwrap_or_default();
    let missing: Vec<String> = priority
        .iter()
        .filter(|name| !entries.iter().any(|entry| called(entry) == **name))
        .map(|name| shown_key(name).to_owned())
        .collect();
    if !missing.is_empty() && merge.priority_policy.unwrap_or_default() == PriorityPolicy::Strict {
        return Err(ShapeError::PriorityMissing { step: at.to_owned(), names: missing });
    }
    let place = |entry: &Entry| priority.iter().position(|name| *name == called(entry));
    entries.sort_by_cached_key(|entry| (place(entry), called(entry)));
    Ok(entries)
}

fn refuses(merge: &RewriteMerge) -> bool {
    merge.conflict_policy.unwrap_or_default() == ConflictPolicy::Error
}

fn by_name(merge: &RewriteMerge, entries: Vec<Entry>) -> Result<Vec<Entry>, ShapeError> {
    let mut winners = BTreeMap::<String, Entry>::new();
    for entry in entries {
        if let Some(other) = winners.get(&entry.name).filter(|_| refuses(merge)) {
            return Err(ShapeError::name_twice(&entry.name, other, &entry));
        }
        winners.insert(entry.name.clone(), entry);
    }
    Ok(winners.into_values().collect())
}

fn extracted(merge: &RewriteMerge, entries: &[Entry]) -> Result<Vec<Entry>, ShapeError> {
    let properties = properties(merge, entries)?;
    let entries = properties.into_iter().map(|(name, (from, raw))| {
        let value = value::of_property(raw).map_err(|cause| from.unsuitable(cause))?;
        Ok(Entry { name, value: Some(value), ..from.clone() })
    });
    entries.collect()
}

fn into_one(merge: &RewriteMerge, entries: &[Entry]) -> Result<Vec<Entry>, ShapeError> {
    let Some(first) = entries.first() else { return Ok(Vec::new()) };
    let properties = properties(merge, entries)?;
    let is_opened = entries.iter().all(|entry| entry.value.is_some());
    let object: BTreeMap<&str, &RawValue> = properties.iter().map(|(name, (_, raw))| (name.as_str(), *raw)).collect();
    // Names and texts that were JSON before: it cannot fail.
    let text = serde_json::to_vec(&object).unwrap_or_default();
    let value = is_opened.then(|| SecretValue::from(text));
    Ok(vec![Entry { name: merge.into.clone().unwrap_or_default(), value, ..first.clone() }])
}

/// The properties of all values, each with the entry that it is from. None of those that are not opened.
fn properties<'e>(
    merge: &RewriteMerge,
    entries: &'e [Entry],
) -> Result<BTreeMap<String, (&'e Entry, &'e RawValue)>, ShapeError> {
    let mut all = BTreeMap::<String, (&Entry, &RawValue)>::new();
    for entry in entries {
        let Some(value) = &entry.value else { continue };
        for (name, raw) in value::properties(value).map_err(|cause| entry.unsuitable(cause))? {
            if let Some((other, _)) = all.get(&name).filter(|_| refuses(merge)) {
                return Err(ShapeError::name_twice(&name, other, entry));
            }
            all.insert(name, (entry, raw));
        }
    }
    Ok(all)
}
