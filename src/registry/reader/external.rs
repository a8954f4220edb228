//! Someone else's tables: the documented columns, and nothing else.
//!
//! There are no revisions, so each poll takes a digest over the rows' ids and the transactions that wrote them: it sees
//! a commit that came late and a row that was deleted for good, which a count with a newest time does not. Whether a
//! column is `timestamp` or `timestamptz`, an id `uuid` or text, is not documented, so everything is cast.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::ask::in_order;
use super::reading::Reading;
use super::rows::fill;
use super::{Parameter, Polled};
use crate::core::ProjectId;
use crate::registry::row::{Columns, FromRow, from_row};
use crate::registry::{FromServer, PollResult, Refusal, RegistryError, ServerPosition, Snapshot, SnapshotVersion};

/// Tables are gone through once, however many environments are asked for: nobody knows which indexes there are.
pub(super) const POLL: &str = "
    WITH found AS MATERIALIZED (
        SELECT w.place, w.project AS project_name, p.id AS project, e.id AS environment, e.is_production
        FROM unnest($1, $2) WITH ORDINALITY AS w(project, environment, place)
        LEFT JOIN @schema@.projects p ON p.name = w.project
        LEFT JOIN @schema@.environments e ON e.project_id = p.id AND e.name = w.environment),
    secrets AS (
        SELECT x.environment_id, hashtextextended(count(*)::text || ':' || bit_xor(hashtextextended(x.id::text || x.xmin::text, 0))::text, 0) AS digest
        FROM @schema@.secrets x WHERE x.environment_id IN (SELECT environment FROM found) GROUP BY x.environment_id),
    registry AS (
        SELECT k.project_id, hashtextextended(count(*)::text || ':' || bit_xor(hashtextextended(k.key_name || k.xmin::text, 0))::text, 0) AS digest
        FROM @schema@.project_secret_registry k WHERE k.project_id IN (SELECT project FROM found) GROUP BY k.project_id)
    SELECT f.place, f.project_name, f.project::text::uuid AS project, f.environment::text::uuid AS environment, f.is_production,
           coalesce(s.digest, 0) AS environment_digest,
           hashtextextended(coalesce(s.digest, 0)::text || ':' || coalesce(r.digest, 0)::text, 0) AS project_digest, @position@
    FROM found f LEFT JOIN secrets s ON s.environment_id = f.environment LEFT JOIN registry r ON r.project_id = f.project
    ORDER BY f.place";

pub(super) fn polled(row: &Row) -> Result<Polled, RegistryError> {
    let columns = Columns::new(row, "environments", "project_name");
    let place = columns.get("place")?;
    let refused = |refusal| Ok(Polled { place, result: PollResult::Refused(refusal) });

    if columns.get::<Option<ProjectId>>("project")?.is_none() {
        return refused(Refusal::ProjectNotVisible);
    }
    let Some(environment) = columns.get("environment")? else { return refused(Refusal::EnvironmentNotFound) };
    let version = SnapshotVersion::Digest {
        environment: columns.get("environment_digest")?,
        project: columns.get("project_digest")?,
    };
    let production = columns.get::<Option<bool>>("is_production")?.unwrap_or_default();
    Ok(Polled { place, result: PollResult::Found { environment, version, production } })
}

struct Header {
    project: ProjectId,
    row_security: bool,
}

from_row!(Header, "environments", "project", [project, row_security]);

/// Whatever another program wrote: a row without a key is nobody's, and a time without end is far away.
const KEY_ROWS: &str = "
    SELECT coalesce(r.key_name, s.key) AS key,
           CASE WHEN r.key_name IS NOT NULL THEN least(greatest(r.last_updated_at, '0001-01-01'), '9999-01-01') END AS last_updated_at,
           false AS is_exempt, s.id, s.value_hash, 0::int8 AS version, s.value_version,
           least(greatest(s.updated_at, '0001-01-01'), '9999-01-01') AS updated_at
    FROM (SELECT k.key_name::text AS key_name, max(coalesce(k.last_updated_at::timestamptz, 'epoch')) AS last_updated_at
          FROM @schema@.project_secret_registry k
          WHERE k.key_name IS NOT NULL AND k.project_id = (SELECT e.project_id FROM @schema@.environments e WHERE e.id::text = $1)
          GROUP BY k.key_name) r
    FULL JOIN (SELECT x.id::text::uuid AS id, x.key::text AS key, x.value_hash::text AS value_hash,
                      encode(sha256(convert_to(coalesce(x.encrypted_value::text, ''), 'UTF8')), 'hex') AS value_version,
                      coalesce(x.updated_at::timestamptz, 'epoch') AS updated_at
               FROM @schema@.secrets x
               WHERE x.environment_id = (SELECT e.id FROM @schema@.environments e WHERE e.id::text = $1)
                 AND x.key IS NOT NULL AND x.deleted_at IS NULL) s
        ON s.key = r.key_name";

/// As for our own tables, without the project.
pub(super) const SEALED_VALUES: &str = "
    SELECT x.id::text::uuid AS id, 0::int8 AS version,
           encode(sha256(convert_to(coalesce(x.encrypted_value::text, ''), 'UTF8')), 'hex') AS value_version,
           coalesce(x.encrypted_value::text, '') AS encrypted_value
    FROM @schema@.secrets x
    WHERE x.environment_id = (SELECT e.id FROM @schema@.environments e WHERE e.id::text = $2::uuid::text)
      AND x.deleted_at IS NULL AND x.id::text = ANY ($3::uuid[]::text[]) AND $1::uuid IS NOT NULL";

pub(super) const TOMBSTONES: &str = "
    SELECT t.digest, t.key FROM (
        SELECT substring(sha256(uuid_send(x.id::text::uuid)), 1, 8) AS digest, x.key::text AS key
        FROM @schema@.secrets x
        WHERE x.environment_id = (SELECT e.id FROM @schema@.environments e WHERE e.id::text = $2::uuid::text)
          AND x.deleted_at IS NOT NULL AND x.key IS NOT NULL AND $1::uuid IS NOT NULL) t
    WHERE t.digest = ANY ($3)";

pub(super) async fn snapshot(reading: &Reading<'_>) -> Result<FromServer<Result<Snapshot, Refusal>>, RegistryError> {
    let names = ([reading.source.project.as_str()], [reading.source.environment.as_str()]);
    let rows =
        reading.rows(POLL, &[(&names.0.as_slice(), Type::TEXT_ARRAY), (&names.1.as_slice(), Type::TEXT_ARRAY)]).await?;
    let row = reading.only(&rows)?;
    let position = Some(ServerPosition::from_row(row)?);
    let refused = |refusal| Ok(FromServer { answer: Err(refusal), position });
    let (environment, version, production) = match polled(row)?.result {
        PollResult::Found { environment, version, production } => (environment, version, production),
        PollResult::Refused(refusal) => return refused(refusal),
    };
    let id = environment.0.to_string();
    let of_environment: [Parameter<'_>; 1] = [(&id, Type::TEXT)];
    let (header, rows) = in_order(
        reading.rows(
            "SELECT project_id::text::uuid AS project, row_security_active(to_regclass('@schema@.secrets')) AS row_security
             FROM @schema@.environments WHERE id::text = $1",
            &of_environment
        ),
        reading.rows(KEY_ROWS, &of_environment),
    )
    .await?;
    let [header] = header.as_slice() else { return refused(Refusal::EnvironmentNotFound) };
    let header = Header::from_row(header)?;
    let mut snapshot = Snapshot {
        from_standby: position.is_some_and(|position| position.is_standby),
        rows_may_be_hidden: header.row_security,
        ..Snapshot::empty(header.project, environment, version, production)
    };
    fill(&mut snapshot, &rows)?;
    Ok(FromServer { answer: Ok(snapshot), position })
}
