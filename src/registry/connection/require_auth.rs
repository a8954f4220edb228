//! `require_auth`: by which ways of proving who one is a server may be satisfied. Held to before the password leaves.

use std::collections::BTreeSet;

use super::gathered::{Gathered, SettingError};

/// What a server asks for; the names are libpq's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum AuthMethod {
    /// Nothing, or a certificate.
    None,
    Password,
    Md5,
    Gss,
    Sspi,
    Scram,
}

use AuthMethod::{Gss, Md5, None as Nothing, Password, Scram, Sspi};

const METHODS: [(&str, AuthMethod); 6] =
    [("password", Password), ("md5", Md5), ("gss", Gss), ("sspi", Sspi), ("scram-sha-256", Scram), ("none", Nothing)];

impl AuthMethod {
    /// The method of an authentication request; `None` for a message that continues one, and for what nobody asks for any
    /// more.
    pub(super) const fn of_request(code: i32) -> Option<Self> {
        match code {
            3 => Some(Password),
            5 => Some(Md5),
            7 => Some(Gss),
            9 => Some(Sspi),
            10 => Some(Scram),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        METHODS.iter().find(|(_, method)| *method == self).map_or("none", |(name, _)| name)
    }

    /// Whether a password answers it.
    pub(super) const fn takes_password(self) -> bool {
        matches!(self, Password | Md5 | Scram)
    }
}

/// Which of them will do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequiredAuth(BTreeSet<AuthMethod>);

impl RequiredAuth {
    /// A list of methods, or of methods that will not do, each with a `!`.
    pub(super) fn from(gathered: &Gathered) -> Result<Option<Self>, SettingError> {
        const OPTION: &str = "require_auth";
        let said = gathered.list(OPTION);
        if said.is_empty() {
            return Ok(None);
        }
        let negated = said.iter().filter(|method| method.starts_with('!')).count();
        if negated > 0 && negated < said.len() {
            return Err(gathered.wrong(OPTION, "has methods with ! and without: it is one or the other"));
        }
        let mut named = BTreeSet::new();
        for word in said {
            let name = word.strip_prefix('!').unwrap_or(word);
            let method = METHODS.iter().find(|(known, _)| *known == name).map(|(_, method)| *method);
            let method = method.ok_or_else(|| {
                gathered
                    .wrong(OPTION, "takes password, md5, gss, sspi, scram-sha-256 and none, each with ! or all without")
            })?;
            if !named.insert(method) {
                return Err(gathered.wrong(OPTION, format!("names {name} twice")));
            }
        }
        let allowed =
            METHODS.iter().map(|(_, method)| *method).filter(|method| named.contains(method) == (negated == 0));
        Ok(Some(Self(allowed.collect())))
    }

    pub(super) fn allows(&self, method: AuthMethod) -> bool {
        self.0.contains(&method)
    }
}

#[cfg(test)]
mod tests {
    use super::super::surroundings::Surroundings;
    use super::*;

    #[test]
    fn methods_are_allowed_by_name_or_by_leaving_others_out() {
        let required = |value: &str| {
            let gathered = Gathered::from(&format!("require_auth='{value}'"), &Surroundings::default())?;
            let required = RequiredAuth::from(&gathered)?;
            let allowed = METHODS.iter().filter(|(_, method)| required.as_ref().is_none_or(|all| all.allows(*method)));
            Ok::<_, SettingError>(allowed.map(|(name, _)| *name).collect::<Vec<_>>())
        };
        assert_eq!(required("").unwrap().len(), METHODS.len());
        assert_eq!(required("scram-sha-256").unwrap(), ["scram-sha-256"]);
        assert_eq!(required("scram-sha-256, none").unwrap(), ["scram-sha-256", "none"]);
        assert_eq!(required("!password,!md5").unwrap(), ["gss", "sspi", "scram-sha-256", "none"]);
        for wrong in ["scram", "password,!md5", "md5,md5", "password,,md5"] {
            assert!(required(wrong).unwrap_err().to_string().contains("require_auth in the database URL"), "{wrong}");
        }
    }
}
