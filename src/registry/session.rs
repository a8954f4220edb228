//! One connection on behalf of one user. Each operation is one transaction.

use std::time::Duration;

use tokio_postgres::types::{FromSqlOwned, ToSql, Type};
use tokio_postgres::{Client, IsolationLevel, Row, Transaction as DriverTransaction};

use crate::core::{ProjectId, ProjectName, UserName};

use super::row::{self, FromRow, from_row};
use super::settings::{REPLICATION_ROLE, pinned, require_origin};
use super::{ConnectSettings, Explanation, RegistryError, SCHEMA_VERSION};

/// How long one statement may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(1);

/// How long it waits for a lock, above all for the project's mutex.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);

/// A parameter with its type, so that nothing has to be prepared.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

struct SchemaFloor {
    oldest_writer: i32,
    version: i32,
    is_subscriber: bool,
}

from_row!(SchemaFloor, "schema_floor", "version", [oldest_writer, version, is_subscriber]);

struct MutexHolder {
    login: String,
    process: i32,
}

from_row!(MutexHolder, "mutex_holder", "login", [login, process]);

/// A connection on behalf of the login's user or, for a delegate, of another one.
pub struct Session {
    client: Client,
    search_path: String,
    user: String,
    is_subscriber: bool,
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
        let interface = settings.quoted_interface();
        let floor = client
            .query_typed(
                &format!(
                    "SELECT oldest_writer, version, subscriber_since IS NOT NULL AS is_subscriber FROM {interface}.schema_floor"
                ),
                &[],
            )
            .await
            .map_err(|error| nobodys_login(RegistryError::from_driver("reading the schema's version", error)))?;
        let SchemaFloor { oldest_writer, version, is_subscriber } =
            SchemaFloor::from_row(&row::only(floor, "reading the schema's version")?)?;
        if oldest_writer > SCHEMA_VERSION {
            let message = format!(
                "the registry serves programs from schema version {oldest_writer} on, and this one knows version \
                 {SCHEMA_VERSION}"
            );
            return Err(RegistryError::Schema(Explanation::from(message).hint("use a newer tidelock")));
        }
        if version < SCHEMA_VERSION {
            let message =
                format!("the registry is at schema version {version}, and this program needs {SCHEMA_VERSION}");
            let hint = "have its owner run `tidelock migrate`";
            return Err(RegistryError::Schema(Explanation::from(message).hint(hint)));
        }
        let user = user.map(ToString::to_string).unwrap_or_default();
        Ok(Self { client, search_path: format!("pg_catalog, {interface}, pg_temp"), user, is_subscriber })
    }

    /// Whether the registry takes no writes but the publisher's.
    pub(crate) const fn is_subscriber(&self) -> bool {
        self.is_subscriber
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
        let transaction = Transaction::new(builder.start().await, attempt, &self.search_path, &self.user).await?;
        transaction.perform("SELECT set_config('tidelock.reason', $1, true)", &[(&reason, Type::TEXT)]).await?;
        Ok(transaction)
    }

    /// A transaction that holds the project's mutex from its first statement on.
    pub(super) async fn changing(
        &mut self,
        attempt: &'static str,
        project: &str,
        reason: &str,
    ) -> Result<(Transaction<'_>, ProjectId), RegistryError> {
        self.begin_change("SELECT begin_change($1, $2) AS id", attempt, project, reason).await
    }

    /// As [`changing`](Self::changing), for what may be done in an archived project, too.
    pub(super) async fn changing_archived(
        &mut self,
        attempt: &'static str,
        project: &str,
        reason: &str,
    ) -> Result<(Transaction<'_>, ProjectId), RegistryError> {
        self.begin_change("SELECT begin_change($1, $2, may_be_archived => true) AS id", attempt, project, reason).await
    }

    async fn begin_change(
        &mut self,
        sql: &str,
        attempt: &'static str,
        project: &str,
        reason: &str,
    ) -> Result<(Transaction<'_>, ProjectId), RegistryError> {
        let parameters: [Parameter<'_>; 2] = [(&project, Type::TEXT), (&reason, Type::TEXT)];
        let builder = self.client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
        let transaction = Transaction::new(builder.start().await, attempt, &self.search_path, &self.user).await?;
        match transaction.value("projects", sql, &parameters).await {
            Ok(project) => Ok((transaction, project)),
            Err(RegistryError::Blocked(_)) => Err(transaction.name_holder(project).await),
            Err(other) => Err(other),
        }
    }
}

/// An open transaction. Dropped, it is rolled back.
pub(super) struct Transaction<'s> {
    driver: DriverTransaction<'s>,
    attempt: &'static str,
    search_path: &'s str,
    user: &'s str,
}

impl<'s> Transaction<'s> {
    async fn new(
        begun: Result<DriverTransaction<'s>, tokio_postgres::Error>,
        attempt: &'static str,
        search_path: &'s str,
        user: &'s str,
    ) -> Result<Self, RegistryError> {
        let driver = begun.map_err(|error| RegistryError::from_driver(attempt, error))?;
        let transaction = Self { driver, attempt, search_path, user };
        transaction.configure().await?;
        Ok(transaction)
    }

    /// For this transaction: a setting for the session would be left to whoever a pooler gives the connection next.
    async fn configure(&self) -> Result<(), RegistryError> {
        let configured = self
            .one_row(
                &format!(
                    "SELECT pg_catalog.set_config('search_path', $1, true), pg_catalog.set_config('tidelock.acting_user', $2, true),
                            pg_catalog.set_config('statement_timeout', $3, true), pg_catalog.set_config('lock_timeout', $4, true),
                            {}, {REPLICATION_ROLE}",
                    pinned()
                ),
                &[
                    (&self.search_path, Type::TEXT),
                    (&self.user, Type::TEXT),
                    (&STATEMENT_TIMEOUT.as_millis().to_string(), Type::TEXT),
                    (&LOCK_TIMEOUT.as_millis().to_string(), Type::TEXT),
                ],
            )
            .await?;
        require_origin(&configured)
    }

    async fn rows(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, RegistryError> {
        self.driver.query_typed(sql, parameters).await.map_err(|error| self.failed(error))
    }

    pub(super) async fn all<R: FromRow>(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<R>, RegistryError> {
        row::decode(&self.rows(sql, parameters).await?)
    }

    pub(super) async fn first<R: FromRow>(
        &self,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<R>, RegistryError> {
        self.rows(sql, parameters).await?.first().map(R::from_row).transpose()
    }

    pub(super) async fn one<R: FromRow>(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<R, RegistryError> {
        R::from_row(&self.one_row(sql, parameters).await?)
    }

    async fn one_row(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<Row, RegistryError> {
        row::only(self.rows(sql, parameters).await?, self.attempt)
    }

    /// As [`one`](Self::one), of a query with a single column; `table` names it in an error.
    pub(super) async fn value<T: FromSqlOwned>(
        &self,
        table: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<T, RegistryError> {
        row::value(&self.one_row(sql, parameters).await?, table)
    }

    /// As [`first`](Self::first), of a query with a single column.
    pub(super) async fn first_value<T: FromSqlOwned>(
        &self,
        table: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Option<T>, RegistryError> {
        self.rows(sql, parameters).await?.first().map(|row| row::value(row, table)).transpose()
    }

    /// As [`all`](Self::all), of a query with a single column.
    pub(super) async fn values<T: FromSqlOwned>(
        &self,
        table: &'static str,
        sql: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<T>, RegistryError> {
        self.rows(sql, parameters).await?.iter().map(|row| row::value(row, table)).collect()
    }

    /// Whether a query finds any row.
    pub(super) async fn exists(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<bool, RegistryError> {
        Ok(!self.rows(sql, parameters).await?.is_empty())
    }

    /// Calls a function for what it does.
    pub(super) async fn perform(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<(), RegistryError> {
        self.rows(sql, parameters).await.map(|_| ())
    }

    /// Answers how many rows it wrote.
    pub(super) async fn execute(&self, sql: &str, parameters: &[Parameter<'_>]) -> Result<u64, RegistryError> {
        self.driver.execute_typed(sql, parameters).await.map_err(|error| self.failed(error))
    }

    /// Runs a statement that takes no parameters, such as GRANT.
    pub(super) async fn run(&self, sql: &str) -> Result<(), RegistryError> {
        self.driver.batch_execute(sql).await.map_err(|error| self.failed(error))
    }

    pub(super) async fn commit(self) -> Result<(), RegistryError> {
        let attempt = self.attempt;
        self.driver.commit().await.map_err(|error| match RegistryError::from_driver(attempt, error) {
            // The answer was lost, and with it whether the database had committed.
            RegistryError::Unavailable { attempt, cause } => RegistryError::Unavailable {
                attempt: format!("{attempt}, which may have been done or not: look before you repeat it"),
                cause,
            },
            other => other,
        })
    }

    pub(super) async fn project(&self, name: &ProjectName) -> Result<ProjectId, RegistryError> {
        self.first_value("projects", "SELECT id FROM projects WHERE name = $1", &[(&name.as_str(), Type::TEXT)])
            .await?
            .ok_or_else(|| project_not_found(name.as_str()))
    }

    /// Refuses whoever does not administer the project: a policy alone would answer that nothing was there to change.
    pub(super) async fn require_admin(&self, project: ProjectId, what: &str) -> Result<(), RegistryError> {
        let sql = "SELECT is_administrator($1) AS administered";
        if self.value("memberships", sql, &[(&project.0, Type::UUID)]).await? {
            return Ok(());
        }
        let message = format!("only an ADMIN of the whole project {what}");
        Err(RegistryError::Refused(Explanation::from(message).hint("see who is one: tidelock member list")))
    }

    /// The error that says who kept the project's mutex for longer than this one waits.
    async fn name_holder(self, project: &str) -> RegistryError {
        let waited = LOCK_TIMEOUT.as_secs();
        let attempt = self.attempt;
        let message = format!("{attempt}: somebody else has been changing project {project} for more than {waited} s");
        let asked = async {
            self.run("ROLLBACK; BEGIN READ ONLY").await?;
            self.configure().await?;
            let parameters: [Parameter<'_>; 1] = [(&project, Type::TEXT)];
            self.first::<MutexHolder>("SELECT login, process FROM mutex_holder($1)", &parameters).await
        };
        let explained = match asked.await {
            Ok(Some(MutexHolder { login, process })) => Explanation::from(format!("{message}: login {login}")).hint(format!(
                "they have to end their transaction, or an administrator ends it: SELECT pg_terminate_backend({process})"
            )),
            // Gone by now, or it cannot be asked.
            Ok(None) | Err(_) => Explanation::from(message).hint("try again"),
        };
        RegistryError::Blocked(explained)
    }

    fn failed(&self, error: tokio_postgres::Error) -> RegistryError {
        RegistryError::from_driver(self.attempt, error)
    }
}

/// One answer for what does not exist and what is not for the acting user to see.
pub(super) fn project_not_found(name: &str) -> RegistryError {
    RegistryError::NotFound(format!("project {name} not found, or you are not a member").into())
}

fn nobodys_login(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Refused(explained) => RegistryError::Refused(
            explained.hint("have the registry's owner run: tidelock user add NAME --db-role ROLE"),
        ),
        other => other,
    }
}
