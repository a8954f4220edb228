//! What must not come with a dump, and a restore without a superuser.

use super::*;
use crate::harness::Postgres;
use crate::stage::{Restored, succeed};

/// A shop on a server of its own, and its backup. None where the PostgreSQL at hand has no `pg_dump`.
async fn backed_up(server: &'static str) -> Option<(Team, std::path::PathBuf)> {
    let postgres = Postgres::publishing(server).await;
    if !postgres.has_dump_programs() {
        return None;
    }
    // So that the new server has yet to come to the numbers that transactions had here.
    let superuser = postgres.superuser("postgres").await.unwrap();
    for _ in 0..4000 {
        done(&superuser, "SELECT pg_current_xact_id()").await;
    }
    let team = Team::builder(server).on(postgres).build().await;
    team.set("dev", "A", "one").await;
    let backup = team.backup_login().await;
    let dump = team.back_up(&backup, "registry.dump").await;
    Some((team, dump))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_with_the_number_of_one_in_the_dump_makes_a_revision_of_its_own() {
    let Some((team, dump)) = backed_up("postgres-numbers").await else { return };
    let restored = Restored::by_superuser(Postgres::publishing("postgres-numbers-again").await, &dump).await;
    let superuser = restored.superuser().await;
    let look = "SELECT revision, token, transaction FROM project_revisions";
    let before = rows(&superuser, look).await.remove(0);
    let [revision, token, number] = before.split(' ').collect::<Vec<_>>()[..] else { panic!("{before}") };
    let (revision, number): (i64, i64) = (revision.parse().unwrap(), number.parse().unwrap());

    restored.confirm_logins(&team).await;
    let ana = restored.login(&team.ana).session().await;
    loop {
        done(&ana, "BEGIN").await;
        let next: i64 = cell(&ana, "SELECT pg_current_xact_id()").await.parse().unwrap();
        assert!(next <= number, "the new server is past transaction {number}: at {next}");
        if next == number {
            break;
        }
        done(&ana, "ROLLBACK").await;
    }
    done(&ana, &begun(&update("dev", "A", "two", "NULL"))).await;
    // The second one of the transaction is no step more.
    done(&ana, &insert("dev", "B", "one", "NULL")).await;
    done(&ana, "COMMIT").await;
    let after = rows(&superuser, look).await.remove(0);
    let [now, new_token, same] = after.split(' ').collect::<Vec<_>>()[..] else { panic!("{after}") };
    assert_eq!((now.parse::<i64>().unwrap(), same.parse::<i64>().unwrap()), (revision + 1, number));
    assert_ne!(new_token, token);
    assert_eq!(rows(&ana, "SELECT * FROM registry_findings()").await, [""; 0]);
    let steps = "SELECT count(*), count(DISTINCT token) FROM revision_log";
    assert_eq!(cell(&superuser, steps).await, format!("{} {}", revision + 1, revision + 1));
}

/// As docs/operations.md says for a managed PostgreSQL: the owner restores, with the definer's role lent for it.
async fn owner_restores(team: &Team, dump: &std::path::Path, server: std::sync::Arc<Postgres>) {
    let restored = Restored::with_roles(server, dump).await;
    let superuser = restored.superuser().await;
    let owner = restored.login(&team.database.owner);
    done(&superuser, "GRANT tidelock_definer TO team_owner").await;
    let session = owner.connect().await;
    done(
        &session,
        "CREATE SCHEMA tidelock; CREATE SCHEMA tidelock_api; CREATE SCHEMA vault;
         GRANT CREATE ON SCHEMA tidelock, tidelock_api TO tidelock_definer",
    )
    .await;
    let mut list = restored.postgres.program("pg_restore", "postgres");
    list.arg("--list").arg(dump);
    let entries = succeed(list).await;
    let entries: Vec<&str> = entries.lines().filter(|line| !line.contains(" SCHEMA - ")).collect();
    let file = team.home().join("entries");
    std::fs::write(&file, entries.join("\n")).unwrap();
    let mut restore = restored.program_as("pg_restore", &owner);
    restore.args(["--exit-on-error", "--single-transaction", "--dbname", "registry", "--use-list"]).arg(file).arg(dump);
    succeed(restore).await;
    done(&session, "REVOKE CREATE ON SCHEMA tidelock, tidelock_api FROM tidelock_definer").await;
    done(&superuser, "REVOKE tidelock_definer FROM team_owner").await;

    let whole = Restored::by_superuser(Postgres::publishing("postgres-owner-compared").await, dump).await;
    let objects = "SELECT p.oid::regprocedure || ' ' || pg_get_userbyid(proowner) || ' ' || proacl::text FROM pg_proc p
            WHERE pronamespace IN ('tidelock'::regnamespace, 'tidelock_api'::regnamespace)
        UNION ALL SELECT tgrelid::regclass || ' ' || tgname || ' ' || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT c.oid::regclass || ' ' || pg_get_userbyid(relowner) || ' ' || relforcerowsecurity || ' '
                || (SELECT string_agg(a::text, ',' ORDER BY a::text) FROM unnest(relacl) a WHERE a::text NOT LIKE 'team_owner=%')
            FROM pg_class c WHERE relnamespace IN ('tidelock'::regnamespace, 'tidelock_api'::regnamespace) AND relkind IN ('r', 'v')
        UNION ALL SELECT polrelid::regclass || ' ' || polname || ' ' || polroles::text FROM pg_policy WHERE polname = 'hidden'
        UNION ALL SELECT 'SCHEMA ' || nspname || ' ' || nspacl::text FROM pg_namespace WHERE nspname LIKE 'tidelock%' ORDER BY 1";
    let (ours, theirs) = (rows(&superuser, objects).await, rows(&whole.superuser().await, objects).await);
    let others: Vec<&String> = ours.iter().filter(|row| !theirs.contains(row)).collect();
    assert!(others.is_empty() && ours.len() == theirs.len(), "{} and {}: {others:#?}", ours.len(), theirs.len());
    assert_eq!(audit::verify(&superuser).await, 2);
    restored.confirm_logins(team).await;
    let read = team.run(&restored.login(&team.ana), &["secret", "get", "A", "-e", "dev"]).await.expect(0);
    assert_eq!(read.stdout, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_restores_what_the_superuser_would_where_there_is_none() {
    let Some((team, dump)) = backed_up("postgres-owner-restores").await else { return };
    owner_restores(&team, &dump, Postgres::publishing("postgres-restored-by-owner").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pg_upgrade_leaves_a_registry_as_it_was() {
    let postgres = Postgres::publishing("postgres-to-upgrade").await;
    let team = Team::builder("to-upgrade").on(postgres.clone()).build().await;
    team.set("dev", "A", "one").await;
    let Some(newer) = Postgres::upgraded(postgres, "postgres-upgraded").await else { return };
    let upgraded = Restored::beside(newer, &team.database);
    let (owner, ana) = (upgraded.login(&team.database.owner), upgraded.login(&team.ana));
    assert_eq!(team.done(&owner, &["migrate", "-o", "json"]).await.stdout.trim(), "[]");
    team.run(&ana, &["registry", "check"]).await.expect(0);
    assert_eq!(team.run(&ana, &["secret", "get", "A", "-e", "dev"]).await.expect(0).stdout, "one");
    let superuser = upgraded.superuser().await;
    let revision = "SELECT revision FROM project_revisions";
    let before: i64 = cell(&superuser, revision).await.parse().unwrap();
    team.run_with(&ana, &["secret", "set", "A", "-e", "dev"], b"two").await.expect(0);
    assert_eq!(cell(&superuser, revision).await, (before + 1).to_string());
    assert_eq!(audit::verify(&superuser).await, 2);
}
