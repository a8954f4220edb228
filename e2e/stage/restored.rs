//! A backup, and the server that it is restored into.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::process::Command;
use tokio_postgres::Client;

use super::Team;
use crate::harness::Postgres;
use crate::harness::database::Login;
use crate::harness::postgres::connect;

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
    /// Of all logins: passwords are in no backup.
    password: String,
}

/// The database that it is restored into.
const DATABASE: &str = "registry";

impl Restored {
    /// Restores it as the server's superuser.
    pub(crate) async fn by_superuser(postgres: Arc<Postgres>, dump: &Path) -> Self {
        let restored = Self::with_roles(postgres, dump).await;
        restored.run("pg_restore", &["--exit-on-error", "--single-transaction", "--dbname", DATABASE], dump).await;
        restored
    }

    /// The roles, and an empty database of the owner's.
    pub(crate) async fn with_roles(postgres: Arc<Postgres>, dump: &Path) -> Self {
        let restored = Self { postgres, password: uuid::Uuid::new_v4().simple().to_string() };
        let roles = PathBuf::from(format!("{}.roles.sql", dump.display()));
        restored.run("psql", &["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file"], &roles).await;
        let admin = restored.postgres.superuser("postgres").await.unwrap_or_else(|why| panic!("{why:#}"));
        let passwords = format!(
            "DO $$ DECLARE login record; BEGIN
                FOR login IN SELECT rolname FROM pg_roles WHERE rolcanlogin AND NOT rolsuper LOOP
                    EXECUTE format('ALTER ROLE %I PASSWORD %L', login.rolname, '{}');
                END LOOP; END $$",
            restored.password
        );
        admin.batch_execute(&passwords).await.expect("the superuser sets passwords");
        let create = format!("CREATE DATABASE {DATABASE} OWNER team_owner TEMPLATE template0 ENCODING 'UTF8'");
        admin.batch_execute(&create).await.expect("the superuser makes a database");
        restored
    }

    async fn run(&self, program: &str, arguments: &[&str], file: &Path) {
        let mut command = self.postgres.program(program, "postgres");
        command.args(arguments).arg(file);
        succeed(command).await;
    }

    /// The same role as one of the team's, here.
    pub(crate) fn login(&self, of: &Login) -> Login {
        Login { role: of.role.clone(), url: self.postgres.url(&of.role, &self.password, DATABASE) }
    }

    /// A program of this server's PostgreSQL, as a role of the team's.
    pub(crate) fn program_as(&self, program: &str, role: &Login) -> Command {
        self.postgres.program_as(program, &role.role, &self.password, DATABASE)
    }

    /// The superuser, with the registry's tables in its path.
    pub(crate) async fn superuser(&self) -> Client {
        let session = connect(&self.postgres.superuser_url(DATABASE)).await.unwrap_or_else(|why| panic!("{why:#}"));
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
