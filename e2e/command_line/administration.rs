//! The registry itself, users, keyrings, names.

use std::os::unix::fs::PermissionsExt;

use crate::harness::Postgres;
use crate::harness::database::Login;
use crate::snapshot::assert_reads;
use crate::stage::{Running, Team};

#[tokio::test(flavor = "multi_thread")]
async fn migrating_twice_changes_nothing_and_a_check_says_what_is_missing() {
    let team = Team::with_shop("migrate").await;
    let owner = &team.database.owner;
    team.run(owner, &["migrate", "--check"]).await.expect(0);
    let elsewhere = ["--schema", "Odd \"schema\" o'clock"];
    team.run(owner, &[&["migrate", "--check"], &elsewhere[..]].concat()).await.expect(3);
    let said = team.run(owner, &[&["status"], &elsewhere[..]].concat()).await.expect(1);
    assert_reads!("migrate-not-run", said.stderr);
    team.run(owner, &[&["migrate"], &elsewhere[..]].concat()).await.expect(0);
    team.run(owner, &[&["migrate", "--check"], &elsewhere[..]].concat()).await.expect(0);

    team.run(owner, &[&["user", "add", "ana", "--db-role", &team.ana.role], &elsewhere[..]].concat()).await.expect(0);
    team.run(&team.ana, &[&["project", "create", "shop"], &elsewhere[..]].concat()).await.expect(0);
    team.run(&team.ana, &[&["environment", "create", "dev"], &elsewhere[..]].concat()).await.expect(0);
    team.run_with(&team.ana, &[&["secret", "set", "KEY", "-e", "dev"], &elsewhere[..]].concat(), b"one")
        .await
        .expect(0);
    team.run(&team.ana, &[&["status"], &elsewhere[..]].concat()).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_need_quoting_work() {
    let team = Team::with_shop("quoting").await;
    let number = team.ana.role.split('_').next().unwrap();
    let role = format!("{number} Ana \"the\" O'Hara");
    let admin = team.database.superuser().await;
    let quoted = role.replace('"', "\"\"");
    admin.batch_execute(&format!("CREATE ROLE \"{quoted}\" LOGIN PASSWORD 'secret'")).await.unwrap();
    let (_, address) = team.ana.url.split_once('@').unwrap();
    let encoded = role.replace(' ', "%20").replace('"', "%22").replace('\'', "%27");
    let ohara = Login { url: format!("postgres://{encoded}:secret@{address}"), role };

    team.run(&team.database.owner, &["user", "add", "o.hara+x@example.com", "--db-role", &ohara.role]).await.expect(0);
    team.run(&team.ana, &["member", "add", "o.hara+x@example.com", "--role", "DEVELOPER"]).await.expect(0);
    for key in ["it's \"odd\"", "$1; DROP TABLE secrets --", "ключ", "a/b\\c", "-x"] {
        let allowed = format!("--allow-name={key}");
        let arguments = ["secret", "set", "-e", "dev", &allowed, "--", key];
        team.run_with(&ohara, &arguments, key.as_bytes()).await.expect(0);
        assert_eq!(team.run(&ohara, &["secret", "get", "-e", "dev", &allowed, "--", key]).await.expect(0).stdout, key);
    }
    let arguments = ["secret", "set", "-e", "dev", "it's \"odd\"", "--allow-name=it's \"odd\""];
    let said = team.run_with(&ohara, &arguments, b"two").await.expect(0);
    assert_reads!("note-quotes-a-key", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_whose_login_does_not_exist_is_not_added() {
    let team = Team::with_shop("unknown").await;
    let owner = &team.database.owner;
    let said = team.run(owner, &["user", "add", "mallory", "--db-role", "no_such_login"]).await.expect(5);
    assert_reads!("user-add-unknown-login", said.stderr);
    let second = team.database.login("second").await;
    team.run(owner, &["user", "add", "ana", "--db-role", &second.role]).await.expect(4);
    let listed = team.run(owner, &["user", "list", "-o", "json"]).await.expect(0).json();
    let names: Vec<&str> = listed.as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["ana", "bob", "eve", "registry-owner", "tidelock", "vic"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_reads_and_never_writes() {
    let team = Team::with_shop("service").await;
    let operator = &team.operator;
    let narrowed = ["member", "add", "tidelock", "--role", "admin", "--read-only", "--only", "dev", "staging"];
    team.run(&team.ana, &narrowed).await.expect(0);
    team.set_as(&team.ana, "KEY", "dev", "one").await.expect(0);
    assert_eq!(team.get_as(operator, "KEY", "dev").await.expect(0).stdout, "one");
    team.set_as(operator, "KEY", "dev", "two").await.expect(4);
    team.get_as(operator, "KEY", "production").await.expect(4);
    let members = team.run(operator, &["member", "list", "-o", "json"]).await.expect(0).json();
    let me = members.as_array().unwrap().iter().find(|member| member["name"] == "tidelock").unwrap();
    assert_eq!((&me["readOnly"], &me["only"]), (&true.into(), &serde_json::json!(["dev", "staging"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_is_its_owners_alone_and_is_never_overwritten() {
    let team = Team::with_shop("keyring").await;
    let before = std::fs::read(team.keyring()).unwrap();
    team.run(&team.ana, &["keyring", "init"]).await.expect(4);
    assert_eq!(std::fs::read(team.keyring()).unwrap(), before);
    assert_eq!(team.keyring().metadata().unwrap().permissions().mode() & 0o777, 0o600);

    let listed = team.run(&team.ana, &["keyring", "list", "-o", "json"]).await.expect(0);
    let rings: Vec<_> = listed.json().as_array().unwrap().iter().map(|key| key["ring"].clone()).collect();
    assert_eq!(rings, ["default", "production"]);
    let mut command = team.command(&team.ana, &["keyring", "init", "--ring", "eu"]);
    command.env_remove("TIDELOCK_KEYRING");
    Running::start(command).end(b"").await.expect(0);
    assert!(team.home().join(".config/tidelock/keyring").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_production_or_a_second_environment_of_one_name_is_refused() {
    let team = Team::with_shop("second").await;
    let said = team.run(&team.ana, &["environment", "create", "live", "--production"]).await.expect(4);
    assert_reads!("second-production", said.stderr);
    team.run(&team.ana, &["environment", "create", "dev"]).await.expect(4);
    team.run(&team.ana, &["project", "create", "shop"]).await.expect(4);
    team.run(&team.bob, &["environment", "create", "dev-bob"]).await.expect(0);
    team.run(&team.vic, &["environment", "create", "dev-vic"]).await.expect(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_count_is_found_and_repaired() {
    let team = Team::with_shop("check").await;
    team.set_as(&team.ana, "KEY", "dev", "one").await.expect(0);
    team.run(&team.ana, &["registry", "check"]).await.expect(0);
    let admin = team.database.superuser().await;
    admin.batch_execute("UPDATE tidelock.environments SET live_secrets = 7 WHERE name = 'dev'").await.unwrap();
    let found = team.run(&team.ana, &["registry", "check", "-o", "json"]).await.expect(3).json();
    assert_eq!((&found[0]["stored"], &found[0]["counted"]), (&"7".into(), &"1".into()));
    // A member who is no ADMIN sees the finding and cannot repair it.
    let said = team.run(&team.bob, &["registry", "check", "--repair"]).await.expect(3);
    assert_reads!("registry-repair-of-a-developer", said.stderr);
    team.run(&team.ana, &["registry", "check", "--repair"]).await.expect(0);
    team.run(&team.ana, &["registry", "check"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_of_another_age_is_left_alone() {
    let team = Team::with_shop("age").await;
    let admin = team.database.superuser().await;
    for (floor, code, snapshot) in [
        ("version = 99, oldest_writer = 99", 1, Some("schema-too-new")),
        ("version = 1, oldest_writer = 1", 1, Some("schema-too-old")),
        // Newer, and it says that it still supports this program.
        ("version = 99, oldest_writer = 1", 0, None),
    ] {
        admin.batch_execute(&format!("UPDATE tidelock.schema_floor SET {floor}")).await.unwrap();
        for said in [
            team.run(&team.ana, &["key", "list"]).await.expect(code),
            team.set_as(&team.ana, "KEY", "dev", floor).await.expect(code),
        ] {
            if let Some(snapshot) = snapshot {
                assert_reads!(snapshot, said.stderr);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_project_is_read_and_not_changed() {
    let team = Team::with_shop("archive").await;
    team.set_as(&team.ana, "KEY", "dev", "one").await.expect(0);
    team.run(&team.bob, &["project", "archive", "shop"]).await.expect(4);
    team.run(&team.ana, &["project", "archive", "shop", "--reason", "closed"]).await.expect(0);
    team.set_as(&team.ana, "KEY", "dev", "two").await.expect(4);
    team.get_as(&team.ana, "KEY", "dev").await.expect(4);
    team.run(&team.ana, &["status"]).await.expect(3);
    // People leave it as they leave any other, and nobody joins.
    team.run(&team.ana, &["member", "remove", "bob", "--reason", "left"]).await.expect(0);
    team.run(&team.ana, &["member", "add", "eve", "--role", "viewer"]).await.expect(4);
    team.run(&team.ana, &["member", "remove", "ana"]).await.expect(4);
    team.run(&team.bob, &["status"]).await.expect(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_was_added_but_for_the_grant_is_added_by_saying_it_again() {
    let team = Team::with_shop("add-again").await;
    let owner = &team.database.owner;
    let carl = team.database.login("carl").await;
    let add = ["user", "add", "carl", "--db-role", &carl.role];
    team.run(owner, &add).await.expect(0);
    // By who granted it: since PostgreSQL 16 others take back what they gave themselves.
    team.session("owner").await.batch_execute(&format!("REVOKE tidelock_app FROM {}", carl.role)).await.unwrap();
    team.run(&carl, &["project", "list"]).await.expect(4);
    team.run(owner, &add).await.expect(0);
    team.run(&carl, &["project", "list"]).await.expect(0);
    team.run(owner, &["user", "disable", "carl"]).await.expect(0);
    team.run(owner, &add).await.expect(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_says_that_it_is_one() {
    let primary = tokio::task::spawn_blocking(|| Postgres::start("postgres-primary").unwrap()).await.unwrap();
    let team = Team::builder("standby").on(primary.clone()).build().await;
    team.set_as(&team.ana, "KEY", "dev", "one").await.expect(0);
    let (from, standby) =
        (primary.port(), tokio::task::spawn_blocking(move || primary.standby("postgres-standby").unwrap()));
    let standby = standby.await.unwrap();
    let there = |login: &Login| Login {
        url: login.url.replace(&format!(":{from}/"), &format!(":{}/", standby.port())),
        ..login.clone()
    };
    // The copy was taken after the value was written.
    assert_eq!(team.get_as(&there(&team.ana), "KEY", "dev").await.expect(0).stdout, "one");
    for arguments in
        [&["secret", "set", "KEY", "-e", "dev"][..], &["project", "create", "other"], &["import", "-e", "dev"]]
    {
        let said = team.run_with(&there(&team.ana), arguments, b"KEY=two").await.expect(4);
        assert!(
            said.stderr.contains("is a standby") && said.stderr.contains("write to the primary"),
            "{}",
            said.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_definitions_are_printed_without_a_database() {
    let team = Team::with_shop("crd").await;
    let mut command = team.command(&team.ana, &["crd"]);
    command.env_remove("TIDELOCK_DATABASE_URL");
    assert_eq!(Running::start(command).end(b"").await.expect(0).stdout, tidelock::api::crds::yaml());
}
