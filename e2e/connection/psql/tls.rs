//! Certificates and modes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::{Case, Place, case};
use crate::harness::{Certificates, Postgres, TestDatabase};

/// As a login on the server's port.
fn as_user(user: &str, rest: &str) -> Case {
    case(format!("hostaddr=127.0.0.1 port={{port}} dbname={{db}} user={user} {rest}"))
}

const MODES: [&str; 6] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

async fn place(postgres: &Postgres, database: &TestDatabase, psql: PathBuf) -> Place {
    let password = uuid::Uuid::new_v4().simple().to_string();
    let admin = postgres.superuser("postgres").await.unwrap();
    for role in ["any", "only_tls", "only_plain", "by_cert"] {
        let make = format!("CREATE ROLE \"{role}\" LOGIN PASSWORD '{password}'");
        admin.batch_execute(&make).await.unwrap();
    }
    let home = tempfile::tempdir().unwrap();
    Place { home, port: postgres.port(), database: database.name.clone(), password, psql }
}

/// psql with TLS, or NOT TESTED.
async fn psql_with_tls(postgres: &Postgres, database: &TestDatabase) -> Option<PathBuf> {
    let psql = postgres.psql();
    let Some(psql) = psql else {
        println!("NOT TESTED: {} has no psql", postgres.bin().display());
        return None;
    };
    let looked = postgres
        .program("psql", &database.name)
        .args(["-XAtc", "SELECT 1"])
        .env("PGSSLMODE", "require")
        .output()
        .await
        .unwrap();
    if !looked.status.success() {
        println!("NOT TESTED: psql has no TLS here: {}", String::from_utf8_lossy(&looked.stderr));
        return None;
    }
    Some(psql)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_psql_accepts_on_a_tls_server_is_accepted_and_what_it_refuses_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let files = Certificates::make(folder.path());
    let postgres = Postgres::with_tls("postgres-psql", &files).await;
    let database = TestDatabase::empty_on(postgres.clone(), "psql").await;
    let Some(psql) = psql_with_tls(&postgres, &database).await else { return };
    let place = place(&postgres, &database, psql).await;
    let (ca, other_ca) = (files.certificate("ca"), files.certificate("other-ca"));

    // Who may come how, by each mode, with nobody to trust, with the right authority and with another.
    let mut cases = Vec::new();
    for mode in MODES {
        for user in ["any", "only_tls", "only_plain"] {
            cases.push(as_user(user, &format!("sslmode={mode}")));
        }
        for root in [&ca, &other_ca, &files.certificate("server"), &"/nowhere/root.crt".to_owned()] {
            cases.push(as_user("any", &format!("sslmode={mode} sslrootcert={root}")));
            // Names: of the certificate, under its wildcard, too deep for that, of somebody else; and no name but an address.
            for host in [
                "db.example",
                "DB.Example",
                "a.wild.example",
                "a.b.wild.example",
                "wild.example",
                "other.example",
                "127.0.0.1",
            ] {
                if root == &ca {
                    cases.push(as_user("only_tls", &format!("host={host} sslmode={mode} sslrootcert={root}")));
                }
            }
        }
    }
    let (client, key) = (files.certificate("client"), files.key("client"));
    let open_key = folder.path().join("open.key");
    fs::copy(&key, &open_key).unwrap();
    fs::set_permissions(&open_key, fs::Permissions::from_mode(0o644)).unwrap();
    cases.extend([
        as_user("only_tls", ""),
        as_user("only_plain", ""),
        as_user("by_cert", "sslmode=require"),
        as_user("by_cert", &format!("sslmode=require sslcert={client} sslkey={key}")),
        as_user("any", &format!("sslmode=require sslcert={client} sslkey={key}")),
        as_user("by_cert", &format!("sslmode=disable sslcert={client} sslkey={key}")),
        as_user("by_cert", &format!("sslmode=require sslcert={client} sslkey={}", open_key.display())),
        as_user("by_cert", &format!("sslmode=require sslcert={client} sslkey=/nowhere")),
        as_user("by_cert", "sslmode=require sslcert=/nowhere sslkey=/nowhere"),
        as_user("any", "channel_binding=require sslmode=require"),
        as_user("any", "channel_binding=require sslmode=disable"),
        as_user("any", "channel_binding=disable sslmode=require"),
        as_user("any", "channel_binding=h"),
        as_user("any", "sslmode=require ssl_min_protocol_version=TLSv1.3"),
        as_user("any", "sslmode=require ssl_max_protocol_version=TLSv1.2"),
        as_user("any", "sslmode=require ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2"),
        as_user("any", "sslmode=require ssl_min_protocol_version=TLSv9"),
        as_user("any", "sslmode=require sslsni=0"),
        as_user("any", "sslmode=require sslcompression=0"),
        as_user("any", "sslmode=Require"),
        as_user("any", "sslmode="),
        as_user("any", "gssencmode=disable"),
    ]);
    let taken = place.all_agree(&cases).await;
    assert!(taken > 40 && cases.len() - taken > 30, "both answers come up: {taken} of {}", cases.len());

    // Certificates at the places where libpq looks for them.
    let own = place.home.path().join(".postgresql");
    fs::create_dir(&own).unwrap();
    for (from, name) in [(&ca, "root.crt"), (&client, "postgresql.crt"), (&key, "postgresql.key")] {
        fs::copy(from, own.join(name)).unwrap();
    }
    let mut cases: Vec<Case> =
        MODES.iter().map(|mode| as_user("by_cert", &format!("host=db.example sslmode={mode}"))).collect();
    cases.extend(MODES.iter().map(|mode| as_user("any", &format!("host=other.example sslmode={mode}"))));
    place.all_agree(&cases).await;
    fs::copy(&other_ca, own.join("root.crt")).unwrap();
    let cases: Vec<Case> = MODES.iter().map(|mode| as_user("only_tls", &format!("sslmode={mode}"))).collect();
    place.all_agree(&cases).await;
    fs::remove_dir_all(&own).unwrap();

    // A certificate that is pinned, and one that is over.
    for (shown, roots) in [("self-signed", "self-signed"), ("self-signed", "ca"), ("expired", "ca")] {
        postgres.show_certificate(&files, shown).await;
        let root = files.certificate(roots);
        let cases: Vec<Case> = MODES
            .iter()
            .flat_map(|mode| {
                ["localhost", "other.example", "127.0.0.1"]
                    .map(|host| as_user("only_tls", &format!("host={host} sslmode={mode} sslrootcert={root}")))
            })
            .collect();
        place.all_agree(&cases).await;
    }
    let admin = postgres.superuser("postgres").await.unwrap();
    admin.batch_execute("ALTER SYSTEM SET ssl = off").await.unwrap();
    admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    let cases: Vec<Case> =
        MODES.iter().map(|mode| as_user("any", &format!("sslmode={mode} sslrootcert={ca}"))).collect();
    place.all_agree(&cases).await;
}
