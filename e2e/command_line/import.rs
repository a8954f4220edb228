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

/// What people really have in files, each beside lines that are right.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_name_is_refused_by_its_line_and_nowhere_afterwards() {
    let team = Team::with_shop("import-names").await;
    let before = team.dump().await;
    let mut heard = String::new();
    for line in [
        "DATABASE_URL: postgres://u:hunter2@h/d?sslmode=require",
        "\u{feff}A=hunter2",
        "; A=hunter2",
        "\"A\"=hunter2",
        "set A=hunter2",
        "my-hunter2=x",
        "hunter2/+abc==",
        "A=`hunter2`",
        "A=\u{201c}hunter2\u{201d}",
        "A=hunter2 \\",
        "A=\"hunter2\\t\"",
        "A=hunter2#x ",
    ] {
        let said =
            team.run_with(&team.ana, &["import", "-e", "dev"], format!("B=1\n{line}\n").as_bytes()).await.expect(2);
        assert!(said.stderr.contains("line 2: ") && !said.stderr.contains("hunter2"), "{}", said.stderr);
        heard += &said.stderr;
    }
    assert_reads!("import-of-other-forms", heard);
    assert_eq!(team.dump().await, before);
    let log = String::from_utf8_lossy(&std::fs::read(team.database.postgres().statement_log()).unwrap()).into_owned();
    assert!(!log.contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_shell_can_have_is_taken_where_it_is_named() {
    let team = Team::with_shop("import-allowed").await;
    let file = b"tls.crt=one\nit's mine = two\nA=3\n";
    let allowed = ["import", "-e", "dev", "--allow-name", "tls.crt", "--allow-name", "it's mine"];
    team.run_with(&team.ana, &allowed[..5], file).await.expect(2);
    let said = team.run_with(&team.ana, &allowed, file).await.expect(0);
    assert_reads!("import-of-odd-names", said.stderr);
    let get = ["secret", "get", "it's mine", "-e", "dev", "--allow-name", "it's mine"];
    assert_eq!(team.run(&team.ana, &get).await.expect(0).stdout, "two");
    // Again, in another environment, by another person, and after it was retired.
    let set = ["secret", "set", "it's mine", "--allow-name", "it's mine", "-e"];
    team.run_with(&team.bob, &[&set[..], &["staging"]].concat(), b"three").await.expect(0);
    team.run(&team.ana, &["key", "retire", "it's mine", "--allow-name", "it's mine", "--reason", "x"]).await.expect(0);
    team.run_with(&team.bob, &[&set[..], &["staging"]].concat(), b"four").await.expect(0);
    assert_eq!(team.states("it's mine").await, ["Missing", "InSync", "Missing"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_comment_takes_from_a_value_is_told() {
    let team = Team::with_shop("import-comments").await;
    let file = b"A=one # two\r\nB= # not yet\r\nC=#Rainy\r\nD='x' # quoted\r\nE=\r\nF=\"1\r\n2\"\r\n";
    let said = team.run_with(&team.ana, &["import", "-e", "dev"], file).await.expect(0);
    assert_reads!("import-of-comments", said.stderr);
    for (key, value) in [("A", "one"), ("B", ""), ("C", "#Rainy"), ("D", "x"), ("E", ""), ("F", "1\n2")] {
        assert_eq!(team.get_as(&team.ana, key, "dev").await.expect(0).stdout, value, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_imported_from_nothing() {
    let team = Team::with_shop("import-nothing").await;
    std::fs::write(team.home().join("empty.env"), "\n").unwrap();
    let mut heard = String::new();
    for (arguments, input) in [
        (&["import", "-e", "dev"][..], ""),
        (&["import", "-e", "dev"], "# later\n"),
        (&["import", "empty.env", "-e", "dev"], ""),
    ] {
        heard += &team.run_with(&team.ana, arguments, input.as_bytes()).await.expect(2).stderr;
    }
    assert_reads!("import-of-nothing", heard);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_gives_way_to_an_empty_one_only_where_that_is_said() {
    let team = Team::with_shop("import-empty").await;
    team.run_with(&team.ana, &["import", "-e", "dev"], b"A=1\nB=2\nC=\n").await.expect(0);
    let before = team.revision().await;
    let file = b"A=\nB= # off\nC=\nD=\nE=5\n";
    for dry in [&[][..], &["--dry-run"]] {
        let said = team.run_with(&team.ana, &[&["import", "-e", "dev"], dry].concat(), file).await.expect(4);
        assert_reads!("import-that-would-empty", said.stderr);
    }
    assert_eq!(team.revision().await, before);
    let said = team.run_with(&team.ana, &["import", "-e", "dev", "--allow-empty"], file).await.expect(0);
    assert_reads!("import-that-empties", said.stderr);
    assert_eq!(team.get_as(&team.ana, "A", "dev").await.expect(0).stdout, "");
    // A value that only catches up is no exception.
    team.run_with(&team.ana, &["import", "-e", "staging"], b"A=own\n").await.expect(0);
    team.run_with(&team.ana, &["import", "-e", "dev", "--follow"], b"A=other\n").await.expect(0);
    team.run_with(&team.ana, &["import", "-e", "dev", "--follow"], b"A=\n").await.expect(4);
}
