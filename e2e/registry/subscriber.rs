//! A registry that is the copy of another one by logical replication, with two servers; and the cut-over.

use std::sync::Arc;

use super::*;
use crate::harness::Postgres;
use crate::harness::postgres::connect;
use crate::snapshot::assert_reads;
use crate::stage::{Restored, SOON};

/// A shop on a server that rows are replicated from, and a migrated registry on another one.
async fn publisher(server: &'static str) -> Option<(Team, std::path::PathBuf)> {
    let postgres = Postgres::publishing(server).await;
    if !postgres.has_dump_programs() {
        return None;
    }
    let team = Team::builder(server).on(postgres).build().await;
    team.set("dev", "A", "one").await;
    team.set("production", "A", "own").await;
    let backup = team.backup_login().await;
    let dump = team.back_up(&backup, "registry.dump").await;
    Some((team, dump))
}

/// Replicates from the team's database into another one, as `registry subscriber on` says.
async fn replicate(team: &Team, there: &Restored, administrator: &Client) {
    let owner = there.login(&team.database.owner);
    let said = team.done(&owner, &["registry", "subscriber", "on", "-o", "json"]).await.json();
    let sql = |side: &str| said[side].as_str().unwrap().to_owned();
    let source = team.database.superuser().await;
    done(&source, &sql("publisher").replace("'...'", "'replicated'")).await;
    let (port, name) = (team.database.postgres().port(), &team.database.name);
    let from = format!("'host=127.0.0.1 port={port} dbname={name} user=tidelock_replication password=replicated'");
    let to = sql("subscriber").replace("'host=... dbname=... user=tidelock_replication password=...'", &from);
    assert!(to.contains(&from), "{to}");
    done(administrator, &to).await;
}

/// All rows that are replicated.
async fn content(session: &Client) -> Vec<String> {
    let tables = "SELECT c.oid::regclass FROM pg_class c WHERE relkind = 'r' AND relname NOT IN ('schema_floor', 'schema_migrations', 'notify_turn')
        AND relnamespace IN ('tidelock'::regnamespace, 'vault'::regnamespace) ORDER BY relname, 1";
    let mut all = Vec::new();
    for table in rows(session, tables).await {
        all.extend(rows(session, &format!("SELECT '{table} ' || t::text FROM {table} t ORDER BY 1")).await);
    }
    all
}

/// Waits until both have the same rows.
async fn is_the_same(team: &Team, there: &Restored) {
    let (source, copy) = (team.database.superuser().await, there.superuser().await);
    done(&source, "SET search_path = tidelock").await;
    wait_for("the subscriber to have all rows", SOON, async || {
        let (ours, theirs) = (content(&source).await, content(&copy).await);
        let missing = ours.iter().filter(|row| !theirs.contains(row)).filter_map(|row| row.split(' ').next());
        let missing: std::collections::BTreeSet<&str> = missing.collect();
        if ours == theirs {
            Ok(())
        } else {
            Err(format!("{} and {} rows, not all of {missing:?}", ours.len(), theirs.len()))
        }
    })
    .await;
}

/// Every kind of write that there is.
async fn write_everything(team: &Team) {
    let by_hand = "INSERT INTO vault.secrets (name, secret) VALUES ('kept', 'x'), ('gone', 'x');
                   UPDATE vault.secrets SET secret = 'y' WHERE name = 'kept'; DELETE FROM vault.secrets WHERE name = 'gone'";
    done(&team.session("owner").await, by_hand).await;
    for line in [
        "secret set NEW -e dev < one",
        "secret set NEW -e dev < two",
        "secret set NEW -e staging --follow < two",
        "secret confirm A -e production",
        "secret rm NEW -e dev --reason x",
        "secret restore NEW -e dev",
        "import -e staging < B=1\nC=2",
        "secret rm B -e staging --reason x",
        "key define C --description text --reason x",
        "key exempt C -e dev --reason x",
        "key exempt C -e production --reason x",
        "key exempt C -e dev --undo --reason x",
        "key retire B --reason x",
        "environment create qa",
        "member add eve --role viewer",
        "member add eve --role developer",
        "member remove vic --reason x",
        "project create other",
        "project archive other --reason x",
    ] {
        let (words, input) = line.split_once(" < ").unwrap_or((line, ""));
        let words: Vec<&str> = words.split(' ').collect();
        team.run_with(&team.ana, &words, input.as_bytes()).await.expect(0);
    }
    team.done(&team.database.owner, &["user", "add", "carl"]).await;
    team.done(&team.database.owner, &["user", "disable", "carl", "--reason", "x"]).await;
}

async fn cut_over(team: &Team, there: &Restored) {
    // The publisher takes no writes any more; what it had is here.
    team.done(&team.database.owner, &["registry", "subscriber", "on"]).await;
    team.set_as(&team.ana, "A", "dev", "too late").await.expect(4);
    is_the_same(team, there).await;
    let owner = there.login(&team.database.owner);
    let said = team.run(&owner, &["registry", "subscriber", "off"]).await.expect(4);
    assert!(said.stdout.contains("the subscription tidelock is enabled"), "{}", said.stdout);
    done(&there.superuser().await, "ALTER SUBSCRIPTION tidelock DISABLE").await;
    team.run(&owner, &["registry", "subscriber", "off"]).await.expect(0);
}

async fn takes_over(server: Arc<Postgres>, team: &Team, dump: &std::path::Path) {
    let there = Restored::with_roles(server, dump).await;
    let owner = there.login(&team.database.owner);
    team.done(&owner, &["migrate"]).await;
    let superuser = there.superuser().await;
    // From PostgreSQL 16 on the owner may subscribe, where nobody is superuser.
    let version: u32 = cell(&superuser, "SHOW server_version_num").await.parse().unwrap();
    if version < 160_000 {
        replicate(team, &there, &superuser).await;
    } else {
        done(&superuser, "GRANT pg_create_subscription TO team_owner").await;
        replicate(team, &there, &owner.session().await).await;
    }
    is_the_same(team, &there).await;
    write_everything(team).await;
    is_the_same(team, &there).await;
    let ana = there.login(&team.ana);
    // Its logins are its own, and nobody can be mapped to them while rows come from elsewhere.
    team.run(&ana, &["secret", "get", "NEW", "-e", "staging"]).await.expect(5);
    let confirm = ["user", "confirm", "--all", "--reason", "too early"];
    team.run(&there.login(&team.database.owner), &confirm).await.expect(4);

    cut_over(team, &there).await;
    there.confirm_logins(team).await;
    let read = team.run(&ana, &["secret", "get", "NEW", "-e", "staging"]).await.expect(0);
    assert_eq!(read.stdout, "two");
    let length = "SELECT count(*) FROM audit_logs";
    let before: i64 = cell(&superuser, length).await.parse().unwrap();
    team.run_with(&ana, &["secret", "set", "A", "-e", "dev"], b"after").await.expect(0);
    let read = team.run(&ana, &["secret", "get", "A", "-e", "dev"]).await.expect(0);
    assert_eq!(read.stdout, "after");
    assert_eq!(cell(&superuser, length).await, (before + 1).to_string());
    assert_eq!(audit::verify(&superuser).await, 3, "of users, of shop and of other");
    team.run(&ana, &["registry", "check"]).await.expect(0);
    team.done(&owner, &["user", "add", "dora"]).await;
    // All guards stand again.
    let open = "SELECT tgrelid::regclass || ' ' || tgname FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid
            WHERE c.relkind = 'r' AND NOT tgisinternal AND (tgenabled <> 'A' OR tgname = 'by_replication_alone')
        UNION ALL SELECT c.oid::regclass::text FROM pg_class c WHERE relnamespace = 'tidelock'::regnamespace AND relkind = 'r'
            AND relrowsecurity AND NOT relforcerowsecurity";
    assert_eq!(rows(&superuser, open).await, [""; 0]);
    done(&superuser, "ALTER SUBSCRIPTION tidelock SET (slot_name = NONE); DROP SUBSCRIPTION tidelock").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_gets_a_first_copy_and_every_write_and_takes_over_with_its_chains_whole() {
    let Some((team, dump)) = publisher("postgres-publisher").await else { return };
    takes_over(Postgres::publishing("postgres-subscriber").await, &team, &dump).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_of_a_newer_version_takes_over_too() {
    let Some(newer) = Postgres::newer("postgres-newer-subscriber").await else { return };
    let Some((team, dump)) = publisher("postgres-older-publisher").await else { return };
    takes_over(newer, &team, &dump).await;
}

/// As blue/green deployments and pg_createsubscriber make one: a physical copy, and replication from then on, which is
/// refused until somebody says that it is a subscriber.
#[tokio::test(flavor = "multi_thread")]
async fn a_physical_copy_becomes_a_subscriber_that_keeps_its_rows() {
    let Some((team, _)) = publisher("postgres-blue").await else { return };
    let source = team.database.superuser().await;
    done(&source, "SELECT pg_create_logical_replication_slot('green', 'pgoutput')").await;
    let green = {
        let postgres = team.database.postgres();
        postgres.standby("postgres-green").unwrap()
    };
    let copy = connect(&green.superuser_url(&team.database.name)).await.unwrap();
    done(&copy, "SELECT pg_promote()").await;
    let there = Restored::beside(green, &team.database);
    let before = there.superuser().await;
    let tables =
        "tidelock.audit_logs, tidelock.secrets, tidelock.users, tidelock.project_revisions, tidelock.revision_log,
        tidelock.environments, tidelock.project_secret_registry, tidelock.encryption_keys, tidelock.secret_versions";
    done(&source, &format!("CREATE PUBLICATION early FOR TABLE {tables} WITH (publish = 'insert, update, delete')"))
        .await;
    let (port, name) = (team.database.postgres().port(), &team.database.name);
    let password = team.database.superuser_url();
    let password = password.split([':', '@']).nth(2).unwrap();
    let subscription = format!(
        "CREATE SUBSCRIPTION early CONNECTION 'host=127.0.0.1 port={port} dbname={name} user=harness password={password}'
             PUBLICATION early WITH (copy_data = false, create_slot = false, slot_name = 'green')"
    );
    done(&before, &subscription).await;
    team.set("dev", "A", "streamed").await;
    let log = green_log(&there);
    wait_for("the guards to refuse what is replicated", SOON, async || {
        let said = std::fs::read_to_string(&log).map_err(|why| why.to_string())?;
        if said.contains("is no user of this registry") { Ok(()) } else { Err("not refused".to_owned()) }
    })
    .await;
    let owner = there.login(&team.database.owner);
    let said = team.done(&owner, &["registry", "subscriber", "on", "-o", "json"]).await.json();
    assert_eq!(said["hasRows"], true);
    assert!(said["subscriber"].as_str().unwrap().contains("copy_data = false"), "{said}");
    is_the_same(&team, &there).await;
    done(&before, "ALTER SUBSCRIPTION early DISABLE").await;
    team.run(&owner, &["registry", "subscriber", "off"]).await.expect(0);
    let ana = there.login(&team.ana);
    team.run_with(&ana, &["secret", "set", "A", "-e", "dev"], b"after").await.expect(0);
    audit::verify(&before).await;
}

fn green_log(there: &Restored) -> std::path::PathBuf {
    there.postgres.statement_log()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_to_a_subscriber_by_hand_and_everyone_is_told() {
    let team = Team::with_shop("by-hand").await;
    team.set("dev", "A", "one").await;
    let refused = team.run(&team.ana, &["registry", "subscriber", "on"]).await.expect(4);
    assert_reads!("subscriber-on-of-another", refused.stderr);
    let on = team.done(&team.database.owner, &["registry", "subscriber", "on"]).await;
    assert_reads!("subscriber-on", format!("{}{}", on.stdout, on.stderr));

    let said = team.set_as(&team.ana, "A", "dev", "two").await.expect(4);
    assert_reads!("subscriber-write", said.stderr);
    for words in [
        &["secret", "rm", "A", "-e", "dev", "--reason", "x"][..],
        &["project", "create", "mine"],
        &["member", "remove", "bob", "--reason", "x"],
        &["registry", "check", "--repair"],
    ] {
        team.run(&team.ana, words).await.expect(4);
    }
    team.run(&team.database.owner, &["user", "add", "carl"]).await.expect(4);
    let superuser = team.database.superuser().await;
    done(&superuser, "SET search_path = tidelock; SET tidelock.acting_user = 'ana'").await;
    let tables = rows(
        &superuser,
        "SELECT relname FROM pg_class WHERE relnamespace = 'tidelock'::regnamespace AND relkind = 'r'
        AND relname NOT IN ('schema_floor', 'schema_migrations', 'notify_turn')",
    )
    .await;
    assert_eq!(tables.len(), 16);
    for table in tables {
        for replica in ["origin", "replica"] {
            for sql in [format!("DELETE FROM {table}"), format!("INSERT INTO {table} SELECT * FROM {table}")] {
                let why = refusal(&superuser, &format!("SET LOCAL session_replication_role = {replica}; {sql}")).await;
                assert!(why.starts_with("TL403") && why.contains("is a subscriber"), "{replica}: {sql}: {why}");
            }
        }
    }
    let why = refusal(&team.session("owner").await, "INSERT INTO vault.secrets (secret) VALUES ('x')").await;
    assert!(why.contains("is a subscriber"), "{why}");

    let check = team.run(&team.ana, &["registry", "check"]).await.expect(3);
    assert_reads!("subscriber-check", check.stdout);
    let status = team.run(&team.ana, &["status"]).await.expect(3);
    assert_reads!("subscriber-status", format!("{}{}", status.stdout, status.stderr));
    // And when it is none any more.
    team.done(&team.database.owner, &["registry", "subscriber", "off"]).await;
    team.set_as(&team.ana, "A", "dev", "two").await.expect(0);
    let again = team.done(&team.database.owner, &["registry", "subscriber", "off"]).await;
    assert_eq!(again.stderr, "this registry is no subscriber\n");
    // Told once, by the owner, since when it was one.
    let told = "SELECT u.name || ' ' || (l.subject ~ '^since 20[0-9-]+ [0-9:.]+[+]00$') FROM tidelock.audit_logs l
        JOIN tidelock.users u ON u.id = l.user_id WHERE l.action = 'registry.subscriber-off' AND l.project_id IS NULL";
    let superuser = team.database.superuser().await;
    assert_eq!(
        cell(&superuser, &format!("SELECT string_agg(t, ',') FROM ({told}) AS x (t)")).await,
        "registry-owner true"
    );
    done(&superuser, "SET search_path = tidelock").await;
    audit::verify(&superuser).await;
    assert!(!team.run(&team.ana, &["status"]).await.expect(3).stderr.contains("SUBSCRIBER"));
}

/// What a publication that leaves a table out, a wrong copy and a forger would leave behind, each told by its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_with_anything_wrong_stays_closed_and_says_what() {
    let team = Team::with_shop("not-opened").await;
    team.set("dev", "A", "one").await;
    team.set("staging", "B", "one").await;
    team.done(&team.ana, &["key", "exempt", "B", "-e", "dev", "--reason", "x"]).await;
    team.set("dev", "A", "two").await;
    team.done(&team.database.owner, &["registry", "subscriber", "on"]).await;
    let superuser = team.superuser_without_triggers().await;
    let damages = [
        "DELETE FROM secret_versions",
        "DELETE FROM key_exemptions",
        "DELETE FROM project_hash_keys",
        "DELETE FROM encryption_keys",
        "DELETE FROM project_members WHERE user_id = (SELECT id FROM users WHERE name = 'vic')",
        "DELETE FROM revision_log WHERE revision = 2",
        "DELETE FROM project_secret_registry WHERE key_name = 'B'",
        "UPDATE environments SET live_secrets = 7 WHERE name = 'dev'",
        "UPDATE audit_logs SET reason = 'forged' WHERE action = 'user.add' AND subject LIKE 'bob%'",
        "DELETE FROM audit_logs WHERE chain <> '00000000-0000-0000-0000-000000000000'
            AND position = (SELECT max(position) FROM audit_logs WHERE project_id IS NOT NULL)",
        "UPDATE users SET db_role = NULL WHERE kind = 'owner'",
        "SET session_replication_role = replica; DELETE FROM users WHERE name = 'eve'; RESET session_replication_role",
        "SET session_replication_role = replica; UPDATE secrets SET environment_id = gen_random_uuid() WHERE key = 'B'; RESET session_replication_role",
    ];
    for damage in damages {
        done(&superuser, damage).await;
    }
    team.enable_triggers().await;
    let said = team.run(&team.database.owner, &["registry", "subscriber", "off"]).await.expect(4);
    assert_reads!("subscriber-not-opened", format!("{}{}", said.stdout, said.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_with_users_of_its_own_and_no_project_is_not_made_a_subscriber() {
    let database = TestDatabase::empty("own-users").await;
    let team = Team::with_shop("own-users-roles").await;
    team.done(&database.owner, &["migrate"]).await;
    team.done(&database.owner, &["user", "add", "carl"]).await;
    let said = team.run(&database.owner, &["registry", "subscriber", "on"]).await.expect(4);
    assert_reads!("subscriber-has-users", said.stderr);
    team.done(&database.owner, &["user", "add", "dora"]).await;
}
