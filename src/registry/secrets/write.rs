//! Writing values: one or ten thousand are the same two statements.

use std::collections::BTreeMap;

use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::core::{KeyName, ProjectId, RegistryTime, RingName, SecretId, SecretValue};
use crate::crypto::{Keyring, OpenError, SealContext};

use super::batch::Batch;
use super::queries::{Before, Current, Live, WriteOutcome, audited, before, current, hash_keys_in_use};
use crate::registry::environments::Environment;
use crate::registry::row::from_row;
use crate::registry::session::{Parameter, Session};
use crate::registry::{Explanation, RegistryError, ValueError, hash_keys};

/// The times of keys in the registry, as a writer read them. A follow answers these and no later ones, so that a change
/// that lands between the reading and the follow leaves the follower stale.
#[derive(Debug, Clone, Default)]
pub struct ObservedTimes(BTreeMap<String, RegistryTime>);

impl ObservedTimes {
    /// `None` where the registry did not have the key.
    pub(crate) fn time(&self, key: &KeyName) -> Option<RegistryTime> {
        self.0.get(key.as_str()).copied()
    }
}

impl FromIterator<(KeyName, RegistryTime)> for ObservedTimes {
    fn from_iter<I: IntoIterator<Item = (KeyName, RegistryTime)>>(times: I) -> Self {
        Self(times.into_iter().map(|(key, time)| (key.into(), time)).collect())
    }
}

/// How values are written.
#[derive(Clone, Copy)]
pub struct WriteOptions<'a> {
    /// Whether to catch up with what was observed instead of making others stale.
    pub follow: bool,
    /// What the writer read of the registry before it got the values: a change since then is not answered.
    pub observed: &'a ObservedTimes,
    /// Whether to find out only, and roll back.
    pub dry_run: bool,
    /// Whether an empty value may take the place of another one.
    pub allow_empty: bool,
    /// Why, for the audit log.
    pub reason: &'a str,
}

struct RegisteredTime {
    key: String,
    last_updated_at: RegistryTime,
}

from_row!(RegisteredTime, "project_secret_registry", "key", [key, last_updated_at]);

impl Session {
    /// The times of keys in the registry now, to be read before a write; `keys` empty: of all keys. Keys that the
    /// registry does not have are left out.
    pub async fn observed_times(
        &mut self,
        environment: &Environment,
        keys: &[KeyName],
    ) -> Result<ObservedTimes, RegistryError> {
        let transaction = self.reading("reading the times of keys").await?;
        let keys: Vec<&str> = keys.iter().map(KeyName::as_str).collect();
        let sql = "SELECT key_name AS key, last_updated_at FROM keys_of($1, nullif($2, '{}')) WHERE retired_at IS NULL";
        let parameters: [Parameter<'_>; 2] = [(&environment.project.0, Type::UUID), (&keys, Type::TEXT_ARRAY)];
        let times: Vec<RegisteredTime> = transaction.all(sql, &parameters).await?;
        Ok(ObservedTimes(times.into_iter().map(|time| (time.key, time.last_updated_at)).collect()))
    }

    /// Writes values in one transaction, sealed under the project's mutex for the rows that they become.
    ///
    /// # Errors
    /// Besides the database's refusals: a follow of a key that is in sync here, or that was defined or retired after it
    /// was observed.
    pub async fn write_values(
        &mut self,
        keyring: &Keyring,
        environment: &Environment,
        values: &[(KeyName, SecretValue)],
        options: WriteOptions<'_>,
    ) -> Result<Vec<(String, WriteOutcome)>, ValueError> {
        environment.require_writable()?;
        refuse_values_in(options.reason, values)?;
        let (transaction, project) =
            self.changing("writing secrets", &environment.project_name, options.reason).await?;
        let Before { ring, audit_position } = before(&transaction, environment).await?;
        let hash_keys = hash_keys::for_writing(&transaction, keyring, project, &ring).await?;
        let in_use = if hash_keys.are_several() {
            hash_keys_in_use(&transaction, project, values).await?
        } else {
            BTreeMap::new()
        };
        let hash =
            |key: &KeyName, value| hash_keys.hash(value, in_use.get(key.as_str()).map(String::as_str)).to_string();
        let current = current(&transaction, project, environment, values).await?;

        let (mut inserts, mut updates) = (Batch::default(), Batch::default());
        let mut written: BTreeMap<String, WriteOutcome> = BTreeMap::new();
        let mut emptied: Vec<&KeyName> = Vec::new();
        for ((key, value), Current { live, registered }) in values.iter().zip(current) {
            let behind = |live: &Live| Some(live.updated_at) < registered;
            let equal = live.as_ref().is_some_and(|live| hash_keys.matches(value, &live.value_hash));
            let answers = answer(key, options, registered, live.as_ref().is_some_and(|live| !behind(live)), equal)?;
            let target = SealTarget { keyring, ring: &ring, environment, project };
            match live {
                Some(live) if equal && target.is_damaged(&live, key, value) => {
                    let sealed = target.seal(live.id, key, live.version + 1, value)?;
                    updates.push(live.id, key, Some(sealed), live.value_hash, live.version + 1, answers);
                }
                Some(live) if equal && registered.is_some() && !behind(&live) => {
                    written.insert(key.to_string(), WriteOutcome::Unchanged);
                }
                Some(live) if equal => updates.push(live.id, key, None, live.value_hash, live.version, answers),
                Some(live) => {
                    if value.is_empty() && !options.allow_empty {
                        emptied.push(key);
                    }
                    let sealed = target.seal(live.id, key, live.version + 1, value)?;
                    updates.push(live.id, key, Some(sealed), hash(key, value), live.version + 1, answers);
                }
                None => {
                    let id = SecretId(Uuid::new_v4());
                    let sealed = target.seal(id, key, 1, value)?;
                    inserts.push(id, key, Some(sealed), hash(key, value), 1, answers);
                }
            }
        }
        refuse_emptying(&emptied, environment)?;
        inserts.insert(&transaction, environment).await?;
        updates.update(&transaction, environment).await?;
        written.extend(audited(&transaction, project, environment, audit_position).await?);
        if !options.dry_run {
            transaction.commit().await?;
        }
        Ok(written.into_iter().collect())
    }
}

/// A reason stays in the audit log in clear, for ever. Shorter values than this are found in any sentence.
const SHORTEST_VALUE_LOOKED_FOR: usize = 6;

fn refuse_values_in(reason: &str, values: &[(KeyName, SecretValue)]) -> Result<(), RegistryError> {
    let said = |value: &SecretValue| {
        value.len() >= SHORTEST_VALUE_LOOKED_FOR
            && reason.as_bytes().windows(value.len()).any(|part| part == value.expose())
    };
    match values.iter().find(|(_, value)| said(value)) {
        None => Ok(()),
        Some((key, _)) => Err(RegistryError::Refused(
            Explanation::from(format!("the reason has the value of {key} in it"))
                .hint("give a reason without it: reasons stay in the audit log, in clear"),
        )),
    }
}

fn refuse_emptying(keys: &[&KeyName], environment: &Environment) -> Result<(), RegistryError> {
    if keys.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
    let message = format!(
        "values are there in {} that would become empty, so none was written: {}",
        environment.name,
        names.join(", ")
    );
    let hint = "leave these keys out to keep their values, or say --allow-empty";
    Err(RegistryError::Refused(Explanation::from(message).hint(hint)))
}

/// The registry time that a write answers, if it does.
fn answer(
    key: &KeyName,
    options: WriteOptions<'_>,
    registered: Option<RegistryTime>,
    in_sync: bool,
    equal: bool,
) -> Result<Option<RegistryTime>, RegistryError> {
    let observed = options.observed.time(key);
    if equal {
        // Confirmed as of the time observed; where the key has left the registry since, there is nothing to answer.
        return Ok(observed.filter(|_| registered.is_some()));
    }
    if !options.follow {
        return Ok(None);
    }
    match (observed, registered) {
        (Some(_), Some(_)) if in_sync => Err(RegistryError::Refused(
            Explanation::from(format!(
                "{key} is in sync here, so there is nothing to follow, and the value is another"
            ))
            .hint("leave out --follow to change it, which lets the other environments know"),
        )),
        (Some(observed), Some(_)) => Ok(Some(observed)),
        (None, None) => Ok(None),
        _ => Err(RegistryError::Conflict(
            Explanation::from(format!("{key} was defined or retired since it was read"))
                .hint("read again, then repeat"),
        )),
    }
}

struct SealTarget<'a> {
    keyring: &'a Keyring,
    ring: &'a RingName,
    environment: &'a Environment,
    project: ProjectId,
}

impl SealTarget<'_> {
    /// Whether the stored text is not what its hash says: altered, or another value. What only takes another keyring or
    /// another program to open is nothing that this writer could judge.
    fn is_damaged(&self, live: &Live, key: &KeyName, value: &SecretValue) -> bool {
        match self.keyring.open(&self.context(live.id, key, live.version), &live.encrypted_value) {
            Ok(stored) => stored.expose() != value.expose(),
            Err(OpenError::Tampered | OpenError::NotOurs) => true,
            Err(OpenError::KeyNotHeld { .. } | OpenError::UnknownVersion(_)) => false,
        }
    }

    fn seal(&self, id: SecretId, key: &KeyName, version: i64, value: &SecretValue) -> Result<String, ValueError> {
        self.keyring
            .seal(self.ring, &self.context(id, key, version), value)
            .map_err(|source| ValueError::Seal { what: format!("{key} for {}", self.environment.name), source })
    }

    fn context<'k>(&self, id: SecretId, key: &'k KeyName, version: i64) -> SealContext<'k> {
        SealContext { project: self.project, environment: self.environment.id, secret: id, key: key.as_str(), version }
    }
}
