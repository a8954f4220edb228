//! What TLS is made with: roots, revocation lists, the client's own certificate. Read anew for each connection, so that files
//! may be replaced while a program runs.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use super::tls_settings::{ClientCertificate, Roots, SslMode, TlsSettings, Versions};
use super::verifier::{Chain, Verifier};
use crate::registry::error::Cause;

/// TLS cannot be set up as it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("{what} {} cannot be read", .file.display())]
    File {
        what: &'static str,
        file: PathBuf,
        #[source]
        cause: Cause,
    },
    #[error(
        "the root certificate file {} does not exist: provide it, name another one or system in sslrootcert, or say \
         sslmode=require, which verifies nothing",
        .0.display()
    )]
    NoRoots(PathBuf),
    #[error("there is no home folder with a root certificate file: name one, or system, in sslrootcert")]
    NoHome,
    #[error("sslmode=verify-full needs the host's name to compare with its certificate: say host beside hostaddr")]
    NoHostName,
    #[error("the key file {} can be read by others than its owner: give it the mode 0600, or 0640 where it is root's", .0.display())]
    OpenKey(PathBuf),
    #[error("the client's certificate and key do not go together, or TLS cannot be set up")]
    Rustls(#[from] rustls::Error),
    #[error("the root certificates or revocation lists cannot be used")]
    Verifier(#[from] rustls::client::VerifierBuilderError),
}

/// The configuration for one host, by its name as it was given.
pub(super) fn client_config(settings: &TlsSettings, host: Option<&str>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let chain = chain(settings, &provider)?;
    let host = match (settings.mode, host) {
        (SslMode::VerifyFull, None) => return Err(TlsError::NoHostName),
        (SslMode::VerifyFull, Some(host)) => Some(host.to_owned()),
        _ => None,
    };
    let versions: &[&SupportedProtocolVersion] = match settings.versions {
        Versions::All => &[&version::TLS13, &version::TLS12],
        Versions::Only12 => &[&version::TLS12],
        Versions::Only13 => &[&version::TLS13],
    };
    let verifier = Verifier { provider: Arc::clone(&provider), chain, host };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match settings.client.as_ref().map(own_certificate).transpose()?.flatten() {
        Some((certificates, key)) => builder.with_client_auth_cert(certificates, key)?,
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = settings.tells_name;
    if settings.is_direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}

/// `None` where the mode does not insist and nobody named or laid down whom to trust.
fn chain(settings: &TlsSettings, provider: &Arc<CryptoProvider>) -> Result<Option<Chain>, TlsError> {
    let insists = matches!(settings.mode, SslMode::VerifyCa | SslMode::VerifyFull);
    let mut roots = RootCertStore::empty();
    let mut pinned = Vec::new();
    match &settings.roots {
        Roots::System => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
        Roots::File(file) if file.exists() => {
            pinned = pem_objects::<CertificateDer<'static>>("the root certificate file", file)?;
            roots.add_parsable_certificates(pinned.iter().cloned());
        }
        Roots::File(file) if insists => return Err(TlsError::NoRoots(file.clone())),
        Roots::Nowhere if insists => return Err(TlsError::NoHome),
        Roots::File(_) | Roots::Nowhere => return Ok(None),
    }
    let mut authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    if let Some((file, was_named)) = &settings.revocations
        && (*was_named || file.exists())
    {
        let lists = pem_objects::<CertificateRevocationListDer<'static>>("the revocation list", file)?;
        authorities = authorities.with_crls(lists).allow_unknown_revocation_status();
    }
    Ok(Some(Chain { authorities: authorities.build()?, pinned }))
}

/// Everything of one kind in a PEM file; none of it is an error.
fn pem_objects<T: PemObject>(what: &'static str, file: &Path) -> Result<Vec<T>, TlsError> {
    let failed = |cause: pem::Error| TlsError::File { what, file: file.to_owned(), cause: cause.into() };
    let found: Vec<T> = T::pem_file_iter(file).and_then(Iterator::collect).map_err(failed)?;
    if found.is_empty() {
        let cause = "it holds none in PEM".into();
        return Err(TlsError::File { what, file: file.to_owned(), cause });
    }
    Ok(found)
}

type OwnCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// `None` where none was named and none lies where libpq would look.
fn own_certificate(client: &ClientCertificate) -> Result<Option<OwnCertificate>, TlsError> {
    if !client.was_named && !client.certificate.exists() {
        return Ok(None);
    }
    let certificates = pem_objects("the client's certificate", &client.certificate)?;
    let what = "the client's key";
    let failed = |cause: Cause| TlsError::File { what, file: client.key.clone(), cause };
    let metadata = fs::metadata(&client.key).map_err(|error: io::Error| failed(error.into()))?;
    let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.permissions().mode() & others != 0 {
        return Err(TlsError::OpenKey(client.key.clone()));
    }
    let key = PrivateKeyDer::from_pem_file(&client.key).map_err(|error| failed(error.into()))?;
    Ok(Some((certificates, key)))
}
