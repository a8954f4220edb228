//! What Kubernetes and its users expect of the built-in types of Secret, checked before one is written: the API server looks
//! at less of it, and says it later and in its own words.

use std::collections::BTreeMap;

use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use serde_json::Value;

use crate::core::SecretValue;

/// The data is not what its type asks for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a Secret of type {type_} {what}")]
pub(crate) struct TypeError {
    type_: String,
    what: &'static str,
}

/// The entries of a Secret.
type Entries<'e> = BTreeMap<&'e str, &'e SecretValue>;

/// Whether the entries are what the type asks for. Other types ask for nothing.
pub(crate) fn check_type<'e>(
    type_: &str,
    entries: impl Iterator<Item = (&'e str, &'e SecretValue)>,
) -> Result<(), TypeError> {
    let entries: Entries = entries.collect();
    let checked = match type_ {
        "kubernetes.io/tls" => tls(&entries),
        "kubernetes.io/dockerconfigjson" => docker_config(&entries),
        "kubernetes.io/dockercfg" => docker_cfg(&entries),
        "kubernetes.io/basic-auth" => basic_auth(&entries),
        "kubernetes.io/ssh-auth" => ssh_auth(&entries),
        _ => Ok(()),
    };
    checked.map_err(|what| TypeError { type_: type_.to_owned(), what })
}

fn entry<'e>(entries: &Entries<'e>, name: &str) -> Option<&'e [u8]> {
    entries.get(name).map(|value| value.expose())
}

fn tls(entries: &Entries) -> Result<(), &'static str> {
    let certificate = entry(entries, "tls.crt").ok_or("needs the entry tls.crt")?;
    let key = entry(entries, "tls.key").ok_or("needs the entry tls.key")?;
    let chain: Vec<CertificateDer> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|_| "needs certificates in PEM in tls.crt")?;
    if chain.is_empty() {
        return Err("needs a certificate in PEM in tls.crt");
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| "needs a private key in PEM in tls.key, not encrypted")?;
    // A kind of key that is not known here cannot be compared; whether it is one is for its users to say.
    let Ok(key) = any_supported_type(&key) else {
        return if is_of_a_known_kind(&chain[0]) {
            Err("has a key in tls.key that is not of the kind of the certificate in tls.crt, or cannot be read")
        } else {
            Ok(())
        };
    };
    match CertifiedKey::new(chain, key).keys_match() {
        // Unknown: the key does not tell its public half.
        Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => Ok(()),
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err("has a key in tls.key that is not the key of the certificate in tls.crt")
        }
        Err(_) => Err("needs a certificate that can be read as the first one in tls.crt"),
    }
}

/// Whether the certificate's key is of a kind of which private keys are read: if it is, one that cannot be read is not its.
fn is_of_a_known_kind(certificate: &CertificateDer) -> bool {
    use x509_cert::der::Decode;
    use x509_cert::der::asn1::ObjectIdentifier;
    const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
    const ELLIPTIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
    const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
    const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
    let Ok(certificate) = x509_cert::Certificate::from_der(certificate) else { return true };
    let algorithm = &certificate.tbs_certificate.subject_public_key_info.algorithm;
    let curve = algorithm.parameters.as_ref().and_then(|curve| curve.decode_as::<ObjectIdentifier>().ok());
    algorithm.oid == ED25519 || (algorithm.oid == ELLIPTIC && (curve == Some(P256) || curve == Some(P384)))
}

fn json_object(value: &[u8]) -> Option<serde_json::Map<String, Value>> {
    serde_json::from_slice(value).ok()
}

fn docker_config(entries: &Entries) -> Result<(), &'static str> {
    let config = entry(entries, ".dockerconfigjson").ok_or("needs the entry .dockerconfigjson")?;
    let config = json_object(config).ok_or("needs a JSON object in .dockerconfigjson")?;
    let auths = config.get("auths").and_then(Value::as_object);
    let auths = auths.ok_or("needs the object auths in .dockerconfigjson")?;
    if auths.values().all(Value::is_object) {
        Ok(())
    } else {
        Err("needs an object for each registry in auths of .dockerconfigjson")
    }
}

fn docker_cfg(entries: &Entries) -> Result<(), &'static str> {
    let config = entry(entries, ".dockercfg").ok_or("needs the entry .dockercfg")?;
    let registries = json_object(config).ok_or("needs a JSON object in .dockercfg")?;
    if registries.values().all(Value::is_object) {
        Ok(())
    } else {
        Err("needs an object for each registry in .dockercfg")
    }
}

fn basic_auth(entries: &Entries) -> Result<(), &'static str> {
    let has = |name| entries.contains_key(name);
    if has("username") || has("password") { Ok(()) } else { Err("needs the entry username or password") }
}

fn ssh_auth(entries: &Entries) -> Result<(), &'static str> {
    let key = entry(entries, "ssh-privatekey").ok_or("needs the entry ssh-privatekey")?;
    let text = std::str::from_utf8(key).unwrap_or_default();
    let is_key =
        text.lines().any(|line| line.starts_with("-----BEGIN ") && line.trim_end().ends_with("PRIVATE KEY-----"));
    if is_key { Ok(()) } else { Err("needs a private key in PEM in ssh-privatekey") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(type_: &str, entries: &[(&str, &str)]) -> Result<(), String> {
        let entries: Vec<(&str, SecretValue)> =
            entries.iter().map(|(name, text)| (*name, SecretValue::from(text.as_bytes().to_vec()))).collect();
        check_type(type_, entries.iter().map(|(name, value)| (*name, value))).map_err(|error| error.to_string())
    }

    struct Pair {
        certificate: String,
        key: String,
    }

    fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> Pair {
        let key = rcgen::KeyPair::generate_for(algorithm).expect("a key");
        let parameters = rcgen::CertificateParams::new(vec!["shop.example".to_owned()]).expect("parameters");
        Pair { certificate: parameters.self_signed(&key).expect("a certificate").pem(), key: key.serialize_pem() }
    }

    #[test]
    fn a_key_that_is_not_its_certificates_is_refused_whatever_its_kind() {
        let tls =
            |certificate: &str, key: &str| checked("kubernetes.io/tls", &[("tls.crt", certificate), ("tls.key", key)]);
        let (one, other) = (pair(&rcgen::PKCS_ECDSA_P256_SHA256), pair(&rcgen::PKCS_ECDSA_P256_SHA256));
        let edwards = pair(&rcgen::PKCS_ED25519);
        assert_eq!(tls(&one.certificate, &one.key), Ok(()));
        assert_eq!(tls(&edwards.certificate, &edwards.key), Ok(()));
        assert_eq!(tls(&(one.certificate.clone() + &other.certificate), &one.key), Ok(()), "a chain");
        for key in [&other.key, &edwards.key] {
            let said = tls(&one.certificate, key).expect_err("another key");
            assert!(said.contains("not the key of the certificate"), "{said}");
        }
        let garbled = "-----BEGIN PRIVATE KEY-----\nYzRuNHJ5\n-----END PRIVATE KEY-----\n";
        assert!(tls(&one.certificate, garbled).expect_err("no key").contains("cannot be read"));
        for (certificate, key, what) in [
            ("c4n4ry", one.key.as_str(), "needs a certificate in PEM in tls.crt"),
            (&one.certificate, "c4n4ry", "needs a private key in PEM in tls.key"),
            (&one.key, &one.key, "needs a certificate in PEM in tls.crt"),
        ] {
            let said = tls(certificate, key).expect_err(what);
            assert!(said.contains(what) && !said.contains("c4n4ry"), "{said}");
        }
        assert!(checked("kubernetes.io/tls", &[("tls.crt", &one.certificate)]).is_err());
    }

    #[test]
    fn each_built_in_type_asks_for_its_entries_and_others_for_nothing() {
        let config = r#"{"auths": {"registry.example": {"auth": "dTpw"}}}"#;
        for (type_, entries, is_valid) in [
            ("Opaque", vec![], true),
            ("example.com/x", vec![("a", "b")], true),
            ("kubernetes.io/dockerconfigjson", vec![(".dockerconfigjson", config)], true),
            ("kubernetes.io/dockerconfigjson", vec![(".dockerconfigjson", "{}")], false),
            ("kubernetes.io/dockerconfigjson", vec![(".dockerconfigjson", r#"{"auths": {"a": "b"}}"#)], false),
            ("kubernetes.io/dockerconfigjson", vec![(".dockerconfigjson", "c4n4ry")], false),
            ("kubernetes.io/dockerconfigjson", vec![("config", config)], false),
            ("kubernetes.io/dockercfg", vec![(".dockercfg", r#"{"a": {"auth": "dTpw"}}"#)], true),
            ("kubernetes.io/dockercfg", vec![(".dockercfg", r#"{"a": 1}"#)], false),
            ("kubernetes.io/basic-auth", vec![("username", "u")], true),
            ("kubernetes.io/basic-auth", vec![("password", "p")], true),
            ("kubernetes.io/basic-auth", vec![("user", "u")], false),
            ("kubernetes.io/ssh-auth", vec![("ssh-privatekey", "-----BEGIN OPENSSH PRIVATE KEY-----\nx")], true),
            ("kubernetes.io/ssh-auth", vec![("ssh-privatekey", "")], false),
            ("kubernetes.io/ssh-auth", vec![("ssh-privatekey", "ssh-ed25519 AAAA")], false),
            ("kubernetes.io/ssh-auth", vec![], false),
        ] {
            let said = checked(type_, &entries);
            assert_eq!(said.is_ok(), is_valid, "{type_} {entries:?}: {said:?}");
            assert!(!said.err().unwrap_or_default().contains("c4n4ry"));
        }
    }
}
