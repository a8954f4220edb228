//! PgBouncer in transaction mode, between a test and its database.

use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::time::Duration;

use super::database::Login;
use super::os::unprivileged_user;
use super::postgres::connect;
use super::processes::{Server, Spec};
use super::{RunDir, TestDatabase, ports, tools, unique_name};

/// Sessions that all its clients share. Fewer than the clients of any test, so that settings and locks would mix.
const SESSIONS: u32 = 3;

/// A pooler that runs. Dropping it ends it.
pub(crate) struct Pooler {
    server: Option<Server>,
    /// As it is started.
    command: Command,
    from: u16,
    to: u16,
}

/// Program, name and settings.
struct Command {
    program: PathBuf,
    name: String,
    settings: String,
    /// Of somebody whom it lets in.
    url: String,
}

impl Command {
    async fn start(&self) -> Server {
        let spec = Spec {
            name: &self.name,
            program: self.program.clone(),
            arguments: vec![self.settings.clone()],
            environment: Vec::new(),
            unprivileged: true,
            dies_by: "INT",
        };
        let run = RunDir::shared().expect("the run has a folder");
        let mut server = spec.start(run).unwrap_or_else(|why| panic!("{why:#}"));
        let look = async || connect(&self.url).await.map(drop).map_err(|why| format!("{why:#}"));
        server
            .wait_until("its first answer", Duration::from_secs(20), look)
            .await
            .unwrap_or_else(|why| panic!("{why:#}"));
        server
    }
}

impl Pooler {
    /// Starts one in front of a database, for these logins. `None`, and a word about it, where this machine has no
    /// PgBouncer and none could be fetched: then what goes through a pooler is not tested.
    pub(crate) async fn before(database: &TestDatabase, logins: &[&Login]) -> Option<Self> {
        let Some(program) = tools::pgbouncer().unwrap_or_else(|why| panic!("{why:#}")) else {
            eprintln!("NOT TESTED: there is no PgBouncer; e2e/tools/pgbouncer says how it looks for one");
            return None;
        };
        let run = RunDir::shared().expect("the run has a folder");
        let name = unique_name("pgbouncer");
        let folder = run.for_unprivileged(&name).expect("the run's folder can be written");
        let (from, to) = (ports::free_port(), database.postgres().port());
        let users = logins.iter().map(|login| {
            let password = login.url.split([':', '@']).nth(2).expect("a test's URL has a password");
            format!("\"{}\" \"{password}\"\n", login.role)
        });
        let place = folder.display();
        let settings = format!(
            "[databases]\n* = host=127.0.0.1 port={to}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {from}\n\
             unix_socket_dir =\nauth_type = plain\nauth_file = {place}/users\npool_mode = transaction\n\
             default_pool_size = {SESSIONS}\n"
        );
        for (file, text) in [("users", users.collect::<String>()), ("ini", settings)] {
            fs::write(folder.join(file), text).expect("the run's folder can be written");
            if let Some(user) = unprivileged_user() {
                chown(folder.join(file), Some(user.uid), Some(user.gid)).expect("root may give files away");
            }
        }
        let url = rerouted(&database.owner.url, from, to);
        let command = Command { program, name, settings: format!("{place}/ini"), url };
        Some(Self { server: Some(command.start().await), command, from, to })
    }

    /// Ends it, and every connection through it, until it is started again.
    pub(crate) fn stop(&mut self) {
        self.server = None;
    }

    /// Starts it again, in the same place.
    pub(crate) async fn start_again(&mut self) {
        self.server = Some(self.command.start().await);
    }

    /// The URL of a login that leads through it.
    pub(crate) fn url(&self, login: &Login) -> String {
        rerouted(&login.url, self.from, self.to)
    }
}

fn rerouted(url: &str, from: u16, to: u16) -> String {
    url.replace(&format!(":{to}/"), &format!(":{from}/"))
}
