//! SecretBinding: keys of a source, delivered into one Secret.

mod content;
mod fingerprint;
#[cfg(test)]
mod fixtures;
mod history;
mod ownership;
mod provenance;
mod removal;
mod state;
mod target;
