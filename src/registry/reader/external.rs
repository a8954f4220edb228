//! Someone else's tables: the documented columns, and nothing else.
//!
//! There are no revisions, so each poll takes a digest over the rows' ids and the transactions that wrote them: it sees
//! a commit that came late and a row that was deleted for good, which a count with a newest time does not. Whether a
//! column is `timestamp` or `timestamptz`, an id `uuid` or text, is not documented, so everything is cast.

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::rows::fill;
use super::{Parameter, Polled, Reading};
use crate::core::ProjectId;
use crate::registry::row::{Columns, FromRow, from_row};
use crate::registry::{PollResult, Refusal, RegistryError, Snapshot, SnapshotVersion};

pub(super) const POLL: &str = "
    SELECT w.place, w.project AS project_name, p.id::text::uuid AS project, e.id::text::uuid AS environment, e.is_production,
           s.digest AS environment_digest, hashtextextended(s.digest::text || ':' || r.digest::text, 0) AS project_digest
    FROM unnest($1, $2) WITH ORDINALITY AS w(project, environment, place)
    LEFT JOIN @schema@.projects p ON p.name = w.project
    LEFT JOIN @schema@.environments e ON e.project_id = p.id AND e.name = w.environment
    LEFT JOIN LATERAL (
        SELECT hashtextextended(count(*)::text || ':' || coalesce(bit_xor(hashtextextended(x.id::text || x.xmin::text, 0)), 0)::text, 0) AS digest
        FROM @schema@.secrets x WHERE x.environment_id = e.id) s ON true
    LEFT JOIN LATERAL (
        SELECT hashtextextended(count(*)::text || ':' || coalesce(bit_xor(hashtextextended(k.key_name || k.xmin::text, 0)), 0)::text, 0) AS digest
        FROM @schema@.project_secret_registry k WHERE k.project_id = p.id) r ON true
    ORDER BY w.place";

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

pub(super) async fn snapshot(reading: &Reading<'_>) -> Result<Result<Snapshot, Refusal>, RegistryError> {
    let (environment, version, production) = match reading.poll(POLL, polled).await? {
        PollResult::Found { environment, version, production } => (environment, version, production),
        PollResult::Refused(refusal) => return Ok(Err(refusal)),
    };
    let id = environment.0.to_string();
    let of_environment: [Parameter<'_>; 1] = [(&id, Type::TEXT)];
    let (header, secrets, registry) = futures::try_join!(
        reading.rows(
            "SELECT project_id::text::uuid AS project, row_security_active(to_regclass('@schema@.secrets')) AS row_security
             FROM @schema@.environments WHERE id::text = $1",
            &of_environment
        ),
        reading.rows(
            // Whatever another program wrote: a row without a key is nobody's, and a time without end is far away.
            "SELECT id::text::uuid AS id, key::text AS key,
                    CASE WHEN deleted_at IS NOT NULL
                         THEN (extract(epoch FROM least(deleted_at::timestamptz, '9999-01-01')) * 1000000)::int8 END AS deleted_at,
                    CASE WHEN deleted_at IS NULL THEN coalesce(encrypted_value::text, '') ELSE '' END AS encrypted_value,
                    value_hash::text AS value_hash, 0::int8 AS version,
                    (extract(epoch FROM least(greatest(coalesce(updated_at::timestamptz, 'epoch'), '0001-01-01'), '9999-01-01')) * 1000000)::int8 AS updated_at
             FROM @schema@.secrets WHERE environment_id::text = $1 AND key IS NOT NULL",
            &of_environment
        ),
        reading.rows(
            "SELECT key_name::text AS key,
                    (extract(epoch FROM least(greatest(coalesce(last_updated_at::timestamptz, 'epoch'), '0001-01-01'), '9999-01-01')) * 1000000)::int8 AS last_updated_at
             FROM @schema@.project_secret_registry
             WHERE key_name IS NOT NULL AND project_id = (SELECT project_id FROM @schema@.environments WHERE id::text = $1)",
            &of_environment
        ),
    )?;
    let [header] = header.as_slice() else { return Ok(Err(Refusal::EnvironmentNotFound)) };
    let header = Header::from_row(header)?;
    let mut snapshot = Snapshot {
        rows_may_be_hidden: header.row_security,
        ..Snapshot::empty(header.project, environment, version, production)
    };
    fill(&mut snapshot, &secrets, &registry)?;
    Ok(Ok(snapshot))
}
