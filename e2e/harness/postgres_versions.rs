//! PostgreSQL's own programs, and a server of another version.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Result, ensure};
use tokio::process::Command;

use super::postgres::{SUPERUSER, done};
use super::{Postgres, tools};

/// What logical replication needs, and a clock of its own for nothing else: numbers of transactions are given out by what
/// a test does.
const PUBLISHING: &[(&str, &str)] = &[("wal_level", "logical"), ("autovacuum", "off")];

impl Postgres {
    /// As [`Postgres::start`], one that rows can be replicated from, row by row, and where nothing but the test's own
    /// statements takes the number of a transaction.
    pub(crate) async fn publishing(name: &'static str) -> Arc<Self> {
        Self::started(move || Self::start_from(tools::postgres_bin()?, name, PUBLISHING)).await
    }

    /// As [`Postgres::publishing`], of a newer version than the tests' own. None, and NOT TESTED with the reason, where there
    /// is none to be had.
    pub(crate) async fn newer(name: &'static str) -> Option<Arc<Self>> {
        let bin = Self::newer_bin().await?;
        Some(Self::started(move || Self::start_from(bin, name, PUBLISHING)).await)
    }

    async fn newer_bin() -> Option<PathBuf> {
        let looked = tokio::task::spawn_blocking(|| {
            let (own, packaged) = (tools::postgres_bin()?, tools::packaged_postgres_bin()?);
            let (ours, theirs) = (major(&own)?, major(&packaged)?);
            ensure!(theirs > ours, "the newest PostgreSQL to be had is {theirs}, and the tests run on {ours}");
            Ok(packaged)
        });
        let looked = looked.await.expect("looking for PostgreSQL does not panic");
        looked.inspect_err(|why| println!("NOT TESTED with a newer PostgreSQL: {why:#}")).ok()
    }

    /// What `pg_upgrade` makes of a server, which is stopped for it: one of a newer version with the same data. None, and NOT
    /// TESTED with the reason, where there is no newer one to be had.
    pub(crate) async fn upgraded(old: Arc<Self>, name: &'static str) -> Option<Arc<Self>> {
        let bin = Self::newer_bin().await?;
        Some(Self::started(move || old.upgrade(bin, name)).await)
    }

    fn upgrade(&self, bin: PathBuf, name: &str) -> Result<Arc<Self>> {
        self.stop()?;
        let (mut new, folder) = Self::stopped(bin, name, PUBLISHING)?;
        // The passwords come with the roles, the superuser's too, and it takes one to put them there.
        self.password.clone_into(&mut new.password);
        // From PostgreSQL 18 on, servers have checksums where nothing else is said, and both have to be alike.
        new.make_data(&folder, if major(&new.bin)? >= 18 { &["--no-data-checksums"] } else { &[] })?;
        let argument = |name: &str, path: &Path| format!("--{name}={}", path.display());
        let mut command = new.unprivileged("pg_upgrade");
        command
            .current_dir(&folder)
            .env("PGPASSWORD", &self.password)
            .args([argument("old-bindir", &self.bin), argument("new-bindir", &new.bin)])
            .args([argument("old-datadir", &self.data), argument("new-datadir", &new.data)])
            .args([argument("socketdir", &folder), format!("--username={SUPERUSER}"), "--no-sync".to_owned()])
            .args([format!("--old-port={}", self.port()), format!("--new-port={}", new.port())]);
        done("pg_upgrade", &mut command)?;
        new.start_again()?;
        Ok(Arc::new(new))
    }

    async fn started(start: impl FnOnce() -> Result<Arc<Self>> + Send + 'static) -> Arc<Self> {
        let started = tokio::task::spawn_blocking(start).await.expect("starting a server does not panic");
        started.unwrap_or_else(|why| panic!("PostgreSQL did not start: {why:#}"))
    }

    /// The folder of this server's programs.
    pub(crate) fn bin(&self) -> &Path {
        &self.bin
    }

    /// Whether the PostgreSQL at hand has the programs that a dump and its restoring take; says NOT TESTED where not.
    pub(crate) fn has_dump_programs(&self) -> bool {
        let missing: Vec<&str> =
            ["pg_dump", "pg_restore", "psql"].into_iter().filter(|program| !self.bin.join(program).exists()).collect();
        if !missing.is_empty() {
            println!("NOT TESTED: {} has no {}", self.bin.display(), missing.join(", "));
        }
        missing.is_empty()
    }

    /// A program of this PostgreSQL, as the superuser in a database.
    pub(crate) fn program(&self, program: &str, database: &str) -> Command {
        self.program_as(program, SUPERUSER, &self.password, database)
    }

    /// As [`Postgres::program`], as another login.
    pub(crate) fn program_as(&self, program: &str, role: &str, password: &str, database: &str) -> Command {
        let mut command = Command::new(self.bin.join(program));
        command
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port().to_string())
            .env("PGUSER", role)
            .env("PGPASSWORD", password)
            .env("PGDATABASE", database)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }
}

/// The major version of the PostgreSQL in a folder.
fn major(bin: &Path) -> Result<u32> {
    let told = std::process::Command::new(bin.join("postgres")).arg("--version").output()?;
    let told = String::from_utf8(told.stdout)?;
    let number: String = told.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
    Ok(number.parse()?)
}
