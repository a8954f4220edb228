//! What was said about TLS, with libpq's meaning of each mode.
//!
//! | `sslmode` | encrypted | certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `allow` | where the server insists | as for `require` |
//! | `prefer` (where nothing is said) | where the server can | as for `require` |
//! | `require` | yes | its chain, if there is a file of root certificates; else anyone's |
//! | `verify-ca` | yes | its chain |
//! | `verify-full` | yes | its chain, and that it is the host's |
//!
//! The file of root certificates is that of `sslrootcert`, or else `~/.postgresql/root.crt`; `sslrootcert=system` means those
//! of the system, and `verify-full`.

use std::path::PathBuf;

use super::gathered::{Gathered, SettingError};
use super::surroundings::Surroundings;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SslMode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// Whom to trust for a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Roots {
    /// The system's.
    System,
    /// Those in a file. In the modes that do not insist, one that is not there means that nothing is verified.
    File(PathBuf),
    /// No home folder, no file.
    Nowhere,
}

/// What this program shows of itself. A file that is not there is as good as none, unless it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientCertificate {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) was_named: bool,
}

/// Versions of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Versions {
    All,
    Only12,
    Only13,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TlsSettings {
    pub(super) mode: SslMode,
    pub(super) roots: Roots,
    /// A file of revocation lists, and whether it was named.
    pub(super) revocations: Option<(PathBuf, bool)>,
    pub(super) client: Option<ClientCertificate>,
    pub(super) versions: Versions,
    /// Whether the name of the host is told to the server before anything is encrypted.
    pub(super) tells_name: bool,
    /// Whether TLS begins at once, in place of PostgreSQL's own request for it.
    pub(super) is_direct: bool,
}

impl TlsSettings {
    pub(super) fn from(gathered: &Gathered, surroundings: &Surroundings) -> Result<Self, SettingError> {
        let file = |option: &str, name: &str| {
            let named = gathered.get(option).map(PathBuf::from);
            let was_named = named.is_some();
            named.or_else(|| surroundings.postgresql_file(name)).map(|file| (file, was_named))
        };
        let roots = match file("sslrootcert", "root.crt") {
            Some((file, true)) if file.as_os_str() == "system" => Roots::System,
            Some((file, _)) => Roots::File(file),
            None => Roots::Nowhere,
        };
        let mode = mode(gathered, &roots)?;
        let is_direct = gathered.word("sslnegotiation", &[("postgres", false), ("direct", true)])?;
        if is_direct && matches!(mode, SslMode::Disable | SslMode::Allow | SslMode::Prefer) {
            return Err(gathered.wrong("sslnegotiation", "may be direct only where sslmode is require or stricter"));
        }
        let certificates_are_shown = gathered.get("sslcertmode").is_none_or(|mode| mode != "disable");
        let client = file("sslcert", "postgresql.crt").zip(file("sslkey", "postgresql.key"));
        let client = client
            .filter(|_| certificates_are_shown)
            .map(|((certificate, was_named), (key, _))| ClientCertificate { certificate, key, was_named });
        let tells_name = gathered.word("sslsni", &[("1", true), ("0", false)])?;
        Ok(Self {
            mode,
            roots,
            revocations: file("sslcrl", "root.crl"),
            client,
            versions: versions(gathered)?,
            tells_name,
            is_direct,
        })
    }
}

fn mode(gathered: &Gathered, roots: &Roots) -> Result<SslMode, SettingError> {
    use SslMode::{Allow, Disable, Prefer, Require, VerifyCa, VerifyFull};
    if *roots == Roots::System {
        return match gathered.get("sslmode") {
            None | Some("verify-full") => Ok(VerifyFull),
            Some(_) => Err(gathered.wrong("sslmode", "has to be verify-full where sslrootcert is system")),
        };
    }
    let modes = [
        ("prefer", Prefer),
        ("disable", Disable),
        ("allow", Allow),
        ("require", Require),
        ("verify-ca", VerifyCa),
        ("verify-full", VerifyFull),
    ];
    gathered.word("sslmode", &modes)
}

/// Versions before 1.2 are nobody's any more: a lower bound there allows all that are left.
fn versions(gathered: &Gathered) -> Result<Versions, SettingError> {
    let version = |option: &'static str| match gathered.get(option) {
        None => Ok(None),
        Some(said) => ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"]
            .iter()
            .position(|name| name.eq_ignore_ascii_case(said))
            .map(Some)
            .ok_or_else(|| gathered.wrong(option, "has to be TLSv1.2 or TLSv1.3")),
    };
    let (lowest, highest) = (version("ssl_min_protocol_version")?, version("ssl_max_protocol_version")?);
    match (lowest.unwrap_or(0).max(2), highest.unwrap_or(3)) {
        (2, 3) => Ok(Versions::All),
        (2, 2) => Ok(Versions::Only12),
        (3, 3) => Ok(Versions::Only13),
        (_, 0 | 1) => {
            Err(gathered.wrong("ssl_max_protocol_version", "has to be TLSv1.2 or TLSv1.3: this program speaks these"))
        }
        _ => Err(gathered.wrong("ssl_min_protocol_version", "is higher than ssl_max_protocol_version")),
    }
}
