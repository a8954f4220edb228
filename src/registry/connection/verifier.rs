//! Whose certificate a server may show.
//!
//! rustls's own verifier knows `verify-full` alone, and takes no certificate that was put among the roots for being one's
//! own. Both is here by what it does, and by what libpq does around it.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use super::certificate_names::CertificateNames;

/// Verifies what a mode asks for, and always that the server has the key of the certificate that it shows.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) provider: Arc<CryptoProvider>,
    /// `None` where anyone's certificate will do.
    pub(super) chain: Option<Chain>,
    /// Whose certificate it has to be, where that is asked.
    pub(super) host: Option<String>,
}

/// Whom certificates have to come from.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) authorities: Arc<WebPkiServerVerifier>,
    /// The certificates of the file themselves: a server's own may be among them.
    pub(super) pinned: Vec<CertificateDer<'static>>,
}

/// A certificate of somebody else.
#[derive(Debug, thiserror::Error)]
#[error("certificate is for {certified}, and not for {host}")]
struct OtherHost {
    certified: String,
    host: String,
}

impl Chain {
    fn verify(
        &self,
        certificate: &Certificate,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        // One that somebody else signed does not vouch for itself.
        let is_its_own = certificate.tbs_certificate.issuer == certificate.tbs_certificate.subject;
        if is_its_own && self.pinned.iter().any(|pinned| pinned == end_entity) {
            return is_in_its_time(certificate, now);
        }
        // Whose it is is looked at apart, by libpq's rules; names are what that verifier looks at last.
        let anybody = ServerName::try_from("host.invalid").map_err(|_| Error::General("no name".to_owned()))?;
        match self.authorities.verify_server_cert(end_entity, intermediates, &anybody, &[], now) {
            Ok(_)
            | Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

fn is_in_its_time(certificate: &Certificate, now: UnixTime) -> Result<(), Error> {
    let validity = certificate.tbs_certificate.validity;
    let now = Duration::from_secs(now.as_secs());
    if now < validity.not_before.to_unix_duration() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now > validity.not_after.to_unix_duration() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        let certificate = Certificate::from_der(end_entity).map_err(|_| Error::from(CertificateError::BadEncoding))?;
        chain.verify(&certificate, end_entity, intermediates, now)?;
        if let Some(host) = &self.host {
            let names = CertificateNames::of(&certificate);
            if !names.are_of(host) {
                let other = OtherHost { certified: names.told(), host: host.clone() };
                return Err(CertificateError::Other(OtherError(Arc::new(other))).into());
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
    use rustls::RootCertStore;

    use super::*;

    struct Servers {
        authority: CertificateDer<'static>,
        signed: CertificateDer<'static>,
        expired: CertificateDer<'static>,
        self_signed: CertificateDer<'static>,
    }

    fn servers() -> Servers {
        let key = || KeyPair::generate().unwrap();
        let params = || CertificateParams::new(vec!["db.internal".to_owned()]).unwrap();
        let mut of_authority = CertificateParams::default();
        of_authority.distinguished_name.push(DnType::CommonName, "an authority");
        of_authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = key();
        let authority = of_authority.self_signed(&authority_key).unwrap().der().clone();
        let issuer = Issuer::from_params(&of_authority, &authority_key);
        let mut old = params();
        (old.not_before, old.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
        Servers {
            authority,
            signed: params().signed_by(&key(), &issuer).unwrap().der().clone(),
            expired: old.signed_by(&key(), &issuer).unwrap().der().clone(),
            self_signed: params().self_signed(&key()).unwrap().der().clone(),
        }
    }

    #[test]
    fn a_certificate_is_taken_by_its_chain_or_for_being_pinned_and_by_the_hosts_name_where_that_counts() {
        let servers = servers();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verified = |root: Option<&CertificateDer<'static>>, shown: &CertificateDer<'static>, host: Option<&str>| {
            let chain = root.map(|root| {
                let mut roots = RootCertStore::empty();
                roots.add_parsable_certificates([root.clone()]);
                let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                Chain { authorities: authorities.build().unwrap(), pinned: vec![root.clone()] }
            });
            let verifier = Verifier { provider: Arc::clone(&provider), chain, host: host.map(str::to_owned) };
            let name = ServerName::try_from("whatever.example").unwrap();
            verifier.verify_server_cert(shown, &[], &name, &[], UnixTime::now()).is_ok()
        };
        let Servers { authority, signed, expired, self_signed } = &servers;
        let (right, wrong) = (Some("db.internal"), Some("other.internal"));
        for (root, shown, host, expected) in [
            // Nobody to trust, so anybody's will do.
            (None, signed, None, true),
            (None, expired, None, true),
            (Some(authority), signed, None, true),
            (Some(authority), signed, right, true),
            (Some(authority), signed, wrong, false),
            (Some(authority), expired, None, false),
            (Some(authority), self_signed, None, false),
            (Some(self_signed), self_signed, right, true),
            (Some(self_signed), self_signed, wrong, false),
            (Some(self_signed), signed, None, false),
            // One that somebody else signed does not vouch for itself, as OpenSSL has it.
            (Some(signed), signed, None, false),
        ] {
            assert_eq!(verified(root, shown, host), expected, "{host:?} {expected}");
        }
    }
}
