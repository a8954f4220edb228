//! Someone else's tables: the documented columns, and nothing else.
//!
//! There are no revisions, so each look takes a digest over the rows' ids and the transactions that wrote them: it sees
//! a commit that came late and a row that was deleted for good, which a count with a newest time does not. Whether a
//! column is `timestamp` or `timestamptz`, an id `uuid` or text, is not documented, so everything is cast.

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::rows::{cell, fill};
use super::{Parameter, Reading};
use crate::core::{EnvironmentId, ProjectId};
use crate::registry::{PollResult, Refusal, RegistryError, Snapshot, SnapshotVersion};

pub(super) const POLL: &str = "
    SELECT p.id::text::uuid, e.id::text::uuid, e.is_production, s.digest, hashtextextended(s.digest::text || ':' || r.digest::text, 0), w.place
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

pub(super) fn read_poll_result(row: &Row) -> Result<PollResult, RegistryError> {
    if cell::<Option<Uuid>>(row, 0, "projects", "id")?.is_none() {
        return Ok(PollResult::Refused(Refusal::ProjectNotVisible));
    }
    let Some(environment) = cell::<Option<Uuid>>(row, 1, "environments", "id")? else {
        return Ok(PollResult::Refused(Refusal::EnvironmentNotFound));
    };
    Ok(PollResult::Found {
        environment: EnvironmentId(environment),
        version: SnapshotVersion::Digest {
            environment: cell(row, 3, "secrets", "xmin")?,
            project: cell(row, 4, "project_secret_registry", "xmin")?,
        },
        production: cell::<Option<bool>>(row, 2, "environments", "is_production")?.unwrap_or_default(),
    })
}

pub(super) async fn snapshot(reading: &Reading<'_>) -> Result<Result<Snapshot, Refusal>, RegistryError> {
    let (environment, version, production) = match reading.poll(POLL, read_poll_result).await? {
        PollResult::Found { environment, version, production } => (environment, version, production),
        PollResult::Refused(refusal) => return Ok(Err(refusal)),
    };
    let id = environment.0.to_string();
    let of_environment: [Parameter<'_>; 1] = [(&id, Type::TEXT)];
    let (header, secrets, registry) = futures::try_join!(
        reading.rows(
            "SELECT project_id::text::uuid, row_security_active(to_regclass('@schema@.secrets'))
             FROM @schema@.environments WHERE id::text = $1",
            &of_environment
        ),
        reading.rows(
            // Whatever another program wrote: a row without a key is nobody's, and a time without end is far away.
            "SELECT id::text::uuid, key::text,
                    CASE WHEN deleted_at IS NOT NULL
                         THEN (extract(epoch FROM least(deleted_at::timestamptz, '9999-01-01')) * 1000000)::int8 END,
                    CASE WHEN deleted_at IS NULL THEN coalesce(encrypted_value::text, '') ELSE '' END, value_hash::text, 0::int8,
                    (extract(epoch FROM least(greatest(coalesce(updated_at::timestamptz, 'epoch'), '0001-01-01'), '9999-01-01')) * 1000000)::int8
             FROM @schema@.secrets WHERE environment_id::text = $1 AND key IS NOT NULL",
            &of_environment
        ),
        reading.rows(
            "SELECT key_name::text,
                    (extract(epoch FROM least(greatest(coalesce(last_updated_at::timestamptz, 'epoch'), '0001-01-01'), '9999-01-01')) * 1000000)::int8
             FROM @schema@.project_secret_registry
             WHERE key_name IS NOT NULL AND project_id = (SELECT project_id FROM @schema@.environments WHERE id::text = $1)",
            &of_environment
        ),
    )?;
    let [header] = header.as_slice() else { return Ok(Err(Refusal::EnvironmentNotFound)) };
    let mut snapshot = Snapshot {
        rows_may_be_hidden: cell(header, 1, "secrets", "row security")?,
        ..Snapshot::empty(ProjectId(cell(header, 0, "environments", "project_id")?), environment, version, production)
    };
    fill(&mut snapshot, &secrets, &registry)?;
    Ok(Ok(snapshot))
}
