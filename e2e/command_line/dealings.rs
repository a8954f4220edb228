//! Change, follow, confirm, delete and restore, and what everybody sees of them.

use super::team::Team;

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_from_dev_to_production_by_equal_value_follow_and_confirm_ends_in_sync() {
    let team = Team::at_work("chain").await;
    let said = team.set(&team.ana, "URL", "dev", "one").done();
    assert!(said.err.contains("created URL in dev"), "{}", said.err);
    assert!(said.err.contains("staging and production are now behind for URL"), "{}", said.err);
    assert_eq!(team.states("URL"), ["InSync", "Missing", "Missing"]);

    let said = team.set(&team.ben, "URL", "staging", "one").done();
    assert!(said.err.contains("followed with URL in staging"), "an equal value only catches up: {}", said.err);
    team.follow(&team.ana, "URL", "production", "its own").done();
    assert_eq!(team.states("URL"), ["InSync"; 3]);

    let said = team.set(&team.ben, "URL", "dev", "two").done();
    assert!(said.err.contains("tidelock secret set URL -p shop -e staging --follow"), "{}", said.err);
    assert!(said.err.contains("tidelock secret confirm URL -p shop -e staging"), "{}", said.err);
    assert!(said.err.contains("and the same with -e production"), "{}", said.err);
    assert_eq!(team.states("URL"), ["InSync", "Stale", "Stale"]);
    team.run(&team.ana, &["status"]).with(3);

    team.follow(&team.ben, "URL", "staging", "staging's two").done();
    team.run(&team.ana, &["secret", "confirm", "URL", "-e", "production", "--reason", "its own"]).done();
    assert_eq!(team.states("URL"), ["InSync"; 3]);
    team.run(&team.ana, &["status"]).done();
    assert_eq!(team.get(&team.ana, "URL", "production").done().out, "its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn writing_the_value_that_is_there_confirms_it_and_changes_nothing_else() {
    let team = Team::at_work("confirm").await;
    team.set(&team.ana, "URL", "dev", "one").done();
    team.follow(&team.ana, "URL", "staging", "own").done();
    team.set(&team.ana, "URL", "dev", "two").done();

    let said = team.set(&team.ana, "URL", "staging", "own").done();
    assert!(said.err.contains("confirmed URL in staging"), "{}", said.err);
    assert_eq!(team.states("URL"), ["InSync", "InSync", "Missing"]);
    let listed = team.run(&team.ana, &["secret", "list", "-e", "staging", "-o", "json"]).done().json();
    assert_eq!(listed[0]["version"], 1);

    let before = team.revision();
    let said = team.set(&team.ana, "URL", "staging", "own").done();
    assert!(said.err.contains("nothing was written"), "{}", said.err);
    assert_eq!(team.revision(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_where_there_is_nothing_to_follow_is_refused() {
    let team = Team::at_work("nothing").await;
    team.follow(&team.ana, "URL", "dev", "one").with(5);
    team.set(&team.ana, "URL", "dev", "one").done();
    let said = team.follow(&team.ana, "URL", "dev", "two").with(4);
    assert!(said.err.contains("URL is in sync here"), "{}", said.err);
    assert_eq!(team.get(&team.ana, "URL", "dev").done().out, "one");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_deleted_is_missing_until_it_is_restored_or_exempt() {
    let team = Team::at_work("deleted").await;
    team.set(&team.ana, "URL", "dev", "one").done();
    team.follow(&team.ana, "URL", "staging", "two").done();
    team.run(&team.ana, &["key", "exempt", "URL", "-e", "production", "--reason", "none there"]).done();
    assert_eq!(team.states("URL"), ["InSync", "InSync", "Exempt"]);

    let said = team.run(&team.ben, &["secret", "rm", "URL", "-e", "dev", "--reason", "why not"]).done();
    assert!(said.err.contains("tidelock secret restore URL -p shop -e dev"), "{}", said.err);
    assert_eq!(team.states("URL"), ["Missing", "Stale", "Exempt"]);
    team.get(&team.ana, "URL", "dev").with(5);
    team.run(&team.ben, &["secret", "rm", "URL", "-e", "dev"]).with(5);

    team.run(&team.ben, &["secret", "restore", "URL", "-e", "dev"]).done();
    assert_eq!(team.get(&team.ana, "URL", "dev").done().out, "one");
    team.run(&team.ben, &["secret", "restore", "URL", "-e", "dev"]).with(4);
    team.run(&team.ben, &["secret", "restore", "NEVER", "-e", "dev"]).with(5);

    team.run(&team.ana, &["key", "exempt", "URL", "-e", "production", "--undo", "--reason", "comes"]).done();
    assert_eq!(team.states("URL")[2], "Missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_retired_leaves_every_environment() {
    let team = Team::at_work("retired").await;
    team.set(&team.ana, "URL", "dev", "one").done();
    team.follow(&team.ana, "URL", "production", "two").done();
    team.run(&team.ben, &["key", "retire", "URL", "--reason", "unused"]).with(4);
    team.run(&team.ana, &["key", "retire", "URL", "--reason", "unused"]).done();
    team.get(&team.ana, "URL", "production").with(5);
    team.run(&team.ana, &["status", "URL"]).with(5);
    team.run(&team.ana, &["key", "define", "URL", "--description", "x", "--reason", "x"]).with(5);
    let listed = team.run(&team.ana, &["key", "list", "--retired", "-o", "json"]).done().json();
    assert!(listed[0]["retiredAt"].is_string(), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_independent_key_makes_nobody_stale() {
    let team = Team::at_work("independent").await;
    team.set(&team.ana, "HOST", "dev", "one").done();
    team.follow(&team.ana, "HOST", "staging", "two").done();
    team.run(&team.ana, &["key", "exempt", "HOST", "-e", "production", "--reason", "none"]).done();
    team.run(&team.ana, &["key", "define", "HOST", "--tracking", "independent", "--reason", "differs"]).done();
    team.run(&team.ana, &["secret", "confirm", "HOST", "-e", "dev"]).done();
    team.run(&team.ana, &["secret", "confirm", "HOST", "-e", "staging"]).done();
    team.set(&team.ana, "HOST", "dev", "three").done();
    assert_eq!(team.states("HOST"), ["InSync", "InSync", "Exempt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_the_same_for_every_member_and_narrows_to_what_is_asked() {
    let team = Team::at_work("status").await;
    team.set(&team.ana, "A", "production", "one").done();
    team.set(&team.ana, "B", "dev", "one").done();
    team.follow(&team.ana, "B", "staging", "two").done();
    let seen = team.run(&team.ana, &["status", "-o", "json"]).with(3).out;
    for other in [&team.ben, &team.vic] {
        assert_eq!(team.run(other, &["status", "-o", "json"]).with(3).out, seen);
    }
    team.run(&team.vic, &["status", "-e", "dev", "B"]).done();
    team.run(&team.vic, &["status", "-e", "dev", "A"]).with(3);
    team.run(&team.vic, &["status", "-e", "nowhere"]).with(5);
    team.run(&team.vic, &["status", "NOWHERE"]).with(5);
    let table = team.run(&team.vic, &["status"]).with(3).out;
    assert_eq!(
        table.lines().next().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["KEY", "dev", "staging", "production"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diff_compares_hashes_and_opens_nothing() {
    let team = Team::at_work("diff").await;
    team.set(&team.ana, "SAME", "dev", "one").done();
    team.set(&team.ana, "SAME", "staging", "one").done();
    team.run(&team.ana, &["diff", "dev", "staging"]).done();
    team.set(&team.ana, "OTHER", "dev", "one").done();
    team.set(&team.ana, "OTHER", "staging", "two").done();
    team.set(&team.ana, "ONLY", "staging", "two").done();
    std::fs::remove_file(team.keyring()).unwrap();
    let said = team.run(&team.ben, &["diff", "dev", "staging", "-o", "json"]).with(3).json();
    assert_eq!(
        said,
        serde_json::json!([
            {"key": "ONLY", "difference": "onlyRight"},
            {"key": "OTHER", "difference": "different"},
        ])
    );
    let said = team.run(&team.ben, &["diff", "dev", "production"]).with(4);
    assert!(said.err.contains("you may not read secrets of production"), "{}", said.err);
}
