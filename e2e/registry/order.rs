//! What has to hold of a project's changes after any race.

use tokio_postgres::Client;

/// For each key: how many values are the newest, how many rows are newer than the registry says, how many writes have
/// a time that is not after that of each write before, and how many of the newest are not what the last writer wrote.
///
/// The order is that of the audit chain, which is that of the commits. The time of a row's nth value is when the one
/// before was replaced. Equal values may share a time: one statement may write several environments.
const LOOK: &str = "
    WITH writes AS (
        SELECT a.position, a.subject AS key, a.new_value_hash AS hash, s.id, s.created_at,
               row_number() OVER (PARTITION BY s.id ORDER BY a.position) AS version
        FROM audit_logs a JOIN secrets s ON s.environment_id = a.environment_id AND s.key = a.subject
        WHERE a.action IN ('secret.create', 'secret.update', 'secret.follow')),
    timed AS (
        SELECT w.position, w.key, w.hash, coalesce(v.replaced_at, w.created_at) AS at
        FROM writes w LEFT JOIN secret_versions v ON v.secret_id = w.id AND v.version = w.version - 1),
    ordered AS (
        SELECT key, hash, at, lag(at) OVER before AS at_before, lag(hash) OVER before AS hash_before,
               position = max(position) OVER (PARTITION BY key) AS is_last
        FROM timed WINDOW before AS (PARTITION BY key ORDER BY position)),
    newest AS (
        SELECT r.key_name AS key, s.value_hash AS hash FROM project_secret_registry r
        JOIN secrets s ON s.key = r.key_name AND s.updated_at = r.last_updated_at)
    SELECT r.key_name,
        (SELECT count(DISTINCT n.hash) FROM newest n WHERE n.key = r.key_name),
        (SELECT count(*) FROM secrets s WHERE s.key = r.key_name AND s.updated_at > r.last_updated_at),
        (SELECT count(*) FROM ordered o WHERE o.key = r.key_name
             AND (o.at < o.at_before OR (o.at = o.at_before AND o.hash <> o.hash_before))),
        (SELECT count(*) FROM newest n JOIN ordered o ON o.key = n.key AND o.is_last
             WHERE n.key = r.key_name AND n.hash <> o.hash)
    FROM project_secret_registry r ORDER BY 1";

/// Of each key exactly one value is the newest, that of its last writer, and the times of its writes grow strictly in
/// the order of their commits. The session has the registry's schema in its search path.
pub(crate) async fn the_last_writer_is_the_newest(session: &Client) {
    let found = session.query(LOOK, &[]).await.expect("the registry can be read");
    assert!(!found.is_empty(), "there are keys");
    for row in found {
        let key: String = row.get(0);
        let counts = [1, 2, 3, 4].map(|column| row.get::<_, i64>(column));
        assert_eq!(
            counts,
            [1, 0, 0, 0],
            "{key}: values that are newest, rows newer than the registry, times that do not grow, newest that are not the last"
        );
    }
}
