//! One connection on behalf of one user. Each operation is one transaction.

use tokio_postgres::IsolationLevel;
use tokio_postgres::types::Type;

use crate::core::{ProjectId, UserName};

use super::connection::Link;
use super::row::{self, FromRow as _, from_row};
use super::transaction::LONGEST_SILENCE;
pub(super) use super::transaction::{Parameter, Transaction, project_not_found};
use super::{ConnectSettings, Explanation, RegistryError, SCHEMA_VERSION};

struct SchemaFloor {
    oldest_writer: i32,
    version: i32,
    is_subscriber: bool,
}

from_row!(SchemaFloor, "schema_floor", "version", [oldest_writer, version, is_subscriber]);

/// A connection on behalf of the login's user or, for a delegate, of another one.
pub struct Session {
    link: Link,
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
        let link = settings.connect(Some(LONGEST_SILENCE)).await?;
        let interface = settings.quoted_interface();
        let floor = link
            .query_typed(
                &format!(
                    "SELECT oldest_writer, version, subscriber_since IS NOT NULL AS is_subscriber FROM {interface}.schema_floor"
                ),
                &[],
            )
            .await
            .map_err(|error| nobodys_login(link.explain("reading the schema's version", error)))?;
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
        Ok(Self { link, search_path: format!("pg_catalog, {interface}, pg_temp"), user, is_subscriber })
    }

    /// Whether the registry takes no writes but the publisher's.
    pub(crate) const fn is_subscriber(&self) -> bool {
        self.is_subscriber
    }

    /// A transaction that sees one snapshot and writes nothing.
    pub(super) async fn reading(&mut self, attempt: &'static str) -> Result<Transaction<'_>, RegistryError> {
        let ended = self.link.ended();
        let builder = self.link.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true);
        Transaction::new(builder.start().await, ended, attempt, &self.search_path, &self.user).await
    }

    /// A transaction that writes, outside any project.
    pub(super) async fn writing(
        &mut self,
        attempt: &'static str,
        reason: &str,
    ) -> Result<Transaction<'_>, RegistryError> {
        // Read committed: what is read once the project's mutex is held is newer than what was read before it.
        let ended = self.link.ended();
        let builder = self.link.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
        let transaction =
            Transaction::new(builder.start().await, ended, attempt, &self.search_path, &self.user).await?;
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
        let ended = self.link.ended();
        let builder = self.link.build_transaction().isolation_level(IsolationLevel::ReadCommitted).read_only(false);
        let transaction =
            Transaction::new(builder.start().await, ended, attempt, &self.search_path, &self.user).await?;
        match transaction.value("projects", sql, &parameters).await {
            Ok(project) => Ok((transaction, project)),
            Err(RegistryError::Blocked(_)) => Err(transaction.name_holder(project).await),
            Err(other) => Err(other),
        }
    }
}

fn nobodys_login(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Refused(explained) => RegistryError::Refused(
            explained.hint("have the registry's owner run: tidelock user add NAME --db-role ROLE"),
        ),
        other => other,
    }
}
