//! What a Secret says about itself: which environment, at which point of its history, and which rows it was made from.
//!
//! Kept on the Secret and not in the binding's status: it must be true of the data beside it, whatever happened in
//! between, and it must outlive a binding that is deleted and made again.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};

use super::content::SelectedKey;
use crate::api::SecretBinding;
use crate::api::names::{ROWS, SOURCE};
use crate::controller::sources::{Fence, Snapshot, SourceReference};
use crate::core::{EnvironmentId, ProjectId, SHORT_DIGEST_LEN, ShortDigest, digest_of_key, digest_of_row, first_bytes};

/// Where the data came from, as the annotation `tidelock.dev/source` has it, in JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Origin {
    /// Kind and name of the source that the binding named then.
    pub(crate) source: String,
    pub(crate) project: ProjectId,
    pub(crate) environment: EnvironmentId,
    /// Where in the project's history; absent where the tables are someone else's.
    #[serde(flatten)]
    pub(crate) at: Option<Fence>,
    /// Generation of the binding.
    pub(crate) generation: i64,
    /// The last release of a removal that was used: it is good for one write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) released: Option<String>,
    /// Where only keys were added to somebody else's Secret: which, and by which binding.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) merged: Option<Box<Merged>>,
    /// Names of the labels that the binding's template set, so that they can be taken off again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) labels: Vec<String>,
    /// Names of the annotations that the binding's template set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) annotations: Vec<String>,
}

/// The keys of somebody else's Secret that a binding added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Merged {
    pub(crate) binding: String,
    pub(crate) keys: BTreeSet<String>,
}

/// Which row a key of the Secret was delivered from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeliveredRow {
    /// Of the key's name in the registry.
    pub(crate) key: ShortDigest,
    /// Of `secrets.id`.
    pub(crate) row: ShortDigest,
}

/// All that a Secret of ours says about where its data came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Provenance {
    /// Where from.
    pub(crate) origin: Origin,
    /// One for each key of the Secret, in the order of their names.
    pub(crate) rows: Vec<DeliveredRow>,
}

/// The annotations are not as we write them: somebody edited or cut them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the annotations {SOURCE} and {ROWS} are missing or were altered")]
pub(crate) struct Unreadable;

impl Provenance {
    /// What is delivered now.
    #[must_use]
    pub(crate) fn of(binding: &SecretBinding, snapshot: &Snapshot, keys: &[SelectedKey]) -> Self {
        let metadata = binding.spec.target_metadata();
        let names =
            |map: Option<&BTreeMap<String, String>>| map.into_iter().flat_map(BTreeMap::keys).cloned().collect();
        let origin = Origin {
            source: SourceReference::from(binding).to_string(),
            project: snapshot.project,
            environment: snapshot.environment,
            at: snapshot.fence(),
            generation: binding.metadata.generation.unwrap_or_default(),
            released: None,
            merged: None,
            labels: names(metadata.map(|metadata| &metadata.labels)),
            annotations: names(metadata.map(|metadata| &metadata.annotations)),
        };
        let rows = keys.iter().map(|key| DeliveredRow { key: digest_of_key(key.key), row: digest_of_row(key.row.id) });
        Self { origin, rows: rows.collect() }
    }

    /// Whether it speaks of keys that this binding added to somebody else's Secret.
    pub(crate) fn merged_by(&self, binding: &SecretBinding) -> bool {
        self.origin.merged.as_ref().is_some_and(|merged| merged.binding == binding.name_any())
    }

    /// Reads what a Secret's annotations say.
    pub(crate) fn read(annotations: &BTreeMap<String, String>) -> Result<Self, Unreadable> {
        let text = |name: &str| annotations.get(name).ok_or(Unreadable);
        let origin = serde_json::from_str(text(SOURCE)?).map_err(|_| Unreadable)?;
        let bytes = STANDARD_NO_PAD.decode(text(ROWS)?).map_err(|_| Unreadable)?;
        let (pairs, rest) = bytes.as_chunks::<{ 2 * SHORT_DIGEST_LEN }>();
        if !rest.is_empty() {
            return Err(Unreadable);
        }
        let rows = pairs.iter().map(|pair| {
            let (key, row) = pair.split_at(SHORT_DIGEST_LEN);
            DeliveredRow { key: first_bytes(key), row: first_bytes(row) }
        });
        Ok(Self { origin, rows: rows.collect() })
    }

    #[must_use]
    pub(crate) fn annotations(&self) -> [(&'static str, String); 2] {
        let rows: Vec<u8> = self.rows.iter().flat_map(|row| row.key.into_iter().chain(row.row)).collect();
        // Names and numbers alone: it cannot fail.
        let origin = serde_json::to_string(&self.origin).unwrap_or_default();
        [(SOURCE, origin), (ROWS, STANDARD_NO_PAD.encode(rows))]
    }

    /// Whether a Secret that says this still says what it would be given as `wanted`. A revision or generation that
    /// moved without touching the content is no reason to write.
    #[must_use]
    pub(crate) fn stands_for(&self, wanted: &Self) -> bool {
        let (ours, theirs) = (&self.origin, &wanted.origin);
        let epoch = |origin: &Origin| origin.at.map(|at| at.epoch);
        self.rows == wanted.rows
            && (&ours.source, ours.project, ours.environment) == (&theirs.source, theirs.project, theirs.environment)
            && ours.merged == theirs.merged
            && (&ours.labels, &ours.annotations) == (&theirs.labels, &theirs.annotations)
            && epoch(ours) == epoch(theirs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::secret_binding::fixtures::{binding, snapshot};
    use crate::controller::secret_binding::plan::content;

    fn delivered(snapshot: &Snapshot) -> Provenance {
        let binding = binding("app").build();
        let selected = content::select(binding.spec.selection(), |_| true, snapshot);
        Provenance::of(&binding, snapshot, &selected.keys)
    }

    #[test]
    fn what_was_written_on_a_secret_is_read_back() {
        for snapshot in [snapshot().with("A", "1").with("B", "2").build(), snapshot().build()] {
            let written = delivered(&snapshot);
            let annotations = written.annotations().map(|(name, text)| (name.to_owned(), text)).into();
            assert_eq!(Provenance::read(&annotations), Ok(written));
        }
    }

    #[test]
    fn annotations_that_were_altered_are_told_from_ours() {
        let annotations = delivered(&snapshot().with("A", "1").build()).annotations();
        let altered = |name: &str, text: Option<&str>| {
            let mut map: BTreeMap<String, String> =
                annotations.clone().map(|(name, text)| (name.to_owned(), text)).into();
            match text {
                Some(text) => map.insert(name.to_owned(), text.to_owned()),
                None => map.remove(name),
            };
            Provenance::read(&map)
        };
        for (name, text) in
            [(SOURCE, None), (SOURCE, Some("{}")), (ROWS, None), (ROWS, Some("AAAA")), (ROWS, Some("?"))]
        {
            assert_eq!(altered(name, text), Err(Unreadable), "{name} {text:?}");
        }
    }

    #[test]
    fn a_revision_that_did_not_touch_the_content_leaves_what_a_secret_says_standing() {
        let at = |revision| delivered(&snapshot().with("A", "1").at_revision(revision).build());
        assert!(at(4).stands_for(&at(9)));
        assert!(!at(4).stands_for(&delivered(&snapshot().with("A", "1").at_epoch(2).build())));
        assert!(!at(4).stands_for(&delivered(&snapshot().with_row("A", 77, "1").build())));
    }

    #[test]
    fn five_thousand_keys_fit_the_annotations_of_a_secret() {
        let rows = vec![DeliveredRow { key: [1; 8], row: [2; 8] }; 5_000];
        let provenance = Provenance { rows, ..delivered(&snapshot().build()) };
        let bytes: usize = provenance.annotations().iter().map(|(name, text)| name.len() + text.len()).sum();
        assert!(bytes < 110_000, "{bytes}");
    }
}
