//! One transaction on behalf of one user, with settings of its own.

use std::time::Duration;

use tokio_postgres::types::{FromSqlOwned, ToSql, Type};
use tokio_postgres::{Row, Transaction as DriverTransaction};

use crate::core::{ProjectId, ProjectName};

use super::connection::Ended;
use super::row::{self, FromRow, from_row};
use super::settings::{REPLICATION_ROLE, pinned, require_origin};
use super::{Explanation, RegistryError};

/// How long one statement may take.
const STATEMENT_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a server may be silent about a statement, which it gives up on before.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_secs(65);

/// How long it waits for a lock, above all for the project's mutex.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);

/// A parameter with its type, so that nothing has to be prepared.
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

struct MutexHolder {
    login: String,
    process: i32,
}

from_row!(MutexHolder, "mutex_holder", "login", [login, process]);

/// An open transaction. Dropped, it is rolled back.
pub(super) struct Transaction<'s> {
    driver: DriverTransaction<'s>,
    ended: Ended,
    attempt: &'static str,
    search_path: &'s str,
    user: &'s str,
}

impl<'s> Transaction<'s> {
    /// One that has begun on a connection that knows why it ends.
    pub(super) async fn new(
        begun: Result<DriverTransaction<'s>, tokio_postgres::Error>,
        ended: Ended,
        attempt: &'static str,
        search_path: &'s str,
        user: &'s str,
    ) -> Result<Self, RegistryError> {
        let driver = begun.map_err(|error| ended.explain(attempt, error))?;
        let transaction = Self { driver, ended, attempt, search_path, user };
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
        let Self { driver, ended, attempt, .. } = self;
        driver.commit().await.map_err(|error| match ended.explain(attempt, error) {
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
    pub(super) async fn name_holder(self, project: &str) -> RegistryError {
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
        self.ended.explain(self.attempt, error)
    }
}

/// One answer for what does not exist and what is not for the acting user to see.
pub(super) fn project_not_found(name: &str) -> RegistryError {
    RegistryError::NotFound(format!("project {name} not found, or you are not a member").into())
}
