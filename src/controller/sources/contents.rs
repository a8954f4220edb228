//! What a source had when it was read, in the terms of whoever delivers it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::core::{EnvironmentId, ProjectId, RingName, SecretValue};
use crate::crypto::{HashCheck, HashKey, Keyring, OpenError, SealContext, verify_text};
use crate::registry::{SecretRow, Snapshot, SnapshotVersion};

/// A point in the history of an environment. A Secret carries the one that it was written from, and is never written
/// from an earlier one, nor from another history's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fence {
    /// Up by one when a person accepts another history.
    pub(crate) epoch: i64,
    /// The revision at which the environment's values last changed.
    pub(crate) revision: i64,
    /// Random, of that revision: a number alone comes again after a restore.
    pub(crate) token: Uuid,
}

impl Snapshot {
    /// Where in the history of its environment this was read; `None` for tables that keep none.
    #[must_use]
    pub(crate) fn fence(&self) -> Option<Fence> {
        match self.version {
            SnapshotVersion::Revisions { epoch, environment, .. } => {
                Some(Fence { epoch, revision: environment.number, token: environment.token })
            }
            SnapshotVersion::Digest { .. } => None,
        }
    }

    /// The project's revision, on which the comparison with the registry rests; `None` for tables that keep none.
    #[must_use]
    pub(crate) fn registry_revision(&self) -> Option<i64> {
        self.project_revision().map(|revision| revision.number)
    }

    /// What names the content for a person: the environment's revision, or, in tables that keep none, the digest of its
    /// rows.
    #[must_use]
    pub(crate) fn content_version(&self) -> String {
        match self.version {
            SnapshotVersion::Revisions { environment, .. } => environment.number.to_string(),
            SnapshotVersion::Digest { environment, .. } => environment.to_string(),
        }
    }

    /// Project and environment by id: names come and go.
    #[must_use]
    pub(crate) const fn identity(&self) -> (ProjectId, EnvironmentId) {
        (self.project, self.environment)
    }

    /// The ring that values here are sealed under; `None` where the tables name none.
    #[must_use]
    pub(crate) fn ring_name(&self) -> Option<RingName> {
        self.ring.as_deref().and_then(|ring| ring.parse().ok())
    }

    /// Whether the values may be other ones than in `before`, and not just the comparison with the registry.
    #[must_use]
    pub(crate) fn differs_in_content(&self, before: &Self) -> bool {
        let only_compares_otherwise = self.version != before.version
            && self.environment == before.environment
            && self.version.has_content_of(&before.version)
            && self.keys.live() == before.keys.live();
        !only_compares_otherwise
    }

    /// Opens the value of a key.
    pub(crate) fn open(
        &self,
        key: &str,
        row: &SecretRow,
        sealed: &str,
        keyring: &Keyring,
    ) -> Result<SecretValue, OpenError> {
        let (project, environment) = self.identity();
        let context = SealContext { project, environment, secret: row.id, key, version: row.version };
        keyring.open(&context, sealed)
    }

    /// The hashing keys that are sealed for a ring in the keyring, each once.
    #[must_use]
    pub(crate) fn open_hash_keys(&self, keyring: &Keyring) -> Vec<HashKey> {
        let mut keys: Vec<HashKey> = Vec::new();
        for sealed in &self.hash_keys {
            if keys.iter().all(|key| key.id() != sealed.id) {
                keys.extend(keyring.open_hash_key(self.project, &sealed.sealed).ok());
            }
        }
        keys
    }
}

impl SnapshotVersion {
    /// Whether the values are the same; how they compare with the registry may differ.
    #[must_use]
    pub(super) fn has_content_of(&self, other: &Self) -> bool {
        let content = |version: &Self| match *version {
            Self::Revisions { epoch, environment, .. } => (epoch, environment.number, environment.token),
            Self::Digest { environment, .. } => (0, environment, Uuid::nil()),
        };
        content(self) == content(other)
    }
}

/// Whether a value is not the one that its row's hash is of. A hash that nobody here can compute, or that is none, says
/// nothing; the value itself was authenticated already.
#[must_use]
pub(crate) fn contradicts(row: &SecretRow, value: &SecretValue, hash_keys: &[HashKey]) -> bool {
    row.value_hash.as_deref().is_some_and(|stored| verify_text(value, stored, hash_keys) == HashCheck::Differs)
}
