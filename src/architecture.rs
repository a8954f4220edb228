//! Which room may look into which, held against the code: `docs/architecture.md` says why.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder or file below `src/`, and what of this crate it may name.
const ROOMS: &[(&str, &[&str])] = &[
    ("core", &["core"]),
    ("crypto", &["core", "crypto"]),
    ("registry", &["core", "crypto", "registry"]),
    ("api", &["api", "core"]),
    // What a value becomes before it is written: pure.
    ("shape", &["api", "core", "shape"]),
    ("telemetry", &["core", "telemetry"]),
    ("server.rs", &["telemetry"]),
    ("controller", &["api", "controller", "core", "crypto", "registry", "server", "shape", "telemetry"]),
    // Could be a crate: nothing of secrets, sources or conditions.
    ("controller/runtime", &["server", "telemetry"]),
    // Reads through `sources`, which alone knows where values come from.
    ("controller/secret_binding", &["api", "controller", "core", "crypto", "shape", "telemetry"]),
];

/// The only files of a binding that reach the API server.
const WITH_A_CLIENT: [&str; 4] = ["observe.rs", "apply.rs", "restart.rs", "report.rs"];

fn files_of(room: &Path) -> Vec<PathBuf> {
    if room.is_file() {
        return vec![room.to_owned()];
    }
    let entries = fs::read_dir(room).unwrap_or_else(|why| panic!("{}: {why}", room.display()));
    entries.flat_map(|entry| files_of(&entry.expect("an entry").path())).collect()
}

/// The code of a file without its tests, which may use whatever helps them.
fn code(file: &Path) -> String {
    let text = fs::read_to_string(file).unwrap_or_else(|why| panic!("{}: {why}", file.display()));
    text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned()
}

fn is_test(file: &Path) -> bool {
    let names = ["tests", "fixtures", "fake_registry", "simulated_cluster", "vectors"];
    let mut parts = file.components().filter_map(|part| Path::new(part.as_os_str()).file_stem());
    parts.any(|part| names.iter().any(|name| part == *name)) || file.ends_with("plan_tests.rs")
}

/// The rooms that a text names as `crate::<room>`.
fn named(text: &str) -> Vec<&str> {
    let is_name = |letter: char| letter.is_ascii_lowercase() || letter == '_';
    text.split("crate::").skip(1).map(|rest| rest.split(|letter| !is_name(letter)).next().unwrap_or_default()).collect()
}

#[test]
fn every_room_looks_only_where_it_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for (room, allowed) in ROOMS {
        let files = files_of(&src.join(room));
        assert!(!files.is_empty(), "{room}");
        for file in files.iter().filter(|file| !is_test(file)) {
            for name in named(&code(file)) {
                assert!(allowed.contains(&name), "{} looks into {name}", file.display());
            }
        }
    }
}

#[test]
fn what_decides_about_a_binding_has_no_client_and_waits_for_nothing() {
    let room = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/controller/secret_binding");
    for file in files_of(&room).iter().filter(|file| !is_test(file)) {
        let inner = file.strip_prefix(&room).expect("below the room");
        let text = code(file);
        let has_a_client = ["Client", "Api<", "Api::"].iter().any(|name| text.contains(name));
        let may = WITH_A_CLIENT.iter().any(|name| inner == Path::new(name));
        assert!(may || !has_a_client, "{} has a client", file.display());
        assert!(!inner.starts_with("plan") || !text.contains(".await"), "{} waits", file.display());
    }
}
