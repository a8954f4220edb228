//! What other programs read in dotenv files: whether it is still what was written down of them.

use std::process::Command;

use serde_json::Value;

/// The test of the parser compares with what is written down (`src/cli/dotenv/tests/forms.rs`); here the programs that this machine
/// has say it again.
#[test]
fn what_is_written_down_of_other_programs_is_what_they_read() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e");
    let fresh = tempfile::tempdir().unwrap();
    let done = Command::new(folder.join("tools/dotenv-readings")).arg(fresh.path()).status().unwrap();
    assert!(done.success(), "e2e/tools/dotenv-readings: {done}");
    let read = |path: &std::path::Path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    for file in ["python-dotenv.json", "npm-dotenv.json", "node.json", "kubectl.json"] {
        if !fresh.path().join(file).exists() {
            continue;
        }
        let [now, then] = [fresh.path().join(file), folder.join("dotenv/readings").join(file)].map(|path| read(&path));
        if now["program"] == then["program"] {
            assert_eq!(now, then, "{file}: make dotenv-readings, and read the difference");
        } else {
            eprintln!("NOT TESTED: {} is here, and what is written down is of {}", now["program"], then["program"]);
        }
    }
}
