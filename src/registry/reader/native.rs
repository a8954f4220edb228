//! Our own tables.

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::rows::{cell, fill};
use super::{Parameter, Reading, login};
use crate::core::{EnvironmentId, ProjectId};
use crate::registry::{PollResult, Refusal, RegistryError, Revision, SealedHashKey, Snapshot, SnapshotVersion};

/// Row-level security leaves projects and environments of others out, so that a missing one and a hidden one are one.
pub(super) const POLL: &str = "
    SELECT p.id, e.id, e.is_production, m.role::text, e.id IN (SELECT @schema@.readable_environments()),
           e.epoch, r.revision, r.token, e.revision, l.token,
           EXISTS (SELECT FROM @schema@.environments d
                   WHERE d.project_id = p.id AND d.name = w.environment AND d.deleted_at IS NOT NULL),
           (SELECT oldest_reader FROM @schema@.schema_floor), w.place
    FROM unnest($1, $2) WITH ORDINALITY AS w(project, environment, place)
    LEFT JOIN @schema@.projects p ON p.name = w.project
    LEFT JOIN @schema@.memberships() m ON m.project_id = p.id
    LEFT JOIN @schema@.project_revisions r ON r.project_id = p.id
    LEFT JOIN @schema@.environments e ON e.project_id = p.id AND e.name = w.environment AND e.deleted_at IS NULL
    LEFT JOIN @schema@.revision_log l ON l.project_id = p.id AND l.revision = e.revision
    ORDER BY w.place";

pub(super) fn read_poll_result(row: &Row) -> Result<PollResult, RegistryError> {
    // A migration may have raised it since the operator started.
    login::require_served(cell(row, 11, "schema_floor", "oldest_reader")?)?;
    let (project, environment): (Option<Uuid>, Option<Uuid>) =
        (cell(row, 0, "projects", "id")?, cell(row, 1, "environments", "id")?);
    let role: Option<String> = cell(row, 3, "project_members", "role")?;
    if project.is_none() || role.is_none() {
        return Ok(PollResult::Refused(Refusal::ProjectNotVisible));
    }
    let Some(environment) = environment else {
        let deleted: bool = cell(row, 10, "environments", "deleted_at")?;
        let refusal = if deleted { Refusal::EnvironmentDeleted } else { Refusal::EnvironmentNotFound };
        return Ok(PollResult::Refused(refusal));
    };
    let production: bool = cell(row, 2, "environments", "is_production")?;
    let readable: Option<bool> = cell(row, 4, "environments", "id")?;
    if readable != Some(true) {
        let refusal = if production && role.as_deref() != Some("ADMIN") {
            Refusal::ProductionNotPermitted
        } else {
            Refusal::EnvironmentNotPermitted
        };
        return Ok(PollResult::Refused(refusal));
    }
    let version = SnapshotVersion::Revisions {
        epoch: cell(row, 5, "environments", "epoch")?,
        project: Revision {
            number: cell(row, 6, "project_revisions", "revision")?,
            token: cell(row, 7, "project_revisions", "token")?,
        },
        environment: Revision {
            number: cell(row, 8, "environments", "revision")?,
            token: cell::<Option<Uuid>>(row, 9, "revision_log", "token")?.unwrap_or_default(),
        },
    };
    Ok(PollResult::Found { environment: EnvironmentId(environment), version, production })
}

pub(super) async fn snapshot(reading: &Reading<'_>) -> Result<Result<Snapshot, Refusal>, RegistryError> {
    let (environment, version, production) = match reading.poll(POLL, read_poll_result).await? {
        PollResult::Found { environment, version, production } => (environment, version, production),
        PollResult::Refused(refusal) => return Ok(Err(refusal)),
    };
    let of_environment: [Parameter<'_>; 1] = [(&environment.0, Type::UUID)];
    // Sent one behind the other without waiting; all in the transaction's one snapshot.
    let (header, secrets, registry, exemptions, hash_keys) = futures::try_join!(
        reading.rows("SELECT project_id, ring, live_secrets FROM @schema@.environments WHERE id = $1", &of_environment),
        reading.rows(
            // What was deleted is never delivered: of it only the proof is needed, however much has come together.
            "SELECT id, key, (extract(epoch FROM deleted_at) * 1000000)::int8,
                    CASE WHEN deleted_at IS NULL THEN encrypted_value ELSE '' END, value_hash, version,
                    (extract(epoch FROM updated_at) * 1000000)::int8
             FROM @schema@.secrets WHERE environment_id = $1",
            &of_environment
        ),
        reading.rows(
            "SELECT key_name, (extract(epoch FROM last_updated_at) * 1000000)::int8 FROM @schema@.project_secret_registry
             WHERE project_id = (SELECT project_id FROM @schema@.environments WHERE id = $1) AND retired_at IS NULL",
            &of_environment
        ),
        reading.rows("SELECT key_name FROM @schema@.key_exemptions WHERE environment_id = $1", &of_environment),
        reading.rows(
            "SELECT hash_key_id, ring, sealed FROM @schema@.project_hash_keys
             WHERE project_id = (SELECT project_id FROM @schema@.environments WHERE id = $1) ORDER BY created_at",
            &of_environment
        ),
    )?;
    let [header] = header.as_slice() else { return Ok(Err(Refusal::EnvironmentNotFound)) };
    let mut snapshot = Snapshot {
        ring: Some(cell(header, 1, "environments", "ring")?),
        live_secrets: Some(cell(header, 2, "environments", "live_secrets")?),
        ..Snapshot::empty(ProjectId(cell(header, 0, "environments", "project_id")?), environment, version, production)
    };
    fill(&mut snapshot, &secrets, &registry)?;
    for row in &exemptions {
        snapshot.exemptions.insert(cell(row, 0, "key_exemptions", "key_name")?);
    }
    for row in &hash_keys {
        snapshot.hash_keys.push(SealedHashKey {
            id: cell(row, 0, "project_hash_keys", "hash_key_id")?,
            ring: cell(row, 1, "project_hash_keys", "ring")?,
            sealed: cell(row, 2, "project_hash_keys", "sealed")?,
        });
    }
    Ok(Ok(snapshot))
}
