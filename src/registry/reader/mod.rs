//! The operator's side of the registry: it only ever reads.
//!
//! Two kinds of tables are read: our own, with revisions as a version, and someone else's, with just the documented
//! columns, where a digest has to do. Both answer in the same types.

mod external;
mod native;
mod rows;
mod schema;

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Object, Pool};
use futures::StreamExt;
use tokio::sync::{OnceCell, mpsc};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{AsyncMessage, IsolationLevel, Row, Transaction};
use uuid::Uuid;

use super::connect::from_pool;
use super::row::value;
use super::settings::pinned;
use super::{ConnectSettings, PollResult, Refusal, RegistryError, Snapshot, SourceName};
use crate::core::{EnvironmentId, ProjectId};

/// Connections of an operator: the poll, and a few snapshots beside it.
const POOL_SIZE: usize = 6;
/// After which the server gives up on a statement: before the operator gives up on the server, which would leave the
/// statement running, and the next one beside it.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// Whose tables a schema holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SchemaKind {
    /// Made by `tidelock migrate`.
    Native,
    /// The documented columns, filled by another program.
    External,
}

/// A pool of connections that only read. Cheap to clone.
#[derive(Clone)]
pub struct Reader {
    pool: Pool,
    settings: ConnectSettings,
    listen: ConnectSettings,
    kind: Arc<OnceCell<SchemaKind>>,
}

/// What a poll answers about one environment, and the place of that environment among those asked about, from 1.
struct Polled {
    place: i64,
    result: PollResult,
}

/// How the rows of the poll of one kind of schema are read.
type ReadPolled = fn(&Row) -> Result<Polled, RegistryError>;

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

impl Reader {
    /// Connects when first asked something. Notifications come over `listen_url`, where given: a pooler in transaction
    /// mode never delivers any.
    ///
    /// # Errors
    /// [`RegistryError::Invalid`] for a URL or certificate that cannot be read.
    pub fn new(settings: ConnectSettings, listen_url: Option<String>) -> Result<Self, RegistryError> {
        let listen = ConnectSettings { url: listen_url.unwrap_or_else(|| settings.url.clone()), ..settings.clone() };
        Ok(Self { pool: settings.pool(POOL_SIZE)?, settings, listen, kind: Arc::default() })
    }

    /// Whether this login may serve an operator, and whether this program may read these tables.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] for a superuser, an owner of the tables or a login with BYPASSRLS, since none of these
    /// is held by row-level security; [`RegistryError::Schema`] where the tables are missing or too new.
    pub async fn check_login(&self) -> Result<(), RegistryError> {
        // Making the connection has checked it.
        drop(self.client("checking the operator's login").await?);
        self.schema_kind().await.map(|_| ())
    }

    /// Where each environment stands, in the order asked. One statement, one round trip.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] and what else the database answers; a source that may not be read is no error.
    pub async fn poll(&self, sources: &[SourceName]) -> Result<Vec<PollResult>, RegistryError> {
        let kind = self.schema_kind().await?;
        let projects: Vec<&str> = sources.iter().map(|source| source.project.as_str()).collect();
        let environments: Vec<&str> = sources.iter().map(|source| source.environment.as_str()).collect();
        let (query, read): (_, ReadPolled) = match kind {
            SchemaKind::Native => (native::POLL, native::polled),
            SchemaKind::External => (external::POLL, external::polled),
        };
        let parameters: [Parameter<'_>; 2] = [(&projects, Type::TEXT_ARRAY), (&environments, Type::TEXT_ARRAY)];
        let rows = self.ask("polling the environments", query, &parameters).await?;
        let mut results = vec![None; sources.len()];
        for row in &rows {
            let Polled { place, result } = read(row)?;
            match usize::try_from(place - 1).ok().and_then(|place| results.get_mut(place)) {
                Some(first @ None) => *first = Some(result),
                // Where names are not unique, as someone else's tables need not have them.
                Some(second) => *second = Some(PollResult::Refused(Refusal::NameNotUnique)),
                None => {}
            }
        }
        let unseen = PollResult::Refused(Refusal::ProjectNotVisible);
        Ok(results.into_iter().map(|result| result.unwrap_or_else(|| unseen.clone())).collect())
    }

    /// Everything about one environment, from one database snapshot.
    ///
    /// # Errors
    /// As [`poll`](Self::poll); [`RegistryError::Inconsistent`] for a row that is not what it should be.
    pub async fn snapshot(&self, source: &SourceName) -> Result<Result<Snapshot, Refusal>, RegistryError> {
        let kind = self.schema_kind().await?;
        let mut client = self.client("reading the environment").await?;
        let failed = |error| RegistryError::from_driver(format!("reading {source}"), error);
        let transaction = client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await
            .map_err(failed)?;
        transaction.query_typed(&self.configuring(), &[(&statement_timeout(), Type::TEXT)]).await.map_err(failed)?;
        let reading = Reading { transaction: &transaction, reader: self, source };
        let snapshot = match kind {
            SchemaKind::Native => native::snapshot(&reading).await?,
            SchemaKind::External => external::snapshot(&reading).await?,
        };
        transaction.commit().await.map_err(failed)?;
        Ok(snapshot)
    }

    /// The token that the project's log has for a revision; `None` where it has none, and in someone else's tables.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn token_of(&self, project: ProjectId, revision: i64) -> Result<Option<Uuid>, RegistryError> {
        if self.schema_kind().await? == SchemaKind::External {
            return Ok(None);
        }
        let query = "SELECT token FROM @api@.token_of($1, $2) AS token WHERE token IS NOT NULL";
        self.ask("reading the revision log", query, &[(&project.0, Type::UUID), (&revision, Type::INT8)])
            .await?
            .first()
            .map(|row| value(row, "revision_log"))
            .transpose()
    }

    /// Whether there is proof that an environment was deleted on purpose.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn environment_was_deleted(&self, environment: EnvironmentId) -> Result<bool, RegistryError> {
        if self.schema_kind().await? == SchemaKind::External {
            return Ok(false);
        }
        let query = "SELECT FROM @api@.environment_with($1) WHERE deleted_at IS NOT NULL";
        let found = self.ask("looking for a deleted environment", query, &[(&environment.0, Type::UUID)]).await?;
        Ok(!found.is_empty())
    }

    /// Sends a hint for every notification, and one as soon as it listens, for those that were missed before. A full
    /// channel drops hints: one that waits says enough.
    ///
    /// # Errors
    /// Returns only when the connection breaks or cannot be made, with why.
    pub async fn listen(&self, hints: &mpsc::Sender<()>) -> RegistryError {
        let failed = |error| RegistryError::from_driver("listening for notifications", error);
        let (client, mut connection) = match self.listen.connect().await {
            Ok(connected) => connected,
            Err(error) => return error,
        };
        let mut messages = futures::stream::poll_fn(move |context| connection.poll_message(context));
        let listening = client.batch_execute("LISTEN tidelock");
        tokio::pin!(listening);
        let mut asked = false;
        loop {
            tokio::select! {
                answer = &mut listening, if !asked => match answer {
                    Ok(()) => { asked = true; let _ = hints.try_send(()); }
                    Err(error) => return failed(error),
                },
                message = messages.next() => match message {
                    Some(Ok(AsyncMessage::Notification(_))) => { let _ = hints.try_send(()); }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return failed(error),
                    None => return RegistryError::Unavailable {
                        attempt: "listening for notifications".to_owned(),
                        cause: "the connection was closed".into(),
                    },
                },
            }
        }
    }

    /// Whose tables these are; asked once, when the database first answers.
    async fn schema_kind(&self) -> Result<SchemaKind, RegistryError> {
        self.kind
            .get_or_try_init(|| async {
                let client = self.client("looking for the registry's tables").await?;
                schema::schema_kind(&client, &self.settings).await
            })
            .await
            .copied()
    }

    /// A query with the names of the schemas in it.
    fn named(&self, query: &str) -> String {
        query.replace("@schema@", &self.settings.quoted_schema()).replace("@api@", &self.settings.quoted_interface())
    }

    /// For one transaction: a setting for the session would be left to whoever a pooler gives the connection next. The
    /// policies of someone else's tables may need the login's own search path.
    fn configuring(&self) -> String {
        let is_ours = self.kind.get() == Some(&SchemaKind::Native);
        let path = if is_ours { ", pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)" } else { "" };
        format!("SELECT pg_catalog.set_config('statement_timeout', $1, true), {}{path}", pinned())
    }

    async fn client(&self, attempt: &str) -> Result<Object, RegistryError> {
        self.pool.get().await.map_err(|error| from_pool(attempt, error))
    }

    /// The answer to one question, in a transaction that bounds it, sent whole without waiting in between.
    async fn ask(&self, attempt: &str, query: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, RegistryError> {
        let client = self.client(attempt).await?;
        let (query, configuring) = (self.named(query), self.configuring());
        let timeout = statement_timeout();
        let bound: [Parameter<'_>; 1] = [(&timeout, Type::TEXT)];
        let ((), _, rows, ()) = futures::try_join!(
            client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY"),
            client.query_typed(&configuring, &bound),
            client.query_typed(&query, parameters),
            client.batch_execute("COMMIT"),
        )
        .map_err(|error| RegistryError::from_driver(attempt, error))?;
        Ok(rows)
    }
}

fn statement_timeout() -> String {
    STATEMENT_TIMEOUT.as_millis().to_string()
}

/// One environment being read in one transaction.
struct Reading<'a> {
    transaction: &'a Transaction<'a>,
    reader: &'a Reader,
    source: &'a SourceName,
}

impl Reading<'_> {
    async fn rows(&self, query: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, RegistryError> {
        self.transaction
            .query_typed(&self.reader.named(query), parameters)
            .await
            .map_err(|error| RegistryError::from_driver(format!("reading {}", self.source), error))
    }

    /// The poll of this very snapshot.
    async fn poll(&self, query: &str, read: ReadPolled) -> Result<PollResult, RegistryError> {
        let (projects, environments) = ([self.source.project.as_str()], [self.source.environment.as_str()]);
        let parameters: [Parameter<'_>; 2] =
            [(&projects.as_slice(), Type::TEXT_ARRAY), (&environments.as_slice(), Type::TEXT_ARRAY)];
        match self.rows(query, &parameters).await?.as_slice() {
            [row] => read(row).map(|polled| polled.result),
            _ => Err(RegistryError::Inconsistent {
                table: "environments",
                column: "name".to_owned(),
                row: self.source.to_string(),
                cause: "more than one project or environment has that name".into(),
            }),
        }
    }
}
