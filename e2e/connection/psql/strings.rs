//! Strings, variables, passfiles and services, on a server without TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{Case, Place, case, with};
use crate::harness::database::Login;
use crate::harness::{Postgres, TestDatabase, tools};

/// A login of a database, and psql to compare with.
struct Fixture {
    place: Place,
    login: Login,
    _database: TestDatabase,
}

impl Fixture {
    /// None, and NOT TESTED, where the PostgreSQL at hand has no psql.
    async fn make(what: &str) -> Option<Self> {
        let postgres = Postgres::shared().await;
        let Some(psql) = postgres.psql() else {
            println!("NOT TESTED: {} has no psql", postgres.bin().display());
            return None;
        };
        let database = TestDatabase::empty_on(postgres.clone(), what).await;
        let login = database.login("ana").await;
        let password = login.url.split([':', '@']).nth(2).expect("a test's URL has a password").to_owned();
        let home = tempfile::tempdir().expect("a temporary folder can be made");
        let place = Place { home, port: postgres.port(), database: database.name.clone(), password, psql };
        Some(Self { place, login, _database: database })
    }

    /// Login, port and database, as strings have them.
    fn names(&self) -> (&str, String, &str) {
        (&self.login.role, self.place.port.to_string(), &self.place.database)
    }

    /// Everything that is needed, as pairs.
    fn base(&self) -> String {
        let (user, port, db) = self.names();
        format!("host=127.0.0.1 port={port} dbname={db} user={user}")
    }

    /// A file in the home folder; answers its path.
    fn file(&self, name: &str, mode: u32, text: &str) -> String {
        let file = self.place.home.path().join(name);
        fs::write(&file, text).expect("the test's folder can be written");
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("the file is ours");
        file.display().to_string()
    }

    /// The line of a passfile with the right password.
    fn passfile_line(&self) -> String {
        let (user, port, db) = self.names();
        format!("127.0.0.1:{port}:{db}:{user}:{}\n", self.place.password)
    }

    fn services(&self) -> String {
        let (user, port, db) = self.names();
        format!(
            "[shop]\nhost=127.0.0.1\nport={port}\nuser={user}\ndbname={db}\n[broken]\nnonsense\n[nested]\nservice=shop\n\
             [odd]\nnone=1\n"
        )
    }
}

fn of_strings(fixture: &Fixture) -> Vec<Case> {
    let (user, port, db) = fixture.names();
    let base = fixture.base();
    vec![
        case(&base),
        case(format!("postgresql://{user}@127.0.0.1:{port}/{db}")),
        case(format!("postgres://{user}@127.0.0.1:{port}/{db}?application_name=a%20b")),
        case(format!("postgresql:///{db}?host=127.0.0.1&port={port}&user={user}")),
        case(format!("postgresql://{user}:wrong@127.0.0.1:{port}/{db}")),
        case(format!("postgresql://{user}@127.0.0.1:{port}/%{:02x}{}", db.as_bytes()[0], &db[1..])),
        case(format!("postgresql://{user}@127.0.0.1:{port}/{db}%zz")),
        case(format!("postgresql://{user}@127.0.0.1:{port}/{db}%00")),
        case(format!("postgresql://{user}@127.0.0.1:{port}/{db}?sslmode")),
        case(format!("postgresql://{user}@127.0.0.1:{port}/{db}?sslmode=disable=x")),
        case(format!("postgresql://{user}@127.0.0.1:{port}/{db}?unknown=x")),
        case(format!("postgresql://{user}@127.0.0.1:{port}/{db}?ssl=true")),
        case(format!("postgresql://{user}@[127.0.0.1]:{port}/{db}")),
        case(format!("postgresql://{user}@[127.0.0.1:{port}/{db}")),
        case(format!("postgresql://{user}@127.0.0.1:1,127.0.0.1:{port}/{db}")),
        case(format!("postgresql://{user}@127.0.0.1,127.0.0.1:{port}/{db}?port=1,{port}")),
        case(format!("host=127.0.0.1,127.0.0.1 port=1,{port} dbname={db} user={user}")),
        case(format!("host=127.0.0.1,127.0.0.1 port=1,2,{port} dbname={db} user={user}")),
        case(format!("host=nowhere.invalid hostaddr=127.0.0.1 port={port} dbname={db} user={user}")),
        case(format!("host=a,b hostaddr=127.0.0.1 port={port} dbname={db} user={user}")),
        case(format!("hostaddr=localhost port={port} dbname={db} user={user}")),
        case(format!("host = 127.0.0.1  port ={port} dbname= '{db}' user='{user}'")),
        case(format!("host='127.0.0.1 port={port}")),
        case(format!(r"host=127\.0.0.1 port={port} dbname={db} user={user}")),
        case(format!("{base} application_name='it''s'")),
        case(format!(r"{base} application_name='it\'s'")),
        case(format!("{base} nonsense")),
        case(format!("{base} nonsense=1")),
        case(format!("{base} port=0")),
        case(format!("{base} port=65536")),
        case(format!("{base} port=x")),
        case(format!("{base} connect_timeout=x")),
        case(format!("{base} connect_timeout=7")),
        case(format!(
            "{base} keepalives=1 keepalives_idle=9 keepalives_interval=3 keepalives_count=3 tcp_user_timeout=9000"
        )),
        case(format!("{base} keepalives_idle=x")),
        case(format!("{base} options='-c statement_timeout=9s'")),
        case(format!("{base} options='-c nonsense_of_nobody=1'")),
        case(format!("{base} fallback_application_name=x client_encoding=UTF8")),
        case(format!("{base} target_session_attrs=x")),
        case(format!("{base} service=none")),
        case(format!("user={user} host=127.0.0.1 port={port} dbname=nowhere")),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_string_means_what_it_means_to_psql() {
    let Some(fixture) = Fixture::make("strings").await else { return };
    let mut cases = of_strings(&fixture);
    for kind in ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] {
        cases.push(case(format!("{} target_session_attrs={kind}", fixture.base())));
    }
    let taken = fixture.place.all_agree(&cases).await;
    assert!(taken > 15 && cases.len() - taken > 15, "both answers come up: {taken} of {}", cases.len());
}

fn of_surroundings(fixture: &Fixture) -> Vec<Case> {
    let (user, port, db) = fixture.names();
    let (user, port) = (user, port.as_str());
    let base = fixture.base();
    let closed = fixture.file("closed", 0o600, &fixture.passfile_line());
    let open = fixture.file("open", 0o644, &fixture.passfile_line());
    let wrong = fixture.file("wrong", 0o600, "*:*:*:*:wrong\n");
    let services = fixture.file("services", 0o644, &fixture.services());
    let nobody = ("PGPASSWORD", "");
    vec![
        with(format!("{base} passfile={closed}"), &[nobody]),
        with(format!("{base} passfile={open}"), &[nobody]),
        with(format!("{base} passfile={wrong}"), &[nobody]),
        with(format!("{base} passfile=/nowhere"), &[nobody]),
        with(&base, &[nobody]),
        with(&base, &[nobody, ("PGPASSFILE", &closed)]),
        with(&base, &[("PGPASSWORD", "wrong"), ("PGPASSFILE", &closed)]),
        with("postgresql://", &[("PGHOST", "127.0.0.1"), ("PGPORT", port), ("PGUSER", user), ("PGDATABASE", db)]),
        with(format!("user={user} dbname={db}"), &[("PGHOSTADDR", "127.0.0.1"), ("PGPORT", port)]),
        with(&base, &[("PGPORT", "1"), ("PGHOST", "nowhere.invalid"), ("PGUSER", "nobody"), ("PGDATABASE", "nowhere")]),
        with(&base, &[("PGSSLMODE", "require")]),
        with(&base, &[("PGSSLMODE", "nonsense")]),
        with(format!("{base} sslmode=disable"), &[("PGSSLMODE", "require")]),
        with(&base, &[("PGCONNECT_TIMEOUT", "x")]),
        with(&base, &[("PGOPTIONS", "-c statement_timeout=9s"), ("PGAPPNAME", "x"), ("PGCLIENTENCODING", "UTF8")]),
        with("service=shop", &[("PGSERVICEFILE", &services)]),
        with("service=shop port=1", &[("PGSERVICEFILE", &services)]),
        with("service=broken", &[("PGSERVICEFILE", &services)]),
        with("service=nested", &[("PGSERVICEFILE", &services)]),
        with("service=odd", &[("PGSERVICEFILE", &services)]),
        with("service=none", &[("PGSERVICEFILE", &services)]),
        with("service=shop", &[("PGSERVICEFILE", "/nowhere")]),
        with("postgresql://", &[("PGSERVICEFILE", &services), ("PGSERVICE", "shop")]),
        with("postgresql://?service=shop", &[("PGSERVICEFILE", &services), ("PGPORT", "1")]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_passfiles_and_services_say_what_they_say_to_psql() {
    let Some(fixture) = Fixture::make("surroundings").await else { return };
    let cases = of_surroundings(&fixture);
    let taken = fixture.place.all_agree(&cases).await;
    assert!(taken > 8 && cases.len() - taken > 8, "both answers come up: {taken} of {}", cases.len());

    // Files at the places where libpq looks for them by itself.
    fixture.file(".pgpass", 0o600, &fixture.passfile_line());
    fixture.file(".pg_service.conf", 0o644, &fixture.services());
    let (base, nobody) = (fixture.base(), ("PGPASSWORD", ""));
    let cases =
        [with(&base, &[nobody]), with("service=shop", &[nobody]), with(format!("{base} user=nobody"), &[nobody])];
    assert_eq!(fixture.place.all_agree(&cases).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_newer_releases_know_means_what_it_means_to_their_psql() {
    let Some(fixture) = Fixture::make("newer").await else { return };
    let Ok(newest) = tools::packaged_postgres_bin() else {
        println!("NOT TESTED: there is no newer psql");
        return;
    };
    let base = fixture.base();
    let place = Place { psql: newest.join("psql"), ..fixture.place };
    let options = [
        "require_auth=scram-sha-256",
        "require_auth=md5,password",
        "require_auth=!scram-sha-256",
        "require_auth=none",
        "require_auth=x",
        "load_balance_hosts=random",
        "load_balance_hosts=x",
        "sslcertmode=allow",
        "max_protocol_version=latest",
        "sslnegotiation=direct",
    ];
    let cases: Vec<Case> = options.iter().map(|option| case(format!("{base} sslmode=disable {option}"))).collect();
    assert_eq!(place.all_agree(&cases).await, 4);
}
