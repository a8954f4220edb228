//! A registry that is the copy of another one, by logical replication: `tidelock registry subscriber`.
//!
//! The triggers of a registry ask who is writing, and in an apply worker nobody is. So in a subscriber they rest: what
//! comes was decided by the publisher's. One stands in their place that lets nothing in but replication, whatever a session
//! sets; and before they are on again, everything is verified that they would have seen to.

mod sql;
mod verify;

use std::collections::BTreeMap;

use tokio_postgres::{Client, Transaction};

use super::migrate::pending;
use super::row::{decode, from_row, value};
use super::{ConnectSettings, Explanation, RegistryError};
use sql::ReplicatedTable;

/// How long it waits for whoever uses a table that it has to change.
const LOCK_TIMEOUT_SECONDS: u64 = 30;

/// How rows get here.
#[derive(Debug)]
pub(crate) struct Replication {
    /// SQL for an administrator of the publisher.
    pub(crate) publisher: String,
    /// SQL for an administrator of this server.
    pub(crate) subscriber: String,
    /// Whether it was a subscriber before.
    pub(crate) was_on: bool,
    /// Whether this registry has rows, as a physical copy has: what is there is not copied again.
    pub(crate) has_rows: bool,
}

/// What was found before the cut-over.
#[derive(Debug)]
pub(crate) enum CutOver {
    /// It is open for writes, with so many rows in each table.
    Opened(BTreeMap<String, u64>),
    /// It was no subscriber.
    WasOff,
    /// It stays a subscriber, for these reasons.
    Refused(Vec<String>),
}

struct Mode {
    has_projects: bool,
    /// Users besides the owner.
    others: i64,
}

from_row!(Mode, "users", "others", [has_projects, others]);

struct Subscription {
    name: String,
    enabled: bool,
    /// A table whose initial copy is not complete.
    copying: Option<String>,
}

from_row!(Subscription, "pg_subscription", "name", [name, enabled, copying]);

/// Turns a registry into a subscriber, as the login that owns it.
///
/// # Errors
/// [`RegistryError::Refused`] where the registry has users of its own and no project: their rows would be in the way.
pub(crate) async fn subscribe(settings: &ConnectSettings) -> Result<Replication, RegistryError> {
    refuse_unmigrated(settings).await?;
    in_one_transaction(settings, "making the registry a subscriber", async |transaction| {
        let tables = sql::replicated(transaction).await?;
        let failed = |error| RegistryError::from_driver("making the registry a subscriber", error);
        // By whoever owns them, so that nobody else gets further.
        transaction.batch_execute(&sql::locked(&tables)).await.map_err(failed)?;
        let was_on = is_on(transaction).await?;
        if !was_on {
            transaction.batch_execute(&sql::not_forced(&tables)).await.map_err(failed)?;
        }
        let mode = mode(transaction).await?;
        if !mode.has_projects && mode.others > 0 {
            let message = "the registry has users and no project, so it is neither empty nor a copy of another one";
            let hint = "make another database and run `tidelock migrate` there: users come with the publisher's rows";
            return Err(RegistryError::Refused(Explanation::from(message).hint(hint)));
        }
        if !was_on {
            transaction.batch_execute(&sql::on(&tables, !mode.has_projects)).await.map_err(failed)?;
        }
        let (publisher, subscriber) = sql::for_both_sides(settings, &tables, !mode.has_projects);
        Ok(Replication { publisher, subscriber, was_on, has_rows: mode.has_projects })
    })
    .await
}

/// Opens a subscriber for writes, if nothing replicates into it any more and nothing is wrong with what it has.
///
/// # Errors
/// [`RegistryError::Blocked`] where a table is in use for too long.
pub(crate) async fn cut_over(settings: &ConnectSettings) -> Result<CutOver, RegistryError> {
    refuse_unmigrated(settings).await?;
    in_one_transaction(settings, "opening the registry for writes", async |transaction| {
        let failed = |error| RegistryError::from_driver("opening the registry for writes", error);
        let tables = sql::replicated(transaction).await?;
        transaction.batch_execute(&sql::locked(&tables)).await.map_err(failed)?;
        if !is_on(transaction).await? {
            return Ok(CutOver::WasOff);
        }
        let mut findings = unfinished_subscriptions(transaction).await?;
        findings.extend(verify::findings(transaction).await?);
        if !findings.is_empty() {
            return Ok(CutOver::Refused(findings));
        }
        let rows = verify::count(transaction, &tables).await?;
        transaction.batch_execute(&sql::off(&tables)).await.map_err(failed)?;
        Ok(CutOver::Opened(rows))
    })
    .await
}

async fn refuse_unmigrated(settings: &ConnectSettings) -> Result<(), RegistryError> {
    if pending(settings).await.map_err(owners_matter)?.migrations.is_empty() {
        return Ok(());
    }
    let message = "the schema is not what this program's migrations make";
    Err(RegistryError::Schema(Explanation::from(message).hint("run `tidelock migrate` here, and on the publisher")))
}

/// Does something as the owner, whole or not at all.
async fn in_one_transaction<T>(
    settings: &ConnectSettings,
    attempt: &'static str,
    work: impl AsyncFnOnce(&Transaction<'_>) -> Result<T, RegistryError>,
) -> Result<T, RegistryError> {
    let failed = |error| RegistryError::from_driver(attempt, error);
    let whole = async |client: &mut Client| {
        let transaction = client.transaction().await.map_err(failed)?;
        let settle = format!(
            "SET LOCAL search_path = {}, pg_catalog, pg_temp; SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s';
         SET LOCAL client_min_messages = warning; SET LOCAL row_security = on",
            settings.quoted_schema()
        );
        transaction.batch_execute(&settle).await.map_err(failed)?;
        let done = work(&transaction).await.map_err(owners_matter)?;
        transaction.commit().await.map_err(failed)?;
        Ok(done)
    };
    settings.with_connection(whole).await
}

fn owners_matter(error: RegistryError) -> RegistryError {
    match error {
        RegistryError::Refused(explained) if explained.message.contains("permission denied") => RegistryError::Refused(
            explained.hint("connect as the login that owns the registry, which ran `tidelock migrate`"),
        ),
        other => other,
    }
}

async fn is_on(transaction: &Transaction<'_>) -> Result<bool, RegistryError> {
    let failed = |error| RegistryError::from_driver("reading whether the registry is a subscriber", error);
    let sql = "SELECT subscriber_since IS NOT NULL AS is_on FROM schema_floor";
    value(&transaction.query_typed_one(sql, &[]).await.map_err(failed)?, "schema_floor")
}

/// Read by the owner once row-level security is not forced.
async fn mode(transaction: &Transaction<'_>) -> Result<Mode, RegistryError> {
    let failed = |error| RegistryError::from_driver("looking for rows of the registry", error);
    let sql = "SELECT EXISTS (SELECT FROM projects) AS has_projects,
                   (SELECT count(*) FROM users WHERE kind <> 'owner') AS others";
    let rows = transaction.query_typed(sql, &[]).await.map_err(failed)?;
    decode::<Mode>(&rows)?.pop().ok_or_else(|| RegistryError::Schema("the registry answers nothing".into()))
}

/// Subscriptions by which rows still come into the registry's tables, or have not all come.
async fn unfinished_subscriptions(transaction: &Transaction<'_>) -> Result<Vec<String>, RegistryError> {
    let sql = "SELECT s.subname::text AS name, s.subenabled AS enabled,
                   min(r.srrelid::regclass::text) FILTER (WHERE r.srsubstate NOT IN ('r', 's')) AS copying
               FROM pg_subscription s JOIN pg_subscription_rel r ON r.srsubid = s.oid
               JOIN pg_class c ON c.oid = r.srrelid
               WHERE c.relnamespace = current_schema()::regnamespace GROUP BY s.oid, s.subname, s.subenabled";
    let failed = |error| RegistryError::from_driver("looking for subscriptions", error);
    let subscriptions: Vec<Subscription> = decode(&transaction.query_typed(sql, &[]).await.map_err(failed)?)?;
    let reason = |subscription: Subscription| {
        let Subscription { name, enabled, copying } = subscription;
        if enabled {
            Some(format!("the subscription {name} is enabled: ALTER SUBSCRIPTION {name} DISABLE"))
        } else {
            copying.map(|table| format!("the subscription {name} has not copied all of {table}"))
        }
    };
    Ok(subscriptions.into_iter().filter_map(reason).collect())
}
