//! What the operator reads: where an environment stands, and everything in it, from one snapshot.

mod comparison;

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

use super::SnapshotKeys;
use super::row::from_row;
use crate::core::{EnvironmentId, ProjectId, RegistryTime, SecretId, ShortDigest};

/// An environment as a custom resource names it. Names in someone else's tables may be any text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceName {
    /// `projects.name`.
    pub project: String,
    /// `environments.name`.
    pub environment: String,
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.environment)
    }
}

/// A step in a project's history. The number alone does not name a history: after a restore it can come again, with
/// another token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Revision {
    /// Counts the project's transactions, from 1; 0 before the first.
    pub number: i64,
    /// Random, one per step.
    pub token: Uuid,
}

/// What tells one content of an environment from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SnapshotVersion {
    /// Our own tables.
    Revisions {
        /// Up by one when a person accepts another history.
        epoch: i64,
        /// The project's newest revision.
        project: Revision,
        /// The revision at which the environment's live values last changed; number 0 and a nil token before the first.
        environment: Revision,
    },
    /// Someone else's tables: a digest over the rows' ids and transaction ids, which sees late commits and hard
    /// deletes. It says that something changed, not which came first.
    Digest {
        /// Over the environment's rows.
        environment: i64,
        /// Over the project's registry and the environment's rows.
        project: i64,
    },
}

/// An answer, and the server that gave it. Behind one address there may be several, which have not come equally far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromServer<T> {
    /// What it answered.
    pub answer: T,
    /// Where it stood then; `None` where nothing was asked.
    pub position: Option<ServerPosition>,
}

/// How far a server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerPosition {
    /// Bytes of the write-ahead log that it has written, or as a standby replayed.
    pub wal: i64,
    /// Whether it is a standby: what it does not have yet may be there all the same.
    pub is_standby: bool,
}

/// What a project's log says of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoggedToken {
    /// It has it, with this token.
    Token(Uuid),
    /// It does not have it.
    Absent,
    /// A standby does not have it, which may not have come that far.
    NotYet,
}

/// Why an environment cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The project does not exist, or the acting user is not a member: one answer, on purpose.
    ProjectNotVisible,
    /// The project is archived: its values are for nobody.
    ProjectArchived,
    /// The project has no environment of that name.
    EnvironmentNotFound,
    /// It had one, and it was deleted.
    EnvironmentDeleted,
    /// It is production, and the membership is not ADMIN.
    ProductionNotPermitted,
    /// The membership is narrowed to other environments.
    EnvironmentNotPermitted,
    /// More than one project, or environment of the project, has that name.
    NameNotUnique,
}

/// The answer of one poll about one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PollResult {
    /// It is there and may be read.
    Found {
        /// `environments.id`.
        environment: EnvironmentId,
        /// Differs from that of the last snapshot where something has changed.
        version: SnapshotVersion,
        /// `environments.is_production`.
        production: bool,
    },
    /// It may not be read.
    Refused(Refusal),
}

/// A live row of `secrets`, without what it is sealed as: that is read when a value is opened, and is large.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    /// `secrets.id`.
    pub id: SecretId,
    /// `secrets.value_hash`, as stored.
    pub value_hash: Option<Arc<str>>,
    /// `secrets.version`; 0 in tables that have no versions.
    pub version: i64,
    /// What changes with the value: its hash, which re-encryption leaves alone; in someone else's tables, where nothing
    /// guards that a new value has a new hash, a digest of the sealed text.
    pub value_version: Arc<str>,
    /// `secrets.updated_at`.
    pub updated_at: RegistryTime,
}

impl SecretRow {
    /// The value that the row holds.
    #[must_use]
    pub fn value_id(&self) -> ValueId {
        ValueId { row: self.id, version: self.version, value_version: Arc::clone(&self.value_version) }
    }
}

/// Names one value of one row, for good: whatever was read under this name at any time is the same value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ValueId {
    /// `secrets.id`.
    pub row: SecretId,
    /// As [`SecretRow::version`].
    pub version: i64,
    /// As [`SecretRow::value_version`].
    pub value_version: Arc<str>,
}

/// A value, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedValue {
    /// Which.
    pub id: ValueId,
    /// `secrets.encrypted_value`.
    pub text: Arc<str>,
}

/// The proof that a row was deleted on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstone {
    /// Of `secrets.id`.
    pub row: ShortDigest,
    /// `secrets.key` of the row.
    pub key: String,
}

/// The project's hashing key as the database holds it, sealed for one ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedHashKey {
    /// Its id, as in `h1:<id>:…`.
    pub id: String,
    /// The ring that it is sealed for.
    pub ring: String,
    /// Sealed text.
    pub sealed: String,
}

from_row!(SealedHashKey, "project_hash_keys", "id", [id, ring, sealed]);

/// What a snapshot was brought up to date from, and which keys were read for that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtUpToDate {
    /// The version of the earlier snapshot.
    pub from: SnapshotVersion,
    /// Every key that anything may have happened to since then, once.
    pub keys: Vec<Arc<str>>,
}

/// Everything about one environment but its values, read in one database snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The project's id.
    pub project: ProjectId,
    /// The environment's id.
    pub environment: EnvironmentId,
    /// Where it stands in the project's history.
    pub version: SnapshotVersion,
    /// `environments.is_production`.
    pub production: bool,
    /// Whether a standby was read, which may lag behind what was delivered.
    pub from_standby: bool,
    /// The ring that values here are sealed under; `None` in someone else's tables.
    pub ring: Option<String>,
    /// `environments.live_secrets`: how many live rows a reader must see; `None` in someone else's tables.
    pub live_secrets: Option<i64>,
    /// Whether row-level security filters what this login reads of `secrets` in tables whose policies are not ours, so
    /// that absence proves nothing.
    pub rows_may_be_hidden: bool,
    /// The end of the project's audit chain, from which on it names what has changed since; 0 in someone else's tables.
    pub audit_position: i64,
    /// What there is of each key.
    pub keys: SnapshotKeys,
    /// Hashing keys, one row per ring.
    pub hash_keys: Vec<SealedHashKey>,
    /// Where only what had changed was read. No part of what it says: one that was read whole may equal it.
    pub brought_up_to_date: Option<BroughtUpToDate>,
}

impl Snapshot {
    /// An environment with nothing in it.
    #[must_use]
    pub fn empty(project: ProjectId, environment: EnvironmentId, version: SnapshotVersion, production: bool) -> Self {
        Self {
            project,
            environment,
            version,
            production,
            from_standby: false,
            ring: None,
            live_secrets: None,
            rows_may_be_hidden: false,
            audit_position: 0,
            keys: SnapshotKeys::default(),
            hash_keys: Vec::new(),
            brought_up_to_date: None,
        }
    }

    /// The project's newest revision; `None` for tables that keep none.
    #[must_use]
    pub const fn project_revision(&self) -> Option<Revision> {
        match self.version {
            SnapshotVersion::Revisions { project, .. } => Some(project),
            SnapshotVersion::Digest { .. } => None,
        }
    }

    /// Whether rows are missing from what was read although nobody deleted them: absence then proves nothing.
    #[must_use]
    pub fn hides_rows(&self) -> bool {
        self.rows_may_be_hidden || self.live_secrets.is_some_and(|live| usize::try_from(live) != Ok(self.keys.live()))
    }
}
