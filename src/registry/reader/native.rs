//! Our own tables.

use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::ask::in_order;
use super::reading::Reading;
use super::rows::{fill, replace_keys};
use super::{Parameter, Polled, schema};
use crate::core::ProjectId;
use crate::registry::row::{Columns, FromRow, decode, from_row};
use crate::registry::{
    BroughtUpToDate, FromServer, PollResult, Refusal, RegistryError, Revision, ServerPosition, Snapshot,
    SnapshotVersion,
};

/// Projects and environments of others are left out, so that a missing one and a hidden one are one.
pub(super) const POLL: &str = "SELECT p.*, @position@ FROM @api@.poll($1, $2) p";

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

/// What stands for a name that was purged: `is_purged_name` in `migrations/V3__changes.sql`.
fn is_of_purged_name(row: &Row) -> bool {
    let key = row.try_get::<_, &str>("key").unwrap_or_default();
    key.strip_prefix("purged-").is_some_and(|id| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

struct Header {
    ring: String,
    live_secrets: i64,
    audit_position: i64,
    /// What the project's log has for the revision that was known.
    token_of_known: Option<Uuid>,
}

from_row!(Header, "environments", "ring", [ring, live_secrets, audit_position, token_of_known]);

/// Most rows of the audit chain that are gone through for what has changed: a whole read costs less than more of them.
const CHANGES_MAX: i64 = 1_000;

const KEY_ROWS: &str = "
    SELECT key, last_updated_at, is_exempt, id, value_hash, version, NULL AS value_version, updated_at
    FROM ";

/// Everything about the environment; where `known` is part of the same history, by what has changed since then.
pub(super) async fn snapshot(
    reading: &Reading<'_>,
    known: Option<&Snapshot>,
) -> Result<FromServer<Result<Snapshot, Refusal>>, RegistryError> {
    let names = ([reading.source.project.as_str()], [reading.source.environment.as_str()]);
    let known_revision = known.and_then(Snapshot::project_revision);
    let since = known_revision.map(|revision| revision.number);
    // One round trip: who may read it, where it stands, and whether what is known belongs to the same history.
    let rows = reading
        .rows(
            "SELECT p.*, @position@, e.ring, e.live_secrets, a.position AS audit_position, t.token AS token_of_known
             FROM @api@.poll($1, $2) p
             LEFT JOIN LATERAL @api@.environment_of(p.project, p.environment) e ON true
             LEFT JOIN LATERAL @api@.audit_position(p.project) a (position) ON true
             LEFT JOIN LATERAL @api@.token_of(p.project, $3) t (token) ON true",
            &[(&names.0.as_slice(), Type::TEXT_ARRAY), (&names.1.as_slice(), Type::TEXT_ARRAY), (&since, Type::INT8)],
        )
        .await?;
    let row = reading.only(&rows)?;
    let position = Some(ServerPosition::from_row(row)?);
    let (environment, version, production) = match polled(row)?.result {
        PollResult::Found { environment, version, production } => (environment, version, production),
        PollResult::Refused(refusal) => return Ok(FromServer { answer: Err(refusal), position }),
    };
    let project = Columns::new(row, "environments", "project_name").get("project")?;
    let header = Header::from_row(row)?;
    let of_project: [Parameter<'_>; 1] = [(&project, Type::UUID)];
    let hash_keys = reading.rows("SELECT hash_key_id AS id, ring, sealed FROM @api@.hash_keys_of($1)", &of_project);
    let known = known.filter(|known| {
        let is_continued = known_revision.is_some_and(|revision| Some(revision.token) == header.token_of_known);
        let changes = header.audit_position - known.audit_position;
        is_continued && known.environment == environment && (0..=CHANGES_MAX).contains(&changes)
    });
    let after = known.map(|known| known.audit_position);
    let of_environment: [Parameter<'_>; 3] =
        [(&project, Type::UUID), (&environment.0, Type::UUID), (&after, Type::INT8)];
    let (key_rows, parameters) = match known {
        None => (format!("{KEY_ROWS} @api@.key_rows_of($1, $2)"), &of_environment[..2]),
        Some(_) => (
            format!("{KEY_ROWS} @api@.key_rows_of($1, $2, @api@.keys_changed_after($1, $3))"),
            of_environment.as_slice(),
        ),
    };
    let (mut key_rows, hash_keys) = in_order(reading.rows(&key_rows, parameters), hash_keys).await?;
    // The name that left is nowhere any more, so what is known under it can only be found by reading everything.
    let known = known.filter(|_| !key_rows.iter().any(is_of_purged_name));
    if known.is_none() && after.is_some() {
        key_rows = reading.rows(&format!("{KEY_ROWS} @api@.key_rows_of($1, $2)"), &of_environment[..2]).await?;
    }
    let mut snapshot = Snapshot {
        from_standby: position.is_some_and(|position| position.is_standby),
        ring: Some(header.ring),
        live_secrets: Some(header.live_secrets),
        audit_position: header.audit_position,
        hash_keys: decode(&hash_keys)?,
        ..Snapshot::empty(ProjectId(project), environment, version, production)
    };
    match known {
        None => fill(&mut snapshot, &key_rows)?,
        Some(known) => {
            snapshot.keys.clone_from(&known.keys);
            let keys = replace_keys(&mut snapshot, &key_rows)?;
            snapshot.brought_up_to_date = Some(BroughtUpToDate { from: known.version, keys });
        }
    }
    Ok(FromServer { answer: Ok(snapshot), position })
}

/// What rows are sealed as: of each only the value that was asked for, if it is still there.
pub(super) const SEALED_VALUES: &str = "
    SELECT id, version, value_hash AS value_version, encrypted_value FROM @api@.sealed_values_of($1, $2, $3)";

pub(super) const TOMBSTONES: &str = "SELECT digest, key FROM @api@.tombstones_of($1, $2, $3)";
