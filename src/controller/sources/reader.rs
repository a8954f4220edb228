//! The real registry.

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::registry::{Answer, Registry};
use crate::core::{EnvironmentId, ProjectId};
use crate::registry::{PollResult, Reader, Refusal, RegistryError, Snapshot, SourceName};

impl Registry for Reader {
    fn check_login(&self) -> Answer<'_, ()> {
        self.check_login().boxed()
    }

    fn poll<'a>(&'a self, sources: &'a [SourceName]) -> Answer<'a, Vec<PollResult>> {
        self.poll(sources).boxed()
    }

    fn snapshot<'a>(&'a self, source: &'a SourceName) -> Answer<'a, Result<Snapshot, Refusal>> {
        self.snapshot(source).boxed()
    }

    fn token_of(&self, project: ProjectId, revision: i64) -> Answer<'_, Option<Uuid>> {
        self.token_of(project, revision).boxed()
    }

    fn environment_was_deleted(&self, id: EnvironmentId) -> Answer<'_, bool> {
        self.environment_was_deleted(id).boxed()
    }

    fn listen(&self, hints: mpsc::Sender<()>) -> BoxFuture<'_, RegistryError> {
        async move { self.listen(&hints).await }.boxed()
    }
}
