//! A backup, and the server that it is restored into.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::process::Command;
use tokio_postgres::Client;

use super::Team;
use crate::harness::database::Login;
use crate::harness::postgres::connect;
use crate::harness::{Postgres, TestDatabase};

impl Team {
    /// A login that may do nothing but back up.
    pub(crate) async fn backup_login(&self) -> Login {
        let login = self.database.login("backup").await;
        let owner = self.session("owner").await;
        owner.batch_execute(&format!("GRANT tidelock_backup TO {}", login.role)).await.expect("the owner grants");
        login
    }

    /// Runs `tidelock registry backup` with the programs of the team's own server; answers the file.
    pub(crate) async fn back_up(&self, login: &Login, name: &str) -> PathBuf {
        let file = self.home().join(name);
        let programs = self.database.postgres().bin().display().to_string();
        self.done(login, &["registry", "backup", &file.display().to_string(), "--pg-bin", &programs]).await;
        file
    }
}

/// A server that had nothing, with a registry that was restored into it as docs/operations.md says.
pub(crate) struct Restored {
    pub(crate) postgres: Arc<Postgres>,
    database: String,
    /// Of all logins: passwords are in no backup. None where they have those that they had before.
    password: Option<String>,
}

impl Restored {
    /// Restores it as the server's superuser.
    pub(crate) async fn by_superuser(postgres: Arc<Postgres>, dump: &Path) -> Self {
        let restored = Self::with_roles(postgres, dump).await;
        restored.run("pg_restore", &["--exit-on-error", "--single-transaction", "--dbname", "registry"], dump).await;
        restored
    }

    /// The roles, and an empty database of the owner's.
    pub(crate) async fn with_roles(postgres: Arc<Postgres>, dump: &Path) -> Self {
        let password = uuid::Uuid::new_v4().simple().to_string();
        let restored = Self { postgres, database: "registry".to_owned(), password: Some(password.clone()) };
        let roles = PathBuf::from(format!("{}.roles.sql", dump.display()));
        restored.run("psql", &["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file"], &roles).await;
        let admin = restored.postgres.superuser("postgres").await.unwrap_or_else(|why| panic!("{why:#}"));
        let passwords = format!(
            "DO $$ DECLARE login record; BEGIN
                FOR login IN SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper LOOP
                    EXECUTE format('ALTER ROLE %I PASSWORD %L', login.rolname, '{password}');
                END LOOP; END $$"
        );
        admin.batch_execute(&passwords).await.expect("the superuser sets passwords");
        let create = "CREATE DATABASE registry OWNER team_owner TEMPLATE template0 ENCODING 'UTF8'";
        admin.batch_execute(create).await.expect("the superuser makes a database");
        restored
    }

    /// A physical copy of a database's server: everything is called as it was.
    pub(crate) fn beside(postgres: Arc<Postgres>, of: &TestDatabase) -> Self {
        Self { postgres, database: of.name.clone(), password: None }
    }

    /// The owner says that the logins here are the users' that they are called after: on another server nobody is anybody.
    pub(crate) async fn confirm_logins(&self, team: &Team) {
        team.run(&self.login(&team.ana), &["status"]).await.expect(5);
        let confirm = ["user", "confirm", "--all", "--reason", "moved to this server"];
        team.done(&self.login(&team.database.owner), &confirm).await;
    }

    async fn run(&self, program: &str, arguments: &[&str], file: &Path) {
        let mut command = self.postgres.program(program, "postgres");
        command.args(arguments).arg(file);
        succeed(command).await;
    }

    /// The same role as one of the team's, here.
    pub(crate) fn login(&self, of: &Login) -> Login {
        let (before, _) = of.url.split_once('@').expect("a URL with a password");
        let kept = before.rsplit_once(':').map_or_else(String::new, |(_, password)| password.to_owned());
        let password = self.password.clone().unwrap_or(kept);
        Login { role: of.role.clone(), url: self.postgres.url(&of.role, &password, &self.database) }
    }

    /// A program of this server's PostgreSQL, as a role of the team's.
    pub(crate) fn program_as(&self, program: &str, role: &Login) -> Command {
        self.postgres.program_as(program, &role.role, self.password.as_deref().unwrap_or_default(), &self.database)
    }

    /// The superuser, with the registry's tables in its path.
    pub(crate) async fn superuser(&self) -> Client {
        let session =
            connect(&self.postgres.superuser_url(&self.database)).await.unwrap_or_else(|why| panic!("{why:#}"));
        session.batch_execute("SET search_path = tidelock, tidelock_api").await.expect("a search path can be set");
        session
    }
}

/// Runs a program to an end that has to be a good one; answers its standard output.
pub(crate) async fn succeed(mut command: Command) -> String {
    let output = command.output().await.unwrap_or_else(|why| panic!("{command:?}: {why}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {}: {said}", command.as_std().get_program().display(), output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}
