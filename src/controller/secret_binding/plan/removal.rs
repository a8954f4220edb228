//! Which keys would leave a Secret, and on what proof.
//!
//! A value leaves on a tombstone of the very row that was delivered, by the binding's own spec, or by a withdrawn grant
//! where the source says so. Anything else (an error, zero rows, a row that vanished) keeps all that is there.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;

use super::content::SelectedKey;
use super::provenance::{DeliveredRow, Provenance};
use crate::api::{OnRevoke, Reason, Selection, list_keys};
use crate::controller::sources::{Snapshot, Tombstones};
use crate::core::{ShortDigest, digest_of_key};
use crate::shape::Finder;

/// Fewest delivered keys for which losing most of them at once is suspicious.
const MASS_FROM: usize = 10;

/// What the Secret has.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Delivered<'a> {
    /// There is none yet, or none of ours.
    Nothing,
    /// What it says about itself.
    Known(&'a Provenance),
    /// It is ours and no longer says what it was made from.
    Unreadable,
}

/// All that the question depends on.
pub(crate) struct Question<'a> {
    /// What the Secret has.
    pub(crate) delivered: Delivered<'a>,
    /// The names of its keys, in order, where it was read whole.
    pub(crate) names: Option<Vec<&'a str>>,
    /// Whether it has keys, or may have, that no binding delivered: it was handed over, or left to nobody for a while.
    pub(crate) is_handed_over: bool,
    /// What it would have.
    pub(crate) keys: &'a [SelectedKey<'a>],
    /// The names that it would have then, as far as they are known before a value is opened.
    pub(crate) stays: &'a BTreeSet<String>,
    /// What the spec asks for.
    pub(crate) selection: Selection<'a>,
    /// The source that the spec names.
    pub(crate) source: &'a str,
    /// What was read.
    pub(crate) snapshot: &'a Snapshot,
    /// Which rows were deleted on purpose, as far as the registry was asked.
    pub(crate) tombstones: &'a Tombstones,
    /// Whether the environment that was delivered from is another one than the snapshot's, and was deleted on purpose.
    pub(crate) environment_was_deleted: bool,
    /// What the namespace was granted.
    pub(crate) is_granted: &'a dyn Fn(&str) -> bool,
    /// What happens to what is no longer granted.
    pub(crate) on_revoke: OnRevoke,
}

/// What keeps the Secret as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Keys would leave without proof.
    Unproven {
        /// Those whose names are known.
        keys: Vec<String>,
        /// How many more there are.
        nameless: usize,
        /// Whether rows may be hidden from the operator.
        hidden: bool,
    },
    /// Most keys were removed at once.
    Mass {
        /// How many.
        removed: usize,
        /// Of how many.
        delivered: usize,
    },
    /// Keys are no longer granted, and the source says to retain them.
    Withdrawn { keys: Vec<String> },
    /// The Secret no longer says what it was made from, and would lose keys.
    Unreadable {
        /// The keys that it would lose.
        keys: Vec<String>,
    },
    /// The Secret was somebody else's until now, and has keys that the binding would not write.
    HandedOver {
        /// Those keys.
        keys: Vec<String>,
    },
    /// Nothing was delivered yet, and what would be may lack hidden rows.
    Incomplete,
}

impl Hold {
    /// What a condition says of it.
    #[must_use]
    pub(crate) const fn reason(&self) -> Reason {
        match self {
            Self::Unproven { hidden: true, .. } | Self::Incomplete => Reason::RowsMayBeHidden,
            Self::Unproven { hidden: false, .. } | Self::Unreadable { .. } | Self::HandedOver { .. } => {
                Reason::RemovalUnproven
            }
            Self::Mass { .. } => Reason::MassRemoval,
            Self::Withdrawn { .. } => Reason::NotGranted,
        }
    }

    /// Whether a look at the Secret itself could say more about which keys.
    #[must_use]
    pub(crate) const fn lacks_names(&self) -> bool {
        matches!(self, Self::Unproven { nameless: 1.., .. } | Self::Unreadable { .. } | Self::HandedOver { .. })
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unproven { keys, nameless, hidden } => {
                let more = match (keys.is_empty(), nameless) {
                    (_, 0) => String::new(),
                    (true, count) => format!("{count} whose names nobody knows any more"),
                    (false, count) => format!(" and {count} whose names nobody knows any more"),
                };
                let why = if *hidden { "rows may be hidden" } else { "nothing proves that it was meant" };
                write!(f, "keys are gone and {why}: {}{more}", list_keys(keys))
            }
            Self::Mass { removed, delivered } => write!(f, "{removed} of {delivered} keys were removed at once"),
            Self::Withdrawn { keys } => write!(f, "no longer granted, and retained: {}", list_keys(keys)),
            Self::Unreadable { keys } if keys.is_empty() => {
                f.write_str("the Secret no longer says what it was made from, so that nobody knows what would leave it")
            }
            Self::Unreadable { keys } => {
                write!(f, "the Secret no longer says what it was made from, and would lose: {}", list_keys(keys))
            }
            Self::HandedOver { keys } => {
                write!(
                    f,
                    "the Secret that is taken over has keys that this binding does not write, and would lose: {}",
                    list_keys(keys)
                )
            }
            Self::Incomplete => f.write_str("rows may be hidden, so that the Secret might lack keys"),
        }
    }
}

/// On what a key leaves.
enum Proof {
    /// The binding's own spec.
    Spec,
    /// It was deleted on purpose.
    Tombstone,
    /// The grant was withdrawn.
    Withdrawn,
    /// Nothing.
    None,
}

/// Whether the Secret may become what was selected. A person's release overrides the answer.
pub(crate) fn judge(question: &Question) -> Result<(), Hold> {
    if question.is_handed_over {
        judge_handed_over(question)?;
    }
    match question.delivered {
        Delivered::Nothing if question.selection.is_open() && question.snapshot.hides_rows() => Err(Hold::Incomplete),
        Delivered::Nothing => Ok(()),
        Delivered::Unreadable => judge_unreadable(question),
        Delivered::Known(provenance) => judge_known(question, provenance),
    }
}

fn judge_unreadable(question: &Question) -> Result<(), Hold> {
    // One under an earlier name was not read: what it would lose nobody knows.
    let Some(keys) = not_written(question) else { return Err(Hold::Unreadable { keys: Vec::new() }) };
    if keys.is_empty() { Ok(()) } else { Err(Hold::Unreadable { keys }) }
}

fn judge_handed_over(question: &Question) -> Result<(), Hold> {
    let Some(keys) = not_written(question) else { return Err(Hold::HandedOver { keys: Vec::new() }) };
    if keys.is_empty() { Ok(()) } else { Err(Hold::HandedOver { keys }) }
}

/// Keys that the Secret has and that would not be written; `None` where it was not read whole.
fn not_written(question: &Question) -> Option<Vec<String>> {
    let names = question.names.as_ref()?.iter();
    Some(names.filter(|name| !question.stays.contains(**name)).map(|name| (*name).to_owned()).collect())
}

/// What was delivered and would not be there any more, with its place among what was.
fn leaving<'p>(question: &Question, from: &'p Provenance) -> Vec<(usize, &'p DeliveredRow)> {
    let stays: HashSet<ShortDigest> = question.keys.iter().map(|key| digest_of_key(key.key)).collect();
    from.rows.iter().enumerate().filter(|(_, row)| !stays.contains(&row.key)).collect()
}

/// The rows that would leave and that only a tombstone could prove to have been deleted, of those that the registry was not
/// asked about.
pub(crate) fn to_ask_about(question: &Question) -> Vec<ShortDigest> {
    let Delivered::Known(provenance) = question.delivered else { return Vec::new() };
    if question.environment_was_deleted || provenance.origin.source != question.source {
        return Vec::new();
    }
    let leaving = leaving(question, provenance);
    if leaving.is_empty() {
        return Vec::new();
    }
    let evidence = Evidence::gather(question);
    let rows = leaving.into_iter().map(|(_, row)| row).filter(|row| evidence.is_asked_for(row));
    rows.map(|row| row.row).filter(|row| !question.tombstones.was_asked_for(*row)).collect()
}

fn judge_known(question: &Question, provenance: &Provenance) -> Result<(), Hold> {
    let leaving = leaving(question, provenance);
    if leaving.is_empty() {
        return Ok(());
    }

    let evidence = Evidence::gather(question);
    let (mut removed, mut withdrawn, mut unproven, mut nameless) = (0, Vec::new(), Vec::new(), 0);
    for (place, row) in leaving {
        match evidence.proof_for(question, provenance, row) {
            Proof::Spec => {}
            Proof::Tombstone => removed += 1,
            Proof::Withdrawn if question.on_revoke == OnRevoke::Delete => {}
            Proof::Withdrawn => withdrawn.extend(evidence.name_of(question, provenance, place, row)),
            Proof::None => match evidence.name_of(question, provenance, place, row) {
                Some(name) => unproven.push(name),
                None => nameless += 1,
            },
        }
    }
    let delivered = provenance.rows.len();
    if !unproven.is_empty() || nameless > 0 {
        Err(Hold::Unproven { keys: unproven, nameless, hidden: question.snapshot.hides_rows() })
    } else if !withdrawn.is_empty() {
        Err(Hold::Withdrawn { keys: withdrawn })
    } else if delivered >= MASS_FROM && removed * 2 > delivered {
        Err(Hold::Mass { removed, delivered })
    } else {
        Ok(())
    }
}

/// What the snapshot and the spec know, by digest.
struct Evidence<'a> {
    names: HashMap<ShortDigest, &'a str>,
    selection: Selection<'a>,
    /// The keys that the spec names.
    named: HashSet<ShortDigest>,
    /// What else it asks for.
    finders: Vec<Finder<'a>>,
}

impl<'a> Evidence<'a> {
    fn gather(question: &Question<'a>) -> Self {
        let snapshot = question.snapshot;
        let selection = question.selection;
        let in_data: Vec<&str> = selection.named().iter().map(|entry| entry.remote_ref.key.as_str()).collect();
        let named = in_data.iter().map(|key| digest_of_key(key)).collect();
        let finders = selection.found().iter().filter_map(|entry| Finder::new(&entry.find).ok()).collect();
        let known = snapshot.keys.names().chain(question.tombstones.keys()).chain(in_data);
        Self { names: known.map(|name| (digest_of_key(name), name)).collect(), selection, named, finders }
    }

    /// Whether the spec asks for the key, as far as is known: a pattern cannot be held against a name that nobody knows.
    fn is_asked_for(&self, row: &DeliveredRow) -> bool {
        let is_found = |name: &&str| self.finders.iter().any(|finder| finder.covers(name));
        self.selection == Selection::Every
            || self.named.contains(&row.key)
            || (!self.finders.is_empty() && self.names.get(&row.key).is_none_or(is_found))
    }

    fn proof_for(&self, question: &Question, from: &Provenance, row: &DeliveredRow) -> Proof {
        if from.origin.source != question.source {
            return Proof::Spec;
        }
        if !self.is_asked_for(row) {
            return Proof::Spec;
        }
        if question.tombstones.key_of(row.row).is_some() || question.environment_was_deleted {
            return Proof::Tombstone;
        }
        match self.names.get(&row.key) {
            Some(name) if !(question.is_granted)(name) => Proof::Withdrawn,
            _ => Proof::None,
        }
    }

    /// The key's name in the registry, or else in the Secret.
    fn name_of(&self, question: &Question, from: &Provenance, place: usize, row: &DeliveredRow) -> Option<String> {
        let known = self.names.get(&row.key).copied();
        // Places agree only while nobody added or took away a key by hand.
        let names = question.names.as_ref().filter(|names| names.len() == from.rows.len());
        known.or_else(|| names?.get(place).copied()).map(str::to_owned)
    }
}

/// What a person writes as `tidelock.dev/release-removal` to let go of what is held at this point: the environment's
/// revision, or, in someone else's tables, the digest of its rows. It is good for one write: an annotation that stays
/// must not let go of rows that vanish later without moving the revision. The next one at the same revision is
/// `<revision>.2`, and so on.
#[must_use]
pub(crate) fn release_text(snapshot: &Snapshot, used: Option<&str>) -> String {
    let point = snapshot.content_version();
    let used_here = used.and_then(|used| used.strip_prefix(&point)).and_then(|count| match count.strip_prefix('.') {
        Some(count) => count.parse::<u32>().ok(),
        None => count.is_empty().then_some(1),
    });
    match used_here {
        Some(count) => format!("{point}.{}", count.saturating_add(1)),
        None => point,
    }
}

#[cfg(test)]
mod tests;
