//! In the place of a registry where none is to be asked.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::controller::sources::Registry;
use crate::core::{EnvironmentId, ProjectId, ShortDigest};
use crate::registry::{
    FromServer, LoggedToken, PollResult, Refusal, RegistryError, SealedValue, Snapshot, SourceName, Tombstone, ValueId,
};

type Answer<'a, T> = BoxFuture<'a, Result<T, RegistryError>>;

/// Answers every question alike.
pub(super) struct NoRegistry;

fn nothing<'a, T: Send + 'a>() -> Answer<'a, T> {
    let attempt = "looking into the registry".to_owned();
    async { Err(RegistryError::Unavailable { attempt, cause: "none is asked".into() }) }.boxed()
}

impl Registry for NoRegistry {
    fn check_login(&self) -> Answer<'_, ()> {
        nothing()
    }

    fn poll<'a>(&'a self, _: &'a [SourceName]) -> Answer<'a, FromServer<Vec<PollResult>>> {
        nothing()
    }

    fn poll_width(&self) -> usize {
        usize::MAX
    }

    fn snapshot<'a>(
        &'a self,
        _: &'a SourceName,
        _: Option<&'a Snapshot>,
        _: Duration,
    ) -> Answer<'a, FromServer<Result<Snapshot, Refusal>>> {
        nothing()
    }

    fn sealed_values<'a>(&'a self, _: ProjectId, _: EnvironmentId, _: &'a [ValueId]) -> Answer<'a, Vec<SealedValue>> {
        nothing()
    }

    fn tombstones<'a>(
        &'a self,
        _: ProjectId,
        _: EnvironmentId,
        _: &'a [ShortDigest],
    ) -> Answer<'a, FromServer<Vec<Tombstone>>> {
        nothing()
    }

    fn token_of(&self, _: ProjectId, _: i64) -> Answer<'_, LoggedToken> {
        nothing()
    }

    fn environment_was_deleted(&self, _: EnvironmentId) -> Answer<'_, bool> {
        nothing()
    }

    fn listen(&self, _: mpsc::Sender<()>) -> BoxFuture<'_, RegistryError> {
        std::future::pending().boxed()
    }
}
