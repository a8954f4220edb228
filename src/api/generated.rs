//! Files that are generated from the code and checked in: the test that compares is the tool that writes.

use std::path::Path;

/// Compares a checked-in file with what the code says, or writes it where `UPDATE_GENERATED` is set.
///
/// # Panics
/// Where the two differ, or the file cannot be read or written.
pub(crate) fn check(path: &str, content: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        let folder = file.parent().expect("a file has a folder");
        std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("cannot make {}: {error}", folder.display()));
        std::fs::write(&file, content).unwrap_or_else(|error| panic!("cannot write {path}: {error}"));
    }
    let found = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("cannot read {path}: {error}"));
    assert!(found == content, "{path} is not what the code says: `make crds` writes it anew");
}
