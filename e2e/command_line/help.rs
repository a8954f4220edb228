//! The text of `--help`, of every verb.

use std::collections::BTreeSet;
use std::process::Command;

use crate::snapshot::assert_reads;
use crate::stage::program;

/// What the program prints to `--help` on a terminal of a hundred columns, with none of its variables set.
fn help(verb: &[&str]) -> String {
    let output = Command::new(program()).args(verb).arg("--help").env_clear().env("COLUMNS", "100").output().unwrap();
    assert!(output.status.success(), "{verb:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The lines of a section, from its title to the next empty line.
fn section(help: &str, title: &str) -> String {
    let lines = help.lines().skip_while(|line| *line != title).take_while(|line| !line.is_empty());
    lines.flat_map(|line| [line, "\n"]).collect()
}

/// The names in the list of commands: continued lines are indented further.
fn subcommands(help: &str) -> Vec<String> {
    let section = section(help, "Commands:");
    let names = section.lines().filter_map(|line| line.strip_prefix("  ")).filter(|line| !line.starts_with(' '));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The help of a verb and of those under it, each under its command line.
fn help_of_all(verb: &[&str], common: &str) -> String {
    let said = help(verb);
    let mut text = format!("$ tidelock {} --help\n{}\n", verb.join(" "), said.replace(common, "Common options: ...\n"));
    for name in subcommands(&said) {
        text += &help_of_all(&[verb, &[&name]].concat(), common);
    }
    text
}

#[test]
fn every_verb_has_its_help() {
    let top = help(&[]);
    let common = section(&top, "Common options:");
    assert_reads!("help", top);
    let verbs = subcommands(&top);
    assert!(verbs.len() > 10, "{verbs:?}");
    for verb in verbs {
        assert_reads!(format!("help-{verb}"), help_of_all(&[&verb], &common));
    }
}

/// Templates and CI systems set variables to nothing where nothing was meant.
#[test]
fn each_variable_of_ours_that_is_empty_is_as_one_that_is_not_there() {
    let top = help(&[]);
    let common = section(&top, "Common options:");
    let verbs: String = subcommands(&top).iter().map(|verb| help_of_all(&[verb], &common)).collect();
    // Lines are broken where they are full.
    let texts = (top + &verbs).split_whitespace().collect::<Vec<_>>().join(" ");
    let variables: BTreeSet<&str> = texts
        .split("[env: ")
        .skip(1)
        .filter_map(|text| text.split(|c: char| !(c.is_ascii_uppercase() || c == '_')).next())
        .collect();
    assert!(variables.len() > 10 && variables.iter().all(|name| name.starts_with("TIDELOCK_")), "{variables:?}");
    let home = tempfile::tempdir().unwrap();
    for verb in [
        &["status"][..],
        &["status", "--database-url", "postgresql://ana@127.0.0.1:1/x"],
        &["secret", "list", "--database-url", "postgresql://ana@127.0.0.1:1/x"],
        &["keyring", "list"],
        &["controller"],
        &["registry", "backup", "file", "--database-url", "postgresql://ana@127.0.0.1:1/x"],
    ] {
        let [without, with] = [false, true].map(|set| {
            let mut command = Command::new(program());
            command.args(verb).env_clear().env("HOME", home.path()).current_dir(home.path());
            if set {
                command.envs(variables.iter().map(|name| (name, "")));
            }
            command.output().unwrap()
        });
        assert_eq!(without.status, with.status, "{verb:?}");
        let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said(&without), said(&with), "{verb:?}");
    }
}
