//! Change, follow, confirm, delete and restore, and what everybody sees of them.

use crate::snapshot::assert_reads;
use crate::stage::Team;

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_from_dev_to_production_by_equal_value_follow_and_confirm_ends_in_sync() {
    let team = Team::with_shop("chain").await;
    let said = team.set_as(&team.ana, "URL", "dev", "one").await.expect(0);
    assert_reads!("set-of-a-new-key", said.stderr);
    assert_eq!(team.states("URL").await, ["InSync", "Missing", "Missing"]);

    let said = team.set_as(&team.bob, "URL", "staging", "one").await.expect(0);
    assert_reads!("set-of-an-equal-value", said.stderr);
    team.follow_as(&team.ana, "URL", "production", "its own").await.expect(0);
    assert_eq!(team.states("URL").await, ["InSync"; 3]);

    let said = team.set_as(&team.bob, "URL", "dev", "two").await.expect(0);
    assert_reads!("set-of-a-change", said.stderr);
    assert_eq!(team.states("URL").await, ["InSync", "Stale", "Stale"]);
    team.run(&team.ana, &["status"]).await.expect(3);

    team.follow_as(&team.bob, "URL", "staging", "staging's two").await.expect(0);
    team.run(&team.ana, &["secret", "confirm", "URL", "-e", "production", "--reason", "its own"]).await.expect(0);
    assert_eq!(team.states("URL").await, ["InSync"; 3]);
    team.run(&team.ana, &["status"]).await.expect(0);
    assert_eq!(team.get_as(&team.ana, "URL", "production").await.expect(0).stdout, "its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_the_value_that_is_there_confirms_it_and_changes_nothing_else() {
    let team = Team::with_shop("confirm").await;
    team.set_as(&team.ana, "URL", "dev", "one").await.expect(0);
    team.follow_as(&team.ana, "URL", "staging", "own").await.expect(0);
    team.set_as(&team.ana, "URL", "dev", "two").await.expect(0);

    let said = team.set_as(&team.ana, "URL", "staging", "own").await.expect(0);
    assert_reads!("set-of-the-value-that-is-there", said.stderr);
    assert_eq!(team.states("URL").await, ["InSync", "InSync", "Missing"]);
    let listed = team.run(&team.ana, &["secret", "list", "-e", "staging", "-o", "json"]).await.expect(0).json();
    assert_eq!(listed[0]["version"], 1);

    let before = team.revision().await;
    let said = team.set_as(&team.ana, "URL", "staging", "own").await.expect(0);
    assert_reads!("set-of-nothing-new", said.stderr);
    assert_eq!(team.revision().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_where_there_is_nothing_to_follow_is_refused() {
    let team = Team::with_shop("nothing").await;
    team.follow_as(&team.ana, "URL", "dev", "one").await.expect(5);
    team.set_as(&team.ana, "URL", "dev", "one").await.expect(0);
    let said = team.follow_as(&team.ana, "URL", "dev", "two").await.expect(4);
    assert_reads!("follow-in-sync", said.stderr);
    assert_eq!(team.get_as(&team.ana, "URL", "dev").await.expect(0).stdout, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_is_missing_until_it_is_restored_or_exempt() {
    let team = Team::with_shop("deleted").await;
    team.set_as(&team.ana, "URL", "dev", "one").await.expect(0);
    team.follow_as(&team.ana, "URL", "staging", "two").await.expect(0);
    team.run(&team.ana, &["key", "exempt", "URL", "-e", "production", "--reason", "none there"]).await.expect(0);
    assert_eq!(team.states("URL").await, ["InSync", "InSync", "Exempt"]);

    let said = team.run(&team.bob, &["secret", "rm", "URL", "-e", "dev", "--reason", "why not"]).await.expect(0);
    assert_reads!("rm", said.stderr);
    assert_eq!(team.states("URL").await, ["Missing", "Stale", "Exempt"]);
    team.get_as(&team.ana, "URL", "dev").await.expect(5);
    team.run(&team.bob, &["secret", "rm", "URL", "-e", "dev"]).await.expect(5);

    team.run(&team.bob, &["secret", "restore", "URL", "-e", "dev"]).await.expect(0);
    assert_eq!(team.get_as(&team.ana, "URL", "dev").await.expect(0).stdout, "one");
    team.run(&team.bob, &["secret", "restore", "URL", "-e", "dev"]).await.expect(4);
    team.run(&team.bob, &["secret", "restore", "NEVER", "-e", "dev"]).await.expect(5);

    team.run(&team.ana, &["key", "exempt", "URL", "-e", "production", "--undo", "--reason", "comes"]).await.expect(0);
    assert_eq!(team.states("URL").await[2], "Missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_retired_leaves_every_environment() {
    let team = Team::with_shop("retired").await;
    team.set_as(&team.ana, "URL", "dev", "one").await.expect(0);
    team.follow_as(&team.ana, "URL", "production", "two").await.expect(0);
    team.run(&team.bob, &["key", "retire", "URL", "--reason", "unused"]).await.expect(4);
    team.run(&team.ana, &["key", "retire", "URL", "--reason", "unused"]).await.expect(0);
    team.get_as(&team.ana, "URL", "production").await.expect(5);
    team.run(&team.ana, &["status", "URL"]).await.expect(5);
    team.run(&team.ana, &["key", "define", "URL", "--description", "x", "--reason", "x"]).await.expect(5);
    let listed = team.run(&team.ana, &["key", "list", "--retired", "-o", "json"]).await.expect(0).json();
    assert!(listed[0]["retiredAt"].is_string(), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_independent_key_makes_nobody_stale() {
    let team = Team::with_shop("independent").await;
    team.set_as(&team.ana, "HOST", "dev", "one").await.expect(0);
    team.follow_as(&team.ana, "HOST", "staging", "two").await.expect(0);
    team.run(&team.ana, &["key", "exempt", "HOST", "-e", "production", "--reason", "none"]).await.expect(0);
    team.run(&team.ana, &["key", "define", "HOST", "--tracking", "independent", "--reason", "differs"]).await.expect(0);
    team.run(&team.ana, &["secret", "confirm", "HOST", "-e", "dev"]).await.expect(0);
    team.run(&team.ana, &["secret", "confirm", "HOST", "-e", "staging"]).await.expect(0);
    team.set_as(&team.ana, "HOST", "dev", "three").await.expect(0);
    assert_eq!(team.states("HOST").await, ["InSync", "InSync", "Exempt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_the_same_for_every_member_and_narrows_to_what_is_asked() {
    let team = Team::with_shop("status").await;
    team.set_as(&team.ana, "A", "production", "one").await.expect(0);
    team.set_as(&team.ana, "B", "dev", "one").await.expect(0);
    team.follow_as(&team.ana, "B", "staging", "two").await.expect(0);
    let seen = team.run(&team.ana, &["status", "-o", "json"]).await.expect(3).stdout;
    for other in [&team.bob, &team.vic, &team.operator] {
        assert_eq!(team.run(other, &["status", "-o", "json"]).await.expect(3).stdout, seen);
    }
    assert_eq!(team.run(&team.eve, &["status", "-o", "json"]).await.expect(5).stdout, "");
    team.run(&team.vic, &["status", "-e", "dev", "B"]).await.expect(0);
    team.run(&team.vic, &["status", "-e", "dev", "A"]).await.expect(3);
    team.run(&team.vic, &["status", "-e", "nowhere"]).await.expect(5);
    team.run(&team.vic, &["status", "NOWHERE"]).await.expect(5);
    assert_reads!("status-of-two-keys", team.run(&team.vic, &["status"]).await.expect(3).stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_compares_hashes_and_opens_nothing() {
    let team = Team::with_shop("diff").await;
    team.set_as(&team.ana, "SAME", "dev", "one").await.expect(0);
    team.set_as(&team.ana, "SAME", "staging", "one").await.expect(0);
    team.run(&team.ana, &["diff", "dev", "staging"]).await.expect(0);
    team.set_as(&team.ana, "OTHER", "dev", "one").await.expect(0);
    team.set_as(&team.ana, "OTHER", "staging", "two").await.expect(0);
    team.set_as(&team.ana, "ONLY", "staging", "two").await.expect(0);
    std::fs::remove_file(team.keyring()).unwrap();
    let said = team.run(&team.bob, &["diff", "dev", "staging", "-o", "json"]).await.expect(3).json();
    assert_eq!(
        said,
        serde_json::json!([
            {"key": "ONLY", "difference": "onlyRight"},
            {"key": "OTHER", "difference": "different"},
        ])
    );
    let said = team.run(&team.bob, &["diff", "dev", "production"]).await.expect(4);
    assert_reads!("diff-with-production-refused", said.stderr);
}
