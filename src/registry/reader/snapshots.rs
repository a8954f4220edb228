//! Everything about one environment, in one transaction.

use std::time::Duration;

use tokio_postgres::types::Type;
use tokio_postgres::{Client, IsolationLevel};

use super::ask::{STATEMENT_TIMEOUT, despite_replay, in_order};
use super::reading::Reading;
use super::{Parameter, Reader, SchemaKind, external, native};
use crate::registry::{FromServer, Refusal, RegistryError, Snapshot, SourceName};

impl Reader {
    /// Everything about one environment but its values, from one database snapshot. Of our own tables, where `known` is an
    /// earlier answer and part of the same history, only what has changed since is read.
    ///
    /// # Errors
    /// As [`poll`](Self::poll); [`RegistryError::Inconsistent`] for a row that is not what it should be.
    pub async fn snapshot(
        &self,
        source: &SourceName,
        known: Option<&Snapshot>,
    ) -> Result<FromServer<Result<Snapshot, Refusal>>, RegistryError> {
        self.snapshot_within(source, known, STATEMENT_TIMEOUT).await
    }

    /// As [`snapshot`](Self::snapshot), where no statement may take longer than `patience`.
    pub(crate) async fn snapshot_within(
        &self,
        source: &SourceName,
        known: Option<&Snapshot>,
        patience: Duration,
    ) -> Result<FromServer<Result<Snapshot, Refusal>>, RegistryError> {
        let kind = self.schema_kind().await?;
        // A large future, and who waits for it holds it.
        despite_replay("reading the environment", || Box::pin(self.snapshot_once(kind, source, known, patience))).await
    }

    async fn snapshot_once(
        &self,
        kind: SchemaKind,
        source: &SourceName,
        known: Option<&Snapshot>,
        patience: Duration,
    ) -> Result<FromServer<Result<Snapshot, Refusal>>, RegistryError> {
        let mut client = self.client("reading the environment").await?;
        let ended = client.ended();
        let answer = self.snapshot_of(&mut client, kind, source, known, patience).await;
        client.settle();
        answer.map_err(|error| ended.add_to(error))
    }

    async fn snapshot_of(
        &self,
        client: &mut Client,
        kind: SchemaKind,
        source: &SourceName,
        known: Option<&Snapshot>,
        patience: Duration,
    ) -> Result<FromServer<Result<Snapshot, Refusal>>, RegistryError> {
        let failed = |error| RegistryError::from_driver(format!("reading {source}"), error);
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await
            .map_err(failed)?;
        let reading = Reading { transaction: &transaction, reader: self, source };
        let (timeout, snapshot) = (patience.as_millis().to_string(), async {
            match kind {
                SchemaKind::Native => native::snapshot(&reading, known).await,
                SchemaKind::External => external::snapshot(&reading).await,
            }
        });
        let (configuring, bound): (_, [Parameter<'_>; 1]) = (self.configuring(), [(&timeout, Type::TEXT)]);
        // Sent before the first question, and not waited for.
        let limit = async { transaction.query_typed(&configuring, &bound).await.map_err(failed) };
        let (_, snapshot) = in_order(limit, snapshot).await?;
        transaction.commit().await.map_err(failed)?;
        Ok(snapshot)
    }
}
