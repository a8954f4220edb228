//! The tables that people read.

use crate::snapshot::{assert_reads, without_padding};
use crate::stage::{Finished, Team};

/// A team with keys in every state, and members of every kind.
async fn stocked(what: &str) -> Team {
    let team = Team::with_shop(what).await;
    team.set_as(&team.ana, "API_KEY", "dev", "canary").await.expect(0);
    for environment in ["staging", "production"] {
        team.set_as(&team.ana, "API_KEY", environment, "canary").await.expect(0);
    }
    team.set_as(&team.ana, "DATABASE_URL", "dev", "canary").await.expect(0);
    team.follow_as(&team.ana, "DATABASE_URL", "staging", "canary of staging").await.expect(0);
    team.set_as(&team.ana, "DATABASE_URL", "dev", "another canary").await.expect(0);
    team.set_as(&team.ana, "SENTRY_DSN", "staging", "canary").await.expect(0);
    team.set_as(&team.ana, "ENDED", "staging", "canary").await.expect(0);
    for typed in [
        &["key", "exempt", "SENTRY_DSN", "-e", "dev", "--reason", "not in dev"][..],
        &["key", "define", "API_KEY", "--description", "of the payments API", "--reason", "x"],
        &["secret", "confirm", "API_KEY", "-e", "dev"],
        &["secret", "confirm", "API_KEY", "-e", "staging"],
        &["secret", "confirm", "API_KEY", "-e", "production"],
        &["key", "retire", "ENDED", "--reason", "unused"],
        &["member", "add", "eve", "--role", "developer", "--only", "dev,staging", "--expires", "2099-01-01"],
        &["project", "create", "annex"],
    ] {
        team.done(&team.ana, typed).await;
    }
    team
}

#[tokio::test(flavor = "multi_thread")]
async fn every_listing_reads_as_it_did() {
    let team = stocked("tables").await;
    let owner = &team.database.owner;
    let run =
        async |who, typed: &str, code| team.run(who, &typed.split_whitespace().collect::<Vec<_>>()).await.expect(code);
    let reads = |name: &str, said: Finished| {
        let rest =
            if said.stderr.is_empty() { String::new() } else { format!("--- to standard error ---\n{}", said.stderr) };
        assert_reads!(name, said.stdout + &rest);
    };
    reads("status", run(&team.vic, "status", 3).await);
    reads("status-of-keys", run(&team.vic, "status API_KEY SENTRY_DSN -e dev", 0).await);
    reads("secret-list", run(&team.vic, "secret list -e staging", 0).await);
    reads("key-list", run(&team.vic, "key list", 0).await);
    reads("key-list-retired", run(&team.vic, "key list --retired", 0).await);
    reads("environment-list", run(&team.vic, "environment list", 0).await);
    reads("member-list", run(&team.vic, "member list", 0).await);
    reads("project-list", run(&team.ana, "project list", 0).await);
    reads("diff", run(&team.ana, "diff dev staging", 3).await);
    reads("diff-of-equals", run(&team.ana, "diff dev dev", 0).await);
    reads("registry-check", run(&team.ana, "registry check", 0).await);
    let users = run(owner, "user list", 0).await;
    assert_reads!("user-list", without_padding(&users.stdout));
    let keyring = run(&team.ana, "keyring list", 0).await;
    assert_reads!("keyring-list", without_padding(&keyring.stdout));

    let admin = team.database.superuser().await;
    admin.batch_execute("UPDATE tidelock.environments SET live_secrets = 7 WHERE name = 'dev'").await.unwrap();
    reads("registry-check-finding", run(&team.ana, "registry check", 3).await);
}
