//! Whether a certificate is a host's, by libpq's rules: the alternative names, or the common name where there are none that
//! could be meant. Pure.

use std::net::IpAddr;

use x509_cert::Certificate;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The names in a certificate.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct CertificateNames {
    pub(super) dns: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) common: Option<String>,
}

impl CertificateNames {
    pub(super) fn of(certificate: &Certificate) -> Self {
        let mut names = Self::default();
        if let Ok(Some((_, alternatives))) = certificate.tbs_certificate.get::<SubjectAltName>() {
            for name in alternatives.0 {
                match name {
                    GeneralName::DnsName(name) => names.dns.push(name.to_string()),
                    GeneralName::IpAddress(bytes) => names.addresses.extend(address(bytes.as_bytes())),
                    _ => {}
                }
            }
        }
        let parts = certificate.tbs_certificate.subject.0.iter().flat_map(|parts| parts.0.iter());
        names.common = parts.filter(|part| part.oid == COMMON_NAME).find_map(|part| {
            let text = part.value.decode_as::<Utf8StringRef<'_>>().map(|text| text.as_str().to_owned());
            let text =
                text.or_else(|_| part.value.decode_as::<PrintableStringRef<'_>>().map(|text| text.as_str().to_owned()));
            text.or_else(|_| part.value.decode_as::<Ia5StringRef<'_>>().map(|text| text.as_str().to_owned())).ok()
        });
        names
    }

    /// Whether one of them is the host's, as it was named.
    pub(super) fn are_of(&self, host: &str) -> bool {
        let by_name = || self.dns.iter().any(|name| matches(name, host));
        match host.parse::<IpAddr>() {
            Ok(address) => {
                let by_common =
                    || self.addresses.is_empty() && self.common.as_deref().is_some_and(|name| matches(name, host));
                self.addresses.contains(&address) || by_name() || by_common()
            }
            Err(_) => {
                by_name() || self.dns.is_empty() && self.common.as_deref().is_some_and(|name| matches(name, host))
            }
        }
    }

    /// For a message.
    pub(super) fn told(&self) -> String {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let all: Vec<String> = self.dns.iter().cloned().chain(addresses).collect();
        match (&self.common, all.is_empty()) {
            (_, false) => all.join(", "),
            (Some(common), true) => common.clone(),
            (None, true) => "nobody".to_owned(),
        }
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// A `*` is one whole label, the first, of a name that has others after the next dot.
fn matches(name: &str, host: &str) -> bool {
    if name.eq_ignore_ascii_case(host) {
        return true;
    }
    let (Some(domain), Some((label, rest))) = (name.strip_prefix("*."), host.split_once('.')) else { return false };
    !label.is_empty() && domain.eq_ignore_ascii_case(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dns: &[&str], addresses: &[&str], common: Option<&str>) -> CertificateNames {
        CertificateNames {
            dns: dns.iter().map(ToString::to_string).collect(),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            common: common.map(str::to_owned),
        }
    }

    #[test]
    fn a_certificate_is_a_hosts_by_alternative_names_or_by_the_common_name_where_there_are_none() {
        for (names, host, expected) in [
            (names(&["db.internal"], &[], None), "db.internal", true),
            (names(&["DB.Internal"], &[], None), "db.internal", true),
            (names(&["db.internal"], &[], Some("other")), "other", false),
            (names(&["a", "b"], &[], None), "b", true),
            (names(&[], &[], Some("db.internal")), "db.internal", true),
            (names(&[], &[], Some("db.internal")), "db", false),
            (names(&[], &["10.0.0.1"], Some("db.internal")), "db.internal", true),
            (names(&["*.internal"], &[], None), "db.internal", true),
            (names(&["*.internal"], &[], None), "a.db.internal", false),
            (names(&["*.internal"], &[], None), "internal", false),
            (names(&["*.internal"], &[], None), ".internal", false),
            (names(&["*"], &[], None), "db", false),
            (names(&["d*.internal"], &[], None), "db.internal", false),
            (names(&[], &["127.0.0.1"], None), "127.0.0.1", true),
            (names(&[], &["127.0.0.1"], None), "127.0.0.2", false),
            (names(&[], &["::1"], None), "0:0:0:0:0:0:0:1", true),
            (names(&["127.0.0.1"], &[], None), "127.0.0.1", true),
            (names(&["db"], &[], Some("127.0.0.1")), "127.0.0.1", true),
            (names(&[], &["127.0.0.2"], Some("127.0.0.1")), "127.0.0.1", false),
            (names(&[], &["127.0.0.1"], None), "localhost", false),
        ] {
            assert_eq!(names.are_of(host), expected, "{names:?} {host}");
        }
    }
}
