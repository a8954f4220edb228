//! The same connection, for a program that links libpq.

use std::ffi::OsString;

use super::keywords::KEYWORDS;
use super::target::{Place, Target};
use super::{ConnectSettings, RegistryError};

/// What is said of one host in place of all: an exported snapshot is only there.
const OF_A_HOST: [&str; 6] = ["host", "hostaddr", "port", "target_session_attrs", "load_balance_hosts", "password"];

/// What has been looked up already, so that nobody looks it up anew.
const LOOKED_UP: [&str; 2] = ["service", "servicefile"];

impl ConnectSettings {
    /// Environment variables that say what the connection string says, of one of its hosts: an argument would show the
    /// password to everyone on the machine. `None` takes one that was inherited away.
    ///
    /// libpq means the same by each, so nothing is translated but the host, and the budget that it would not have by itself.
    /// Options without a variable (keep-alives) are libpq's defaults.
    pub(in crate::registry) fn for_libpq(
        &self,
        host: usize,
    ) -> Result<Vec<(&'static str, Option<OsString>)>, RegistryError> {
        Ok(variables(&self.target()?, host))
    }
}

fn variables(target: &Target, host: usize) -> Vec<(&'static str, Option<OsString>)> {
    let mut variables: Vec<(&'static str, Option<OsString>)> = Vec::new();
    for keyword in KEYWORDS {
        let Some(variable) = keyword.variable.filter(|_| !OF_A_HOST.contains(&keyword.name)) else { continue };
        let said = target.gathered.get(keyword.name).filter(|_| !LOOKED_UP.contains(&keyword.name));
        variables.push((variable, said.map(OsString::from)));
    }
    let mut set = |name: &'static str, value: Option<OsString>| {
        variables.retain(|(variable, _)| *variable != name);
        variables.push((name, value));
    };
    set("PGUSER", Some(target.user.clone().into()));
    set("PGDATABASE", Some(target.database.clone().into()));
    set("PGAPPNAME", Some(target.application_name.clone().into()));
    set("PGCONNECT_TIMEOUT", Some(target.budget.as_secs().to_string().into()));
    set("PGTARGETSESSIONATTRS", None);
    set("PGLOADBALANCEHOSTS", None);
    let Some(host) = target.hosts.get(host) else { return variables };
    let (name, address) = match &host.place {
        Place::Socket(folder) => (Some(folder.clone().into_os_string()), None),
        Place::Name(name) => (Some(name.into()), None),
        Place::Address(address) => (host.name.clone().map(Into::into), Some(address.to_string().into())),
    };
    set("PGHOST", name);
    set("PGHOSTADDR", address);
    set("PGPORT", Some(host.port.to_string().into()));
    set("PGPASSWORD", host.password.clone().map(Into::into));
    variables
}

#[cfg(test)]
mod tests {
    use super::super::surroundings::Surroundings;
    use super::*;

    fn told(url: &str, host: usize) -> Vec<String> {
        let surroundings = Surroundings { user: Some("ana".to_owned()), ..Surroundings::default() };
        let target = Target::from(url, "tidelock", &surroundings).unwrap_or_else(|error| panic!("{error}"));
        let mut told: Vec<String> = variables(&target, host)
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{name}={}", value?.to_string_lossy())))
            .collect();
        told.sort();
        told
    }

    #[test]
    fn what_a_url_says_is_said_in_variables() {
        assert_eq!(
            told(
                "postgresql://ana:p%40ss@db.internal:6432/registry?sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=3",
                0
            ),
            [
                "PGAPPNAME=tidelock",
                "PGCONNECT_TIMEOUT=3",
                "PGDATABASE=registry",
                "PGHOST=db.internal",
                "PGPASSWORD=p@ss",
                "PGPORT=6432",
                "PGSSLMODE=verify-full",
                "PGSSLROOTCERT=/ca.pem",
                "PGUSER=ana",
            ]
        );
    }

    #[test]
    fn of_several_hosts_the_one_that_answered_is_named() {
        let url = "host=a,b hostaddr=10.0.0.1,10.0.0.2 port=1,2 user=ana password=p target_session_attrs=primary";
        let told = told(url, 1);
        for expected in ["PGHOST=b", "PGHOSTADDR=10.0.0.2", "PGPORT=2"] {
            assert!(told.iter().any(|said| said == expected), "{told:?}");
        }
        assert!(!told.iter().any(|said| said.starts_with("PGTARGET")), "{told:?}");
    }
}
