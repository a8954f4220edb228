//! The options of a connection, as libpq documents them, and what is done about each.
//!
//! Source: "Parameter Key Words" and "Environment Variables" in the manuals of PostgreSQL 15 to 18, and what `PQconndefaults`
//! of these releases lists.

/// An option of libpq's.
#[derive(Debug)]
pub(super) struct Keyword {
    pub(super) name: &'static str,
    /// The environment variable that stands for it where nothing nearer says it.
    pub(super) variable: Option<&'static str>,
    pub(super) treatment: Treatment,
}

/// What is done about an option that somebody gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It means what libpq says.
    Honoured,
    /// With one of these values it asks for what is done anyway; with any other it is refused, with what to do.
    OnlyAs(&'static [&'static str], &'static str),
    /// It is refused, with what to do.
    Refused(&'static str),
}

use Treatment::{Honoured, OnlyAs, Refused};

const fn keyword(name: &'static str, variable: &'static str, treatment: Treatment) -> Keyword {
    Keyword { name, variable: Some(variable), treatment }
}

const fn unnamed(name: &'static str, treatment: Treatment) -> Keyword {
    Keyword { name, variable: None, treatment }
}

const NO_KERBEROS: &str =
    "there is no GSSAPI here: leave it out, and let the server ask for scram-sha-256 or a certificate";
const NO_OAUTH: &str =
    "there is no OAuth here: leave it out, and let the server ask for scram-sha-256 or a certificate";
const NO_SCRAM_KEYS: &str = "give the password instead";
const OFF: &[&str] = &["0", "off", "no", "false"];

/// All of them.
pub(super) const KEYWORDS: &[Keyword] = &[
    keyword("service", "PGSERVICE", Honoured),
    keyword("servicefile", "PGSERVICEFILE", Honoured),
    keyword("user", "PGUSER", Honoured),
    keyword("password", "PGPASSWORD", Honoured),
    keyword("passfile", "PGPASSFILE", Honoured),
    keyword("channel_binding", "PGCHANNELBINDING", Honoured),
    keyword("connect_timeout", "PGCONNECT_TIMEOUT", Honoured),
    keyword("dbname", "PGDATABASE", Honoured),
    keyword("host", "PGHOST", Honoured),
    keyword("hostaddr", "PGHOSTADDR", Honoured),
    keyword("port", "PGPORT", Honoured),
    keyword(
        "client_encoding",
        "PGCLIENTENCODING",
        OnlyAs(&["UTF8", "UTF-8", "auto"], "this program speaks UTF-8 and nothing else: leave it out"),
    ),
    keyword("options", "PGOPTIONS", Honoured),
    keyword("application_name", "PGAPPNAME", Honoured),
    unnamed("fallback_application_name", Honoured),
    unnamed("keepalives", Honoured),
    unnamed("keepalives_idle", Honoured),
    unnamed("keepalives_interval", Honoured),
    unnamed("keepalives_count", Honoured),
    unnamed("tcp_user_timeout", Honoured),
    keyword("sslmode", "PGSSLMODE", Honoured),
    keyword("sslnegotiation", "PGSSLNEGOTIATION", Honoured),
    // libpq itself says that it has no effect where the TLS library cannot compress, as ours and most cannot.
    keyword("sslcompression", "PGSSLCOMPRESSION", OnlyAs(&["0", "1"], "it is 0 or 1, and nothing is compressed")),
    keyword("sslcert", "PGSSLCERT", Honoured),
    keyword("sslkey", "PGSSLKEY", Honoured),
    keyword(
        "sslcertmode",
        "PGSSLCERTMODE",
        OnlyAs(&["allow", "disable"], "say allow, and demand the certificate in the server's pg_hba.conf (clientcert)"),
    ),
    unnamed(
        "sslpassword",
        Refused("decrypt the key's file (openssl pkcs8), with mode 0600, and leave the password out"),
    ),
    keyword("sslrootcert", "PGSSLROOTCERT", Honoured),
    keyword("sslcrl", "PGSSLCRL", Honoured),
    keyword("sslcrldir", "PGSSLCRLDIR", Refused("name one file with the revocation lists in sslcrl")),
    keyword("sslsni", "PGSSLSNI", Honoured),
    keyword(
        "requirepeer",
        "PGREQUIREPEER",
        Refused("use TCP and sslmode=verify-full, which proves the server by certificate"),
    ),
    keyword("require_auth", "PGREQUIREAUTH", Honoured),
    keyword(
        "min_protocol_version",
        "PGMINPROTOCOLVERSION",
        OnlyAs(&["3.0"], "this program speaks version 3.0 of the protocol, as every server does: leave it out"),
    ),
    keyword(
        "max_protocol_version",
        "PGMAXPROTOCOLVERSION",
        OnlyAs(&["3.0", "3.2", "latest"], "it is 3.0, 3.2 or latest"),
    ),
    keyword("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Honoured),
    keyword("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Honoured),
    keyword(
        "gssencmode",
        "PGGSSENCMODE",
        OnlyAs(&["disable", "prefer"], "there is no GSSAPI here: use sslmode=verify-full"),
    ),
    keyword("krbsrvname", "PGKRBSRVNAME", Refused(NO_KERBEROS)),
    keyword("gsslib", "PGGSSLIB", Refused(NO_KERBEROS)),
    keyword("gssdelegation", "PGGSSDELEGATION", OnlyAs(&["0"], NO_KERBEROS)),
    unnamed("replication", OnlyAs(OFF, "a connection for replication answers no queries: leave it out")),
    keyword("target_session_attrs", "PGTARGETSESSIONATTRS", Honoured),
    keyword("load_balance_hosts", "PGLOADBALANCEHOSTS", Honoured),
    unnamed("scram_client_key", Refused(NO_SCRAM_KEYS)),
    unnamed("scram_server_key", Refused(NO_SCRAM_KEYS)),
    unnamed("oauth_issuer", Refused(NO_OAUTH)),
    unnamed("oauth_client_id", Refused(NO_OAUTH)),
    unnamed("oauth_client_secret", Refused(NO_OAUTH)),
    unnamed("oauth_scope", Refused(NO_OAUTH)),
    unnamed("sslkeylogfile", Refused("it would write the keys of the connection into a file: leave it out")),
];

/// The option of that name, exactly as it is spelled.
pub(super) fn find(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name == name)
}
