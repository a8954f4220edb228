//! Everything SQL: the only room that knows tables.
//!
//! One file per concern. What a write does is the database's own matter (`migrations/`); here is what a program asks of
//! it. Statements are unnamed (`query_typed`) and settings local to a transaction, so that a pooler in transaction mode
//! may stand in between; every type that tokio-postgres would have to look up is cast to text.

mod connect;
mod error;
mod migrate;
mod reader;
mod snapshot;

pub use connect::{ConnectSettings, DEFAULT_SCHEMA};
pub use error::RegistryError;
pub use migrate::{Migrated, SCHEMA_VERSION, migrate, pending};
pub use reader::{Reader, Tables};
pub use snapshot::{
    Fence, Look, Refusal, RegisteredKey, Revision, SealedHashKey, SecretRow, Snapshot, SourceName, Tombstone,
};
