//! The registry of a large company, written past all triggers: what is in it has been there for long.

use crate::stage::Team;

/// How much of everything there is.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    /// Projects of 10 environments of 500 keys.
    pub(super) projects: usize,
    /// Keys in each of the 10 environments of the project `large`.
    pub(super) large: usize,
    /// Environments of 200 keys of 1 KiB in the project `many`.
    pub(super) many: usize,
}

impl Scale {
    pub(super) const FULL: Self = Self { projects: 199, large: 20_000, many: 1_000 };
    pub(super) const TENTH: Self = Self { projects: 20, large: 2_000, many: 100 };

    /// How many secrets that comes to, without those of `many`.
    pub(super) const fn secrets(self) -> usize {
        self.projects * 10 * 500 + 10 * self.large
    }
}

/// Fills the registry of a team: 100 members, `project-1` and so on with environments `env-1` to `env-10` of 500 keys,
/// `large`, and a version and an audit row for each secret. Ana is ADMIN of all, the operator too, read-only.
pub(super) async fn fill(team: &Team, scale: Scale) {
    let Scale { projects, large, .. } = scale;
    // Those that are written to come with their hashing keys.
    for project in ["large", "project-1"] {
        team.done(&team.ana, &["project", "create", project]).await;
    }
    let session = team.superuser_without_triggers().await;
    for statement in [
        // Foreign keys, too: a million rows are not looked up one by one.
        "SET session_replication_role = replica; SET synchronous_commit = off".to_owned(),
        "INSERT INTO users (name) SELECT 'user-' || n FROM generate_series(1, 100) n".to_owned(),
        format!("INSERT INTO projects (name) SELECT 'project-' || n FROM generate_series(2, {projects}) n"),
        environments("p.name <> 'shop'", 10),
        members("p.name <> 'shop'"),
        keys("p.name LIKE 'project-%'", 500),
        keys("p.name = 'large'", large),
        secrets("p.name <> 'shop'", 40),
        // As many that were deleted as `large` has in one environment.
        "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash, deleted_at)
             SELECT project_id, environment_id, key, encrypted_value, value_hash, now() FROM secrets s
             JOIN projects p ON p.id = s.project_id WHERE p.name = 'large'"
            .to_owned(),
        "INSERT INTO secret_versions (secret_id, version, environment_id, encrypted_value, value_hash, replaced_at)
             SELECT id, 1, environment_id, encrypted_value, value_hash, now() FROM secrets WHERE deleted_at IS NULL"
            .to_owned(),
        "INSERT INTO audit_logs (chain, position, project_id, environment_id, user_id, login, action, subject, reason, revision, \"timestamp\", link)
             SELECT s.project_id, 100 + row_number() OVER (PARTITION BY s.project_id), s.project_id, s.environment_id, u.id, 'ana', 'secret.create',
                    s.key, 'the beginning', 1, now(), sha256(uuid_send(s.id))
             FROM secrets s CROSS JOIN (SELECT id FROM users WHERE name = 'ana') u WHERE s.deleted_at IS NULL"
            .to_owned(),
        counters("p.name <> 'shop'"),
    ] {
        session.batch_execute(&statement).await.unwrap_or_else(|why| panic!("{why:?}: {statement}"));
    }
    settle(team).await;
}

/// Adds the project `many`: environments of 200 keys of 1 KiB.
pub(super) async fn fill_many(team: &Team, scale: Scale) {
    let session = team.superuser_without_triggers().await;
    for statement in [
        "SET session_replication_role = replica; SET synchronous_commit = off".to_owned(),
        "INSERT INTO projects (name) VALUES ('many')".to_owned(),
        environments("p.name = 'many'", scale.many),
        members("p.name = 'many'"),
        keys("p.name = 'many'", 200),
        secrets("p.name = 'many'", 1_400),
        counters("p.name = 'many'"),
    ] {
        session.batch_execute(&statement).await.unwrap_or_else(|why| panic!("{why:?}: {statement}"));
    }
    settle(team).await;
}

fn environments(of: &str, count: usize) -> String {
    format!(
        "INSERT INTO environments (project_id, name, ring)
         SELECT p.id, 'env-' || n, 'default' FROM projects p, generate_series(1, {count}) n WHERE {of}"
    )
}

fn members(of: &str) -> String {
    format!(
        "INSERT INTO project_members (project_id, user_id, role, read_only)
         SELECT p.id, u.id, CASE WHEN u.name LIKE 'user-%' THEN 'VIEWER' ELSE 'ADMIN' END::project_role, u.name = 'tidelock'
         FROM projects p, users u WHERE {of} AND (u.name IN ('ana', 'tidelock') OR u.name LIKE 'user-%')
         ON CONFLICT DO NOTHING"
    )
}

fn keys(of: &str, count: usize) -> String {
    format!(
        "INSERT INTO project_secret_registry (project_id, key_name, last_updated_at)
         SELECT p.id, 'KEY_OF_A_LARGE_COMPANY_' || n, '2026-01-01' FROM projects p, generate_series(1, {count}) n WHERE {of}"
    )
}

/// Every key in every environment, with sealed texts of about that length. They open for nobody: nobody opens them.
fn secrets(of: &str, length: usize) -> String {
    format!(
        "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash, updated_at)
         SELECT e.project_id, e.id, r.key_name, 't1:none:' || rpad(e.id::text, {length}, md5(r.key_name)),
                'h1:none:' || encode(sha256((r.key_name || e.id)::bytea), 'hex'), '2026-01-01'
         FROM projects p JOIN environments e ON e.project_id = p.id JOIN project_secret_registry r ON r.project_id = p.id WHERE {of}"
    )
}

/// A first revision, and the counts.
fn counters(of: &str) -> String {
    format!(
        "INSERT INTO project_revisions (project_id, revision) SELECT p.id, 1 FROM projects p WHERE {of} ON CONFLICT DO NOTHING;
         INSERT INTO revision_log (project_id, revision, token, at)
             SELECT r.project_id, r.revision, r.token, now() FROM project_revisions r JOIN projects p ON p.id = r.project_id WHERE {of}
             ON CONFLICT DO NOTHING;
         UPDATE environments e SET live_secrets = (
                 SELECT count(*) FROM secrets s WHERE s.environment_id = e.id AND s.deleted_at IS NULL)
             FROM projects p WHERE p.id = e.project_id AND {of}"
    )
}

async fn settle(team: &Team) {
    team.enable_triggers().await;
    team.database.superuser().await.batch_execute("VACUUM ANALYZE").await.expect("it can be vacuumed");
}
