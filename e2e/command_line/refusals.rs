//! Who may do what, and how a refusal reads.

use std::fmt::Write as _;

use super::Typed;
use crate::snapshot::assert_reads;
use crate::stage::{Running, Team};

#[tokio::test(flavor = "multi_thread")]
async fn to_a_stranger_a_project_is_as_if_it_did_not_exist() {
    let team = Team::with_shop("stranger").await;
    let said = team.run(&team.eve, &["status"]).await.expect(5);
    assert_reads!("project-not-visible", said.stderr);
    let of_none = team.run(&team.eve, &["-p", "nowhere", "status"]).await.expect(5);
    assert_eq!(of_none.stderr, said.stderr.replace("shop", "nowhere"));
}

#[tokio::test(flavor = "multi_thread")]
async fn production_is_written_only_where_it_is_spoken() {
    let team = Team::with_shop("spoken").await;
    team.set_as(&team.ana, "GONE", "production", "one").await.expect(0);
    team.remove("production", "GONE").await;
    team.set_as(&team.ana, "STALE", "production", "one").await.expect(0);
    team.set_as(&team.ana, "STALE", "dev", "two").await.expect(0);
    let before = team.dump().await;
    let file = team.home().join(".tidelock.toml");
    let writing = [
        "secret set STALE < three",
        "secret set STALE --follow < three",
        "secret confirm STALE",
        "secret rm STALE",
        "secret restore GONE",
        "import < STALE=three",
        "import --dry-run < STALE=three",
        "import --follow < STALE=three",
        "key exempt GONE --reason x",
        "key exempt GONE --undo --reason x",
    ];
    let mut refused = String::new();
    for typed in writing {
        let Typed { words, input } = Typed::new(typed);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut by_variable = team.command(&team.ana, &words);
        by_variable.env("TIDELOCK_ENVIRONMENT", "production");
        let said = Running::start(by_variable).end(input.as_bytes()).await.expect(4);
        let _ = write!(refused, "$ tidelock {typed}\n{}", said.stderr);
    }
    assert_reads!("production-by-variable", refused);
    refused.clear();
    std::fs::write(&file, "environment = 'production'").unwrap();
    for typed in [&writing[..], &["secret list", "secret get STALE"]].concat() {
        let said = Typed::new(typed).run(&team, &team.ana).await.expect(4);
        let _ = write!(refused, "$ tidelock {typed}\n{}", said.stderr);
    }
    assert_reads!("production-by-file", refused);
    assert_eq!(team.dump().await, before, "nothing was written");
    // Reading from production by the variable is allowed.
    let mut by_variable = team.command(&team.ana, &["secret", "get", "STALE"]);
    by_variable.env("TIDELOCK_ENVIRONMENT", "production");
    assert_eq!(Running::start(by_variable).end(b"").await.expect(0).stdout, "one");

    std::fs::write(&file, "project = 'elsewhere'\nenvironment = 'dev'").unwrap();
    team.run_with(&team.ana, &["secret", "set", "KEY"], b"one").await.expect(0);
    team.run_with(&team.ana, &["secret", "set", "KEY", "-e", "production"], b"one").await.expect(0);
    assert_eq!(team.states("KEY").await, ["InSync", "Missing", "InSync"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_membership_reaches_only_as_far_as_it_says() {
    let team = Team::with_shop("narrowed").await;
    team.run(&team.ana, &["member", "add", "bob", "--role", "developer", "--only", "staging"]).await.expect(0);
    team.set_as(&team.bob, "KEY", "dev", "one").await.expect(4);
    team.set_as(&team.bob, "KEY", "staging", "one").await.expect(0);
    team.run(&team.ana, &["member", "add", "bob", "--role", "admin", "--read-only"]).await.expect(0);
    let said = team.set_as(&team.bob, "KEY", "dev", "one").await.expect(4);
    assert_reads!("read-only-member", said.stderr);
    team.get_as(&team.bob, "KEY", "staging").await.expect(0);
    team.run(&team.ana, &["member", "add", "bob", "--role", "admin", "--expires", "2020-01-01"]).await.expect(0);
    team.get_as(&team.bob, "KEY", "staging").await.expect(5);
    team.run(&team.ana, &["member", "remove", "ana"]).await.expect(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_for_another_user_without_being_a_delegate() {
    let team = Team::with_shop("delegate").await;
    let said = team.run(&team.bob, &["--user", "ana", "secret", "list", "-e", "production"]).await.expect(4);
    assert_reads!("no-delegate", said.stderr);
    let admin = team.database.superuser().await;
    admin.batch_execute(&format!("GRANT tidelock_delegate TO {}", team.bob.role)).await.unwrap();
    team.run_with(&team.bob, &["--user", "ana", "secret", "set", "KEY", "-e", "production"], b"one").await.expect(0);
    let row = admin
        .query_one(
            "SELECT u.name, a.login FROM tidelock.audit_logs a JOIN tidelock.users u ON u.id = a.user_id
             WHERE a.action = 'secret.create'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("ana", team.bob.role.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_disabled_does_nothing_until_enabled() {
    let team = Team::with_shop("disabled").await;
    team.set_as(&team.bob, "KEY", "dev", "one").await.expect(0);
    team.run(&team.bob, &["user", "disable", "ana"]).await.expect(4);
    team.run(&team.database.owner, &["user", "disable", "bob", "--reason", "left"]).await.expect(0);
    team.get_as(&team.bob, "KEY", "dev").await.expect(5);
    team.run(&team.database.owner, &["user", "disable", "bob"]).await.expect(5);
    team.run(&team.database.owner, &["user", "enable", "bob"]).await.expect(0);
    team.get_as(&team.bob, "KEY", "dev").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_nobodys_is_told_what_to_ask_for() {
    let team = Team::with_shop("nobody").await;
    let stranger = team.database.login("stranger").await;
    let said = team.run(&stranger, &["status"]).await.expect(4);
    assert_reads!("login-of-nobody", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_said_is_asked_for() {
    let team = Team::with_shop("unsaid").await;
    for (variable, arguments, snapshot) in [
        ("TIDELOCK_DATABASE_URL", &["status"][..], "no-database-url"),
        ("TIDELOCK_PROJECT", &["status"], "no-project"),
        ("PATH", &["secret", "list"], "no-environment"),
    ] {
        let mut command = team.command(&team.ana, arguments);
        command.env_remove(variable);
        let said = Running::start(command).end(b"").await.expect(2);
        assert_reads!(snapshot, said.stderr);
    }
    // As where they are empty.
    for (variable, arguments, snapshot) in [
        ("TIDELOCK_DATABASE_URL", &["status"][..], "no-database-url"),
        ("TIDELOCK_PROJECT", &["status"], "no-project"),
        ("TIDELOCK_ENVIRONMENT", &["secret", "list"], "no-environment"),
    ] {
        let mut command = team.command(&team.ana, arguments);
        command.env(variable, "");
        let said = Running::start(command).end(b"").await.expect(2);
        assert_reads!(snapshot, said.stderr);
    }
    let mut command = team.command(&team.ana, &["status"]);
    command
        .env("TIDELOCK_USER", "")
        .env("TIDELOCK_SCHEMA", "")
        .env("TIDELOCK_ENVIRONMENT", "")
        .env("TIDELOCK_PG_BIN", "");
    Running::start(command).end(b"").await.expect(0);
    let mut command = team.command(&team.ana, &["keyring", "list"]);
    command.env("TIDELOCK_KEYRING", "");
    let said = Running::start(command).end(b"").await.expect(1);
    assert!(said.stderr.contains("/.config/tidelock/keyring"), "{}", said.stderr);
    let said = team.run(&team.ana, &["statsu"]).await.expect(2);
    assert_reads!("verb-mistyped", said.stderr);
    std::fs::remove_file(team.keyring()).unwrap();
    let said = team.get_as(&team.ana, "KEY", "dev").await.expect(1);
    assert_reads!("no-keyring", said.stderr);
}
