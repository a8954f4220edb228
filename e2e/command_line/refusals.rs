//! Who may do what, and how a refusal reads.

use super::team::{Team, end};

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_by_command_what_it_may_and_no_more() {
    let team = Team::at_work("roles").await;
    team.set(&team.ana, "KEY", "dev", "one").done();
    team.follow(&team.ana, "KEY", "production", "two").done();
    // Who, then: read dev, write dev, read production, write production, change members.
    for (who, expected) in [
        (&team.ana, [0, 0, 0, 0, 0]),
        (&team.ben, [0, 0, 4, 4, 4]),
        (&team.vic, [0, 4, 4, 4, 4]),
        (&team.mallory, [5, 5, 5, 5, 5]),
    ] {
        let found = [
            team.get(who, "KEY", "dev").code,
            team.set(who, "KEY", "dev", "three").code,
            team.get(who, "KEY", "production").code,
            team.set(who, "KEY", "production", "four").code,
            team.run(who, &["member", "add", "vic", "--role", "viewer"]).code,
        ];
        assert_eq!(found, expected, "{}", who.role);
    }
    let said = team.run(&team.mallory, &["status"]).with(5);
    assert!(said.err.contains("project shop not found, or you are not a member"), "{}", said.err);
    let said = team.run(&team.mallory, &["-p", "nowhere", "status"]).with(5);
    assert!(said.err.contains("project nowhere not found, or you are not a member"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn production_is_written_only_where_it_is_spoken() {
    let team = Team::at_work("spoken").await;
    let set = ["secret", "set", "KEY"];
    let mut by_variable = team.command(&team.ana, &set);
    by_variable.env("TIDELOCK_ENVIRONMENT", "production");
    let said = end(by_variable, b"one").with(4);
    assert!(said.err.contains("say -e production"), "{}", said.err);

    std::fs::write(team.folder().join(".tidelock.toml"), "environment = 'production'").unwrap();
    let said = team.run_with(&team.ana, &set, b"one").with(4);
    assert!(said.err.contains(".tidelock.toml names production"), "{}", said.err);
    team.run(&team.ana, &["secret", "list"]).with(4);

    std::fs::write(team.folder().join(".tidelock.toml"), "project = 'elsewhere'\nenvironment = 'dev'").unwrap();
    team.run_with(&team.ana, &set, b"one").done();
    team.run_with(&team.ana, &["secret", "set", "KEY", "-e", "production"], b"one").done();
    assert_eq!(team.states("KEY"), ["InSync", "Missing", "InSync"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_membership_reaches_only_as_far_as_it_says() {
    let team = Team::at_work("narrowed").await;
    team.run(&team.ana, &["member", "add", "ben", "--role", "developer", "--only", "staging"]).done();
    team.set(&team.ben, "KEY", "dev", "one").with(4);
    team.set(&team.ben, "KEY", "staging", "one").done();
    team.run(&team.ana, &["member", "add", "ben", "--role", "admin", "--read-only"]).done();
    let said = team.set(&team.ben, "KEY", "dev", "one").with(4);
    assert!(said.err.contains("you may not write"), "{}", said.err);
    team.get(&team.ben, "KEY", "staging").done();
    team.run(&team.ana, &["member", "add", "ben", "--role", "admin", "--expires", "2020-01-01"]).done();
    team.get(&team.ben, "KEY", "staging").with(5);
    team.run(&team.ana, &["member", "remove", "ana"]).with(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_for_another_user_without_being_a_delegate() {
    let team = Team::at_work("delegate").await;
    let said = team.run(&team.ben, &["--user", "ana", "secret", "list", "-e", "production"]).with(4);
    assert!(said.err.contains("may not act for another user"), "{}", said.err);
    let admin = team.database.superuser().await;
    admin.batch_execute(&format!("GRANT tidelock_delegate TO {}", team.ben.role)).await.unwrap();
    team.run_with(&team.ben, &["--user", "ana", "secret", "set", "KEY", "-e", "production"], b"one").done();
    let row = admin
        .query_one(
            "SELECT u.name, a.login FROM tidelock.audit_logs a JOIN tidelock.users u ON u.id = a.user_id
             WHERE a.action = 'secret.create'",
            &[],
        )
        .await
        .unwrap();
    assert_eq!((row.get::<_, &str>(0), row.get::<_, &str>(1)), ("ana", team.ben.role.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_is_disabled_does_nothing_until_enabled() {
    let team = Team::at_work("disabled").await;
    team.set(&team.ben, "KEY", "dev", "one").done();
    team.run(&team.ben, &["user", "disable", "ana"]).with(4);
    team.run(&team.database.owner, &["user", "disable", "ben", "--reason", "left"]).done();
    team.get(&team.ben, "KEY", "dev").with(5);
    team.run(&team.database.owner, &["user", "disable", "ben"]).with(5);
    team.run(&team.database.owner, &["user", "enable", "ben"]).done();
    team.get(&team.ben, "KEY", "dev").done();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_nobodys_is_told_what_to_ask_for() {
    let team = Team::at_work("nobody").await;
    let stranger = team.database.login("stranger").await;
    let said = team.run(&stranger, &["status"]).with(4);
    assert!(said.err.contains("tidelock user add NAME --db-role ROLE"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_said_is_asked_for() {
    let team = Team::at_work("unsaid").await;
    for (variable, arguments, expected) in [
        ("TIDELOCK_DATABASE_URL", &["status"][..], "where is the registry?"),
        ("TIDELOCK_PROJECT", &["status"], "which project?"),
        ("PATH", &["secret", "list"], "which environment?"),
    ] {
        let mut command = team.command(&team.ana, arguments);
        command.env_remove(variable);
        let said = end(command, b"").with(2);
        assert!(said.err.contains(expected), "{}", said.err);
    }
    team.run(&team.ana, &["statsu"]).with(2);
    std::fs::remove_file(team.keyring()).unwrap();
    let said = team.get(&team.ana, "KEY", "dev").with(1);
    assert!(said.err.contains("tidelock keyring init"), "{}", said.err);
}
