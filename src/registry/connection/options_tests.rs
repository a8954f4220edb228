//! Every option of libpq's: each is honoured, or refused by its own name.

use std::collections::BTreeSet;
use std::time::Duration;

use super::gathered::{Gathered, SettingError};
use super::keywords::{KEYWORDS, Treatment};
use super::surroundings::Surroundings;
use super::target::{Liveness, Place, SessionKind, Target};
use super::tls_settings::{Roots, SslMode, Versions};

/// What `PQconndefaults` of PostgreSQL 18's libpq lists, with its variables; `servicefile`, which that of the release after it
/// has. Those of 15 to 17 list parts of it.
const LIBPQ: &str = "
    service PGSERVICE, servicefile PGSERVICEFILE, user PGUSER, password PGPASSWORD, passfile PGPASSFILE,
    channel_binding PGCHANNELBINDING, connect_timeout PGCONNECT_TIMEOUT, dbname PGDATABASE, host PGHOST,
    hostaddr PGHOSTADDR, port PGPORT, client_encoding PGCLIENTENCODING, options PGOPTIONS, application_name PGAPPNAME,
    fallback_application_name -, keepalives -, keepalives_idle -, keepalives_interval -, keepalives_count -,
    tcp_user_timeout -, sslmode PGSSLMODE, sslnegotiation PGSSLNEGOTIATION, sslcompression PGSSLCOMPRESSION,
    sslcert PGSSLCERT, sslkey PGSSLKEY, sslcertmode PGSSLCERTMODE, sslpassword -, sslrootcert PGSSLROOTCERT,
    sslcrl PGSSLCRL, sslcrldir PGSSLCRLDIR, sslsni PGSSLSNI, requirepeer PGREQUIREPEER, require_auth PGREQUIREAUTH,
    min_protocol_version PGMINPROTOCOLVERSION, max_protocol_version PGMAXPROTOCOLVERSION,
    ssl_min_protocol_version PGSSLMINPROTOCOLVERSION, ssl_max_protocol_version PGSSLMAXPROTOCOLVERSION,
    gssencmode PGGSSENCMODE, krbsrvname PGKRBSRVNAME, gsslib PGGSSLIB, gssdelegation PGGSSDELEGATION, replication -,
    target_session_attrs PGTARGETSESSIONATTRS, load_balance_hosts PGLOADBALANCEHOSTS, scram_client_key -,
    scram_server_key -, oauth_issuer -, oauth_client_id -, oauth_client_secret -, oauth_scope -, sslkeylogfile -";

fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
    Surroundings {
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        home: Some("/home/ana".into()),
        user: Some("ana".to_owned()),
    }
}

fn understood_in(text: &str, variables: &[(&str, &str)]) -> Result<Target, SettingError> {
    Target::from(text, "tidelock", &surroundings(variables))
}

fn understood(text: &str) -> Target {
    understood_in(text, &[]).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn refused(text: &str) -> String {
    understood_in(text, &[]).map(|_| ()).expect_err(text).to_string()
}

#[test]
fn the_options_are_those_of_libpq_with_their_variables() {
    let libpq: BTreeSet<String> = LIBPQ.split(',').map(|option| option.trim().to_owned()).collect();
    let ours: BTreeSet<String> =
        KEYWORDS.iter().map(|keyword| format!("{} {}", keyword.name, keyword.variable.unwrap_or("-"))).collect();
    assert_eq!(ours, libpq);
}

/// For each option a string with it, and whether what it says is found in what was understood. An option that is not here and
/// is said to be honoured fails the test.
type Honoured = (&'static str, &'static str, fn(&Target) -> bool);

const HONOURED: &[Honoured] = &[
    ("user", "user=bob", |t| t.user == "bob" && t.database == "bob"),
    ("password", "password=pw", |t| t.hosts[0].password.as_deref() == Some("pw")),
    ("passfile", "passfile=/nowhere host=h", |t| t.hosts[0].password.is_none()),
    ("channel_binding", "channel_binding=require", |t| {
        t.channel_binding == tokio_postgres::config::ChannelBinding::Require
    }),
    ("connect_timeout", "connect_timeout=3", |t| t.budget == Duration::from_secs(3)),
    ("dbname", "dbname=d", |t| t.database == "d"),
    ("host", "host=h", |t| t.hosts[0].place == Place::Name("h".to_owned())),
    ("hostaddr", "host=h hostaddr=10.0.0.1", |t| {
        t.hosts[0].place == Place::Address([10, 0, 0, 1].into()) && t.hosts[0].name.as_deref() == Some("h")
    }),
    ("port", "port=5433", |t| t.hosts[0].port == 5433),
    ("options", "options='-c geqo=off'", |t| t.options.as_deref() == Some("-c geqo=off")),
    ("application_name", "application_name=a fallback_application_name=b", |t| t.application_name == "a"),
    ("fallback_application_name", "fallback_application_name=b", |t| t.application_name == "b"),
    ("keepalives", "keepalives=0", |t| t.liveness.keepalive.is_none()),
    ("keepalives_idle", "keepalives_idle=7", |t| t.liveness.keepalive.is_some_and(|(idle, ..)| idle.as_secs() == 7)),
    ("keepalives_interval", "keepalives_interval=7", |t| {
        t.liveness.keepalive.is_some_and(|(_, interval, _)| interval == Some(Duration::from_secs(7)))
    }),
    ("keepalives_count", "keepalives_count=7", |t| t.liveness.keepalive.is_some_and(|(.., count)| count == Some(7))),
    ("tcp_user_timeout", "tcp_user_timeout=7", |t| t.liveness.user_timeout == Some(Duration::from_millis(7))),
    ("sslmode", "sslmode=verify-ca", |t| t.tls.mode == SslMode::VerifyCa),
    ("sslnegotiation", "sslnegotiation=direct sslmode=require", |t| t.tls.is_direct),
    ("sslcert", "sslcert=/c", |t| {
        t.tls.client.as_ref().is_some_and(|own| own.certificate.ends_with("c") && own.was_named)
    }),
    ("sslkey", "sslkey=/k", |t| t.tls.client.as_ref().is_some_and(|own| own.key.ends_with("k"))),
    ("sslrootcert", "sslrootcert=/r", |t| t.tls.roots == Roots::File("/r".into())),
    ("sslcrl", "sslcrl=/l", |t| t.tls.revocations == Some(("/l".into(), true))),
    ("sslsni", "sslsni=0", |t| !t.tls.tells_name),
    ("require_auth", "require_auth=scram-sha-256", |t| t.required_auth.is_some()),
    ("ssl_min_protocol_version", "ssl_min_protocol_version=TLSv1.3", |t| t.tls.versions == Versions::Only13),
    ("ssl_max_protocol_version", "ssl_max_protocol_version=TLSv1.2", |t| t.tls.versions == Versions::Only12),
    ("target_session_attrs", "target_session_attrs=standby", |t| t.session_kind == SessionKind::Standby),
    ("load_balance_hosts", "load_balance_hosts=random", |t| t.in_random_order),
];

#[test]
fn every_option_is_honoured_or_refused_by_its_own_name() {
    for keyword in KEYWORDS {
        let name = keyword.name;
        match keyword.treatment {
            // Those that name a file have tests beside them.
            Treatment::Honoured if matches!(name, "service" | "servicefile") => {
                assert!(refused(&format!("service=none {name}=none")).contains("service"), "{name}");
            }
            Treatment::Honoured => {
                let found = HONOURED.iter().find(|(option, ..)| *option == name);
                let (_, text, holds) = found.unwrap_or_else(|| panic!("{name} is said to be honoured"));
                assert!(holds(&understood(text)), "{text}");
                assert!(!holds(&understood("host=other")) || name == "passfile", "{name} says nothing");
                let Some(variable) = keyword.variable else { continue };
                // The same, said by the environment.
                let value = Gathered::from(text, &surroundings(&[])).unwrap().get(name).unwrap().to_owned();
                let others: Vec<&str> = text.split(' ').filter(|pair| !pair.starts_with(&format!("{name}="))).collect();
                let others = if name == "options" {
                    "port=5432".to_owned()
                } else {
                    format!("{} client_encoding=", others.join(" "))
                };
                let said = understood_in(&others, &[(variable, &value)]);
                assert!(holds(&said.unwrap_or_else(|error| panic!("{variable}: {error}"))), "{variable}");
            }
            Treatment::Refused(remedy) | Treatment::OnlyAs(_, remedy) => {
                let error = understood_in(&format!("{name}=h4nter2"), &[]).map(|_| ()).expect_err(name);
                assert_eq!(error.to_string(), format!("{name} in the database URL is not supported"));
                assert_eq!(error.remedy(), Some(remedy));
                if let Some(variable) = keyword.variable {
                    let error = understood_in("host=h", &[(variable, "h4nter2")]).map(|_| ()).expect_err(variable);
                    assert_eq!(error.to_string(), format!("{name} in {variable} is not supported"));
                }
            }
        }
        if let Treatment::OnlyAs(fine, _) = keyword.treatment {
            for value in fine {
                understood(&format!("{name}={value}"));
            }
        }
        // Empty is as good as unsaid; where one of several words has to be said, it is none of them.
        if let Err(error) = understood_in(&format!("{name}="), &[]) {
            assert!(error.to_string().contains("has to be one of"), "{error}");
        }
        if let Some(variable) = keyword.variable {
            understood_in("host=h", &[(variable, "")]).map_or_else(|error| panic!("{error}"), |_| ());
        }
    }
}

#[test]
fn a_value_that_an_option_cannot_have_is_refused_by_the_options_name_and_not_repeated() {
    for (option, rest) in [
        ("channel_binding", ""),
        ("connect_timeout", ""),
        ("hostaddr", ""),
        ("port", ""),
        ("keepalives", ""),
        ("keepalives_idle", ""),
        ("keepalives_interval", ""),
        ("keepalives_count", ""),
        ("tcp_user_timeout", ""),
        ("sslmode", ""),
        ("sslnegotiation", ""),
        ("sslsni", ""),
        ("require_auth", ""),
        ("ssl_min_protocol_version", ""),
        ("ssl_max_protocol_version", ""),
        ("target_session_attrs", ""),
        ("load_balance_hosts", ""),
        ("sslmode", "sslrootcert=system"),
    ] {
        let error = refused(&format!("{option}=h4nter2 {rest}"));
        assert!(error.starts_with(&format!("{option} in the database URL ")) && !error.contains("h4nter2"), "{error}");
    }
    for (text, option) in [
        ("host=a,b hostaddr=10.0.0.1", "hostaddr"),
        ("host=a,b port=1,2,3", "port"),
        ("port=0", "port"),
        ("port=65536", "port"),
        ("sslnegotiation=direct", "sslnegotiation"),
        ("sslmode=require sslrootcert=system", "sslmode"),
        ("ssl_max_protocol_version=TLSv1.1", "ssl_max_protocol_version"),
        ("ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2", "ssl_min_protocol_version"),
    ] {
        assert!(refused(text).starts_with(option), "{text}");
    }
}

#[test]
fn several_hosts_have_ports_addresses_and_a_budget_each() {
    let target = understood("postgresql://a,b:5433,[::1]/d?connect_timeout=2");
    let told: Vec<String> = target.hosts.iter().map(super::target::Host::told).collect();
    assert_eq!(told, ["a:5432", "b:5433", "[::1]:5432"]);
    assert_eq!(target.longest(), Duration::from_secs(6));
    assert_eq!(understood("host=a,b,c port=7").hosts[2].port, 7);
    let target = understood("host=a,b hostaddr=10.0.0.1,10.0.0.2 target_session_attrs=prefer-standby");
    assert_eq!(target.hosts[1].told(), "b:5432 (10.0.0.2)");
    assert_eq!(target.longest(), Duration::from_secs(20), "it goes through the list twice");
    assert_eq!(understood("host=/run/pg").hosts[0].told(), "/run/pg/.s.PGSQL.5432");
}

#[test]
fn what_is_unsaid_is_bounded_all_the_same() {
    for text in ["host=h", "host=h connect_timeout=0", "host=h connect_timeout=-1"] {
        assert_eq!(understood(text).budget, Duration::from_secs(5), "{text}");
    }
    let seconds = Duration::from_secs;
    let expected = Liveness { keepalive: Some((seconds(30), None, None)), user_timeout: Some(seconds(10)) };
    assert_eq!(understood("host=h").liveness, expected);
    assert_eq!(understood("host=h tcp_user_timeout=0").liveness.user_timeout, None);
}

#[test]
fn the_string_goes_before_the_service_and_that_before_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("services");
    std::fs::write(&file, "[shop]\nhost=of-service\nport=1\nuser=of-service\n").unwrap();
    let file = file.display().to_string();
    let variables =
        [("PGSERVICEFILE", file.as_str()), ("PGPORT", "2"), ("PGUSER", "of-variable"), ("PGDATABASE", "of-variable")];
    let target = understood_in("service=shop host=of-string", &variables).unwrap();
    let host = &target.hosts[0];
    assert_eq!((host.name.as_deref(), host.port), (Some("of-string"), 1));
    assert_eq!((target.user.as_str(), target.database.as_str()), ("of-service", "of-variable"));
    // Named by a variable, or with its file in the string.
    let named = [("PGSERVICE", "shop"), ("PGSERVICEFILE", file.as_str())];
    assert_eq!(understood_in("postgresql://", &named).unwrap().hosts[0].port, 1);
    assert_eq!(understood(&format!("service=shop servicefile={file}")).hosts[0].port, 1);
    let sslpassword = "[shop]\nsslpassword=h4nter2\n";
    std::fs::write(&file, sslpassword).unwrap();
    let error = refused(&format!("service=shop servicefile={file}"));
    assert_eq!(error, format!("sslpassword in the service file {file} is not supported"));
}

#[test]
fn each_host_finds_its_password_in_the_passfile_and_one_that_was_given_goes_before() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("passfile");
    std::fs::write(&file, "a:5432:d:ana:one\n10.0.0.1:*:*:*:two\nlocalhost:*:*:*:three\n").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let passfile = format!("passfile={}", file.display());
    let passwords = |text: &str| -> Vec<Option<String>> {
        let target = understood(&format!("{text} {passfile}"));
        target.hosts.into_iter().map(|host| host.password).collect()
    };
    let some = |password: &str| Some(password.to_owned());
    assert_eq!(passwords("host=a,b dbname=d"), [some("one"), None]);
    assert_eq!(passwords("hostaddr=10.0.0.1"), [some("two")]);
    assert_eq!(passwords("dbname=d"), [some("three")], "the server's own socket is localhost");
    assert_eq!(passwords("host=a,b dbname=d password=given"), [some("given"), some("given")]);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let target = understood(&format!("host=a dbname=d {passfile}"));
    assert!(target.hosts[0].password.is_none());
    assert!(target.ignored_passfile.is_some_and(|why| why.contains("0600")));
}
