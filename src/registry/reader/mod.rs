//! The operator's side of the registry: it only ever reads.
//!
//! Two kinds of tables are read: our own, with revisions as a version, and someone else's, with just the documented
//! columns, where a digest has to do. Both answer in the same types.

mod ask;
mod external;
mod listen;
mod native;
mod reading;
mod rows;
mod schema;
mod snapshots;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use self::ask::STATEMENT_TIMEOUT;
use super::connection::{Borrowed, Pool};
use super::row::{FromRow as _, decode, from_row};
use super::{
    ConnectSettings, FromServer, LoggedToken, PollResult, Refusal, RegistryError, SealedValue, ServerPosition,
    SourceName, Tombstone, ValueId,
};
use crate::core::{EnvironmentId, ProjectId, SHORT_DIGEST_LEN, ShortDigest};

/// Connections of an operator: the poll, and a few snapshots beside it.
const POOL_SIZE: usize = 6;
/// Most environments of someone else's tables that one poll asks about.
const EXTERNAL_WIDTH: usize = 100;

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
    /// Where to ask what a standby does not know yet.
    primary: Option<Arc<Self>>,
    kind: Arc<OnceCell<SchemaKind>>,
    /// How many environments of someone else's tables are asked about at once.
    external_width: Arc<AtomicUsize>,
}

/// How far the server has come that answers.
const POSITION: &str = "
    pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END, '0/0')::int8 AS wal,
    pg_is_in_recovery() AS is_standby";

from_row!(ServerPosition, "pg_is_in_recovery", "wal", [wal, is_standby]);

struct LogRow {
    token: Option<Uuid>,
    is_standby: bool,
}

from_row!(LogRow, "revision_log", "token", [token, is_standby]);

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
        Ok(Self {
            pool: settings.pool(POOL_SIZE)?,
            settings,
            listen,
            primary: None,
            kind: Arc::default(),
            external_width: Arc::new(EXTERNAL_WIDTH.into()),
        })
    }

    /// Where standbys are read: the primary is asked for the revisions that they do not have, before anybody says that what
    /// was delivered belongs to another history.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_primary(self, url: String) -> Result<Self, RegistryError> {
        let primary = Self::new(ConnectSettings { url, ..self.settings.clone() }, None)?;
        Ok(Self { primary: Some(Arc::new(primary)), ..self })
    }

    /// Whether this login may serve an operator, and whether this program may read these tables.
    ///
    /// # Errors
    /// [`RegistryError::Refused`] for a superuser, an owner of the tables or a login with BYPASSRLS, since none of these
    /// is held by row-level security; [`RegistryError::Schema`] where the tables are missing or too new.
    pub async fn check_login(&self) -> Result<(), RegistryError> {
        // Making the connection has checked it.
        self.client("checking the operator's login").await?.settle();
        self.schema_kind().await.map(|_| ())
    }

    /// Where each environment stands, in the order asked. One statement, one round trip.
    ///
    /// # Errors
    /// [`RegistryError::Unavailable`] and what else the database answers; a source that may not be read is no error.
    pub async fn poll(&self, sources: &[SourceName]) -> Result<FromServer<Vec<PollResult>>, RegistryError> {
        let kind = self.schema_kind().await?;
        let projects: Vec<&str> = sources.iter().map(|source| source.project.as_str()).collect();
        let environments: Vec<&str> = sources.iter().map(|source| source.environment.as_str()).collect();
        let (query, read): (_, ReadPolled) = match kind {
            SchemaKind::Native => (native::POLL, native::polled),
            SchemaKind::External => (external::POLL, external::polled),
        };
        let parameters: [Parameter<'_>; 2] = [(&projects, Type::TEXT_ARRAY), (&environments, Type::TEXT_ARRAY)];
        let began = Instant::now();
        let rows = self.ask("polling the environments", query, &parameters).await;
        if kind == SchemaKind::External && rows.is_err() && began.elapsed() >= STATEMENT_TIMEOUT && sources.len() > 1 {
            // Too many, perhaps: fewer at once from now on.
            self.external_width.fetch_min(sources.len() / 2, Ordering::Relaxed);
        }
        let rows = rows?;
        let position = rows.first().map(ServerPosition::from_row).transpose()?;
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
        let answer = results.into_iter().map(|result| result.unwrap_or_else(|| unseen.clone())).collect();
        Ok(FromServer { answer, position })
    }

    /// How long it may take until there is a connection, where every host of the list is tried.
    #[must_use]
    pub fn longest_connecting(&self) -> Duration {
        let of_primary = self.primary.as_ref().map_or(Duration::ZERO, |primary| primary.pool.longest());
        self.pool.longest() + of_primary
    }

    /// How many environments may be asked about at once, so that the answer comes in time. Each poll of someone else's tables
    /// goes through all rows of every environment.
    #[must_use]
    pub fn poll_width(&self) -> usize {
        match self.kind.get() {
            Some(SchemaKind::External) => self.external_width.load(Ordering::Relaxed),
            Some(SchemaKind::Native) | None => usize::MAX,
        }
    }

    /// What values of an environment are sealed as. A value that is not in its row any more is left out.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn sealed_values(
        &self,
        project: ProjectId,
        environment: EnvironmentId,
        values: &[ValueId],
    ) -> Result<Vec<SealedValue>, RegistryError> {
        let query = match self.schema_kind().await? {
            SchemaKind::Native => native::SEALED_VALUES,
            SchemaKind::External => external::SEALED_VALUES,
        };
        let ids: Vec<Uuid> = values.iter().map(|value| value.row.0).collect();
        let parameters: [Parameter<'_>; 3] =
            [(&project.0, Type::UUID), (&environment.0, Type::UUID), (&ids, Type::UUID_ARRAY)];
        let rows = self.ask("reading values", query, &parameters).await?;
        let wanted: HashSet<&ValueId> = values.iter().collect();
        let found = decode::<SealedValue>(&rows)?;
        Ok(found.into_iter().filter(|value| wanted.contains(&value.id)).collect())
    }

    /// Which rows of an environment were deleted on purpose, of those whose ids have these digests. That one is not among the
    /// answers says nothing where the server may lag behind.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn tombstones(
        &self,
        project: ProjectId,
        environment: EnvironmentId,
        rows: &[ShortDigest],
    ) -> Result<FromServer<Vec<Tombstone>>, RegistryError> {
        let query = match self.schema_kind().await? {
            SchemaKind::Native => native::TOMBSTONES,
            SchemaKind::External => external::TOMBSTONES,
        };
        let digests: Vec<&[u8]> = rows.iter().map(<[u8; SHORT_DIGEST_LEN]>::as_slice).collect();
        let parameters: [Parameter<'_>; 3] =
            [(&project.0, Type::UUID), (&environment.0, Type::UUID), (&digests, Type::BYTEA_ARRAY)];
        let query = format!("SELECT t.digest, t.key, @position@ FROM (SELECT) AS one LEFT JOIN ({query}) AS t ON true");
        let rows = self.ask("looking for deleted rows", &query, &parameters).await?;
        let position = rows.first().map(ServerPosition::from_row).transpose()?;
        Ok(FromServer { answer: rows::tombstones(&rows)?, position })
    }

    /// What the project's log says of a revision; [`LoggedToken::Absent`] in someone else's tables. What a standby does not
    /// have is asked of the primary, where one was named.
    ///
    /// # Errors
    /// As [`poll`](Self::poll).
    pub async fn token_of(&self, project: ProjectId, revision: i64) -> Result<LoggedToken, RegistryError> {
        if self.schema_kind().await? == SchemaKind::External {
            return Ok(LoggedToken::Absent);
        }
        let query = "SELECT token, pg_is_in_recovery() AS is_standby FROM @api@.token_of($1, $2) AS token";
        let parameters: [Parameter<'_>; 2] = [(&project.0, Type::UUID), (&revision, Type::INT8)];
        let rows = self.ask("reading the revision log", query, &parameters).await?;
        let Some(row) = rows.first() else { return Ok(LoggedToken::Absent) };
        match (LogRow::from_row(row)?, &self.primary) {
            (LogRow { token: Some(token), .. }, _) => Ok(LoggedToken::Token(token)),
            (LogRow { is_standby: false, .. }, _) => Ok(LoggedToken::Absent),
            (_, None) => Ok(LoggedToken::NotYet),
            // The primary has none of its own.
            (_, Some(primary)) => Box::pin(primary.token_of(project, revision)).await,
        }
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

    /// Whose tables these are; asked once, when the database first answers.
    async fn schema_kind(&self) -> Result<SchemaKind, RegistryError> {
        self.kind
            .get_or_try_init(|| async {
                let mut client = self.client("looking for the registry's tables").await?;
                let kind = schema::schema_kind(&client, &self.settings).await;
                client.settle();
                kind.map_err(|error| client.ended().add_to(error))
            })
            .await
            .copied()
    }

    /// A query with the names of the schemas in it.
    fn named(&self, query: &str) -> String {
        query
            .replace("@schema@", &self.settings.quoted_schema())
            .replace("@api@", &self.settings.quoted_interface())
            .replace("@position@", POSITION)
    }

    async fn client(&self, attempt: &str) -> Result<Borrowed, RegistryError> {
        self.pool.get(attempt).await
    }
}
