//! People with logins of their own, the registry that they share, and the command that they use.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use tempfile::TempDir;
use tidelock::registry::{ConnectSettings, migrate};
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio_postgres::Client;

use crate::harness::database::{Login, Template};
use crate::harness::{Postgres, TestDatabase};

/// The team of a project `shop`.
pub(crate) struct Team {
    /// Its database.
    pub(crate) database: TestDatabase,
    /// ADMIN of the project.
    pub(crate) ana: Login,
    /// DEVELOPER.
    pub(crate) bob: Login,
    /// VIEWER.
    pub(crate) vic: Login,
    /// A user of the registry, and no member.
    pub(crate) eve: Login,
    /// The operator: a service, ADMIN, read-only.
    pub(crate) operator: Login,
    home: TempDir,
}

/// How a command ended and what it said.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit code.
    pub(crate) code: i32,
    /// What it answered, as it is.
    pub(crate) bytes: Vec<u8>,
    /// What it answered, as text.
    pub(crate) stdout: String,
    /// What else it said.
    pub(crate) stderr: String,
    told: String,
}

impl Finished {
    /// Itself, if the code is the one expected.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\nstdout: {}\nstderr: {}", self.told, self.stdout, self.stderr);
        self
    }

    /// What it answered to `--output json`.
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|why| panic!("{}: {why}: {}", self.told, self.stdout))
    }
}

/// A command that runs, and waits for its standard input.
pub(crate) struct Running {
    child: Child,
    told: String,
}

impl Running {
    /// Starts one; it ends with the test.
    pub(crate) fn start(mut command: Command) -> Self {
        let told = format!("{:?}", command.as_std().get_args().collect::<Vec<_>>());
        let child = command.spawn().unwrap_or_else(|why| panic!("starting {}: {why}", program().display()));
        Self { child, told }
    }

    /// Gives it its standard input, to the end, and waits for its own.
    pub(crate) async fn end(mut self, input: &[u8]) -> Finished {
        if let Some(mut stdin) = self.child.stdin.take() {
            // One that reads nothing may be gone already, and has not failed thereby.
            let _ = stdin.write_all(input).await;
        }
        let output = self.child.wait_with_output().await.unwrap_or_else(|why| panic!("{}: {why}", self.told));
        Finished {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            bytes: output.stdout,
            told: self.told,
        }
    }
}

impl Team {
    /// A registry with the people of a team, and nothing else.
    pub(crate) async fn new(what: &str) -> Self {
        let template = Template::made_by("registry", async |owner| {
            migrate(&ConnectSettings::new(owner)).await.map(|_| ()).map_err(Into::into)
        });
        let template = template.await.unwrap_or_else(|why| panic!("migrating the template: {why:#}"));
        Self::of(TestDatabase::from(&template, what).await).await
    }

    /// A team in a database that has the registry's tables.
    pub(crate) async fn of(database: TestDatabase) -> Self {
        let [ana, bob, vic, eve, operator] = [
            database.login("ana").await,
            database.login("bob").await,
            database.login("vic").await,
            database.login("eve").await,
            database.login("operator").await,
        ];
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let team = Self { database, ana, bob, vic, eve, operator, home };
        for (name, login) in [("ana", &team.ana), ("bob", &team.bob), ("vic", &team.vic), ("eve", &team.eve)] {
            team.done(&team.database.owner, &["user", "add", name, "--db-role", &login.role]).await;
        }
        team.done(&team.database.owner, &["user", "add", "tidelock", "--db-role", &team.operator.role, "--service"])
            .await;
        team.done(&team.ana, &["keyring", "init"]).await;
        team
    }

    /// A team with a project `shop` and its environments `dev`, `staging` and `production`.
    pub(crate) async fn with_shop(what: &str) -> Self {
        Self::new(what).await.open_shop().await
    }

    /// As [`Team::with_shop`], on a server of one's own.
    pub(crate) async fn with_shop_on(postgres: Arc<Postgres>, what: &str) -> Self {
        let database = TestDatabase::empty_on(postgres, what).await;
        migrate(&ConnectSettings::new(&database.owner.url)).await.unwrap_or_else(|why| panic!("migrating: {why}"));
        Self::of(database).await.open_shop().await
    }

    async fn open_shop(self) -> Self {
        let team = self;
        team.done(&team.ana, &["project", "create", "shop"]).await;
        for environment in [&["dev"][..], &["staging"], &["production", "--production"]] {
            team.done(&team.ana, &[&["environment", "create"], environment].concat()).await;
        }
        for (name, role) in [("bob", "developer"), ("vic", "viewer")] {
            team.done(&team.ana, &["member", "add", name, "--role", role]).await;
        }
        team.done(&team.ana, &["member", "add", "tidelock", "--role", "admin", "--read-only"]).await;
        team
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
        self.run_with(&self.ana, &["secret", "set", key, "-e", environment, "--raw"], value.as_bytes()).await.expect(0);
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
        let said = self.run(&self.ana, &["status", key, "-o", "json"]).await.json();
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

    /// The superuser's session, with the registry's tables in its path and its triggers asleep: for damage that no login
    /// could do.
    pub(crate) async fn superuser_without_triggers(&self) -> Client {
        let client = self.database.superuser().await;
        client
            .batch_execute(
                "SET search_path = tidelock, pg_catalog;
                 DO $$ DECLARE guarded record; BEGIN
                    FOR guarded IN SELECT c.oid::regclass AS name FROM pg_class c
                        WHERE c.relnamespace = 'tidelock'::regnamespace AND c.relkind = 'r' AND c.relhastriggers LOOP
                        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER USER', guarded.name);
                    END LOOP; END $$",
            )
            .await
            .expect("the superuser may put triggers to sleep");
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

    /// Wakes the triggers that [`Team::superuser_without_triggers`] put to sleep.
    pub(crate) async fn wake_triggers(&self) {
        let enable = "DO $$ DECLARE guarded record; BEGIN
                    FOR guarded IN SELECT c.oid::regclass AS name, t.tgname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
                        WHERE c.relnamespace = 'tidelock'::regnamespace AND NOT t.tgisinternal LOOP
                        EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', guarded.name, guarded.tgname);
                    END LOOP; END $$";
        self.database.superuser().await.batch_execute(enable).await.expect("the superuser may wake triggers");
    }
}

/// The command under test: the one that cargo built for this run, or the one that the demo was told of.
pub(crate) fn program() -> PathBuf {
    match (std::env::var_os("TIDELOCK_BIN"), option_env!("CARGO_BIN_EXE_tidelock")) {
        (Some(told), _) => PathBuf::from(told),
        (None, Some(built)) => PathBuf::from(built),
        (None, None) => PathBuf::from("tidelock"),
    }
}
