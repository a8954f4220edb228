//! Everything SQL: the only room that knows tables.
//!
//! One file per concern. What a write does is the database's own matter (`migrations/`); here is what a program asks of
//! it. Statements are unnamed (`query_typed`) and settings local to a transaction, so that a pooler in transaction mode
//! may stand in between; every type that tokio-postgres would have to look up is cast to text.

mod backup;
mod catalog;
mod connection;
mod environments;
mod error;
mod hash_keys;
mod keys;
mod login;
mod members;
mod migrate;
mod projects;
mod purged_names;
mod reader;
mod rehash;
mod row;
mod secrets;
mod session;
mod settings;
mod snapshot;
mod snapshot_keys;
mod sqlstate;
mod subscriber;
mod transaction;
mod users;

pub(crate) use backup::{BackupError, BackupPlan, back_up};
pub use catalog::Difference;
pub use connection::{ConnectSettings, DEFAULT_SCHEMA};
pub use environments::Environment;
pub(crate) use environments::NewEnvironment;
pub use error::{Cause, Explanation, RegistryError, ValueError};
pub(crate) use keys::{ListedKey, StateOfKey, Tracking};
pub(crate) use members::{Membership, Role};
pub use migrate::{Migrated, SCHEMA_VERSION, described, differences, migrate, pending};
pub(crate) use projects::Finding;
pub use reader::Reader;
pub(crate) use rehash::Rehashed;
pub use secrets::{ObservedTimes, WriteOptions, WriteOutcome};
pub use session::Session;
pub use snapshot::{
    BroughtUpToDate, FromServer, LoggedToken, PollResult, Refusal, Revision, SealedHashKey, SealedValue, SecretRow,
    ServerPosition, Snapshot, SnapshotVersion, SourceName, Tombstone, ValueId,
};
pub use snapshot_keys::{KeyEntry, SnapshotKeys};
pub(crate) use subscriber::{CutOver, Replication, cut_over, subscribe};
pub(crate) use users::{LoginGrant, NewUser};
