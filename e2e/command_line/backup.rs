//! `tidelock registry backup`: everything, or no file.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::harness::database::Login;
use crate::harness::{Postgres, wait_for};
use crate::snapshot::assert_reads;
use crate::stage::{Finished, Running, Team, succeed};

/// A team with values everywhere, an earlier version, a tombstone, an exemption, and a row in the vault; and the backup's
/// login. None where the PostgreSQL at hand has no `pg_dump`.
async fn with_values(what: &str) -> Option<(Team, Login)> {
    let team = Team::with_shop(what).await;
    if !team.database.postgres().has_dump_programs() {
        return None;
    }
    for (environment, value) in [("dev", "one"), ("dev", "two"), ("production", "own")] {
        team.set(environment, "A", value).await;
    }
    team.set("dev", "GONE", "one").await;
    team.remove("dev", "GONE").await;
    team.done(&team.ana, &["key", "exempt", "A", "-e", "staging", "--reason", "a test"]).await;
    let vault = "INSERT INTO vault.secrets (name, secret) VALUES ('stored', 'sealed'), ('buried', 'sealed');
                 DELETE FROM vault.secrets WHERE name = 'buried'";
    team.session("owner").await.batch_execute(vault).await.unwrap();
    let backup = team.backup_login().await;
    Some((team, backup))
}

/// Every table of the registry with its rows, as nothing hides them from the superuser.
async fn rows(team: &Team) -> Value {
    let superuser = team.database.superuser().await;
    let tables =
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
                  WHERE n.nspname IN ('tidelock', 'vault') AND c.relkind = 'r'";
    let mut counted = serde_json::Map::new();
    for table in superuser.query(tables, &[]).await.unwrap() {
        let table: String = table.get(0);
        let rows: i64 = superuser.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await.unwrap().get(0);
        counted.insert(table, rows.into());
    }
    counted.into()
}

fn programs(team: &Team) -> String {
    team.database.postgres().bin().display().to_string()
}

async fn back_up(team: &Team, who: &Login, file: &str, programs: &str) -> Finished {
    team.run(who, &["registry", "backup", file, "--pg-bin", programs, "-o", "json"]).await
}

/// A folder with a `pg_dump` that does something first, and the real `pg_restore`. `{home}` is the team's folder, `{pg_dump}`
/// the real one.
fn other_programs(team: &Team, script: &str) -> String {
    let folder = team.home().join("programs");
    fs::create_dir(&folder).unwrap();
    let real = team.database.postgres().bin();
    let script = script.replace("{pg_dump}", &real.join("pg_dump").display().to_string());
    let script = script.replace("{home}", &team.home().display().to_string());
    fs::write(folder.join("pg_dump"), format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(folder.join("pg_dump"), fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink(real.join("pg_restore"), folder.join("pg_restore")).unwrap();
    folder.display().to_string()
}

/// What is called after the backup in the team's folder.
fn left(team: &Team) -> Vec<PathBuf> {
    let files = fs::read_dir(team.home()).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".dump"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_has_every_row_of_every_table_and_is_its_owners_alone() {
    let Some((team, backup)) = with_values("backup").await else { return };
    let said = back_up(&team, &backup, "registry.dump", &programs(&team)).await.expect(0).json();
    let expected = rows(&team).await;
    assert_eq!(said["rows"], expected);
    for table in ["secrets", "secret_versions", "key_exemptions", "audit_logs", "vault_tombstones"] {
        assert_ne!(expected[format!("tidelock.{table}")], 0, "{table} has rows to lose");
    }
    assert_eq!(expected["vault.secrets"], 1);
    let files = left(&team);
    assert_eq!(files.len(), 2, "{files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
    // Nothing is overwritten.
    let again = back_up(&team, &backup, "registry.dump", &programs(&team)).await.expect(4);
    assert_reads!("backup-exists", again.stderr);
    // Who sees everything anyway may do it, too.
    let superuser = Login { role: "superuser".to_owned(), url: team.database.superuser_url() };
    back_up(&team, &superuser, "superuser.dump", &programs(&team)).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_rows_are_hidden_from_makes_no_backup() {
    let Some((team, backup)) = with_values("backup-hidden").await else { return };
    for who in [&team.database.owner, &team.ana, &team.operator] {
        let said = back_up(&team, who, "registry.dump", &programs(&team)).await.expect(4);
        assert_reads!("backup-hidden", said.stderr);
    }
    // Also where somebody narrowed what the role sees.
    let superuser = team.database.superuser().await;
    let narrow =
        "CREATE POLICY narrow ON tidelock.secrets AS RESTRICTIVE FOR SELECT TO tidelock_backup USING (key <> 'A')";
    superuser.batch_execute(narrow).await.unwrap();
    let said = back_up(&team, &backup, "registry.dump", &programs(&team)).await.expect(4);
    assert!(said.stderr.contains("rows of tidelock.secrets may be hidden"), "{}", said.stderr);
    assert_eq!(left(&team), [""; 0].map(PathBuf::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_lacks_rows_or_fails_is_thrown_away() {
    let Some((team, backup)) = with_values("backup-lacks").await else { return };
    let lossy = other_programs(&team, "exec {pg_dump} --exclude-table-data='*.secret_versions' \"$@\"");
    let said = back_up(&team, &backup, "registry.dump", &lossy).await.expect(1);
    assert_reads!("backup-lacks-rows", said.stderr);
    fs::remove_dir_all(&lossy).unwrap();
    let failing = other_programs(&team, "echo 'pg_dump: error: no space left on device' >&2; exit 1");
    let said = back_up(&team, &backup, "registry.dump", &failing).await.expect(1);
    assert_reads!("backup-fails", said.stderr);
    let nowhere = back_up(&team, &backup, "registry.dump", "/nowhere").await.expect(1);
    assert_reads!("backup-without-programs", nowhere.stderr);
    assert_eq!(left(&team), [""; 0].map(PathBuf::from));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_is_in_no_argument() {
    let Some((team, backup)) = with_values("backup-arguments").await else { return };
    let telling = other_programs(&team, "echo \"$@\" > {home}/arguments; exec {pg_dump} \"$@\"");
    back_up(&team, &backup, "registry.dump", &telling).await.expect(0);
    let arguments = fs::read_to_string(team.home().join("arguments")).unwrap();
    let password = backup.url.split([':', '@']).nth(2).unwrap();
    assert!(password.len() > 20 && !arguments.contains(password), "{arguments}");
    assert!(arguments.contains("--enable-row-security"), "{arguments}");
}

/// The snapshot that was counted is the one that is dumped, so a backup needs no quiet hour.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_while_it_is_made_is_in_the_next_one() {
    let Some((team, backup)) = with_values("backup-meanwhile").await else { return };
    let waiting =
        other_programs(&team, "mkfifo {home}/go; touch {home}/begun; read line < {home}/go; exec {pg_dump} \"$@\"");
    let before = rows(&team).await;
    let arguments = ["registry", "backup", "registry.dump", "--pg-bin", &waiting, "-o", "json"];
    let running = Running::start(team.command(&backup, &arguments));
    wait_for("pg_dump to be started", Duration::from_mins(1), async || {
        if team.home().join("begun").exists() { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    team.set("dev", "LATER", "one").await;
    let go = team.home().join("go");
    tokio::task::spawn_blocking(move || fs::write(go, "go\n")).await.unwrap().unwrap();
    assert_eq!(running.end(b"").await.expect(0).json()["rows"], before);
    let next = back_up(&team, &backup, "next.dump", &programs(&team)).await.expect(0).json();
    assert_ne!(next["rows"], before);
    assert_eq!(next["rows"], rows(&team).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_is_good_for_a_backup() {
    let primary = Postgres::publishing("postgres-backup-primary").await;
    if !primary.has_dump_programs() {
        return;
    }
    let team = Team::builder("backup-standby").on(primary.clone()).build().await;
    team.set("dev", "A", "one").await;
    let backup = team.backup_login().await;
    let standby = tokio::task::spawn_blocking(move || primary.standby("postgres-backup-standby").unwrap());
    let standby = standby.await.unwrap();
    let [primarys, standbys] = [team.database.postgres(), &*standby].map(|server| format!(":{}/", server.port()));
    let there = Login { role: backup.role.clone(), url: backup.url.replace(&primarys, &standbys) };
    let said = back_up(&team, &there, "registry.dump", &programs(&team)).await.expect(0).json();
    assert_eq!(said["rows"], rows(&team).await);
}

/// What docs/operations.md says for whoever has `pg_dump` alone: of the tests' own version, and of the newest.
#[tokio::test(flavor = "multi_thread")]
async fn a_plain_pg_dump_with_the_role_holds_everything_and_fails_for_everyone_else() {
    let Some((team, backup)) = with_values("plain-pg-dump").await else { return };
    let reader = team.database.login("reader").await;
    let superuser = team.database.superuser().await;
    superuser.batch_execute(&format!("GRANT pg_read_all_data TO {}", reader.role)).await.unwrap();
    let sealed: Vec<String> = superuser
        .query("SELECT encrypted_value FROM tidelock.secrets UNION ALL SELECT encrypted_value FROM tidelock.secret_versions", &[])
        .await
        .unwrap()
        .into_iter()
        .map(|row| row.get(0))
        .collect();
    assert_eq!(sealed.len(), 4);
    let newer = Postgres::newer("postgres-pg-dump").await;
    let own = team.database.postgres();
    for server in [Some(own), newer.as_deref()].into_iter().flatten() {
        for (who, whole) in [(&backup, true), (&team.database.owner, false), (&reader, false), (&team.ana, false)] {
            let (role, password) = who.url.trim_start_matches("postgres://").split_once(':').unwrap();
            let password = password.split('@').next().unwrap();
            for row_security in [true, false] {
                let mut command = server.program_as("pg_dump", role, password, &team.database.name);
                command.env("PGPORT", own.port().to_string());
                command.args(["--schema=tidelock", "--schema=tidelock_api", "--schema=vault"]);
                if row_security {
                    command.arg("--enable-row-security");
                }
                if whole && row_security {
                    let dump = succeed(command).await;
                    assert!(sealed.iter().all(|text| dump.contains(text)), "{role}: a value is not in it");
                } else {
                    let ended = command.output().await.unwrap();
                    let said = String::from_utf8_lossy(&ended.stderr);
                    assert!(!ended.status.success(), "{role}: a dump that may lack rows ended well: {said}");
                    assert!(said.contains("row-level security") || said.contains("permission denied"), "{said}");
                }
            }
        }
    }
}
