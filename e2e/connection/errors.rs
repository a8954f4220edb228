//! What an error of a connection says: which host, which step, every cause once, what to do; and never a password.

use std::fmt::Write as _;

use crate::harness::{Certificates, Postgres, SilentHost, TestDatabase};
use crate::snapshot::assert_reads;
use crate::stage::{Finished, Running, Team};

/// In every connection string of these tests, and in no answer.
const PASSWORD: &str = "canary-password";

async fn check(team: &Team, url: &str) -> Finished {
    let mut command = team.command(&team.ana, &["migrate", "--check"]);
    command.env("TIDELOCK_DATABASE_URL", url);
    let said = Running::start(command).end(b"").await;
    assert!(!format!("{}{}", said.stdout, said.stderr).contains(PASSWORD), "{url}: {}", said.stderr);
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_of_a_connection_names_host_step_and_cause() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(folder.path());
    let postgres = Postgres::with_tls("postgres-errors", &certificates).await;
    let team = Team::with_shop("connection-errors").await;
    let database = TestDatabase::empty_on(postgres.clone(), "errors").await;
    let login = database.login("ana").await;
    let (mute, dropping, closed) = (SilentHost::mute(), SilentHost::dropping(), SilentHost::closed_port());
    let (port, user, name) = (postgres.port(), &login.role, &database.name);
    let (ca, other_ca) = (certificates.certificate("ca"), certificates.certificate("other-ca"));
    let at = |port: u16, rest: &str| {
        format!("host=127.0.0.1 port={port} user={user} password={PASSWORD} dbname={name} connect_timeout=1 {rest}")
    };
    let right = login.url.clone() + "?connect_timeout=5&";
    let mut told = String::new();
    for (what, url) in [
        ("nobody listens", at(closed, "")),
        ("packets are dropped", at(dropping.port(), "")),
        ("nobody speaks", at(mute.port(), "")),
        ("nobody speaks, without TLS", at(mute.port(), "sslmode=disable")),
        (
            "several hosts",
            format!("host=127.0.0.1,127.0.0.1 port={closed},{} password={PASSWORD} connect_timeout=1", mute.port()),
        ),
        ("another password", at(port, "sslmode=disable")),
        ("no password", format!("host=127.0.0.1 port={port} user={user} dbname={name} sslmode=disable")),
        ("no such database", right.replace(&format!("/{name}"), "/nowhere")),
        ("another authority", format!("{right}sslmode=verify-ca&sslrootcert={other_ca}")),
        (
            "another host's certificate",
            format!("{right}sslmode=verify-full&sslrootcert={ca}&host=other.example&hostaddr=127.0.0.1"),
        ),
        ("no roots", format!("{right}sslmode=verify-full")),
        ("a method that is not allowed", format!("{right}require_auth=none")),
        ("another kind of server", format!("{right}target_session_attrs=standby")),
        ("not supported", format!("{right}sslpassword={PASSWORD}")),
        ("a value that cannot be", format!("{right}sslmode={PASSWORD}")),
        ("no option", format!("postgresql://u:{PASSWORD}@h/d?{PASSWORD}=1")),
        ("no connection string", PASSWORD.to_owned()),
        ("no service", format!("service=shop password={PASSWORD}")),
    ] {
        // libpq takes the host of the URL and that of a parameter for one option, and the later counts.
        let said = check(&team, &url).await;
        assert_ne!(said.code, 0, "{what}");
        let _ = write!(told, "# {what} (exit {})\n{}", said.code, said.stderr);
    }
    let told = told
        .replace(&format!(":{port} ("), ":[port] (")
        .replace(user.as_str(), "[login]")
        .replace(&folder.path().display().to_string(), "[folder]");
    assert_reads!("connection-errors", told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_looked_up_and_a_session_that_was_ended_say_so() {
    let team = Team::with_shop("lookup").await;
    let said = check(&team, &format!("postgresql://u:{PASSWORD}@nowhere.invalid/d?connect_timeout=5")).await.expect(1);
    let step = "nowhere.invalid:5432, looking up its name: ";
    assert!(said.stderr.contains(step), "{}", said.stderr);

    let settings = tidelock::registry::ConnectSettings::new(&team.ana.url);
    let mut session = tidelock::registry::Session::open(&settings, None).await.unwrap_or_else(|why| panic!("{why}"));
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'", team.ana.role);
    team.database.superuser().await.batch_execute(&end).await.unwrap();
    let error = session
        .environment(&"shop".parse().unwrap(), &"dev".parse().unwrap())
        .await
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(error.contains("terminating connection due to administrator command"), "{error}");
}
