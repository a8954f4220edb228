//! The files of `e2e/dotenv/corpus`, in the forms that people have, beside what other programs read in them.
//!
//! What these programs read was written down by themselves (`make dotenv-readings`), so that the test runs where they are not
//! installed; `e2e/dotenv.rs` asks those that are there again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::parse;

/// By key; without a value where the file names a key and gives it none.
type Reading = BTreeMap<String, Option<String>>;

#[derive(Deserialize)]
struct Readings {
    program: String,
    /// By file; nothing for one that was refused.
    readings: BTreeMap<String, Option<Reading>>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/dotenv")
}

fn of_others() -> Vec<Readings> {
    ["python-dotenv", "npm-dotenv", "node", "kubectl"]
        .map(|program| {
            let file = folder().join("readings").join(format!("{program}.json"));
            let text = std::fs::read_to_string(&file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
            serde_json::from_str(&text).unwrap()
        })
        .into()
}

fn files() -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(folder().join("corpus"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap()))
        .collect()
}

/// What is wrong with how a file is read, where something is: a value that fewer than two others read, or a key that two others
/// have and this reading lacks.
fn disagreement(ours: &BTreeMap<String, String>, others: &[&Reading]) -> Option<String> {
    let having = |key: &str, value: &str| {
        others.iter().filter(|other| other.get(key).is_some_and(|found| found.as_deref() == Some(value))).count()
    };
    for (key, value) in ours {
        if having(key, value) < 2 {
            return Some(format!(
                "{key} is {value:?} here, and others have {:?}",
                others.iter().map(|other| other.get(key)).collect::<Vec<_>>()
            ));
        }
    }
    let keys: BTreeSet<&String> = others.iter().flat_map(|other| other.keys()).collect();
    let lacking = keys
        .into_iter()
        .find(|key| !ours.contains_key(*key) && others.iter().filter(|other| other.contains_key(*key)).count() >= 2);
    lacking.map(|key| format!("{key} is read by others and is missing here"))
}

#[test]
fn each_form_is_read_as_two_other_programs_read_it_or_refused_by_its_line() {
    let (files, others) = (files(), of_others());
    assert!(files.len() >= 120, "there are just {} files", files.len());
    let (mut read, mut wrong) = (0, Vec::new());
    for (name, text) in &files {
        let theirs: Vec<&Reading> = others
            .iter()
            .map(|other| {
                other.readings.get(name).unwrap_or_else(|| {
                    panic!("{name} is not in the readings of {}: make dotenv-readings", other.program)
                })
            })
            .filter_map(Option::as_ref)
            .collect();
        match parse(text, &BTreeSet::new()) {
            Ok(found) => {
                read += 1;
                let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let ours = found.iter().map(|one| (one.key.to_string(), text_of(one.value.expose()))).collect();
                wrong.extend(disagreement(&ours, &theirs).map(|why| format!("{name}: {why}")));
            }
            Err(why) => {
                let line = why.line;
                let lines = text.split(|byte| *byte == b'\n').count();
                assert!(why.to_string().starts_with("line ") && (1..=lines).contains(&line), "{name}: {why}");
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(read >= 100, "{read} of {} files are read: most of what people have is", files.len());
    for other in others {
        assert_eq!(
            other.readings.len(),
            files.len(),
            "{} has read files that are not there: make dotenv-readings",
            other.program
        );
    }
}

#[test]
fn a_disagreement_is_found() {
    let reading = |value: &str| Reading::from([("A".to_owned(), Some(value.to_owned()))]);
    let (x, y) = (reading("x"), reading("y"));
    let ours = |value: &str| BTreeMap::from([("A".to_owned(), value.to_owned())]);
    assert_eq!(disagreement(&ours("x"), &[&x, &x, &y]), None);
    assert!(disagreement(&ours("y"), &[&x, &x, &y]).is_some());
    assert!(disagreement(&BTreeMap::new(), &[&x, &y]).is_some());
    assert_eq!(disagreement(&BTreeMap::new(), &[&x]), None);
}
