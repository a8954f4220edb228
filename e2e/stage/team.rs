//! People with logins of their own, the registry that they share, and the command that they use.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use tempfile::TempDir;
use tokio::process::Command;
use tokio_postgres::Client;

use super::command::{Finished, Running, program};
use super::team_builder::TeamBuilder;
use crate::harness::TestDatabase;
use crate::harness::database::Login;

/// The team of a project `shop`, made by a [`TeamBuilder`].
pub(crate) struct Team {
    pub(crate) database: Arc<TestDatabase>,
    /// ADMIN of the project.
    pub(crate) ana: Login,
    /// DEVELOPER.
    pub(crate) bob: Login,
    /// VIEWER.
    pub(crate) vic: Login,
    /// A user of the registry, and no member.
    pub(crate) eve: Login,
    /// The operator: a service called `tidelock`, ADMIN, read-only.
    pub(crate) operator: Login,
    /// Where commands run, and the keyring is.
    pub(super) home: TempDir,
}

impl Team {
    /// A team of a test that calls itself `what`; see [`TeamBuilder`].
    pub(crate) fn builder(what: &str) -> TeamBuilder {
        TeamBuilder::new(what)
    }

    /// What most tests start from: all that [`TeamBuilder`] makes, on the server that the run shares.
    pub(crate) async fn with_shop(what: &str) -> Self {
        Self::builder(what).build().await
    }

    /// The login of one of the team, by the name that the registry has for them.
    pub(crate) fn login(&self, who: &str) -> &Login {
        match who {
            "ana" => &self.ana,
            "bob" => &self.bob,
            "vic" => &self.vic,
            "eve" => &self.eve,
            "tidelock" => &self.operator,
            "owner" => &self.database.owner,
            other => panic!("{other} is none of the team"),
        }
    }

    /// A session of one of the team, with the registry's schema in its path.
    pub(crate) async fn session(&self, who: &str) -> Client {
        // Connecting is a large future, and a test makes several of them at once.
        Box::pin(self.login(who).session()).await
    }

    /// The keyring that all of the team hold.
    pub(crate) fn keyring(&self) -> PathBuf {
        self.home.path().join("keyring")
    }

    /// A folder of the team's own, where commands run.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs `tidelock` as somebody, with nothing on its standard input.
    pub(crate) async fn run(&self, who: &Login, arguments: &[&str]) -> Finished {
        self.run_with(who, arguments, b"").await
    }

    /// Runs `tidelock` as somebody.
    pub(crate) async fn run_with(&self, who: &Login, arguments: &[&str], input: &[u8]) -> Finished {
        Running::start(self.command(who, arguments)).end(input).await
    }

    /// A `tidelock` of somebody's, with nothing of this process's environment.
    pub(crate) fn command(&self, who: &Login, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("TIDELOCK_DATABASE_URL", &who.url)
            .env("TIDELOCK_KEYRING", self.keyring())
            .env("TIDELOCK_PROJECT", "shop")
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// Runs `tidelock` as somebody and insists that it is done.
    pub(crate) async fn done(&self, who: &Login, arguments: &[&str]) -> Finished {
        self.run(who, arguments).await.expect(0)
    }

    /// Ana sets a value.
    pub(crate) async fn set(&self, environment: &str, key: &str, value: &str) {
        let allowed = format!("--allow-name={key}");
        let arguments = ["secret", "set", key, "-e", environment, "--raw", &allowed];
        self.run_with(&self.ana, &arguments, value.as_bytes()).await.expect(0);
    }

    /// Somebody sets a value, a trailing newline aside.
    pub(crate) async fn set_as(&self, who: &Login, key: &str, environment: &str, value: &str) -> Finished {
        self.run_with(who, &["secret", "set", key, "-e", environment], value.as_bytes()).await
    }

    /// As [`Team::set_as`], to catch up only.
    pub(crate) async fn follow_as(&self, who: &Login, key: &str, environment: &str, value: &str) -> Finished {
        self.run_with(who, &["secret", "set", key, "-e", environment, "--follow"], value.as_bytes()).await
    }

    /// Somebody reads a value.
    pub(crate) async fn get_as(&self, who: &Login, key: &str, environment: &str) -> Finished {
        self.run(who, &["secret", "get", key, "-e", environment]).await
    }

    /// The state of a key in dev, staging and production.
    pub(crate) async fn states(&self, key: &str) -> [String; 3] {
        let allowed = format!("--allow-name={key}");
        let said = self.run(&self.ana, &["status", key, "-o", "json", &allowed]).await.json();
        ["dev", "staging", "production"].map(|environment| {
            let found = said.as_array().into_iter().flatten().find(|state| state["environment"] == environment);
            found.and_then(|state| state["state"].as_str()).unwrap_or_default().to_owned()
        })
    }

    /// How many transactions have changed the project.
    pub(crate) async fn revision(&self) -> i64 {
        let projects = self.done(&self.ana, &["project", "list", "-o", "json"]).await.json();
        projects[0]["revision"].as_i64().expect("a project has a revision")
    }

    /// Ana deletes a value.
    pub(crate) async fn remove(&self, environment: &str, key: &str) {
        self.done(&self.ana, &["secret", "rm", key, "-e", environment, "--reason", "no longer needed"]).await;
    }

    /// The superuser's session, with the registry's tables in its path and its triggers disabled: for damage that no login
    /// could do.
    pub(crate) async fn superuser_without_triggers(&self) -> Client {
        let client = self.database.superuser().await;
        client
            .batch_execute(
                "SET search_path = tidelock, tidelock_api, pg_catalog;
                 DO $$ DECLARE guarded record; BEGIN
                    FOR guarded IN SELECT c.oid::regclass AS name FROM pg_class c
                        WHERE c.relnamespace = 'tidelock'::regnamespace AND c.relkind = 'r' AND c.relhastriggers LOOP
                        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', guarded.name);
                    END LOOP; END $$",
            )
            .await
            .expect("the superuser may disable triggers");
        client
    }

    /// Every row of every table of the registry, as text.
    pub(crate) async fn dump(&self) -> String {
        let client = self.database.superuser().await;
        let tables = "SELECT c.oid::regclass::text FROM pg_class c
            WHERE c.relnamespace IN ('tidelock'::regnamespace, 'vault'::regnamespace) AND c.relkind = 'r'";
        let mut dump = String::new();
        for table in client.query(tables, &[]).await.expect("the catalog can be read") {
            let table: String = table.get(0);
            let rows = client.query(&format!("SELECT t::text FROM {table} t"), &[]).await.expect("a table can be read");
            for row in rows {
                let _ = writeln!(dump, "{table} {}", row.get::<_, String>(0));
            }
        }
        dump
    }

    /// Enables the triggers that [`Team::superuser_without_triggers`] disabled.
    pub(crate) async fn enable_triggers(&self) {
        let enable = "DO $$ DECLARE guarded record; BEGIN
                    FOR guarded IN SELECT c.oid::regclass AS name, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                        WHERE c.relnamespace = 'tidelock'::regnamespace AND NOT t.tgisinternal LOOP
                        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', guarded.name, guarded.tgname);
                    END LOOP; END $$";
        self.database.superuser().await.batch_execute(enable).await.expect("the superuser may enable triggers");
    }
}
