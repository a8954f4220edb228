//! What the operator reads, at the level of the registry.

mod changes;

use tidelock::core::KeyState;
use tidelock::registry::{
    ConnectSettings, LoggedToken, PollResult, Reader, Refusal, RegistryError, SnapshotVersion, SourceName,
};
use tokio::sync::mpsc;

use crate::harness::wait_for;
use crate::stage::{SOON, Team};

fn source(project: &str, environment: &str) -> SourceName {
    SourceName { project: project.to_owned(), environment: environment.to_owned() }
}

fn reader(team: &Team) -> Reader {
    Reader::new(ConnectSettings::new(&team.operator.url), None).unwrap_or_else(|why| panic!("{why}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_look_answers_for_all_sources_in_the_order_asked() {
    let team = Team::with_shop("look").await;
    team.done(&team.eve, &["project", "create", "hidden"]).await;
    let asked = [
        source("hidden", "dev"),
        source("shop", "staging"),
        source("shop", "none"),
        source("none", "dev"),
        source("shop", "production"),
    ];
    let looks = reader(&team).poll(&asked).await.unwrap().answer;
    assert_eq!(looks[0], PollResult::Refused(Refusal::ProjectNotVisible));
    assert!(matches!(looks[1], PollResult::Found { production: false, .. }), "{looks:?}");
    assert_eq!(looks[2], PollResult::Refused(Refusal::EnvironmentNotFound));
    assert_eq!(looks[3], PollResult::Refused(Refusal::ProjectNotVisible));
    assert!(matches!(looks[4], PollResult::Found { production: true, .. }), "{looks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_elsewhere_moves_the_projects_revision_and_not_the_environments() {
    let team = Team::with_shop("version").await;
    team.set("dev", "A", "1").await;
    team.set("staging", "A", "2").await;
    let reader = reader(&team);
    let version = async || match reader.poll(&[source("shop", "dev")]).await.unwrap().answer.remove(0) {
        PollResult::Found { version: SnapshotVersion::Revisions { project, environment, .. }, .. } => {
            (project, environment)
        }
        other => panic!("{other:?}"),
    };
    let before = version().await;
    team.set("staging", "A", "3").await;
    let after = version().await;
    assert_eq!(after.0.number, before.0.number + 1);
    assert_ne!(after.0.token, before.0.token);
    assert_eq!(after.1, before.1);

    let snapshot = reader.snapshot(&source("shop", "dev"), None).await.unwrap().answer.unwrap();
    assert_eq!(snapshot.keys.state_of("A"), Some(KeyState::Stale));
    assert_eq!(reader.token_of(snapshot.project, after.0.number).await.unwrap(), LoggedToken::Token(after.0.token));
    assert_eq!(reader.token_of(snapshot.project, after.0.number + 1).await.unwrap(), LoggedToken::Absent);
    assert!(!snapshot.hides_rows());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_is_named_with_its_column_and_the_cause_is_kept() {
    let team = Team::with_shop("unreadable").await;
    team.set("dev", "A", "1").await;
    let superuser = team.superuser_without_triggers().await;
    superuser
        .batch_execute("ALTER TABLE secrets ALTER COLUMN version DROP NOT NULL; UPDATE secrets SET version = NULL")
        .await
        .unwrap();
    let id = superuser.query_one("SELECT id::text FROM secrets", &[]).await.unwrap().get::<_, String>(0);
    let error = reader(&team).snapshot(&source("shop", "dev"), None).await.unwrap_err();
    assert!(std::error::Error::source(&error).is_some(), "{error:?}");
    match error {
        RegistryError::Inconsistent { table, column, row, .. } => {
            assert_eq!((table, column, row), ("secrets", "version".to_owned(), id));
        }
        other => panic!("{other:?}"),
    }
}

/// A change commits in the midst of the reading: after the environment was found, before its keys are read.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_holds_nothing_that_was_committed_after_its_beginning() {
    let team = Team::with_shop("one-snapshot").await;
    team.set("dev", "A", "1").await;
    // What a session sees of the others stands still while its own transaction lasts.
    let (superuser_without_triggers, onlooker) =
        (team.superuser_without_triggers().await, team.database.superuser().await);
    superuser_without_triggers
        .batch_execute("BEGIN; LOCK TABLE key_exemptions IN ACCESS EXCLUSIVE MODE")
        .await
        .unwrap();
    let reader = reader(&team);
    let reading = tokio::spawn(async move { reader.snapshot(&source("shop", "dev"), None).await });
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'";
    wait_for("the reader to wait for the exemptions", SOON, async || {
        match onlooker.query_one(waits, &[&team.operator.role]).await.unwrap().get::<_, i64>(0) {
            1 => Ok(()),
            other => Err(format!("{other} sessions wait")),
        }
    })
    .await;
    let exempt = "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason)
        SELECT project_id, id, 'A', 'in the midst' FROM environments WHERE name = 'dev'; COMMIT";
    superuser_without_triggers.batch_execute(exempt).await.unwrap();
    let snapshot = reading.await.unwrap().unwrap().answer.unwrap();
    assert!(snapshot.keys.get("A").is_some_and(|entry| entry.secret.is_some() && !entry.exempt), "{:?}", snapshot.keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_told_of_a_change_and_of_its_own_beginning() {
    let team = Team::with_shop("listen").await;
    let reader = reader(&team);
    let (sender, mut hints) = mpsc::channel(1);
    let listener = tokio::spawn(async move { reader.listen(&sender).await });
    hints.recv().await.expect("a hint when it begins");
    team.set("dev", "A", "1").await;
    let mut told = false;
    wait_for("a hint of the change", SOON, async || {
        told |= hints.try_recv().is_ok();
        if told { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    listener.abort();
}

/// The login itself, what a setting puts in its place, and what it may become, on each connection that is made.
#[tokio::test(flavor = "multi_thread")]
async fn who_the_server_takes_the_login_for_is_what_is_judged() {
    // Others hold their database against what the migrations make, and who has tidelock_definer counts everywhere.
    let server = crate::registry::fresh_server("postgres-lifted").await;
    let team = Team::builder("lifted").on(server).build().await;
    let superuser = team.database.superuser().await;
    let (operator, lifted) = (&team.operator.role, team.database.login("lifted").await.role);
    superuser.batch_execute(&format!("ALTER ROLE {lifted} BYPASSRLS")).await.unwrap();
    let asked = [source("shop", "dev")];
    let long_there = reader(&team);
    assert!(matches!(long_there.poll(&asked).await.unwrap().answer[0], PollResult::Found { .. }));
    for (lift, undo, role) in [
        (format!("GRANT {lifted} TO {operator}"), format!("REVOKE {lifted} FROM {operator}"), lifted.as_str()),
        (
            format!("GRANT {lifted} TO {operator}; ALTER ROLE {operator} SET role = {lifted}"),
            format!("ALTER ROLE {operator} RESET role; REVOKE {lifted} FROM {operator}"),
            &lifted,
        ),
        (
            format!("GRANT tidelock_definer TO {operator}"),
            format!("REVOKE tidelock_definer FROM {operator}"),
            "tidelock_definer",
        ),
        (
            format!("GRANT tidelock_backup TO {operator}"),
            format!("REVOKE tidelock_backup FROM {operator}"),
            "tidelock_backup",
        ),
    ] {
        superuser.batch_execute(&lift).await.unwrap();
        let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE usename = $1";
        superuser.query(end, &[operator]).await.unwrap();
        for reader in [reader(&team), long_there.clone()] {
            // A connection of before may be found broken only when it is used.
            let refused = wait_for("the refusal", SOON, async || match reader.poll(&asked).await {
                Err(RegistryError::Refused(explained)) => Ok(explained.message),
                other => Err(format!("{other:?}")),
            });
            let message = refused.await;
            assert!(message.contains(operator) && message.contains(role), "{lift}: {message}");
        }
        superuser.batch_execute(&undo).await.unwrap();
    }
    assert!(matches!(long_there.poll(&asked).await.unwrap().answer[0], PollResult::Found { .. }));
}
