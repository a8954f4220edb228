//! What the operator asks of the database, timed there.

use std::time::{Duration, Instant};

use tidelock::registry::{ConnectSettings, Reader, SourceName};
use tokio_postgres::Client;

use crate::figures::{Figures, millis, percentile};
use crate::stage::Team;

/// A schema of somebody else's with 100 environments of 500 keys, without an index but the primary keys.
const EXTERNAL: &str = "
    CREATE SCHEMA external;
    CREATE TABLE external.projects (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL);
    CREATE TABLE external.environments (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), project_id uuid, name text NOT NULL,
        is_production boolean NOT NULL DEFAULT false);
    CREATE TABLE external.secrets (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), project_id uuid, environment_id uuid,
        key varchar(255) NOT NULL, encrypted_value text NOT NULL, value_hash varchar(64), updated_at timestamp NOT NULL DEFAULT now(),
        deleted_at timestamp);
    CREATE TABLE external.project_secret_registry (project_id uuid, key_name varchar(255), last_updated_at timestamp NOT NULL,
        PRIMARY KEY (project_id, key_name));
    INSERT INTO external.projects (name) SELECT 'project-' || n FROM generate_series(1, 20) n;
    INSERT INTO external.environments (project_id, name)
        SELECT id, 'env-' || n FROM external.projects, generate_series(1, 5) n;
    INSERT INTO external.project_secret_registry
        SELECT id, 'KEY_' || n, '2026-01-01' FROM external.projects, generate_series(1, 500) n;
    INSERT INTO external.secrets (project_id, environment_id, key, encrypted_value)
        SELECT e.project_id, e.id, 'KEY_' || n, rpad('t1:', 120, md5(n::text)) FROM external.environments e, generate_series(1, 500) n;
    ANALYZE external.projects, external.environments, external.secrets, external.project_secret_registry";

pub(super) async fn measure(team: &Team, figures: &mut Figures) {
    let session = team.session("tidelock").await;
    let all = "SELECT count(*) FROM poll(ARRAY(SELECT 'project-' || p FROM generate_series(1, 199) p, generate_series(1, 10)),
                                         ARRAY(SELECT 'env-' || e FROM generate_series(1, 199), generate_series(1, 10) e))";
    figures.add("poll for 1,990 watched environments, in the database", &millis(median(&session, all).await), "25 ms");

    let superuser = team.database.superuser().await;
    superuser.batch_execute(EXTERNAL).await.expect("the tables can be made");
    let role = &team.operator.role;
    let grant =
        format!("GRANT USAGE ON SCHEMA external TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA external TO {role}");
    superuser.batch_execute(&grant).await.expect("they can be granted");
    let settings = ConnectSettings { schema: "external".to_owned(), ..ConnectSettings::new(&team.operator.url) };
    let reader = Reader::new(settings, None).unwrap_or_else(|why| panic!("{why}"));
    let name =
        |n: usize| SourceName { project: format!("project-{}", n / 5 + 1), environment: format!("env-{}", n % 5 + 1) };
    let sources: Vec<SourceName> = (0..100).map(name).collect();
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        reader.poll(&sources).await.unwrap_or_else(|why| panic!("{why}"));
        times.push(began.elapsed());
    }
    let time = millis(percentile(&mut times, 0.5));
    figures.add("poll for 100 environments of 500 keys in someone else's tables", &time, "250 ms");
}

async fn median(session: &Client, statement: &str) -> Duration {
    let mut times = Vec::new();
    for _ in 0..7 {
        let began = Instant::now();
        session.batch_execute(statement).await.unwrap_or_else(|why| panic!("{why:?}: {statement}"));
        times.push(began.elapsed());
    }
    percentile(&mut times, 0.5)
}
