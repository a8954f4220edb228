//! A team with a project: what nearly every test of the command starts from.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;
use tidelock::registry::{ConnectSettings, migrate};

use crate::harness::TestDatabase;
use crate::harness::database::{Login, Template};

/// What a command said and how it ended.
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) bytes: Vec<u8>,
    pub(crate) out: String,
    pub(crate) err: String,
    told: String,
}

impl Said {
    /// The same, where it ended with that code.
    #[track_caller]
    pub(crate) fn with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\nstdout: {}\nstderr: {}", self.told, self.out, self.err);
        self
    }

    /// The same, where it is done.
    #[track_caller]
    pub(crate) fn done(self) -> Self {
        self.with(0)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|why| panic!("{}: {why}: {}", self.told, self.out))
    }
}

/// The project `shop` with `dev`, `staging` and `production`; ana is its ADMIN, ben a DEVELOPER, vic a VIEWER, and
/// mallory a user of the registry who is no member.
pub(crate) struct Team {
    pub(crate) database: TestDatabase,
    pub(crate) ana: Login,
    pub(crate) ben: Login,
    pub(crate) vic: Login,
    pub(crate) mallory: Login,
    folder: TempDir,
}

/// An empty registry.
pub(crate) async fn registry() -> Template {
    Template::made_by("registry", async |url| {
        migrate(&ConnectSettings::new(url)).await?;
        Ok(())
    })
    .await
    .unwrap()
}

impl Team {
    pub(crate) async fn at_work(what: &str) -> Self {
        let database = TestDatabase::from(&registry().await, what).await;
        let folder = tempfile::tempdir().unwrap();
        let [ana, ben, vic, mallory] = [
            database.login("ana").await,
            database.login("ben").await,
            database.login("vic").await,
            database.login("mallory").await,
        ];
        let team = Self { database, ana, ben, vic, mallory, folder };
        for (name, login) in [("ana", &team.ana), ("ben", &team.ben), ("vic", &team.vic), ("mallory", &team.mallory)] {
            team.run(&team.database.owner, &["user", "add", name, "--db-role", &login.role]).done();
        }
        team.run(&team.ana, &["keyring", "init"]).done();
        team.run(&team.ana, &["project", "create", "shop"]).done();
        team.run(&team.ana, &["environment", "create", "dev"]).done();
        team.run(&team.ana, &["environment", "create", "staging"]).done();
        team.run(&team.ana, &["environment", "create", "production", "--production"]).done();
        team.run(&team.ana, &["member", "add", "ben", "--role", "developer"]).done();
        team.run(&team.ana, &["member", "add", "vic", "--role", "viewer"]).done();
        team
    }

    /// Where commands run.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn keyring(&self) -> PathBuf {
        self.folder.path().join("keyring")
    }

    /// A command of somebody's, with nothing of this process's environment.
    pub(crate) fn command(&self, who: &Login, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidelock"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .env("HOME", self.folder.path())
            .env("TIDELOCK_DATABASE_URL", &who.url)
            .env("TIDELOCK_KEYRING", self.keyring())
            .env("TIDELOCK_PROJECT", "shop")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, who: &Login, arguments: &[&str]) -> Said {
        self.run_with(who, arguments, b"")
    }

    /// Runs it with something on standard input.
    pub(crate) fn run_with(&self, who: &Login, arguments: &[&str], input: &[u8]) -> Said {
        end(self.command(who, arguments), input)
    }

    pub(crate) fn set(&self, who: &Login, key: &str, environment: &str, value: &str) -> Said {
        self.run_with(who, &["secret", "set", key, "-e", environment], value.as_bytes())
    }

    pub(crate) fn follow(&self, who: &Login, key: &str, environment: &str, value: &str) -> Said {
        self.run_with(who, &["secret", "set", key, "-e", environment, "--follow"], value.as_bytes())
    }

    pub(crate) fn get(&self, who: &Login, key: &str, environment: &str) -> Said {
        self.run(who, &["secret", "get", key, "-e", environment])
    }

    /// The state of a key in dev, staging and production.
    pub(crate) fn states(&self, key: &str) -> [String; 3] {
        let said = self.run(&self.ana, &["status", key, "-o", "json"]).json();
        ["dev", "staging", "production"].map(|environment| {
            let found = said.as_array().unwrap().iter().find(|state| state["environment"] == environment);
            found.map(|state| state["state"].as_str().unwrap().to_owned()).unwrap_or_default()
        })
    }

    /// How many transactions have changed the project.
    pub(crate) fn revision(&self) -> i64 {
        self.run(&self.ana, &["project", "list", "-o", "json"]).done().json()[0]["revision"].as_i64().unwrap()
    }
}

/// Starts a command, feeds it and waits for its end.
pub(crate) fn end(mut command: Command, input: &[u8]) -> Said {
    let told = format!("{:?}", command.get_args().collect::<Vec<_>>());
    let mut child = command.spawn().unwrap();
    feed(&mut child, input);
    said(told, child.wait_with_output().unwrap())
}

/// Gives a command its standard input, to the end. One that ended without reading it has not failed thereby.
pub(crate) fn feed(child: &mut Child, input: &[u8]) {
    let _ = child.stdin.take().unwrap().write_all(input);
}

pub(crate) fn said(told: String, output: Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        bytes: output.stdout,
        told,
    }
}
