//! Keeps `docs/glossary.md` honest: it has no word that the code does not use, and each word once.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The entries, in the order in which they stand: `- **word**: ...`.
fn entries() -> Vec<(&'static str, &'static str)> {
    let lines = include_str!("../docs/glossary.md").lines();
    let items = lines.filter_map(|line| line.strip_prefix("- "));
    items
        .map(|item| {
            let entry = item.strip_prefix("**").and_then(|rest| rest.split_once("**: "));
            entry.unwrap_or_else(|| panic!("not `**word**: meaning`: {item}"))
        })
        .collect()
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for entry in entries {
        let path = entry.expect("an entry of a folder").path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| ["rs", "sql", "yaml"].iter().any(|known| extension == *known))
        {
            found.push(path);
        }
    }
}

/// The words of a text in order, in lower case and between single spaces. Names are taken apart: `ReadLevel` and
/// `read_level` are two words each.
fn words(text: &str) -> String {
    let mut words = String::from(" ");
    let mut before = ' ';
    for letter in text.chars() {
        let starts_word = !letter.is_alphanumeric() || (letter.is_uppercase() && before.is_lowercase());
        if starts_word && !words.ends_with(' ') {
            words.push(' ');
        }
        if letter.is_alphanumeric() {
            words.extend(letter.to_lowercase());
        }
        before = letter;
    }
    words.push(' ');
    words
}

#[test]
fn every_entry_occurs_in_the_code() {
    let mut files = Vec::new();
    for folder in ["src", "migrations", "crds"] {
        files_below(&root().join(folder), &mut files);
    }
    files.retain(|path| !path.ends_with(file!()));
    let code: Vec<String> =
        files.iter().map(|path| words(&fs::read_to_string(path).unwrap_or_else(|error| panic!("{error}")))).collect();
    let occurs = |entry: &str| {
        let entry = words(entry);
        code.iter().any(|code| code.contains(&entry))
    };
    let unused: Vec<_> = entries().into_iter().map(|(entry, _)| entry).filter(|entry| !occurs(entry)).collect();
    assert!(unused.is_empty(), "in docs/glossary.md and nowhere in src/, migrations/ or crds/: {unused:?}");
}

#[test]
fn entries_stand_once_and_in_order() {
    let entries: Vec<_> = entries().into_iter().map(|(entry, _)| entry).collect();
    let sorted: BTreeSet<_> = entries.iter().copied().collect();
    assert!(entries.iter().eq(&sorted), "not in order, or not once: {entries:?}");
}

#[test]
fn every_entry_says_where_it_lives() {
    for (entry, meaning) in entries() {
        let (_, link) = meaning.rsplit_once("](").unwrap_or_else(|| panic!("{entry} links to nothing"));
        let path = link.trim_end_matches(')').split('#').next().expect("a path");
        assert!(root().join("docs").join(path).exists(), "{entry} lives in {path}, which does not exist");
    }
}
