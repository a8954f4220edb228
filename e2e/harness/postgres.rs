//! A PostgreSQL server on loopback.
//!
//! Logins need their passwords (SCRAM), so that nobody is somebody else by accident. The superuser arranges databases and
//! logins and looks at what the server knows; what is tested never runs as it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tokio_postgres::{Client, NoTls};

use super::os::unprivileged_user;
use super::processes::{Server, Spec};
use super::{RunDir, ports, tools};

/// The superuser's login.
pub(super) const SUPERUSER: &str = "harness";

/// The login that owns every database.
pub(crate) const OWNER: &str = "team_owner";

/// What differs from the defaults. `synchronous_commit` stays on: the registry insists on it.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    // Many tests at once, each with pools of its own.
    ("max_connections", "500"),
    // Nothing here has to survive a power cut; a crash of the server alone loses nothing all the same.
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("max_wal_size", "4GB"),
    ("autovacuum_naptime", "10s"),
    // A test looks for values in this log: it has to hold every statement, with its parameters.
    ("log_statement", "all"),
    ("log_line_prefix", "%m [%p] %u@%d "),
    ("log_timezone", "UTC"),
];

/// Runs a program to its end, which has to be a good one.
pub(super) fn done(program: &str, command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("running {program}"))?;
    ensure!(
        output.status.success(),
        "{program} failed ({}):\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A server. It ends when this is dropped, or with the process.
pub(crate) struct Postgres {
    pub(super) bin: PathBuf,
    pub(super) data: PathBuf,
    name: String,
    port: u16,
    pub(super) password: String,
    /// What differs besides [`SETTINGS`].
    settings: &'static [(&'static str, &'static str)],
    run: &'static RunDir,
    /// None while it is stopped.
    server: Mutex<Option<Server>>,
    /// The password of [`Postgres::owner`], once there is one.
    owner: tokio::sync::OnceCell<String>,
}

impl Postgres {
    /// The one that all tests of this process share, started by the first that asks. It is not to be stopped: who wants
    /// to stop one has [`Postgres::start`].
    ///
    /// # Panics
    ///
    /// Where it cannot be started; every test that asks is told the same reason.
    pub(crate) async fn shared() -> Arc<Self> {
        static SHARED: OnceLock<Result<Arc<Postgres>, String>> = OnceLock::new();
        // Starting blocks for seconds, and must not stop when the test that was first gives up.
        let started = tokio::task::spawn_blocking(|| {
            SHARED.get_or_init(|| Self::start("postgres").map_err(|why| format!("{why:#}"))).clone()
        });
        match started.await {
            Ok(Ok(postgres)) => postgres,
            Ok(Err(why)) => panic!("PostgreSQL did not start: {why}"),
            Err(why) => panic!("PostgreSQL did not start: {why}"),
        }
    }

    /// Makes and starts a server, with its files in the folder `name` of the run. Blocks until it answers.
    pub(crate) fn start(name: &str) -> Result<Arc<Self>> {
        Self::start_from(tools::postgres_bin()?, name, &[])
    }

    /// As [`Postgres::start`], of the programs in a folder and with settings of its own.
    pub(super) fn start_from(
        bin: PathBuf,
        name: &str,
        settings: &'static [(&'static str, &'static str)],
    ) -> Result<Arc<Self>> {
        let (postgres, folder) = Self::stopped(bin, name, settings)?;
        postgres.make_data(&folder, &[])?;
        postgres.start_again()?;
        Ok(Arc::new(postgres))
    }

    /// One whose data are to be made yet, and the folder for them.
    pub(super) fn stopped(
        bin: PathBuf,
        name: &str,
        settings: &'static [(&'static str, &'static str)],
    ) -> Result<(Self, PathBuf)> {
        let run = RunDir::shared().map_err(|why| anyhow!(why))?;
        let folder = run.for_unprivileged(name)?;
        let postgres = Self {
            bin,
            settings,
            data: folder.join("data"),
            name: name.to_owned(),
            port: ports::free_port(),
            password: uuid::Uuid::new_v4().simple().to_string(),
            run,
            server: Mutex::default(),
            owner: tokio::sync::OnceCell::new(),
        };
        Ok((postgres, folder))
    }

    /// Makes and starts a hot standby of this server, which has the same logins and passwords. Blocks until it answers.
    pub(crate) fn standby(&self, name: &str) -> Result<Arc<Self>> {
        let folder = self.run.for_unprivileged(name)?;
        let standby = Self {
            bin: self.bin.clone(),
            settings: self.settings,
            data: folder.join("data"),
            name: name.to_owned(),
            port: ports::free_port(),
            password: self.password.clone(),
            run: self.run,
            server: Mutex::default(),
            owner: tokio::sync::OnceCell::new(),
        };
        let primary = format!("host=127.0.0.1 port={} user={SUPERUSER} password={}", self.port, self.password);
        let mut command = self.unprivileged("pg_basebackup");
        command
            .arg(format!("--pgdata={}", standby.data.display()))
            .args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"])
            .args(["--dbname", &primary]);
        done("pg_basebackup", &mut command)?;
        standby.start_again()?;
        Ok(Arc::new(standby))
    }

    /// A program of this PostgreSQL, as the user that servers run as.
    pub(super) fn unprivileged(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = match unprivileged_user() {
            Some(user) => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--reuid", &user.uid.to_string()])
                    .args(["--regid", &user.gid.to_string(), "--clear-groups", "--"])
                    .arg(program);
                command
            }
            None => Command::new(program),
        };
        command.stdin(Stdio::null()).current_dir("/");
        command
    }

    pub(super) fn make_data(&self, folder: &Path, options: &[&str]) -> Result<()> {
        let password = folder.join("password");
        fs::write(&password, &self.password)?;
        if let Some(user) = unprivileged_user() {
            std::os::unix::fs::chown(&password, Some(user.uid), Some(user.gid))?;
        }
        let mut command = self.unprivileged("initdb");
        command
            .arg(format!("--pgdata={}", self.data.display()))
            .arg(format!("--pwfile={}", password.display()))
            .args(["--username", SUPERUSER, "--auth=scram-sha-256", "--no-sync"])
            .args(options)
            // As real databases: the default collation is not that of the type `name`, so that some indexes are of no use.
            .args(["--encoding=UTF8", "--locale=C.UTF-8"]);
        let made = done("initdb", &mut command);
        fs::remove_file(&password)?;
        made
    }

    /// Starts it on the data and the port that it had. Blocks until it answers.
    pub(crate) fn start_again(&self) -> Result<()> {
        let mut arguments = vec![format!("-D{}", self.data.display()), format!("-p{}", self.port)];
        arguments.extend(SETTINGS.iter().chain(self.settings).map(|(name, value)| format!("-c{name}={value}")));
        let mut server = Spec {
            name: &self.name,
            program: self.bin.join("postgres"),
            arguments,
            environment: Vec::new(),
            unprivileged: true,
            // At once, but with its shared memory released, which SIGKILL would leave behind.
            dies_by: "QUIT",
        }
        .start(self.run)?;
        // A runtime of its own: the caller may be in one, or in none.
        let answered = std::thread::scope(|scope| {
            let server = &mut server;
            scope
                .spawn(|| {
                    tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()?
                        .block_on(self.wait_until_it_answers(server))
                })
                .join()
                .map_err(|_| anyhow!("the thread that waits for PostgreSQL panicked"))?
        });
        answered?;
        *self.lock() = Some(server);
        Ok(())
    }

    async fn wait_until_it_answers(&self, server: &mut Server) -> Result<()> {
        let url = self.superuser_url("postgres");
        let look = async || {
            let answer = tokio_postgres::connect(&url, NoTls).await;
            answer.map(drop).map_err(|why| why.to_string())
        };
        server.wait_until("its first answer", Duration::from_mins(1), look).await
    }

    /// Stops it as an administrator would (fast): sessions are ended, data is written.
    pub(crate) fn stop(&self) -> Result<()> {
        self.end("INT")
    }

    /// Ends it as a crash would; what was committed is recovered at the next start.
    pub(crate) fn crash(&self) -> Result<()> {
        self.end("QUIT")
    }

    fn end(&self, signal: &str) -> Result<()> {
        let mut server = self.lock().take().context("PostgreSQL is stopped already")?;
        server.end(signal, Duration::from_secs(30))?;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.lock().as_ref().map(Server::pid)
    }

    /// The port on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// What the server logs, all statements with their parameters among it.
    pub(crate) fn statement_log(&self) -> PathBuf {
        self.run.path().join(format!("{}.log", self.name))
    }

    /// `psql`, where the PostgreSQL at hand has one.
    pub(crate) fn psql(&self) -> Option<PathBuf> {
        Some(self.bin.join("psql")).filter(|path| path.exists())
    }

    /// The URL by which `role` reaches a database.
    pub(crate) fn url(&self, role: &str, password: &str, database: &str) -> String {
        format!("postgres://{role}:{password}@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL by which the superuser reaches a database.
    pub(crate) fn superuser_url(&self, database: &str) -> String {
        self.url(SUPERUSER, &self.password, database)
    }

    /// Makes logins that own nothing and may do nothing but connect, in one transaction. Answers each with its password.
    pub(crate) async fn make_roles<const N: usize>(&self, roles: [String; N]) -> Result<[(String, String); N]> {
        let roles = roles.map(|role| (role, uuid::Uuid::new_v4().simple().to_string()));
        let statements: Vec<String> = roles.iter().map(|(role, password)| create_role(role, "", password)).collect();
        let admin = self.superuser("postgres").await?;
        admin.batch_execute(&statements.join("; ")).await.with_context(|| format!("making {} logins", roles.len()))?;
        Ok(roles)
    }

    /// The URL by which the owner of all databases reaches one of them: a login that may make roles, as whoever runs
    /// migrations has to, and is neither superuser nor allowed to make databases.
    ///
    /// One login for all tests of a server, because a copy of a template keeps its objects' owner.
    pub(crate) async fn owner_url(&self, database: &str) -> Result<String> {
        let password = self.owner.get_or_try_init(|| self.make_owner()).await?;
        Ok(self.url(OWNER, password, database))
    }

    async fn make_owner(&self) -> Result<String> {
        let password = uuid::Uuid::new_v4().simple().to_string();
        let admin = self.superuser("postgres").await?;
        admin.batch_execute(&create_role(OWNER, "CREATEROLE", &password)).await.context("making the owner's login")?;
        Ok(password)
    }

    /// A session of the superuser in a database.
    pub(crate) async fn superuser(&self, database: &str) -> Result<Client> {
        connect(&self.superuser_url(database)).await
    }
}

fn create_role(role: &str, rights: &str, password: &str) -> String {
    format!("CREATE ROLE {role} LOGIN {rights} PASSWORD '{password}'")
}

/// A session in the runtime of the caller, which ends when the client is dropped.
pub(crate) async fn connect(url: &str) -> Result<Client> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    // It fails when the server goes; whoever uses the client is told then.
    tokio::spawn(connection);
    Ok(client)
}
