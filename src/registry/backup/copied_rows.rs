//! How many rows a dump has of each table, counted in the text that `pg_restore` makes of it.

use std::collections::BTreeMap;

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

/// Reads a script to its end. The tables are as it spells them, as SQL does.
///
/// Between `COPY table (columns) FROM stdin;` and a line of `\.` each line is one row: text has its line breaks escaped.
pub(super) async fn count(mut script: impl AsyncBufRead + Unpin) -> std::io::Result<BTreeMap<String, u64>> {
    let mut counted = BTreeMap::new();
    let mut table: Option<(String, u64)> = None;
    let mut line = Vec::new();
    loop {
        line.clear();
        if script.read_until(b'\n', &mut line).await? == 0 {
            break;
        }
        table = match table {
            None => copied_table(&line).map(|name| (name, 0)),
            Some((name, rows)) if line == b"\\.\n" => {
                *counted.entry(name).or_default() += rows;
                None
            }
            Some((name, rows)) => Some((name, rows + 1)),
        };
    }
    // A table whose rows do not end is not counted: the script was cut off.
    Ok(counted)
}

/// The table of a line that begins a COPY.
fn copied_table(line: &[u8]) -> Option<String> {
    let line = std::str::from_utf8(line).ok()?.strip_suffix(" FROM stdin;\n")?.strip_prefix("COPY ")?;
    // To the parenthesis that no quotes are around.
    let mut quoted = false;
    let end = line.char_indices().find(|(_, c)| {
        quoted ^= *c == '"';
        *c == '(' && !quoted
    });
    Some(line[..end.map_or(line.len(), |(at, _)| at)].trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn counted(script: &str) -> Vec<(String, u64)> {
        count(script.as_bytes()).await.unwrap().into_iter().collect()
    }

    #[tokio::test]
    async fn lines_between_copy_and_its_end_are_rows() {
        let script = "SET x = 1;\n\nCOPY tidelock.secrets (id, key) FROM stdin;\n1\tA\n2\t\\\\.\n\\.\n\n-- COPY\n\
                      COPY tidelock.users (id) FROM stdin;\n\\.\n";
        assert_eq!(counted(script).await, [("tidelock.secrets".to_owned(), 2), ("tidelock.users".to_owned(), 0)]);
    }

    #[tokio::test]
    async fn names_are_as_sql_spells_them_whatever_is_in_them() {
        let script = "COPY \"it's \"\"odd\"\" (x)\".\"a(b\" (\"(\") FROM stdin;\n1\n\\.\n";
        assert_eq!(counted(script).await, [("\"it's \"\"odd\"\" (x)\".\"a(b\"".to_owned(), 1)]);
    }

    #[tokio::test]
    async fn a_table_that_is_cut_off_does_not_count() {
        assert_eq!(counted("COPY tidelock.secrets (id) FROM stdin;\n1\n2\n").await, []);
    }
}
