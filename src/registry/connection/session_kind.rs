//! Whether a server is one of those that `target_session_attrs` asks for.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::target::SessionKind;

/// Asked of the server itself: a pooler need not pass on what servers report at their start.
const QUESTION: &str = "SELECT pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only')";

/// `None` where it is; else what it is in place of that.
pub(super) async fn mismatch(
    kind: SessionKind,
    client: &Client,
) -> Result<Option<&'static str>, tokio_postgres::Error> {
    if kind == SessionKind::Any {
        return Ok(None);
    }
    let rows = client.simple_query(QUESTION).await?;
    let row = rows.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((row.get(0) == Some("t"), row.get(1) == Some("on"))),
        _ => None,
    });
    let (is_standby, is_read_only) = row.unwrap_or_default();
    Ok(wrong(kind, is_standby, is_standby || is_read_only))
}

const fn wrong(kind: SessionKind, is_standby: bool, is_read_only: bool) -> Option<&'static str> {
    match kind {
        SessionKind::ReadWrite if is_read_only => {
            Some("its sessions are read-only, and target_session_attrs is read-write")
        }
        SessionKind::ReadOnly if !is_read_only => Some("its sessions write, and target_session_attrs is read-only"),
        SessionKind::Primary if is_standby => Some("it is a standby, and target_session_attrs is primary"),
        SessionKind::Standby if !is_standby => Some("it is a primary, and target_session_attrs is standby"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_session_is_had_of_the_servers_that_libpq_would_take() {
        use SessionKind::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
        // A primary; a primary that is set to be read-only; a standby.
        for (kind, expected) in [
            (Any, [true, true, true]),
            (PreferStandby, [true, true, true]),
            (ReadWrite, [true, false, false]),
            (ReadOnly, [false, true, true]),
            (Primary, [true, true, false]),
            (Standby, [false, false, true]),
        ] {
            let found = [(false, false), (false, true), (true, true)]
                .map(|(standby, only)| wrong(kind, standby, only).is_none());
            assert_eq!(found, expected, "{kind:?}");
        }
    }
}
