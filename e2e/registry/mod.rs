//! The registry's rules, in SQL: each test has a database of its own and the logins that a team would have.
//!
//! What is shown here holds for whoever writes, so nothing of the program is used once the team is there.

pub(crate) mod audit;
mod catalog;
mod cost;
mod disclosure;
mod documents;
mod drift;
mod environments;
mod follows;
mod guards;
mod hashes;
mod load;
mod locks;
mod logins;
mod migrations;
mod names;
pub(crate) mod order;
mod plans;
mod reasons;
mod restored;
mod revisions;
mod rights;
mod roles;
mod settings;
mod subscriber;
mod sync;
mod time;
mod writers;

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

use crate::harness::database::Login;
use crate::harness::{Postgres, TestDatabase, wait_for};
use crate::stage::Team;

/// What [`Shop::states`] answers where no environment is behind.
const ALL_IN_SYNC: &str = "dev=InSync production=InSync staging=InSync";

/// Tables that nobody deletes from, whoever they are.
const NEVER_DELETED_FROM: [&str; 13] = [
    "users",
    "projects",
    "project_revisions",
    "revision_log",
    "environments",
    "project_secret_registry",
    "secrets",
    "secret_versions",
    "encryption_keys",
    "project_hash_keys",
    "audit_logs",
    "audit_seals",
    "vault_tombstones",
];

/// A server whose roles nobody has made yet.
pub(crate) async fn fresh_server(name: &'static str) -> Arc<Postgres> {
    tokio::task::spawn_blocking(move || Postgres::start(name).unwrap()).await.unwrap()
}

/// A team, see [`TeamBuilder`](crate::stage::TeamBuilder), and a session of each of its logins.
struct Shop {
    team: Team,
    /// The login that migrated.
    owner: Client,
    ana: Client,
    bob: Client,
    vic: Client,
    eve: Client,
    operator: Client,
}

impl Shop {
    async fn open(what: &str) -> Self {
        Self::of(Team::builder(what).without_keyring().build().await).await
    }

    async fn of(team: Team) -> Self {
        let (owner, ana, bob, vic, eve, operator) = tokio::join!(
            team.session("owner"),
            team.session("ana"),
            team.session("bob"),
            team.session("vic"),
            team.session("eve"),
            team.session("tidelock"),
        );
        Self { team, owner, ana, bob, vic, eve, operator }
    }

    /// With another value of `API_KEY` in dev and in production.
    async fn with_api_key(what: &str) -> Self {
        let shop = Self::open(what).await;
        for place in ["dev", "production"] {
            shop.ana(&begun(&insert(place, "API_KEY", &format!("of {place}"), "NULL"))).await;
        }
        shop
    }

    /// Where `API_KEY` was set in dev and the others have caught up, with a value of its own in production.
    async fn in_sync(what: &str) -> Self {
        let shop = Self::open(what).await;
        shop.ana(&begun(&insert("dev", "API_KEY", "one", "NULL"))).await;
        shop.ana(&begun(&insert("staging", "API_KEY", "one", "NULL"))).await;
        shop.ana(&begun(&insert("production", "API_KEY", "own", &newest("API_KEY")))).await;
        assert_eq!(shop.states("API_KEY").await, ALL_IN_SYNC);
        shop
    }

    /// Another session of one of the team.
    async fn another(&self, who: &str) -> Client {
        self.team.session(who).await
    }

    fn login(&self, who: &str) -> &Login {
        self.team.login(who)
    }

    /// The superuser, with the registry's schema in front.
    async fn superuser(&self) -> Client {
        let session = self.team.database.superuser().await;
        done(&session, "SET search_path = tidelock, tidelock_api").await;
        session
    }

    /// A session on the tables themselves, where one statement writes many rows and no view is in between. No login may do
    /// that: the superuser does, acting for ana.
    async fn tables_as_ana(&self) -> Client {
        let session = self.superuser().await;
        done(&session, "SET tidelock.acting_user = 'ana'").await;
        session
    }

    /// Waits until one session of this database waits for another's lock.
    async fn somebody_waits(&self) {
        let waiting =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let superuser = self.superuser().await;
        wait_for("a session to wait", Duration::from_mins(1), async || {
            match cell(&superuser, waiting).await.as_str() {
                "1" => Ok(()),
                count => Err(format!("{count} wait")),
            }
        })
        .await;
    }

    /// Where a key stands, as ana sees it: `dev=InSync production=Missing staging=Stale`.
    async fn states(&self, key: &str) -> String {
        states(&self.ana, key).await
    }

    /// Writes as ana.
    async fn ana(&self, sql: &str) {
        done(&self.ana, sql).await;
    }

    /// One cell, as ana sees it.
    async fn cell(&self, sql: &str) -> String {
        cell(&self.ana, sql).await
    }
}

/// Runs statements as psql would: several in one text are one transaction. Answers the rows that the last one touched.
async fn run(session: &Client, sql: &str) -> Result<u64, Error> {
    let messages = session.simple_query(&hashes::spelled_out(sql)).await?;
    Ok(messages
        .iter()
        .rev()
        .find_map(|message| match message {
            SimpleQueryMessage::CommandComplete(count) => Some(*count),
            _ => None,
        })
        .unwrap_or(0))
}

/// As [`run`], for what has to succeed.
async fn done(session: &Client, sql: &str) -> u64 {
    run(session, sql).await.unwrap_or_else(|why| {
        let answer = why.as_db_error().map(|answer| (answer.code().code(), answer.message(), answer.where_()));
        panic!("{answer:?}: {why}: {sql}")
    })
}

/// Rows as text, cells parted by a space, NULL as `-`.
async fn rows(session: &Client, sql: &str) -> Vec<String> {
    let messages = session.simple_query(&hashes::spelled_out(sql)).await.unwrap_or_else(|why| panic!("{sql}: {why:?}"));
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let cells: Vec<&str> = (0..row.len()).map(|cell| row.get(cell).unwrap_or("-")).collect();
                Some(hashes::by_name(&cells.join(" ")))
            }
            _ => None,
        })
        .collect()
}

/// The first cell of the first row.
async fn cell(session: &Client, sql: &str) -> String {
    rows(session, sql).await.into_iter().next().unwrap_or_else(|| panic!("no row: {sql}"))
}

/// How a statement is refused: its SQLSTATE and message. The session is out of the failed transaction afterwards.
async fn refusal(session: &Client, sql: &str) -> String {
    let why = match run(session, sql).await {
        Ok(count) => panic!("not refused, {count} rows: {sql}"),
        Err(why) => why,
    };
    done(session, "ROLLBACK").await;
    let answer = why.as_db_error().unwrap_or_else(|| panic!("{sql}: {why:?}"));
    format!("{} {}", answer.code().code(), answer.message())
}

/// What is refused for want of a right, or because the view is not one to be written to or emptied.
fn is_forbidden(refusal: &str) -> bool {
    [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, SqlState::WRONG_OBJECT_TYPE]
        .iter()
        .any(|code| refusal.starts_with(code.code()))
}

/// [`is_forbidden`], or not even there for who has only the interface.
fn is_out_of_reach(refusal: &str) -> bool {
    let not_there = [SqlState::UNDEFINED_TABLE, SqlState::UNDEFINED_FUNCTION];
    is_forbidden(refusal) || not_there.iter().any(|code| refusal.starts_with(code.code()))
}

async fn states(session: &Client, key: &str) -> String {
    rows(session, &format!("SELECT environment || '=' || state FROM key_states WHERE key_name = '{key}' ORDER BY 1"))
        .await
        .join(" ")
}

/// SQL for an environment's id.
fn environment(name: &str) -> String {
    format!(
        "(SELECT e.id FROM environments e JOIN projects p ON p.id = e.project_id WHERE p.name = 'shop' AND e.name = '{name}')"
    )
}

/// SQL for a sealed value: what the database can see of one. Sealed anew each time, as real ones are.
fn sealed(environment: &str) -> String {
    let key = if environment == "production" { "key-of-production" } else { "key-of-default" };
    format!("'t1:{key}:' || gen_random_uuid()")
}

/// A row that is not there yet; `answers` is SQL, NULL for a plain write.
fn insert(place: &str, key: &str, value: &str, answers: &str) -> String {
    format!(
        "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash, answers)
         SELECT project_id, id, '{key}', {}, 'h1:hk:{value}', {answers} FROM environments WHERE id = {}",
        sealed(place),
        environment(place)
    )
}

/// Another value in a row that is there.
fn update(place: &str, key: &str, value: &str, answers: &str) -> String {
    format!(
        "UPDATE secrets SET encrypted_value = {}, value_hash = 'h1:hk:{value}', answers = {answers} WHERE {}",
        sealed(place),
        live(place, key)
    )
}

/// The condition that picks a live row.
fn live(place: &str, key: &str) -> String {
    format!("environment_id = {} AND key = '{key}' AND deleted_at IS NULL", environment(place))
}

/// As a writer of ours does it: the project's mutex first.
fn begun(sql: &str) -> String {
    format!("SELECT begin_change('shop', 'a test'); {sql}")
}

/// SQL for the time that a follow or a confirm answers: the key's newest.
fn newest(key: &str) -> String {
    format!("(SELECT last_updated_at FROM project_secret_registry WHERE key_name = '{key}')")
}
