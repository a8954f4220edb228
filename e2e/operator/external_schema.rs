//! A database that has just the documented columns, filled by another program; and logins that no operator may have.

use serde_json::json;
use tidelock::core::{EnvironmentId, ProjectId, SecretId, SecretValue};
use tidelock::crypto::{Keyring, SealContext};
use tokio_postgres::Client;
use uuid::Uuid;

use crate::harness::wait_for;
use crate::stage::{SOON, Stage};

/// The tables as their document has them, owned by somebody else.
const TABLES: &str = "
    CREATE SCHEMA app;
    CREATE TABLE app.projects (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text NOT NULL);
    CREATE TABLE app.environments (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), project_id uuid REFERENCES app.projects,
        name text NOT NULL, is_production boolean NOT NULL DEFAULT false);
    CREATE UNIQUE INDEX idx_one_prod_env_per_project ON app.environments (project_id) WHERE is_production;
    CREATE TABLE app.secrets (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), project_id uuid REFERENCES app.projects,
        environment_id uuid REFERENCES app.environments, key varchar(255) NOT NULL, encrypted_value text NOT NULL,
        value_hash varchar(64), updated_at timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'), deleted_at timestamp);
    CREATE UNIQUE INDEX ON app.secrets (environment_id, key) WHERE deleted_at IS NULL;
    CREATE TABLE app.project_secret_registry (project_id uuid REFERENCES app.projects, key_name varchar(255),
        last_updated_at timestamp NOT NULL, PRIMARY KEY (project_id, key_name));
    INSERT INTO app.projects (name) VALUES ('shop');
    INSERT INTO app.environments (project_id, name) SELECT id, unnest(ARRAY['dev', 'staging']) FROM app.projects";

/// The other program: it keeps the documented rules itself.
struct OtherProgram {
    client: Client,
    keyring: Keyring,
    project: Uuid,
}

impl OtherProgram {
    async fn on(stage: &Stage) -> Self {
        let client = stage.team.database.superuser().await;
        client.batch_execute(TABLES).await.unwrap();
        let role = &stage.team.operator.role;
        client
            .batch_execute(&format!(
                "GRANT USAGE ON SCHEMA app TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA app TO {role}"
            ))
            .await
            .unwrap();
        let project = client.query_one("SELECT id FROM app.projects", &[]).await.unwrap().get(0);
        Self { client, keyring: Keyring::read(&stage.team.keyring()).unwrap_or_else(|why| panic!("{why}")), project }
    }

    async fn set(&self, environment: &str, key: &str, value: &str) {
        let found = "SELECT e.id, s.id FROM app.environments e LEFT JOIN app.secrets s
                ON s.environment_id = e.id AND s.key = $2 AND s.deleted_at IS NULL WHERE e.name = $1";
        let row = self.client.query_one(found, &[&environment, &key]).await.unwrap();
        let (environment, known): (Uuid, Option<Uuid>) = (row.get(0), row.get(1));
        let id = known.unwrap_or_else(Uuid::new_v4);
        let context = SealContext {
            project: ProjectId(self.project),
            environment: EnvironmentId(environment),
            secret: SecretId(id),
            key,
            version: 0,
        };
        let value = SecretValue::from(value.as_bytes().to_vec());
        let sealed = self.keyring.seal(&"default".parse().unwrap(), &context, &value).unwrap();
        let hash = "SELECT encode(sha256($1), 'hex')";
        let hash: String = self.client.query_one(hash, &[&value.expose()]).await.unwrap().get(0);
        let statement = if known.is_some() {
            "UPDATE app.secrets SET encrypted_value = $5, value_hash = $6, updated_at = clock_timestamp() AT TIME ZONE 'UTC'
                WHERE id = $1 AND project_id = $2 AND environment_id = $3 AND key = $4"
        } else {
            "INSERT INTO app.secrets (id, project_id, environment_id, key, encrypted_value, value_hash, updated_at)
                VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() AT TIME ZONE 'UTC')"
        };
        self.client.execute(statement, &[&id, &self.project, &environment, &key, &sealed, &hash]).await.unwrap();
        let registry =
            "INSERT INTO app.project_secret_registry SELECT project_id, key, updated_at FROM app.secrets WHERE id = $1
                ON CONFLICT (project_id, key_name) DO UPDATE SET last_updated_at = EXCLUDED.last_updated_at";
        self.client.execute(registry, &[&id]).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn documented_columns_are_enough_and_no_definition_is_ever_changed() {
    let stage = Stage::with_shop("documented").await;
    let other = OtherProgram::on(&stage).await;
    other.set("dev", "A", "1").await;
    other.set("dev", "B", "1").await;
    other.set("staging", "A", "1").await;
    stage.source("dev").await;
    stage.source("staging").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator_with(&[("TIDELOCK_SCHEMA", "app")]).await;

    stage.secret_has("app", &[("A", "1"), ("B", "1")]).await;
    stage.source_is("dev", &["Ready=True", "InSync=False(KeysStale)"]).await;
    stage.source_is("staging", &["Ready=True", "InSync=False(KeysMissing)"]).await;
    other.set("dev", "A", "2").await;
    stage.secret_has("app", &[("A", "2"), ("B", "1")]).await;
    stage.source_is("dev", &["InSync=True"]).await;

    // A live row that the registry does not know.
    other.client.batch_execute("DELETE FROM app.project_secret_registry WHERE key_name = 'B'").await.unwrap();
    let source = stage.source_is("dev", &["Ready=True", "InSync=False(KeysUnregistered)"]).await;
    assert_eq!(source.status.and_then(|status| status.keys).map(|keys| keys.unregistered), Some(1));
    stage.binding_is("app", &["Ready=True", "InSync=False(KeysUnregistered)"]).await;
    other.set("dev", "B", "1").await;
    stage.source_is("dev", &["InSync=True"]).await;

    // A soft delete proves that the key was removed; a row that is missing proves nothing.
    let delete = "UPDATE app.secrets SET deleted_at = now() AT TIME ZONE 'UTC' WHERE key = 'B'";
    other.client.batch_execute(delete).await.unwrap();
    stage.secret_has("app", &[("A", "2")]).await;
    other.set("dev", "C", "1").await;
    stage.secret_has("app", &[("A", "2"), ("C", "1")]).await;
    other.client.batch_execute("DELETE FROM app.secrets WHERE key = 'C'").await.unwrap();
    stage.binding_is("app", &["Ready=False(RemovalUnproven)"]).await;
    stage.secret_has("app", &[("A", "2"), ("C", "1")]).await;

    let role = &stage.team.operator.role;
    let log = std::fs::read_to_string(stage.team.database.postgres().statement_log()).unwrap();
    let mine: Vec<&str> = log.lines().filter(|line| line.contains(&format!("{role}@"))).collect();
    assert!(mine.len() > 10, "the statement log knows the operator");
    for word in ["CREATE ", "ALTER ", "DROP ", "INSERT ", "UPDATE ", "DELETE ", "GRANT "] {
        let found = mine.iter().find(|line| line.contains(word));
        assert!(found.is_none(), "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_level_security_of_someone_else_makes_absence_prove_nothing() {
    let stage = Stage::with_shop("their-policies").await;
    let other = OtherProgram::on(&stage).await;
    other.set("dev", "A", "1").await;
    other.set("dev", "B", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({"data": [{"secretKey": "A", "remoteRef": {"key": "A"}}]})).await;
    stage.binding("every", "dev", json!({})).await;
    let _operator = stage.operator_with(&[("TIDELOCK_SCHEMA", "app")]).await;
    stage.secret_has("every", &[("A", "1"), ("B", "1")]).await;
    let policy =
        "ALTER TABLE app.secrets ENABLE ROW LEVEL SECURITY; CREATE POLICY only_a ON app.secrets USING (key = 'A')";
    other.client.batch_execute(policy).await.unwrap();
    other.set("dev", "A", "2").await;
    stage.secret_has("app", &[("A", "2")]).await;
    stage.binding_is("every", &["Ready=False(RowsMayBeHidden)"]).await;
    stage.secret_has("every", &[("A", "1"), ("B", "1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_row_level_security_does_not_hold_is_refused() {
    let stage = Stage::with_shop("logins").await;
    let superuser = stage.team.database.superuser().await;
    let bypass = stage.team.database.login("bypass").await;
    superuser.batch_execute(&format!("ALTER ROLE {} BYPASSRLS", bypass.role)).await.unwrap();
    let cases = [
        (stage.team.database.superuser_url(), "superuser"),
        (stage.team.database.owner.url.clone(), "owns"),
        (bypass.url.clone(), "BYPASSRLS"),
    ];
    for (url, word) in cases {
        let kubeconfig = stage.cluster.plane().admin_kubeconfig().unwrap();
        let finished = tokio::process::Command::new(crate::stage::program())
            .args(["controller", "--listen", "127.0.0.1:0"])
            .env("KUBECONFIG", kubeconfig)
            .env("TIDELOCK_DATABASE_URL", &url)
            .env("TIDELOCK_KEYRING", stage.team.keyring())
            .env("TIDELOCK_CLASS", "nobody")
            .kill_on_drop(true)
            .output();
        let output = wait_for("the operator to refuse", SOON, {
            let mut finished = Some(Box::pin(finished));
            async move || match finished.take() {
                Some(running) => running.await.map_err(|why| why.to_string()),
                None => Err("asked twice".to_owned()),
            }
        })
        .await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(4), "{word}: {said}");
        assert!(said.contains(word), "{said}");
    }
}
