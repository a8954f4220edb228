//! The registry itself, users, keyrings, names.

use std::os::unix::fs::PermissionsExt;

use super::team::Team;
use crate::harness::database::Login;

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_changes_nothing_and_a_check_says_what_is_missing() {
    let team = Team::at_work("migrate").await;
    let owner = &team.database.owner;
    team.run(owner, &["migrate", "--check"]).done();
    let elsewhere = ["--schema", "Odd \"schema\" o'clock"];
    team.run(owner, &[&["migrate", "--check"], &elsewhere[..]].concat()).with(3);
    let said = team.run(owner, &[&["status"], &elsewhere[..]].concat()).with(1);
    assert!(said.err.contains("has `tidelock migrate` run"), "{}", said.err);
    team.run(owner, &[&["migrate"], &elsewhere[..]].concat()).done();
    team.run(owner, &[&["migrate", "--check"], &elsewhere[..]].concat()).done();

    team.run(owner, &[&["user", "add", "ana", "--db-role", &team.ana.role], &elsewhere[..]].concat()).done();
    team.run(&team.ana, &[&["project", "create", "shop"], &elsewhere[..]].concat()).done();
    team.run(&team.ana, &[&["environment", "create", "dev"], &elsewhere[..]].concat()).done();
    team.run_with(&team.ana, &[&["secret", "set", "KEY", "-e", "dev"], &elsewhere[..]].concat(), b"one").done();
    team.run(&team.ana, &[&["status"], &elsewhere[..]].concat()).done();
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_need_quoting_work() {
    let team = Team::at_work("quoting").await;
    let number = team.ana.role.split('_').next().unwrap();
    let role = format!("{number} Ana \"the\" O'Hara");
    let admin = team.database.superuser().await;
    let quoted = role.replace('"', "\"\"");
    admin.batch_execute(&format!("CREATE ROLE \"{quoted}\" LOGIN PASSWORD 'secret'")).await.unwrap();
    let (_, address) = team.ana.url.split_once('@').unwrap();
    let encoded = role.replace(' ', "%20").replace('"', "%22").replace('\'', "%27");
    let ohara = Login { url: format!("postgres://{encoded}:secret@{address}"), role };

    team.run(&team.database.owner, &["user", "add", "o.hara+x@example.com", "--db-role", &ohara.role]).done();
    team.run(&team.ana, &["member", "add", "o.hara+x@example.com", "--role", "DEVELOPER"]).done();
    for key in ["it's \"odd\"", "$1; DROP TABLE secrets --", "ключ", "a/b\\c", "-x"] {
        let arguments = ["secret", "set", "-e", "dev", "--", key];
        team.run_with(&ohara, &arguments, key.as_bytes()).done();
        assert_eq!(team.run(&ohara, &["secret", "get", "-e", "dev", "--", key]).done().out, key);
    }
    let said = team.run_with(&ohara, &["secret", "set", "-e", "dev", "it's \"odd\""], b"two").done();
    assert!(said.err.contains(r#"secret set 'it'\''s "odd"' -p shop"#), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_login_does_not_exist_is_not_added() {
    let team = Team::at_work("unknown").await;
    let owner = &team.database.owner;
    let said = team.run(owner, &["user", "add", "eve", "--db-role", "no_such_login"]).with(5);
    assert!(said.err.contains("CREATE ROLE \"no_such_login\" LOGIN"), "{}", said.err);
    team.run(owner, &["user", "add", "ana", "--db-role", &team.database.login("eve").await.role]).with(4);
    let listed = team.run(owner, &["user", "list", "-o", "json"]).done().json();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ana", "ben", "mallory", "registry-owner", "vic"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_reads_and_never_writes() {
    let team = Team::at_work("service").await;
    let operator = team.database.login("operator").await;
    team.run(&team.database.owner, &["user", "add", "operator", "--db-role", &operator.role, "--service"]).done();
    team.run(&team.ana, &["member", "add", "operator", "--role", "admin", "--read-only", "--only", "dev", "staging"])
        .done();
    team.set(&team.ana, "KEY", "dev", "one").done();
    assert_eq!(team.get(&operator, "KEY", "dev").done().out, "one");
    team.set(&operator, "KEY", "dev", "two").with(4);
    team.get(&operator, "KEY", "production").with(4);
    let members = team.run(&operator, &["member", "list", "-o", "json"]).done().json();
    let me = members.as_array().unwrap().iter().find(|member| member["name"] == "operator").unwrap();
    assert_eq!((&me["readOnly"], &me["only"]), (&true.into(), &serde_json::json!(["dev", "staging"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_is_its_owners_alone_and_is_never_overwritten() {
    let team = Team::at_work("keyring").await;
    let before = std::fs::read(team.keyring()).unwrap();
    team.run(&team.ana, &["keyring", "init"]).with(4);
    assert_eq!(std::fs::read(team.keyring()).unwrap(), before);
    assert_eq!(team.keyring().metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let listed = team.run(&team.ana, &["keyring", "list", "-o", "json"]).done();
    let rings: Vec<_> = listed.json().as_array().unwrap().iter().map(|key| key["ring"].clone()).collect();
    assert_eq!(rings, ["default", "production"]);
    let mut command = team.command(&team.ana, &["keyring", "init", "--ring", "eu"]);
    command.env_remove("TIDELOCK_KEYRING");
    super::team::end(command, b"").done();
    assert!(team.folder().join(".config/tidelock/keyring").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_production_or_a_second_environment_of_one_name_is_refused() {
    let team = Team::at_work("second").await;
    let said = team.run(&team.ana, &["environment", "create", "live", "--production"]).with(4);
    assert!(said.err.contains("one production environment"), "{}", said.err);
    team.run(&team.ana, &["environment", "create", "dev"]).with(4);
    team.run(&team.ana, &["project", "create", "shop"]).with(4);
    team.run(&team.ben, &["environment", "create", "dev-ben"]).done();
    team.run(&team.vic, &["environment", "create", "dev-vic"]).with(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_count_is_found_and_repaired() {
    let team = Team::at_work("check").await;
    team.set(&team.ana, "KEY", "dev", "one").done();
    team.run(&team.ana, &["registry", "check"]).done();
    let admin = team.database.superuser().await;
    admin.batch_execute("UPDATE tidelock.environments SET live_secrets = 7 WHERE name = 'dev'").await.unwrap();
    let found = team.run(&team.ana, &["registry", "check", "-o", "json"]).with(3).json();
    assert_eq!((&found[0]["stored"], &found[0]["counted"]), (&"7".into(), &"1".into()));
    team.run(&team.ana, &["registry", "check", "--repair"]).done();
    team.run(&team.ana, &["registry", "check"]).done();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_project_is_read_and_not_changed() {
    let team = Team::at_work("archive").await;
    team.set(&team.ana, "KEY", "dev", "one").done();
    team.run(&team.ben, &["project", "archive", "shop"]).with(4);
    team.run(&team.ana, &["project", "archive", "shop", "--reason", "closed"]).done();
    team.set(&team.ana, "KEY", "dev", "two").with(4);
    assert_eq!(team.get(&team.ana, "KEY", "dev").done().out, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definitions_are_printed_without_a_database() {
    let team = Team::at_work("crd").await;
    let mut command = team.command(&team.ana, &["crd"]);
    command.env_remove("TIDELOCK_DATABASE_URL");
    assert_eq!(super::team::end(command, b"").done().out, tidelock::api::crds::yaml());
}
