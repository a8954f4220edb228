//! Many secrets at once.

use std::fmt::Write as _;

use super::team::Team;

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_ten_thousand_keys_is_one_revision() {
    let team = Team::at_work("import").await;
    let mut file = String::new();
    for number in 0..10_000 {
        writeln!(file, "KEY_{number}='value {number}'").unwrap();
    }
    let import = |arguments: &[&str], file: &str| {
        team.run_with(&team.ana, &[&["import", "-o", "json"], arguments].concat(), file.as_bytes()).done()
    };
    let before = team.revision();
    let said = import(&["-e", "dev"], &file);
    assert_eq!(said.json()["created"], 10_000);
    assert!(said.err.contains("staging is now behind for 10000 keys: KEY_0, "), "{}", said.err);
    assert_eq!(team.revision(), before + 1);

    let dry = import(&["-e", "staging", "--dry-run"], &file).json();
    assert_eq!((&dry["followed"], &dry["dryRun"]), (&10_000.into(), &true.into()));
    assert_eq!(team.revision(), before + 1, "a dry run leaves nothing behind");

    let file = file.replacen("'value 1'", "'another'", 1) + "NEW=1\n";
    let said = import(&["-e", "dev"], &file).json();
    let counts =
        ["created", "changed", "followed", "confirmed", "unchanged"].map(|count| said[count].as_i64().unwrap());
    assert_eq!(counts, [1, 1, 0, 0, 9999]);
    assert_eq!(team.revision(), before + 2);
    assert_eq!(team.get(&team.ana, "KEY_1", "dev").done().out, "another");
    assert_eq!(team.get(&team.ana, "KEY_9999", "dev").done().out, "value 9999");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_follows_makes_nobody_stale() {
    let team = Team::at_work("import_follow").await;
    team.run_with(&team.ana, &["import", "-e", "dev"], b"A=1\nB=2\n").done();
    team.run_with(&team.ana, &["import", "-", "-e", "staging", "--follow"], b"A=own\nB=2\n").done();
    assert_eq!(team.states("A"), ["InSync", "InSync", "Missing"]);
    let said = team.run_with(&team.ana, &["import", "-e", "staging", "--follow"], b"A=other\nB=2\n").with(4);
    assert!(said.err.contains("A is in sync here"), "{}", said.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_wrong_somewhere_changes_nothing() {
    let team = Team::at_work("import_wrong").await;
    let before = team.revision();
    let said = team.run_with(&team.ana, &["import", "-e", "dev"], b"A=1\nhunter2\n").with(2);
    assert!(said.err.contains("standard input, line 2: ") && !said.err.contains("hunter2"), "{}", said.err);
    assert_eq!(team.revision(), before);
    let said = team.run_with(&team.ana, &["import", "-e", "dev"], b"A=pa$HOME\n").done();
    assert!(said.err.contains("would expand the $ in it: A"), "{}", said.err);
    assert_eq!(team.get(&team.ana, "A", "dev").done().out, "pa$HOME");
}
