//! The same connection, for a program that links libpq.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use super::{ConnectSettings, RegistryError};

impl ConnectSettings {
    /// Environment variables that say what the URL says: an argument would show the password to everyone on the machine.
    ///
    /// Where this program uses TLS it verifies the certificate, so libpq is told to, against the system's roots where the URL
    /// names no file; libpq knows these from PostgreSQL 16 on, and says so where it does not.
    pub(super) fn for_libpq(&self) -> Result<Vec<(&'static str, OsString)>, RegistryError> {
        let (config, root) = self.parse()?;
        let mut variables: Vec<(&'static str, OsString)> = Vec::new();
        let mut add = |name, value: Option<OsString>| variables.extend(value.map(|value| (name, value)));
        let list = |parts: Vec<String>| (!parts.is_empty()).then(|| OsString::from(parts.join(",")));
        let hosts = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(folder) => folder.to_string_lossy().into_owned(),
        });
        add("PGHOST", list(hosts.collect()));
        add("PGHOSTADDR", list(config.get_hostaddrs().iter().map(ToString::to_string).collect()));
        add("PGPORT", list(config.get_ports().iter().map(ToString::to_string).collect()));
        add("PGUSER", config.get_user().map(OsString::from));
        add("PGDATABASE", config.get_dbname().map(OsString::from));
        add("PGPASSWORD", config.get_password().map(|password| OsString::from_vec(password.to_vec())));
        add("PGOPTIONS", config.get_options().map(OsString::from));
        add("PGAPPNAME", config.get_application_name().map(OsString::from));
        if config.get_target_session_attrs() == TargetSessionAttrs::ReadWrite {
            add("PGTARGETSESSIONATTRS", Some("read-write".into()));
        }
        match config.get_ssl_mode() {
            SslMode::Disable => add("PGSSLMODE", Some("disable".into())),
            SslMode::Require => {
                add("PGSSLMODE", Some("verify-full".into()));
                add("PGSSLROOTCERT", Some(root.map_or_else(|| "system".into(), Into::into)));
            }
            _ => add("PGSSLMODE", Some("prefer".into())),
        }
        Ok(variables)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(url: &str) -> Vec<String> {
        let variables = ConnectSettings::new(url).for_libpq().unwrap();
        variables.into_iter().map(|(name, value)| format!("{name}={}", value.to_string_lossy())).collect()
    }

    #[test]
    fn what_a_url_says_is_said_in_variables() {
        assert_eq!(
            told("postgresql://ana:p%40ss@db.internal:6432/registry?sslmode=verify-full&sslrootcert=/ca.pem"),
            [
                "PGHOST=db.internal",
                "PGPORT=6432",
                "PGUSER=ana",
                "PGDATABASE=registry",
                "PGPASSWORD=p@ss",
                "PGAPPNAME=tidelock",
                "PGSSLMODE=verify-full",
                "PGSSLROOTCERT=/ca.pem"
            ]
        );
    }

    #[test]
    fn a_certificate_is_verified_as_this_program_would() {
        for (mode, expected) in [
            ("require", &["PGSSLMODE=verify-full", "PGSSLROOTCERT=system"][..]),
            ("verify-ca", &["PGSSLMODE=verify-full", "PGSSLROOTCERT=system"]),
            ("disable", &["PGSSLMODE=disable"]),
            ("prefer", &["PGSSLMODE=prefer"]),
        ] {
            let told = told(&format!("postgresql://ana@db/registry?sslmode={mode}"));
            assert_eq!(told.iter().filter(|line| line.starts_with("PGSSL")).collect::<Vec<_>>(), expected, "{mode}");
        }
    }
}
