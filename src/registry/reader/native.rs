//! Our own tables.

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::rows::fill;
use super::{Parameter, Polled, Reading, schema};
use crate::core::ProjectId;
use crate::registry::row::{Columns, FromRow, decode, from_row, value};
use crate::registry::{PollResult, Refusal, RegistryError, Revision, Snapshot, SnapshotVersion};

/// Projects and environments of others are left out, so that a missing one and a hidden one are one.
pub(super) const POLL: &str = "SELECT * FROM @api@.poll($1, $2)";

pub(super) fn polled(row: &Row) -> Result<Polled, RegistryError> {
    let columns = Columns::new(row, "environments", "project_name");
    // A migration may have raised it since the operator started.
    schema::require_served(columns.get("oldest_reader")?)?;
    let place = columns.get("place")?;
    let refused = |refusal| Ok(Polled { place, result: PollResult::Refused(refusal) });

    let project: Option<ProjectId> = columns.get("project")?;
    let role: Option<String> = columns.get("role")?;
    if project.is_none() || role.is_none() {
        return refused(Refusal::ProjectNotVisible);
    }
    if columns.get("is_archived")? {
        return refused(Refusal::ProjectArchived);
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
    let names: [Parameter<'_>; 2] = [(&reading.source.project, Type::TEXT), (&reading.source.environment, Type::TEXT)];
    let header =
        "SELECT project_id AS project, ring, live_secrets FROM @api@.environment_named($1, $2) WHERE id IS NOT NULL";
    let header = reading.rows(header, &names).await?;
    let [header] = header.as_slice() else { return Ok(Err(Refusal::EnvironmentNotFound)) };
    let header = Header::from_row(header)?;
    let of_project: [Parameter<'_>; 1] = [(&header.project.0, Type::UUID)];
    let of_environment: [Parameter<'_>; 2] = [(&header.project.0, Type::UUID), (&environment.0, Type::UUID)];
    // Sent one behind the other without waiting; all in the transaction's one snapshot.
    let (secrets, registry, exemptions, hash_keys) = futures::try_join!(
        reading.rows(
            // What was deleted is never delivered: of it only the proof is needed, however much has come together.
            "SELECT id, key, (extract(epoch FROM deleted_at) * 1000000)::int8 AS deleted_at, encrypted_value, value_hash, version,
                    (extract(epoch FROM updated_at) * 1000000)::int8 AS updated_at
             FROM @api@.secrets_of($1, $2)
             UNION ALL
             SELECT id, key, (extract(epoch FROM deleted_at) * 1000000)::int8, '', NULL, NULL, NULL
             FROM @api@.tombstones_of($1, $2)",
            &of_environment
        ),
        reading.rows(
            "SELECT key_name AS key, (extract(epoch FROM last_updated_at) * 1000000)::int8 AS last_updated_at
             FROM @api@.keys_of($1) WHERE retired_at IS NULL",
            &of_project
        ),
        reading.rows("SELECT * FROM @api@.exemptions_of($1, $2) AS x (key_name)", &of_environment),
        reading.rows(
            "SELECT hash_key_id AS id, ring, sealed FROM @api@.project_hash_keys WHERE project_id = $1 ORDER BY created_at",
            &of_project
        ),
    )?;
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
