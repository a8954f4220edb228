//! Everything SQL: the only room that knows tables.
//!
//! One file per concern. What a write does is the database's own matter (`migrations/`); here is what a program asks of
//! it. Statements are unnamed (`query_typed`) and settings local to a transaction, so that a pooler in transaction mode
//! may stand in between; every type that tokio-postgres would have to look up is cast to text.

mod check;
mod connect;
mod environments;
mod error;
mod hash_keys;
mod keys;
mod members;
mod migrate;
mod projects;
mod reader;
mod secrets;
mod session;
mod snapshot;
mod status;
mod users;
mod values;

pub use check::Finding;
pub use connect::{ConnectSettings, DEFAULT_SCHEMA};
pub use environments::{CreatedEnvironment, Environment, ListedEnvironment, NewEnvironment};
pub use error::RegistryError;
pub use keys::{ListedKey, Tracking};
pub use members::{ListedMember, Membership, Role};
pub use migrate::{Migrated, SCHEMA_VERSION, migrate, pending};
pub use projects::ListedProject;
pub use reader::{Reader, Schema};
pub use secrets::{ListedSecret, ObservedTimes, OpenedSecret, WriteOptions, WriteOutcome};
pub use session::Session;
pub use snapshot::{
    PollResult, Refusal, RegisteredKey, Revision, SealedHashKey, SecretRow, Snapshot, SnapshotVersion, SourceName,
    Tombstone,
};
pub use status::StateOfKey;
pub use users::{ListedUser, LoginGrant, NewUser};
pub use values::ValueError;
