//! A test's own database, and the logins of a team: an owner, people, an operator.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::sync::Mutex;
use tokio_postgres::Client;

use super::postgres::{OWNER, connect};
use super::{Postgres, unique_name};

/// A login: a role of its own, and nobody's superuser.
#[derive(Clone)]
pub(crate) struct Login {
    /// The role, which no other test has: roles belong to the server, not to a database.
    pub(crate) role: String,
    /// By which it reaches the test's database; holds the password.
    pub(crate) url: String,
}

impl Login {
    /// A session of this login in the test's database.
    pub(crate) async fn connect(&self) -> Client {
        connect(&self.url).await.unwrap_or_else(|why| panic!("connecting as {}: {why:#}", self.role))
    }

    /// As [`Login::connect`], with what is this login's in its search path: the interface, and for the owner its tables first.
    pub(crate) async fn session(&self) -> Client {
        let session = self.connect().await;
        let path = if self.role == OWNER { "tidelock, tidelock_api" } else { "tidelock_api" };
        session.batch_execute(&format!("SET search_path = {path}")).await.expect("a search path can be set");
        session
    }
}

/// A database that tests' databases are copies of.
#[derive(Clone)]
pub(crate) struct Template {
    database: Arc<TestDatabase>,
}

/// A database of a test's own. It is dropped, sessions and all, when this is.
pub(crate) struct TestDatabase {
    postgres: Arc<Postgres>,
    pub(crate) name: String,
    /// What the names of its logins begin with.
    prefix: String,
    /// Who owns it and may make roles; the same login for all databases of a server.
    pub(crate) owner: Login,
}

impl Template {
    /// The template called `name`: an empty database of the shared server which `fill` has worked on, once per run.
    ///
    /// The sessions in it are ended when `fill` is done. Where it fails, every test that asks for this template tries
    /// again.
    pub(crate) async fn made_by(name: &str, fill: impl AsyncFnOnce(Arc<TestDatabase>) -> Result<()>) -> Result<Self> {
        static MADE: Mutex<Option<HashMap<String, Template>>> = Mutex::const_new(None);
        let mut made = MADE.lock().await;
        let made = made.get_or_insert_default();
        if let Some(template) = made.get(name) {
            return Ok(template.clone());
        }
        let database = Arc::new(TestDatabase::empty(&format!("template {name}")).await);
        fill(database.clone()).await.with_context(|| format!("filling the template {name}"))?;
        // PostgreSQL refuses to copy a database that has sessions.
        let (admin, template) = (database.postgres.superuser("postgres").await?, &database.name);
        admin
            .batch_execute(&format!(
                "ALTER DATABASE {template} WITH ALLOW_CONNECTIONS false;
                 SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{template}'"
            ))
            .await?;
        let template = Self { database };
        made.insert(name.to_owned(), template.clone());
        Ok(template)
    }
}

impl TestDatabase {
    /// An empty database for the test that calls itself `what`.
    pub(crate) async fn empty(what: &str) -> Self {
        Self::empty_on(Postgres::shared().await, what).await
    }

    /// An empty database on a server of one's own.
    pub(crate) async fn empty_on(postgres: Arc<Postgres>, what: &str) -> Self {
        Self::copy_of(postgres, "template0", what).await
    }

    /// A copy of a template, on the template's server, for the test that calls itself `what`.
    pub(crate) async fn from(template: &Template, what: &str) -> Self {
        Self::copy_of(template.database.postgres.clone(), &template.database.name, what).await
    }

    /// An empty database with just this name, whose logins are called as they are asked for: for the demo, which people
    /// read, and which has a server of its own.
    pub(crate) async fn named(postgres: Arc<Postgres>, name: &str) -> Self {
        Self::make(postgres, "template0", name.to_owned(), String::new()).await
    }

    async fn copy_of(postgres: Arc<Postgres>, source: &str, what: &str) -> Self {
        let name = unique_name(what).replace('-', "_");
        let number = name.split('_').next().unwrap_or_default();
        let prefix = format!("{number}_");
        Self::make(postgres, source, name, prefix).await
    }

    async fn make(postgres: Arc<Postgres>, source: &str, name: String, prefix: String) -> Self {
        let made = async {
            let url = postgres.owner_url(&name).await?;
            let admin = postgres.superuser("postgres").await?;
            create_database(&admin, &name, source).await?;
            anyhow::Ok(Login { role: OWNER.to_owned(), url })
        };
        let owner = made.await.unwrap_or_else(|why| panic!("making the database {name}: {why:#}"));
        Self { postgres, name, prefix, owner }
    }

    /// Makes a login for `who`, `ana` say, whose role is `t17_ana`. It has no rights but to connect.
    pub(crate) async fn login(&self, who: &str) -> Login {
        let [login] = self.logins([who]).await;
        login
    }

    /// As [`TestDatabase::login`], for several in one go.
    pub(crate) async fn logins<const N: usize>(&self, who: [&str; N]) -> [Login; N] {
        let roles = who.map(|who| format!("{}{who}", self.prefix));
        let roles: [(String, String); N] =
            self.postgres.make_roles(roles).await.unwrap_or_else(|why| panic!("{why:#}"));
        roles.map(|(role, password)| {
            let url = self.postgres.url(&role, &password, &self.name);
            Login { role, url }
        })
    }

    /// A session of the superuser in this database: for arranging what no login may do, and for looking.
    pub(crate) async fn superuser(&self) -> Client {
        self.postgres
            .superuser(&self.name)
            .await
            .unwrap_or_else(|why| panic!("connecting to {} as superuser: {why:#}", self.name))
    }

    /// The URL of the superuser, for what has to be shown to refuse one.
    pub(crate) fn superuser_url(&self) -> String {
        self.postgres.superuser_url(&self.name)
    }

    pub(crate) fn postgres(&self) -> &Postgres {
        &self.postgres
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let (postgres, name) = (self.postgres.clone(), self.name.clone());
        // The test's runtime is about to end, so a thread does it. What is left when the process ends goes with its
        // server, so nobody waits for this.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let admin = postgres.superuser("postgres").await?;
                admin.batch_execute(&format!("DROP DATABASE {name} WITH (FORCE)")).await?;
                anyhow::Ok(())
            })
        });
    }
}

/// Copies of one template cannot be made at the same time.
async fn create_database(admin: &Client, name: &str, source: &str) -> Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::const_new(());
    let _turn = ONE_AT_A_TIME.lock().await;
    admin
        // Copying files needs a checkpoint, which is nothing without fsync, and a sixth of the default's time.
        .batch_execute(&format!("CREATE DATABASE {name} TEMPLATE {source} OWNER {OWNER} STRATEGY file_copy"))
        .await
        .with_context(|| format!("creating the database {name} from {source}"))
}
