//! A PostgreSQL server with TLS, and the certificates around it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, date_time_ymd,
};

use super::os::unprivileged_user;
use super::{Postgres, tools};

const SETTINGS: &[(&str, &str)] = &[("ssl", "on"), ("ssl_ca_file", "clients.crt")];

/// Who may come how: `only_tls` with TLS, `only_plain` without, `by_cert` with a certificate, everybody else with a password.
const RULES: &str = "hostssl all only_plain all reject\nhostnossl all only_tls all reject\nhostssl all by_cert all cert\n\
                     hostnossl all by_cert all reject\nhost all all all scram-sha-256\nlocal all all scram-sha-256\n";

/// Certificates as files in PEM, each beside its key.
pub(crate) struct Certificates {
    folder: PathBuf,
}

/// A certificate and its key, in PEM.
struct Made {
    certificate: String,
    key: String,
}

impl Certificates {
    /// Makes them in a folder of the test's:
    ///
    /// | name | |
    /// |---|---|
    /// | `ca` | signs `server`, `expired` and `client` |
    /// | `other-ca` | signs nothing that is used |
    /// | `server` | `db.example`, `*.wild.example` and 127.0.0.1 |
    /// | `expired` | as `server`, and over since 2020 |
    /// | `self-signed` | `localhost` by its common name alone, signed by itself |
    /// | `client` | `by_cert` |
    pub(crate) fn make(folder: &Path) -> Self {
        let all = Self { folder: folder.to_owned() };
        let (ca, ca_key) = authority("tests");
        let (other, other_key) = authority("others");
        let issuer = Issuer::from_params(&ca, &ca_key);
        let names =
            || vec![dns("db.example"), dns("*.wild.example"), SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
        let server = |params: CertificateParams| signed(&params, &issuer);
        let mut expired = params("db.example", names());
        (expired.not_before, expired.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        let own = KeyPair::generate().expect("keys can be made");
        let self_signed = params("localhost", Vec::new()).self_signed(&own).expect("a certificate can be signed");
        let mut client = params("by_cert", Vec::new());
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let of_authority = |params: &CertificateParams, key: &KeyPair| Made {
            certificate: params.self_signed(key).expect("a certificate can be signed").pem(),
            key: key.serialize_pem(),
        };
        for (name, made) in [
            ("ca", of_authority(&ca, &ca_key)),
            ("other-ca", of_authority(&other, &other_key)),
            ("server", server(params("db.example", names()))),
            ("expired", server(expired)),
            ("self-signed", Made { certificate: self_signed.pem(), key: own.serialize_pem() }),
            ("client", server(client)),
        ] {
            all.write(name, &made);
        }
        all
    }

    fn write(&self, name: &str, made: &Made) {
        for (extension, text) in [("crt", &made.certificate), ("key", &made.key)] {
            let file = self.folder.join(format!("{name}.{extension}"));
            fs::write(&file, text).expect("the test's folder can be written");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("the file is ours");
        }
    }

    /// The file of a certificate.
    pub(crate) fn certificate(&self, name: &str) -> String {
        self.folder.join(format!("{name}.crt")).display().to_string()
    }

    /// The file of its key.
    pub(crate) fn key(&self, name: &str) -> String {
        self.folder.join(format!("{name}.key")).display().to_string()
    }
}

fn params(common_name: &str, names: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = names;
    params
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().expect("a name"))
}

fn authority(name: &str) -> (CertificateParams, KeyPair) {
    let mut params = params(name, Vec::new());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params, KeyPair::generate().expect("keys can be made"))
}

fn signed(params: &CertificateParams, issuer: &Issuer<'_, &KeyPair>) -> Made {
    let key = KeyPair::generate().expect("keys can be made");
    let certificate = params.signed_by(&key, issuer).expect("a certificate can be signed");
    Made { certificate: certificate.pem(), key: key.serialize_pem() }
}

impl Postgres {
    /// Starts a server that shows the certificate `server`.
    pub(crate) async fn with_tls(name: &'static str, certificates: &Certificates) -> Arc<Self> {
        let (ca, shown) = (certificates.certificate("ca"), ["server.crt", "server.key"]);
        let files = [certificates.certificate("server"), certificates.key("server")];
        let start = move || -> Result<Arc<Self>> {
            let (postgres, folder) = Self::stopped(tools::postgres_bin()?, name, SETTINGS)?;
            postgres.make_data(&folder, &[])?;
            for (file, target) in files.iter().zip(shown) {
                postgres.take_file(file, target)?;
            }
            postgres.take_file(&ca, "clients.crt")?;
            fs::write(postgres.data.join("pg_hba.conf"), RULES)?;
            postgres.start_again()?;
            Ok(Arc::new(postgres))
        };
        let started = tokio::task::spawn_blocking(start).await.expect("starting a server does not panic");
        started.unwrap_or_else(|why| panic!("PostgreSQL did not start: {why:#}"))
    }

    /// From the next connection on, it shows another certificate.
    pub(crate) async fn show_certificate(&self, certificates: &Certificates, name: &str) {
        self.take_file(&certificates.certificate(name), "server.crt").expect("its folder can be written");
        self.take_file(&certificates.key(name), "server.key").expect("its folder can be written");
        self.superuser("postgres")
            .await
            .expect("it answers")
            .batch_execute("SELECT pg_reload_conf()")
            .await
            .expect("it reloads");
    }

    fn take_file(&self, from: &str, name: &str) -> Result<()> {
        let file = self.data.join(name);
        fs::copy(from, &file)?;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        if let Some(user) = unprivileged_user() {
            chown(&file, Some(user.uid), Some(user.gid))?;
        }
        Ok(())
    }
}
