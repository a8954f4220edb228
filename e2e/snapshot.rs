//! What people read, compared with what was read before: the files in the `snapshots` folder beside a test.
//!
//! A test whose snapshot differs fails and shows the difference. `INSTA_UPDATE=always` writes the files instead; whoever
//! commits them has read them.

/// Compares a text with the snapshot of that name. What differs from run to run (ids, times, the number in a test's
/// names, ports, folders) has a word in its place.
///
/// Values in such a test have `canary` in them: one that got into a text fails the test, whatever the snapshot says.
macro_rules! assert_reads {
    ($name:expr, $text:expr) => {{
        let text: &str = &$text;
        let name: String = $name.into();
        $crate::snapshot::assert_without_values(&name, text);
        $crate::snapshot::settings().bind(|| insta::assert_snapshot!(name, text));
    }};
}
pub(crate) use assert_reads;

pub(crate) fn settings() -> insta::Settings {
    let mut settings = insta::Settings::new();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.set_snapshot_path("snapshots");
    for (varies, word) in [
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "[id]"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "[time]"),
        (r"\bt\d+([_-])", "t1$1"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:[port]"),
        (r"\btidelock \d+\.\d+\.\d+", "tidelock [version]"),
    ] {
        settings.add_filter(varies, word);
    }
    let folder = std::env::temp_dir();
    settings.add_filter(&format!(r"{}/\.tmp\w+", regex::escape(&folder.to_string_lossy())), "[home]");
    settings
}

/// The forms in which a value, its hash or its ciphertext would stand in a text.
pub(crate) fn assert_without_values(name: &str, text: &str) {
    for form in ["canary", &hex::encode("canary"), "Y2FuYXJ5", "NhbmFye", "jYW5hcn", "h1:", "t1:"] {
        assert!(!text.contains(form), "{name} shows a value or what was made of one ({form}): {text}");
    }
}

/// Takes out the padding of columns that are as wide as what differs from run to run.
pub(crate) fn without_padding(table: &str) -> String {
    let lines = table.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()));
    lines.map(|cells| cells.collect::<Vec<_>>().join("  ") + "\n").collect()
}
