//! What the sources ask of the registry.

use std::future::Future;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::core::{EnvironmentId, ProjectId, ShortDigest};
use crate::registry::{
    FromServer, LoggedToken, PollResult, Reader, Refusal, RegistryError, SealedValue, Snapshot, SourceName, Tombstone,
    ValueId,
};

/// Longest that any question to the database may take, once there is a connection.
pub(crate) const DATABASE_TIMEOUT: Duration = Duration::from_secs(5);

/// A pending answer of the registry.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, RegistryError>>;

/// The questions that the operator has for the registry: tests answer them by a fake.
pub(crate) trait Registry: Send + Sync + 'static {
    /// Whether this login may serve an operator: `Refused` for a superuser, the owner, or one with BYPASSRLS.
    fn check_login(&self) -> Answer<'_, ()>;
    /// Where the environments stand; one round trip, answers in the order of the question.
    fn poll<'a>(&'a self, sources: &'a [SourceName]) -> Answer<'a, FromServer<Vec<PollResult>>>;
    /// How long an answer may take in all, with the connection that it may need first.
    fn patience(&self) -> Duration {
        DATABASE_TIMEOUT
    }
    /// How many environments one poll may ask about.
    fn poll_width(&self) -> usize;
    /// Everything about one environment but its values; by what changed since `known`, where that is possible. No statement
    /// may take longer than `patience`.
    fn snapshot<'a>(
        &'a self,
        source: &'a SourceName,
        known: Option<&'a Snapshot>,
        patience: Duration,
    ) -> Answer<'a, FromServer<Result<Snapshot, Refusal>>>;
    /// What values are sealed as; those that are not in their rows any more are left out.
    fn sealed_values<'a>(
        &'a self,
        project: ProjectId,
        environment: EnvironmentId,
        values: &'a [ValueId],
    ) -> Answer<'a, Vec<SealedValue>>;
    /// Which rows were deleted, of those whose ids have these digests.
    fn tombstones<'a>(
        &'a self,
        project: ProjectId,
        environment: EnvironmentId,
        rows: &'a [ShortDigest],
    ) -> Answer<'a, FromServer<Vec<Tombstone>>>;
    /// What the project's log says of a revision.
    fn token_of(&self, project: ProjectId, revision: i64) -> Answer<'_, LoggedToken>;
    /// Whether the registry proves that the environment was deleted.
    fn environment_was_deleted(&self, id: EnvironmentId) -> Answer<'_, bool>;
    /// Sends a hint for each notification, until the connection breaks; comes back with the reason.
    fn listen(&self, hints: mpsc::Sender<()>) -> BoxFuture<'_, RegistryError>;
}

impl Registry for Reader {
    fn check_login(&self) -> Answer<'_, ()> {
        self.check_login().boxed()
    }

    fn poll<'a>(&'a self, sources: &'a [SourceName]) -> Answer<'a, FromServer<Vec<PollResult>>> {
        self.poll(sources).boxed()
    }

    fn patience(&self) -> Duration {
        self.longest_connecting() + DATABASE_TIMEOUT
    }

    fn poll_width(&self) -> usize {
        self.poll_width()
    }

    fn snapshot<'a>(
        &'a self,
        source: &'a SourceName,
        known: Option<&'a Snapshot>,
        patience: Duration,
    ) -> Answer<'a, FromServer<Result<Snapshot, Refusal>>> {
        self.snapshot_within(source, known, patience).boxed()
    }

    fn sealed_values<'a>(
        &'a self,
        project: ProjectId,
        environment: EnvironmentId,
        values: &'a [ValueId],
    ) -> Answer<'a, Vec<SealedValue>> {
        self.sealed_values(project, environment, values).boxed()
    }

    fn tombstones<'a>(
        &'a self,
        project: ProjectId,
        environment: EnvironmentId,
        rows: &'a [ShortDigest],
    ) -> Answer<'a, FromServer<Vec<Tombstone>>> {
        self.tombstones(project, environment, rows).boxed()
    }

    fn token_of(&self, project: ProjectId, revision: i64) -> Answer<'_, LoggedToken> {
        self.token_of(project, revision).boxed()
    }

    fn environment_was_deleted(&self, id: EnvironmentId) -> Answer<'_, bool> {
        self.environment_was_deleted(id).boxed()
    }

    fn listen(&self, hints: mpsc::Sender<()>) -> BoxFuture<'_, RegistryError> {
        async move { self.listen(&hints).await }.boxed()
    }
}

/// The answer, or that there was none within the registry's [`patience`](Registry::patience).
pub(super) async fn in_time<T>(
    registry: &dyn Registry,
    attempt: &str,
    answer: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    within(registry.patience(), attempt, answer).await
}

/// The answer, or that there was none within that time.
pub(super) async fn within<T>(
    patience: Duration,
    attempt: &str,
    answer: impl Future<Output = Result<T, RegistryError>>,
) -> Result<T, RegistryError> {
    tokio::time::timeout(patience, answer).await.unwrap_or_else(|_| {
        Err(RegistryError::Unavailable {
            attempt: attempt.to_owned(),
            cause: format!("no answer within {} s", patience.as_secs()).into(),
        })
    })
}
