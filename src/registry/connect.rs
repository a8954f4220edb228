//! How a program reaches the database.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Pool, RecyclingMethod, Runtime, Timeouts};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::Cause;
use super::{Explanation, RegistryError, login};

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The schema where nothing else is said.
pub const DEFAULT_SCHEMA: &str = "tidelock";

/// Where the registry is. Has no `Debug`: the URL holds a password.
#[derive(Clone)]
pub struct ConnectSettings {
    /// `postgresql://…`, as libpq takes it. `sslmode` may be `disable`, `prefer`, `require`, `verify-ca` or
    /// `verify-full`: a certificate is always verified, against the system's roots or the file in `sslrootcert`.
    pub url: String,
    /// The schema that holds the tables. What logins may use of them is in another beside it, named `<schema>_api`.
    pub schema: String,
    /// What the server's own views show for these sessions.
    pub application_name: String,
}

impl ConnectSettings {
    /// The default schema, and the program's own name.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), schema: DEFAULT_SCHEMA.to_owned(), application_name: "tidelock".to_owned() }
    }

    /// The schema as SQL spells it.
    #[must_use]
    pub fn quoted_schema(&self) -> String {
        format!("\"{}\"", self.schema.replace('"', "\"\""))
    }

    /// The schema of what logins may use, as SQL spells it.
    #[must_use]
    pub fn quoted_interface(&self) -> String {
        format!("\"{}\"", self.interface().replace('"', "\"\""))
    }

    /// The schema of what logins may use, as the catalogs have it.
    pub(super) fn interface(&self) -> String {
        format!("{}_api", self.schema)
    }

    pub(super) fn parse(&self) -> Result<(Config, Option<PathBuf>), RegistryError> {
        let (url, root) = split_off_root_certificate(&self.url);
        // The parser's own message is safe: it names an option or a position, never the URL.
        let mut config = Config::from_str(&url).map_err(|error| RegistryError::Settings {
            setting: "the database URL cannot be read".to_owned(),
            hint: Some("it is postgresql://LOGIN:PASSWORD@HOST/DATABASE".to_owned()),
            cause: error.into(),
        })?;
        config.application_name(&self.application_name).connect_timeout(CONNECT_TIMEOUT);
        config.keepalives_idle(Duration::from_secs(30)).tcp_user_timeout(Duration::from_secs(10));
        Ok((config, root))
    }

    /// A pool of at most `size` connections, made when they are needed. Each is checked for what its login may before it is
    /// used: a role's settings and memberships change while a program runs.
    pub(super) fn pool(&self, size: usize) -> Result<Pool, RegistryError> {
        let (config, root) = self.parse()?;
        let schema = self.schema.clone();
        let check = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let schema = schema.clone();
            Box::pin(async move { login::check(client, &schema).await })
        });
        let manager = Manager::from_config(
            config,
            tls(root.as_deref())?,
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .post_create(check)
            .timeouts(Timeouts {
                wait: Some(CONNECT_TIMEOUT),
                create: Some(CONNECT_TIMEOUT),
                recycle: Some(CONNECT_TIMEOUT),
            })
            .build()
            .map_err(|error| unusable("the connection pool cannot be built", error))
    }

    /// One connection of its own, with the part that has to be polled.
    pub(super) async fn connect(
        &self,
    ) -> Result<
        (
            tokio_postgres::Client,
            tokio_postgres::Connection<
                tokio_postgres::Socket,
                <MakeRustlsConnect as tokio_postgres::tls::MakeTlsConnect<tokio_postgres::Socket>>::Stream,
            >,
        ),
        RegistryError,
    > {
        let (config, root) = self.parse()?;
        config
            .connect(tls(root.as_deref())?)
            .await
            .map_err(|error| RegistryError::from_driver("connecting to the database", error))
    }
}

/// libpq's modes that tokio-postgres does not know, in the terms that it knows; and the root certificate's file.
fn split_off_root_certificate(url: &str) -> (String, Option<PathBuf>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None) };
    let mut root = None;
    let mut kept = Vec::new();
    for option in query.split('&') {
        match option.split_once('=') {
            Some(("sslrootcert", file)) => root = Some(PathBuf::from(file)),
            Some(("sslmode", "verify-ca" | "verify-full")) => kept.push("sslmode=require"),
            Some(("sslmode", "allow")) => kept.push("sslmode=prefer"),
            _ => kept.push(option),
        }
    }
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    (format!("{base}{query}"), root)
}

fn tls(root: Option<&Path>) -> Result<MakeRustlsConnect, RegistryError> {
    let mut roots = rustls::RootCertStore::empty();
    if let Some(file) = root {
        let unreadable = |error: rustls::pki_types::pem::Error| {
            unusable(format!("the root certificate {} cannot be read", file.display()), error)
        };
        for certificate in CertificateDer::pem_file_iter(file).map_err(unreadable)? {
            roots.add_parsable_certificates([certificate.map_err(unreadable)?]);
        }
    } else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable("TLS cannot be set up", error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn unusable(setting: impl Into<String>, cause: impl Into<Cause>) -> RegistryError {
    RegistryError::Settings { setting: setting.into(), hint: None, cause: cause.into() }
}

/// A pool's error in the registry's terms.
pub(super) fn from_pool(attempt: &str, error: deadpool_postgres::PoolError) -> RegistryError {
    match error {
        deadpool_postgres::PoolError::Backend(error)
        | deadpool_postgres::PoolError::PostCreateHook(HookError::Backend(error)) => {
            RegistryError::from_driver(attempt, error)
        }
        deadpool_postgres::PoolError::PostCreateHook(HookError::Message(refused)) => {
            RegistryError::Refused(Explanation::from(refused.into_owned()).hint(login::OWN_LOGIN))
        }
        other => RegistryError::Unavailable { attempt: attempt.to_owned(), cause: other.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verifying_modes_of_libpq_are_understood() {
        let (url, root) = split_off_root_certificate(
            "postgresql://u:p@h/d?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=3",
        );
        assert_eq!(url, "postgresql://u:p@h/d?sslmode=require&connect_timeout=3");
        assert_eq!(root, Some(PathBuf::from("/ca.pem")));
        assert_eq!(split_off_root_certificate("postgresql://u@h/d").0, "postgresql://u@h/d");
    }

    #[test]
    fn an_unreadable_url_is_not_repeated() {
        let settings = ConnectSettings::new("postgresql://ana:hunter2@[broken/db");
        let error = settings.pool(1).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("cannot be read") && !error.contains("hunter2"), "{error}");
    }
}
