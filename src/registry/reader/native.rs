//! Our own tables.

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::rows::fill;
use super::{Parameter, Polled, Reading, login};
use crate::core::ProjectId;
use crate::registry::row::{Columns, FromRow, decode, from_row, value};
use crate::registry::{PollResult, Refusal, RegistryError, Revision, Snapshot, SnapshotVersion};

/// Row-level security leaves projects and environments of others out, so that a missing one and a hidden one are one.
pub(super) const POLL: &str = "
    SELECT w.place, w.project AS project_name, p.id AS project, e.id AS environment, e.is_production, m.role::text AS role,
           e.id IN (SELECT @schema@.readable_environments()) AS readable,
           e.epoch, r.revision AS project_revision, r.token AS project_token,
           e.revision AS environment_revision, l.token AS environment_token,
           EXISTS (SELECT FROM @schema@.environments d
                   WHERE d.project_id = p.id AND d.name = w.environment AND d.deleted_at IS NOT NULL) AS was_deleted,
           (SELECT oldest_reader FROM @schema@.schema_floor) AS oldest_reader
    FROM unnest($1, $2) WITH ORDINALITY AS w(project, environment, place)
    LEFT JOIN @schema@.projects p ON p.name = w.project
    LEFT JOIN @schema@.memberships() m ON m.project_id = p.id
    LEFT JOIN @schema@.project_revisions r ON r.project_id = p.id
    LEFT JOIN @schema@.environments e ON e.project_id = p.id AND e.name = w.environment AND e.deleted_at IS NULL
    LEFT JOIN @schema@.revision_log l ON l.project_id = p.id AND l.revision = e.revision
    ORDER BY w.place";

pub(super) fn polled(row: &Row) -> Result<Polled, RegistryError> {
    let columns = Columns::new(row, "environments", "project_name");
    // A migration may have raised it since the operator started.
    login::require_served(columns.get("oldest_reader")?)?;
    let place = columns.get("place")?;
    let refused = |refusal| Ok(Polled { place, result: PollResult::Refused(refusal) });

    let project: Option<ProjectId> = columns.get("project")?;
    let role: Option<String> = columns.get("role")?;
    if project.is_none() || role.is_none() {
        return refused(Refusal::ProjectNotVisible);
    }
    let Some(environment) = columns.get("environment")? else {
        let was_deleted: bool = columns.get("was_deleted")?;
        return refused(if was_deleted { Refusal::EnvironmentDeleted } else { Refusal::EnvironmentNotFound });
    };
    let production: bool = columns.get("is_production")?;
    if !columns.get::<bool>("readable")? {
        let needs_admin = production && role.as_deref() != Some("ADMIN");
        return refused(if needs_admin { Refusal::ProductionNotPermitted } else { Refusal::EnvironmentNotPermitted });
    }
    let version = SnapshotVersion::Revisions {
        epoch: columns.get("epoch")?,
        project: Revision { number: columns.get("project_revision")?, token: columns.get("project_token")? },
        environment: Revision {
            number: columns.get("environment_revision")?,
            token: columns.get::<Option<Uuid>>("environment_token")?.unwrap_or_default(),
        },
    };
    Ok(Polled { place, result: PollResult::Found { environment, version, production } })
}

struct Header {
    project: ProjectId,
    ring: String,
    live_secrets: i64,
}

from_row!(Header, "environments", "project", [project, ring, live_secrets]);

pub(super) async fn snapshot(reading: &Reading<'_>) -> Result<Result<Snapshot, Refusal>, RegistryError> {
    let (environment, version, production) = match reading.poll(POLL, polled).await? {
        PollResult::Found { environment, version, production } => (environment, version, production),
        PollResult::Refused(refusal) => return Ok(Err(refusal)),
    };
    let of_environment: [Parameter<'_>; 1] = [(&environment.0, Type::UUID)];
    // Sent one behind the other without waiting; all in the transaction's one snapshot.
    let (header, secrets, registry, exemptions, hash_keys) = futures::try_join!(
        reading.rows(
            "SELECT project_id AS project, ring, live_secrets FROM @schema@.environments WHERE id = $1",
            &of_environment
        ),
        reading.rows(
            // What was deleted is never delivered: of it only the proof is needed, however much has come together.
            "SELECT id, key, (extract(epoch FROM deleted_at) * 1000000)::int8 AS deleted_at,
                    CASE WHEN deleted_at IS NULL THEN encrypted_value ELSE '' END AS encrypted_value, value_hash, version,
                    (extract(epoch FROM updated_at) * 1000000)::int8 AS updated_at
             FROM @schema@.secrets WHERE environment_id = $1",
            &of_environment
        ),
        reading.rows(
            "SELECT key_name AS key, (extract(epoch FROM last_updated_at) * 1000000)::int8 AS last_updated_at
             FROM @schema@.project_secret_registry
             WHERE project_id = (SELECT project_id FROM @schema@.environments WHERE id = $1) AND retired_at IS NULL",
            &of_environment
        ),
        reading.rows("SELECT key_name FROM @schema@.key_exemptions WHERE environment_id = $1", &of_environment),
        reading.rows(
            "SELECT hash_key_id AS id, ring, sealed FROM @schema@.project_hash_keys
             WHERE project_id = (SELECT project_id FROM @schema@.environments WHERE id = $1) ORDER BY created_at",
            &of_environment
        ),
    )?;
    let [header] = header.as_slice() else { return Ok(Err(Refusal::EnvironmentNotFound)) };
    let header = Header::from_row(header)?;
    let mut snapshot = Snapshot {
        ring: Some(header.ring),
        live_secrets: Some(header.live_secrets),
        exemptions: exemptions.iter().map(|row| value(row, "key_exemptions")).collect::<Result<_, _>>()?,
        hash_keys: decode(&hash_keys)?,
        ..Snapshot::empty(header.project, environment, version, production)
    };
    fill(&mut snapshot, &secrets, &registry)?;
    Ok(Ok(snapshot))
}
