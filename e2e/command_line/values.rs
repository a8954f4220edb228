//! Values on their way in and out.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::database::Login;
use crate::snapshot::assert_reads;
use crate::stage::{Running, Team};

#[tokio::test(flavor = "multi_thread")]
async fn a_value_comes_back_byte_for_byte() {
    let team = Team::with_shop("bytes").await;
    let odd: Vec<u8> = (0..=255).cycle().take(3000).chain(*b"\n\n").collect();
    std::fs::write(team.home().join("value"), &odd).unwrap();

    team.run(&team.ana, &["secret", "set", "FILE", "-e", "dev", "--from-file", "value"]).await.expect(0);
    assert!(team.get_as(&team.ana, "FILE", "dev").await.expect(0).bytes == odd, "a file is taken as it is");
    let said = team.run_with(&team.ana, &["secret", "set", "KEY", "-e", "dev"], b"\0\xff\n").await.expect(2);
    assert_reads!("value-that-is-no-text", said.stderr);

    for (flags, given, kept) in [
        (&[][..], &b"line\n"[..], &b"line"[..]),
        (&[], b"two\n\n", b"two\n"),
        (&[], b"token\r\n", b"token"),
        (&[], b"-----BEGIN\r\nEND-----\r\n\r\n", b"-----BEGIN\nEND-----\n"),
        (&["--raw"], b"", b""),
        (&["--from-file", "/dev/null"], b"", b""),
        (&["--raw"], b"\0\xff\r\n", b"\0\xff\r\n"),
        (&["--raw"], b"line\n", b"line\n"),
        (&["--raw"], b"line\r\n", b"line\r\n"),
    ] {
        let arguments = [&["secret", "set", "KEY", "-e", "dev"], flags].concat();
        team.run_with(&team.ana, &arguments, given).await.expect(0);
        assert_eq!(team.get_as(&team.ana, "KEY", "dev").await.expect(0).bytes, kept, "{flags:?} {given:?}");
    }
    let json = team.run(&team.ana, &["secret", "get", "FILE", "-e", "dev", "-o", "json"]).await.expect(0).json();
    assert_eq!(json["valueBase64"], STANDARD.encode(&odd));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_nothing_could_deliver_is_refused() {
    let team = Team::with_shop("large").await;
    let largest = "x".repeat(1024 * 1024);
    team.set_as(&team.ana, "FITS", "dev", &largest).await.expect(0);
    let said = team.set_as(&team.ana, "TOO_LARGE", "dev", &format!("{largest}x\n")).await.expect(4);
    assert_reads!("value-too-large", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_that_brought_nothing_empties_no_secret() {
    let team = Team::with_shop("nothing-piped").await;
    team.set_as(&team.ana, "KEY", "dev", "one").await.expect(0);
    let said = team.run_with(&team.ana, &["secret", "set", "KEY", "-e", "dev"], b"").await.expect(2);
    assert_reads!("pipe-with-nothing", said.stderr);
    for nothing in [&b"\n"[..], b"\r\n"] {
        let said = team.run_with(&team.ana, &["secret", "set", "KEY", "-e", "dev"], nothing).await.expect(2);
        assert_reads!("pipe-with-nothing", said.stderr);
    }
    assert_eq!(team.get_as(&team.ana, "KEY", "dev").await.expect(0).stdout, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_not_taken_from_arguments_and_not_repeated() {
    let team = Team::with_shop("arguments").await;
    for arguments in [&["secret", "set", "KEY", "hunter2"][..], &["secret", "set", "KEY=hunter2"]] {
        let said = team.run(&team.ana, &[arguments, &["-e", "dev"]].concat()).await.expect(2);
        assert_reads!(format!("value-in-arguments-{}", arguments.len()), said.stderr);
        assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    }
    // Wherever a name is asked for, and where nothing is.
    let url = "KEY: postgres://u:hunter2@h/d?sslmode=require";
    let mut heard = String::new();
    for arguments in [
        &["secret", "set", url, "-e", "dev"][..],
        &["secret", "get", url, "-e", "dev"],
        &["secret", "rm", url, "-e", "dev"],
        &["secret", "restore", url, "-e", "dev"],
        &["secret", "confirm", url, "-e", "dev"],
        &["key", "define", url, "--description", "x", "--reason", "x"],
        &["key", "retire", url, "--reason", "x"],
        &["key", "exempt", url, "-e", "dev", "--reason", "x"],
        &["status", url],
        &["secret", "get", "KEY", "-e", url],
        &["secret", "get", "KEY", "-e", "dev", "-p", url],
        &["secret", "get", "KEY", "-e", "dev", "--user", url],
        &["environment", "create", url],
        &["project", "create", url],
        &["member", "add", url, "--role", "viewer"],
        &["diff", url, "dev"],
        &["secret", "get", "KEY", url],
        &["key", "list", url],
    ] {
        let said = team.run(&team.ana, arguments).await.expect(2);
        assert!(!said.stderr.contains("hunter2") && said.stdout.is_empty(), "{arguments:?}: {}", said.stderr);
        let _ = write!(heard, "$ tidelock {}\n{}", arguments.join(" ").replace(url, "(url)"), said.stderr);
    }
    assert_reads!("url-in-arguments", heard);
    let mut by_variable = team.command(&team.ana, &["status"]);
    by_variable.env("TIDELOCK_ENVIRONMENT", url);
    let said = Running::start(by_variable).end(b"").await.expect(2);
    assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_is_nowhere_in_the_servers_log_or_in_what_commands_say() {
    let team = Team::with_shop("canary").await;
    let canary = "canary-7f3a91c25be04d68";
    let mut heard = String::new();
    for said in [
        team.set_as(&team.ana, "CANARY", "dev", canary).await.expect(0),
        team.follow_as(&team.ana, "CANARY", "staging", canary).await.expect(0),
        team.run_with(&team.ana, &["import", "-e", "production"], format!("CANARY={canary}\n").as_bytes())
            .await
            .expect(0),
        team.run_with(&team.ana, &["import", "-e", "dev"], format!("A=1\nB='{canary}\n").as_bytes()).await.expect(2),
        team.run(&team.ana, &["secret", "list", "-e", "dev"]).await.expect(0),
        team.run(&team.ana, &["diff", "dev", "production"]).await.expect(0),
        team.run(&team.ana, &["key", "list"]).await.expect(0),
        team.run(&team.ana, &["status", "-o", "json"]).await.expect(0),
    ] {
        heard += &said.stdout;
        heard += &said.stderr;
    }
    heard += &String::from_utf8_lossy(&std::fs::read(team.database.postgres().statement_log()).unwrap());
    assert!(heard.contains("CANARY"), "the log is the one that was written to");
    for form in forms_of(canary) {
        assert!(!heard.contains(&form), "{form}");
    }
    assert_eq!(team.get_as(&team.ana, "CANARY", "production").await.expect(0).stdout, canary);
}

/// As it is, in hexadecimal, and the middle of its base64 at each of three offsets.
fn forms_of(canary: &str) -> Vec<String> {
    let mut forms = vec![canary.to_owned(), hex::encode(canary)];
    for offset in 0..3 {
        let encoded = STANDARD.encode([&vec![0; offset], canary.as_bytes()].concat());
        forms.push(encoded[4..encoded.len() - 4].to_owned());
    }
    forms
}

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_one_ring_writes_there_and_reads_nothing_of_the_other() {
    let team = Team::with_shop("rings").await;
    team.set_as(&team.ana, "KEY", "dev", "one").await.expect(0);
    team.follow_as(&team.ana, "KEY", "production", "two").await.expect(0);

    let text = std::fs::read_to_string(team.keyring()).unwrap();
    let production = text.rfind("[[ring]]").unwrap();
    let header = &text[..text.find("[[ring]]").unwrap()];
    for (name, ring) in [("default", &text[header.len()..production]), ("production", &text[production..])] {
        let path = team.home().join(name);
        std::fs::copy(team.keyring(), &path).unwrap();
        std::fs::write(&path, format!("{header}{ring}")).unwrap();
    }
    let with = async |ring: &str, arguments: &[&str], input: &[u8]| {
        let mut command = team.command(&team.ana, arguments);
        command.env("TIDELOCK_KEYRING", team.home().join(ring));
        Running::start(command).end(input).await
    };
    assert_eq!(with("default", &["secret", "get", "KEY", "-e", "dev"], b"").await.expect(0).stdout, "one");
    let said = with("default", &["secret", "get", "KEY", "-e", "production"], b"").await.expect(4);
    assert_reads!("ring-not-held-reading", said.stderr);
    let said = with("default", &["secret", "set", "KEY", "-e", "production"], b"x").await.expect(4);
    assert_reads!("ring-not-held-writing", said.stderr);

    // The hashes of both are made with one key, which each ring opens.
    with("production", &["secret", "set", "KEY", "-e", "production"], b"one").await.expect(0);
    team.run(&team.ana, &["diff", "dev", "production"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keyring_of_ones_own_fits_no_project_of_the_team() {
    let team = Team::with_shop("own-keyring").await;
    let own = team.home().join("own");
    let with_own = async |who: &Login, arguments: &[&str], input: &[u8]| {
        let mut command = team.command(who, arguments);
        command.env("TIDELOCK_KEYRING", &own);
        Running::start(command).end(input).await
    };
    with_own(&team.bob, &["keyring", "init"], b"").await.expect(0);
    // The first write of all is no exception: the project has had its hashing key from the start.
    for who in [&team.bob, &team.ana] {
        let said = with_own(who, &["secret", "set", "KEY", "-e", "dev"], b"one").await.expect(4);
        assert!(said.stderr.contains("ring default is not the one that the project's values"), "{}", said.stderr);
    }
    team.set_as(&team.bob, "KEY", "dev", "one").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_without_a_hashing_key_gets_it_from_an_admin() {
    let team = Team::with_shop("bare").await;
    let mut create = team.command(&team.ana, &["project", "create", "bare"]);
    create.env("TIDELOCK_KEYRING", team.home().join("none"));
    let said = Running::start(create).end(b"").await.expect(0);
    assert!(said.stderr.contains("it has no hashing key yet"), "{}", said.stderr);
    let in_bare = |arguments: &'static [&'static str]| [arguments, &["-p", "bare"]].concat();
    let mut environment = team.command(&team.ana, &in_bare(&["environment", "create", "dev"]));
    environment.env("TIDELOCK_KEYRING", team.home().join("none"));
    Running::start(environment).end(b"").await.expect(0);
    team.run(&team.ana, &in_bare(&["member", "add", "bob", "--role", "developer"])).await.expect(0);
    let set = in_bare(&["secret", "set", "KEY", "-e", "dev"]);
    let said = team.run_with(&team.bob, &set, b"one").await.expect(4);
    assert!(said.stderr.contains("which takes an ADMIN"), "{}", said.stderr);
    team.run_with(&team.ana, &set, b"one").await.expect(0);
    team.run_with(&team.bob, &set, b"two").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_was_tampered_with_is_not_printed() {
    let team = Team::with_shop("tampered").await;
    team.set_as(&team.ana, "ONE", "dev", "first").await.expect(0);
    team.set_as(&team.ana, "OTHER", "dev", "second").await.expect(0);
    let admin = team.database.superuser().await;
    // Only who may switch the triggers off gets this far.
    admin
        .batch_execute(
            "ALTER TABLE tidelock.secrets DISABLE TRIGGER ALL;
             UPDATE tidelock.secrets s SET encrypted_value = o.encrypted_value FROM tidelock.secrets o
                 WHERE s.key = 'ONE' AND o.key = 'OTHER';
             UPDATE tidelock.secrets s SET value_hash = o.value_hash FROM tidelock.secrets o
                 WHERE s.key = 'OTHER' AND o.key = 'ONE'",
        )
        .await
        .unwrap();
    let moved = team.get_as(&team.ana, "ONE", "dev").await.expect(6);
    assert!(moved.stdout.is_empty(), "nothing of it is printed");
    assert_reads!("value-moved", moved.stderr);
    let mismatched = team.get_as(&team.ana, "OTHER", "dev").await.expect(6);
    assert!(mismatched.stdout.is_empty(), "nothing of it is printed");
    assert_reads!("value-with-another-hash", mismatched.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_value_heals_a_row_whose_stored_text_was_damaged() {
    let team = Team::with_shop("damaged").await;
    let admin = team.database.superuser().await;
    let damage = async |key: &str| {
        let sql = format!(
            "ALTER TABLE tidelock.secrets DISABLE TRIGGER ALL;
             UPDATE tidelock.secrets SET encrypted_value = overlay(encrypted_value placing 'AAAA' from length(encrypted_value) - 8)
                 WHERE key = '{key}'"
        );
        admin.batch_execute(&sql).await.unwrap();
        team.enable_triggers().await;
        team.get_as(&team.ana, key, "dev").await.expect(6);
    };
    for key in ["ONE", "TWO"] {
        team.set_as(&team.ana, key, "dev", "first").await.expect(0);
    }
    team.set_as(&team.ana, "ONE", "staging", "first").await.expect(0);
    let of_dev = "SELECT revision FROM tidelock.environments WHERE name = 'dev'";
    let before: i64 = admin.query_one(of_dev, &[]).await.unwrap().get(0);

    damage("ONE").await;
    let healed = team.set_as(&team.ana, "ONE", "dev", "first").await.expect(0);
    assert!(healed.stderr.contains("repaired ONE in dev"), "{}", healed.stderr);
    assert_eq!(team.get_as(&team.ana, "ONE", "dev").await.expect(0).stdout, "first");
    assert_eq!(
        team.states("ONE").await,
        ["InSync", "InSync", "Missing"],
        "it is no change, so nobody is behind for it"
    );
    let after: i64 = admin.query_one(of_dev, &[]).await.unwrap().get(0);
    assert!(after > before, "whoever delivers it reads it again");
    let audited = "SELECT action, version FROM tidelock.audit_logs l JOIN tidelock.secrets s ON s.key = l.subject AND
                       s.environment_id = l.environment_id WHERE subject = 'ONE' ORDER BY position DESC LIMIT 1";
    let audited = admin.query_one(audited, &[]).await.unwrap();
    assert_eq!((audited.get(0), audited.get(1)), ("secret.repair", 2_i64));

    damage("TWO").await;
    let said =
        team.run_with(&team.ana, &["import", "-e", "dev", "-o", "json"], b"ONE=first\nTWO=first\n").await.expect(0);
    let said = said.json();
    assert_eq!((&said["repaired"], &said["unchanged"]), (&1.into(), &1.into()), "{said}");
    team.get_as(&team.ana, "TWO", "dev").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_is_done_is_not_called_failed_because_the_look_after_it_is_refused() {
    let team = Team::with_shop("look-refused").await;
    let admin = team.database.superuser().await;
    admin.batch_execute("REVOKE EXECUTE ON FUNCTION tidelock_api.key_states_of FROM tidelock_app").await.unwrap();
    let steps: [(&[&str], &[u8]); 5] = [
        (&["secret", "set", "KEY", "-e", "dev"], b"one"),
        (&["secret", "confirm", "KEY", "-e", "dev"], b""),
        (&["secret", "rm", "KEY", "-e", "dev"], b""),
        (&["secret", "restore", "KEY", "-e", "dev"], b""),
        (&["import", "-e", "dev"], b"OTHER=one\n"),
    ];
    for (arguments, input) in steps {
        let said = team.run_with(&team.ana, arguments, input).await.expect(0);
        let last = said.stderr.lines().last().unwrap_or_default();
        assert!(
            last.starts_with("that is done, but who is behind now could not be asked: "),
            "{arguments:?}: {}",
            said.stderr
        );
    }
}
