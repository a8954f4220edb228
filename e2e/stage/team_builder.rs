//! How a test gets its team.

use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result};
use tidelock::crypto::Keyring;
use tidelock::registry::{ConnectSettings, migrate};

use super::Team;
use crate::harness::database::Template;
use crate::harness::{Postgres, TestDatabase};

/// Makes the people, the project and the environments that every test of the registry, the command and the operator
/// starts from.
///
/// ```ignore
/// let team = Team::with_shop("follows-a-change").await;                          // what most tests take
/// let team = Team::builder("restarts").on(server_of_its_own).build().await;
/// let team = Team::builder("rules-in-sql").without_keyring().build().await;
/// ```
///
/// There is a project `shop` with `dev`, `staging` and `production` and no secret in it, and a keyring that all of them
/// hold. They are:
///
/// | user of the registry | in `shop` | in SQL | as a command |
/// |---|---|---|---|
/// | `ana` | ADMIN | `team.session("ana")` | `team.run(&team.ana, …)` |
/// | `bob` | DEVELOPER | `team.session("bob")` | `team.run(&team.bob, …)` |
/// | `vic` | VIEWER | `team.session("vic")` | `team.run(&team.vic, …)` |
/// | `eve` | no member | `team.session("eve")` | `team.run(&team.eve, …)` |
/// | `tidelock`, a service | ADMIN, read-only | `team.session("tidelock")` | `team.run(&team.operator, …)` |
/// | `registry-owner` | no member | `team.session("owner")` | `team.run(&team.database.owner, …)` |
///
/// The command makes all of it, once per run, in a database that each team's is a copy of; on a server of the test's own
/// there is no copy. Logins belong to the whole server, and a test may give one more rights, so each team has logins of
/// its own: the copy's users are mapped to them.
pub(crate) struct TeamBuilder {
    what: String,
    postgres: Option<Arc<Postgres>>,
    prepared: Option<String>,
    keyring: bool,
}

impl TeamBuilder {
    /// For a test that calls itself `what`.
    pub(super) fn new(what: &str) -> Self {
        Self { what: what.to_owned(), postgres: None, prepared: None, keyring: true }
    }

    /// On a server of the test's own, which it may stop.
    pub(crate) fn on(mut self, postgres: Arc<Postgres>) -> Self {
        self.postgres = Some(postgres);
        self
    }

    /// In a database of its own in which the superuser has run something before it is migrated; `{database}` is its name.
    pub(crate) fn prepared_by(mut self, sql: &str) -> Self {
        self.prepared = Some(sql.to_owned());
        self
    }

    /// Nobody has a keyring, so the project has no hashing key either: in the tests' SQL, what is sealed is just a text.
    pub(crate) fn without_keyring(mut self) -> Self {
        self.keyring = false;
        self
    }

    /// Makes it.
    ///
    /// # Panics
    ///
    /// Where any of it fails.
    pub(crate) async fn build(self) -> Team {
        if self.postgres.is_some() || self.prepared.is_some() {
            let database = match self.postgres {
                Some(postgres) => TestDatabase::empty_on(postgres, &self.what).await,
                None => TestDatabase::empty(&self.what).await,
            };
            if let Some(sql) = self.prepared {
                let sql = sql.replace("{database}", &database.name);
                let superuser = database.superuser().await;
                superuser.batch_execute(&sql).await.unwrap_or_else(|why| panic!("{sql}: {why:?}"));
            }
            return Box::pin(fill(Arc::new(database), self.keyring)).await.unwrap_or_else(|why| panic!("{why:#}"));
        }
        let name = if self.keyring { "team" } else { "team without keyring" };
        let template = Template::made_by(name, async |database| Box::pin(fill(database, self.keyring)).await.map(drop));
        let template = template.await.unwrap_or_else(|why| panic!("{why:#}"));
        let team = Team::of(Arc::new(TestDatabase::from(&template, &self.what).await), self.keyring).await;
        team.take_over().await;
        team
    }
}

/// Makes a team of an empty database.
async fn fill(database: Arc<TestDatabase>, with_keyring: bool) -> Result<Team> {
    migrate(&ConnectSettings::new(&database.owner.url)).await.context("migrating the team's database")?;
    let team = Team::of(database, with_keyring).await;
    team.add_users().await;
    team.open_shop().await;
    Ok(team)
}

/// The keys of all teams of this run: those of the copies have to open what the template's sealed.
fn keyring() -> &'static Keyring {
    static KEYRING: OnceLock<Keyring> = OnceLock::new();
    KEYRING
        .get_or_init(|| Keyring::generate(&["default", "production"].map(|ring| ring.parse().expect("a ring's name"))))
}

impl Team {
    /// People with logins, whom the registry does not know yet.
    async fn of(database: Arc<TestDatabase>, with_keyring: bool) -> Self {
        let [ana, bob, vic, eve, operator] = database.logins(["ana", "bob", "vic", "eve", "tidelock"]).await;
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let team = Self { database, ana, bob, vic, eve, operator, home };
        if with_keyring {
            keyring().create(&team.keyring()).unwrap_or_else(|why| panic!("writing the keyring: {why}"));
        }
        team
    }

    async fn add_users(&self) {
        for who in ["ana", "bob", "vic", "eve"] {
            self.done(&self.database.owner, &["user", "add", who, "--db-role", &self.login(who).role]).await;
        }
        let service = ["user", "add", "tidelock", "--db-role", &self.operator.role, "--service"];
        self.done(&self.database.owner, &service).await;
    }

    async fn open_shop(&self) {
        self.done(&self.ana, &["project", "create", "shop"]).await;
        for environment in [&["dev"][..], &["staging"], &["production", "--production"]] {
            self.done(&self.ana, &[&["environment", "create"], environment].concat()).await;
        }
        for (name, role) in [("bob", "developer"), ("vic", "viewer")] {
            self.done(&self.ana, &["member", "add", name, "--role", role]).await;
        }
        self.done(&self.ana, &["member", "add", "tidelock", "--role", "admin", "--read-only"]).await;
    }

    /// Maps the users that came with the copy to this team's logins, which get the rights that `user add` gives.
    async fn take_over(&self) {
        let people = ["ana", "bob", "vic", "eve"].map(|who| (who, "tidelock_app"));
        let all = people.iter().chain(&[("tidelock", "tidelock_operator")]);
        let statements = all.map(|(who, group)| {
            let role = &self.login(who).role;
            format!("GRANT {group} TO {role}; UPDATE users SET db_role = '{role}' WHERE name = '{who}'")
        });
        let owner = self.session("owner").await;
        let statements: Vec<String> = statements.collect();
        owner
            .batch_execute(&statements.join("; "))
            .await
            .unwrap_or_else(|why| panic!("mapping the team's logins: {why}"));
    }
}
