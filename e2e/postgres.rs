//! What every other test takes for granted about the database server.

use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::error::SqlState;

use crate::harness::database::Template;
use crate::harness::postgres::connect;
use crate::harness::{Postgres, TestDatabase};

static FILLED: AtomicU32 = AtomicU32::new(0);

async fn notes() -> Template {
    Template::made_by("notes", async |database| {
        FILLED.fetch_add(1, Ordering::Relaxed);
        connect(&database.owner.url).await?.batch_execute("CREATE TABLE notes (note text)").await?;
        Ok(())
    })
    .await
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_from_one_template_are_independent() {
    let (here, there) = tokio::join!(async { TestDatabase::from(&notes().await, "here").await }, async {
        TestDatabase::from(&notes().await, "there").await
    },);
    here.owner.connect().await.execute("INSERT INTO notes VALUES ('here')", &[]).await.unwrap();

    for (database, expected) in [(&here, 1_i64), (&there, 0)] {
        let row = database.owner.connect().await.query_one("SELECT count(*) FROM notes", &[]).await;
        assert_eq!(row.unwrap().get::<_, i64>(0), expected, "{}", database.name);
    }
    assert_eq!(FILLED.load(Ordering::Relaxed), 1, "a template is made once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_team_has_logins_and_no_superuser() {
    let database = TestDatabase::from(&notes().await, "team").await;
    let ana = database.login("ana").await;

    for (login, may_make_roles) in [(&database.owner, true), (&ana, false)] {
        let row = login
            .connect()
            .await
            .query_one(
                "SELECT current_user::text, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole
                 FROM pg_roles WHERE rolname = current_user",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(row.get::<_, &str>(0), login.role);
        assert_eq!([1, 2, 3].map(|column| row.get::<_, bool>(column)), [false; 3], "{}", login.role);
        assert_eq!(row.get::<_, bool>(4), may_make_roles, "{}", login.role);
    }
    let refusal = ana.connect().await.query("SELECT * FROM notes", &[]).await.unwrap_err();
    assert_eq!(refusal.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE));

    let (_, address) = ana.url.split_once('@').unwrap();
    let guessed = connect(&format!("postgres://{}:guess@{address}", ana.role)).await;
    assert!(guessed.is_err(), "a login needs its password");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_statement_log_has_statements_and_their_parameters() {
    let database = TestDatabase::empty("log").await;
    let session = database.owner.connect().await;
    session.query("SELECT $1::text || 'statement-canary'", &[&"parameter-canary"]).await.unwrap();

    let log = std::fs::read_to_string(database.postgres().statement_log()).unwrap();
    assert!(log.contains("statement-canary") && log.contains("parameter-canary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_ones_own_can_be_stopped_and_crashed_and_keeps_what_was_committed() {
    let own = tokio::task::spawn_blocking(|| Postgres::start("postgres-own").unwrap()).await.unwrap();
    let database = TestDatabase::empty_on(own.clone(), "own").await;
    let session = database.owner.connect().await;
    session.batch_execute("CREATE TABLE kept AS SELECT 1 AS one").await.unwrap();

    for end in [Postgres::stop, Postgres::crash] {
        end(&own).unwrap();
        assert!(connect(&database.owner.url).await.is_err());
        own.start_again().unwrap();
        let kept = database.owner.connect().await.query_one("SELECT one FROM kept", &[]).await.unwrap();
        assert_eq!(kept.get::<_, i32>(0), 1);
    }
}
