//! Many secrets at once.

use std::fmt::Write as _;

use crate::snapshot::assert_reads;
use crate::stage::Team;

#[tokio::test(flavor = "multi_thread")]
async fn an_import_of_ten_thousand_keys_is_one_revision() {
    let team = Team::with_shop("import").await;
    let mut file = String::new();
    for number in 0..10_000 {
        writeln!(file, "KEY_{number}='value {number}'").unwrap();
    }
    let import = async |arguments: &[&str], file: &str| {
        team.run_with(&team.ana, &[&["import", "-o", "json"], arguments].concat(), file.as_bytes()).await.expect(0)
    };
    let before = team.revision().await;
    let said = import(&["-e", "dev"], &file).await;
    assert_eq!(said.json()["created"], 10_000);
    assert_reads!("import-of-many", said.stderr);
    assert_eq!(team.revision().await, before + 1);

    let dry = import(&["-e", "staging", "--dry-run"], &file).await.json();
    assert_eq!((&dry["followed"], &dry["dryRun"]), (&10_000.into(), &true.into()));
    assert_eq!(team.revision().await, before + 1, "a dry run leaves nothing behind");

    let file = file.replacen("'value 1'", "'another'", 1) + "NEW=1\n";
    let said = import(&["-e", "dev"], &file).await.json();
    let counts =
        ["created", "changed", "followed", "confirmed", "unchanged"].map(|count| said[count].as_i64().unwrap());
    assert_eq!(counts, [1, 1, 0, 0, 9999]);
    assert_eq!(team.revision().await, before + 2);
    assert_eq!(team.get_as(&team.ana, "KEY_1", "dev").await.expect(0).stdout, "another");
    assert_eq!(team.get_as(&team.ana, "KEY_9999", "dev").await.expect(0).stdout, "value 9999");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_follows_makes_nobody_stale() {
    let team = Team::with_shop("import_follow").await;
    team.run_with(&team.ana, &["import", "-e", "dev"], b"A=1\nB=2\n").await.expect(0);
    team.run_with(&team.ana, &["import", "-", "-e", "staging", "--follow"], b"A=own\nB=2\n").await.expect(0);
    assert_eq!(team.states("A").await, ["InSync", "InSync", "Missing"]);
    let said = team.run_with(&team.ana, &["import", "-e", "staging", "--follow"], b"A=other\nB=2\n").await.expect(4);
    assert_reads!("follow-in-sync-import", said.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_wrong_somewhere_changes_nothing() {
    let team = Team::with_shop("import_wrong").await;
    let before = team.revision().await;
    let said = team.run_with(&team.ana, &["import", "-e", "dev"], b"A=1\nhunter2\n").await.expect(2);
    assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    assert_reads!("import-of-a-wrong-line", said.stderr);
    assert_eq!(team.revision().await, before);
    let said = team.run_with(&team.ana, &["import", "-e", "dev"], b"A=pa$HOME\n").await.expect(0);
    assert_reads!("import-of-a-dollar", said.stderr);
    assert_eq!(team.get_as(&team.ana, "A", "dev").await.expect(0).stdout, "pa$HOME");
}
