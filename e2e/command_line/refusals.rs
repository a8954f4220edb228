//! Who may do what, and how a refusal reads.

use crate::stage::{Running, Team};

#[tokio::test(flavor = "multi_thread")]
async fn each_role_does_by_command_what_it_may_and_no_more() {
    let team = Team::with_shop("roles").await;
    team.set_as(&team.ana, "KEY", "dev", "one").await.expect(0);
    team.follow_as(&team.ana, "KEY", "production", "two").await.expect(0);
    // Who, then: read dev, write dev, read production, write production, change members.
    for (who, expected) in [
        (&team.ana, [0, 0, 0, 0, 0]),
        (&team.bob, [0, 0, 4, 4, 4]),
        (&team.vic, [0, 4, 4, 4, 4]),
        (&team.eve, [5, 5, 5, 5, 5]),
    ] {
        let found = [
            team.get_as(who, "KEY", "dev").await.code,
            team.set_as(who, "KEY", "dev", "three").await.code,
            team.get_as(who, "KEY", "production").await.code,
            team.set_as(who, "KEY", "production", "four").await.code,
            team.run(who, &["member", "add", "vic", "--role", "viewer"]).await.code,
        ];
        assert_eq!(found, expected, "{}", who.role);
    }
    let said = team.run(&team.eve, &["status"]).await.expect(5);
    assert!(said.stderr.contains("project shop not found, or you are not a member"), "{}", said.stderr);
    let said = team.run(&team.eve, &["-p", "nowhere", "status"]).await.expect(5);
    assert!(said.stderr.contains("project nowhere not found, or you are not a member"), "{}", said.stderr);
}

/// Each verb of secrets and keys by each role, in an environment that is production and in one that is not.
#[tokio::test(flavor = "multi_thread")]
async fn every_verb_keeps_to_the_role_in_production_and_elsewhere() {
    let team = Team::with_shop("verbs").await;
    // In this order each of them has something to do for whoever may.
    let verbs: [(&[&str], &[u8]); 8] = [
        (&["secret", "list"], b""), // Names and times, which every member sees.
        (&["secret", "get", "KEY"], b""),
        (&["secret", "set", "KEY"], b"another"),
        (&["secret", "confirm", "KEY"], b""),
        (&["import"], b"KEY=imported\n"),
        (&["secret", "rm", "KEY"], b""),
        (&["secret", "restore", "KEY"], b""),
        (&["key", "exempt", "OTHER", "--reason", "not here"], b""),
    ];
    for environment in ["dev", "production"] {
        let production = environment == "production";
        team.set_as(&team.ana, "KEY", environment, environment).await.expect(0);
        team.set_as(&team.ana, "OTHER", "staging", environment).await.expect(0);
        let reads = if production { 4 } else { 0 };
        for (who, read, write) in [
            (&team.eve, 5, 5),
            (&team.vic, reads, 4),
            (&team.operator, 0, 4),
            (&team.bob, reads, reads),
            (&team.ana, 0, 0),
        ] {
            for (verb, input) in verbs {
                let before = team.revision().await;
                let expected = match verb {
                    ["secret", "list"] if read == 4 => 0,
                    ["secret", "list" | "get", ..] => read,
                    _ => write,
                };
                let said = team.run_with(who, &[verb, &["-e", environment]].concat(), input).await;
                assert_eq!(said.code, expected, "{} in {environment}: {verb:?}: {}", who.role, said.stderr);
                assert!(!said.stdout.contains("h1:") && !said.stdout.contains("t1:"), "{}", said.stdout);
                if expected != 0 {
                    assert!(said.stdout.is_empty(), "{} in {environment}: {verb:?}: {}", who.role, said.stdout);
                    assert_eq!(team.revision().await, before, "{} in {environment}: {verb:?}", who.role);
                }
            }
            // For the next one.
            team.run(&team.ana, &["key", "exempt", "OTHER", "--undo", "-e", environment, "--reason", "again"]).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn production_is_written_only_where_it_is_spoken() {
    let team = Team::with_shop("spoken").await;
    let set = ["secret", "set", "KEY"];
    let mut by_variable = team.command(&team.ana, &set);
    by_variable.env("TIDELOCK_ENVIRONMENT", "production");
    let said = Running::start(by_variable).end(b"one").await.expect(4);
    assert!(said.stderr.contains("say -e production"), "{}", said.stderr);

    std::fs::write(team.home().join(".tidelock.toml"), "environment = 'production'").unwrap();
    let said = team.run_with(&team.ana, &set, b"one").await.expect(4);
    assert!(said.stderr.contains(".tidelock.toml names production"), "{}", said.stderr);
    team.run(&team.ana, &["secret", "list"]).await.expect(4);

    std::fs::write(team.home().join(".tidelock.toml"), "project = 'elsewhere'\nenvironment = 'dev'").unwrap();
    team.run_with(&team.ana, &set, b"one").await.expect(0);
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
    assert!(said.stderr.contains("you may not write"), "{}", said.stderr);
    team.get_as(&team.bob, "KEY", "staging").await.expect(0);
    team.run(&team.ana, &["member", "add", "bob", "--role", "admin", "--expires", "2020-01-01"]).await.expect(0);
    team.get_as(&team.bob, "KEY", "staging").await.expect(5);
    team.run(&team.ana, &["member", "remove", "ana"]).await.expect(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_for_another_user_without_being_a_delegate() {
    let team = Team::with_shop("delegate").await;
    let said = team.run(&team.bob, &["--user", "ana", "secret", "list", "-e", "production"]).await.expect(4);
    assert!(said.stderr.contains("may not act for another user"), "{}", said.stderr);
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
    assert!(said.stderr.contains("tidelock user add NAME --db-role ROLE"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_said_is_asked_for() {
    let team = Team::with_shop("unsaid").await;
    for (variable, arguments, expected) in [
        ("TIDELOCK_DATABASE_URL", &["status"][..], "where is the registry?"),
        ("TIDELOCK_PROJECT", &["status"], "which project?"),
        ("PATH", &["secret", "list"], "which environment?"),
    ] {
        let mut command = team.command(&team.ana, arguments);
        command.env_remove(variable);
        let said = Running::start(command).end(b"").await.expect(2);
        assert!(said.stderr.contains(expected), "{}", said.stderr);
    }
    team.run(&team.ana, &["statsu"]).await.expect(2);
    std::fs::remove_file(team.keyring()).unwrap();
    let said = team.get_as(&team.ana, "KEY", "dev").await.expect(1);
    assert!(said.stderr.contains("tidelock keyring init"), "{}", said.stderr);
}
