//! One connection on behalf of one user. Each operation is one transaction.

use std::time::Duration;

use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, IsolationLevel, Row, Transaction as DriverTransaction};

use crate::core::{ProjectId, ProjectName, RegistryTime, UserName};

use super::{ConnectSettings, RegistryError, SCHEMA_VERSION};

/// How long one statement may take, waiting for the project's mutex included.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(1);

/// A parameter with its type, so that nothing has to be prepared.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A connection on behalf of the login's user or, for a delegate, of another one.
pub struct Session {
    client: Client,
    search_path: String,
    user: String,
}

impl Session {
    /// Connects, and makes sure that the schema is one that this program serves.
    ///
    /// # Errors
    /// [`RegistryError::Schema`] where it is missing or of another age; [`RegistryError::Refused`] where the login is
    /// nobody's.
    pub async fn open(settings: &ConnectSettings, user: Option<&UserName>) -> Result<Self, RegistryError> {
        let (client, connection) = settings.connect().await?;
        // Ends with the client; what breaks it reaches the client's calls.
        tokio::spawn(connection);
        let schema = settings.quoted_schema();
        let floor = client
            .query_typed_one(&format!("SELECT oldest_writer, version FROM {schema}.schema_floor"), &[])
            .await
            .map_err(|error| nobodys_login(RegistryError::from_driver("looking at the registry", &error)))?;
        let (oldest_writer, version): (i32, i32) = (floor.get(0), floor.get(1));
        if oldest_writer > SCHEMA_VERSION {
            return Err(RegistryError::Schema(format!(
                "the registry serves programs from schema version {oldest_writer} on, and this one knows version \
                 {SCHEMA_VERSION}: use a newer tidelock"
            )));
        }
        if version < SCHEMA_VERSION {
            return Err(RegistryError::Schema(format!(
                "the registry is at schema version {version}, and this program needs {SCHEMA_VERSION}: have its owner \
                 run `tidelock migrate`"
            )));
        }
        let user = user.map(ToString::to_string).unwrap_or_default();
        Ok(Self { client, search_path: format!("pg_catalog, {schema}, pg_temp"), user })
    }

    /// A transaction that sees one snapshot and writes nothing.
    pub(super) async fn reading(&mut self, attempt: &'static str) -> Result<Transaction<'_>, RegistryError> {
        let builder = self.client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        Transaction::new(builder.start().await, attempt, &self.search_path, &self.user).await
    }

    /// A transaction that writes, outside any project.
    pub(super) async fn writing(
        &mut self,
        attempt: &'static str,
        reason: &str,
    ) -> Result<Transaction<'_>, RegistryError> {
        // Read committed: what is read once the project's mutex is held is newer than what was read before it.
        let builder = self.client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
        let work = Transaction::new(builder.start().await, attempt, &self.search_path, &self.user).await?;
        work.rows("SELECT set_config('tidelock.reason', $1, true)", &[(&reason, Type::TEXT)]).await?;
        Ok(work)
    }

    /// A transaction that holds the project's mutex from its first statement on.
    pub(super) async fn changing(
        &mut self,
        attempt: &'static str,
        project: &str,
        reason: &str,
    ) -> Result<(Transaction<'_>, ProjectId), RegistryError> {
        let builder = self.client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
        let work = Transaction::new(builder.start().await, attempt, &self.search_path, &self.user).await?;
        let row = work.one("SELECT begin_change($1, $2)", &[(&project, Type::TEXT), (&reason, Type::TEXT)]).await?;
        let project = ProjectId(row.get(0));
        Ok((work, project))
    }

    /// A project's id.
    pub async fn project(&mut self, name: &ProjectName) -> Result<ProjectId, RegistryError> {
        let work = self.reading("looking for the project").await?;
        work.project(name).await
    }
}

/// An open transaction. Dropped, it is rolled back.
pub(super) struct Transaction<'s> {
    transaction: DriverTransaction<'s>,
    attempt: &'static str,
}

impl<'s> Transaction<'s> {
    async fn new(
        begun: Result<DriverTransaction<'s>, tokio_postgres::Error>,
        attempt: &'static str,
        search_path: &str,
        user: &str,
    ) -> Result<Self, RegistryError> {
        let transaction = begun.map_err(|error| RegistryError::from_driver(attempt, &error))?;
        let work = Self { transaction, attempt };
        let timeout = STATEMENT_TIMEOUT.as_millis().to_string();
        work.rows(
            "SELECT set_config('search_path', $1, true), set_config('tidelock.acting_user', $2, true),
                    set_config('statement_timeout', $3, true)",
            &[(&search_path, Type::TEXT), (&user, Type::TEXT), (&timeout, Type::TEXT)],
        )
        .await?;
        Ok(work)
    }

    pub(super) async fn rows(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, RegistryError> {
        self.transaction.query_typed(sql, parameters).await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn first(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Option<Row>, RegistryError> {
        Ok(self.rows(sql, parameters).await?.into_iter().next())
    }

    pub(super) async fn one(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Row, RegistryError> {
        self.transaction.query_typed_one(sql, parameters).await.map_err(|error| self.failed(&error))
    }

    /// Answers how many rows it wrote.
    pub(super) async fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, RegistryError> {
        self.transaction.execute_typed(sql, parameters).await.map_err(|error| self.failed(&error))
    }

    /// Runs a statement that takes no parameters, such as GRANT.
    pub(super) async fn run(&self, sql: &str) -> Result<(), RegistryError> {
        self.transaction.batch_execute(sql).await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn commit(self) -> Result<(), RegistryError> {
        let attempt = self.attempt;
        self.transaction.commit().await.map_err(|error| match RegistryError::from_driver(attempt, &error) {
            // The answer was lost, and with it whether the database had committed.
            RegistryError::Unavailable { attempt, cause } => RegistryError::Unavailable {
                attempt: format!("{attempt}, which may have been done or not: look before you repeat it"),
                cause,
            },
            other => other,
        })
    }

    pub(super) async fn project(&self, name: &ProjectName) -> Result<ProjectId, RegistryError> {
        self.first("SELECT id FROM projects WHERE name = $1", &[(&name.as_str(), Type::TEXT)])
            .await?
            .map(|row| ProjectId(row.get(0)))
            .ok_or_else(|| project_not_found(name.as_str()))
    }

    /// Refuses whoever does not administer the project: a policy alone would answer that nothing was there to change.
    pub(super) async fn require_admin(&self, project: ProjectId, what: &str) -> Result<(), RegistryError> {
        let row = self.one("SELECT $1 IN (SELECT administered_projects())", &[(&project.0, Type::UUID)]).await?;
        if row.get(0) {
            return Ok(());
        }
        Err(RegistryError::Refused {
            message: format!("only an ADMIN of the whole project {what}"),
            hint: Some("see who is one: tidelock member list".to_owned()),
        })
    }

    fn failed(&self, error: &tokio_postgres::Error) -> RegistryError {
        RegistryError::from_driver(self.attempt, error)
    }
}

/// One answer for what does not exist and what is not for the acting user to see.
pub(super) fn project_not_found(name: &str) -> RegistryError {
    RegistryError::NotFound(format!("project {name} not found, or you are not a member"))
}

/// A time in SQL, as microseconds: what a client makes of `timestamptz` depends on its settings.
pub(super) fn micros(expression: &str) -> String {
    format!("(extract(epoch FROM {expression}) * 1000000)::bigint")
}

pub(super) fn time(row: &Row, column: usize) -> Option<RegistryTime> {
    row.get::<_, Option<i64>>(column).map(RegistryTime::from_micros)
}

fn nobodys_login(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Refused { message, .. } => RegistryError::Refused {
            message,
            hint: Some("have the registry's owner run: tidelock user add NAME --db-role ROLE".to_owned()),
        },
        other => other,
    }
}
