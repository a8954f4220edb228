//! Another hashing key for a project: every value is opened, and its hash made anew. For the day on which the hashing key
//! became known to who has a dump, and could test guesses against the hashes in it.
//!
//! It goes in steps, each a transaction of its own under the project's mutex, that others hardly wait for; begun again after
//! an interruption, it goes on where it was. All rows of a key are rewritten in one step: their hashes stay comparable.

use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::core::{EnvironmentId, ProjectId, ProjectName, SecretId};
use crate::crypto::{HashCheck, HashKey, Keyring, SealContext, verify_text};

use super::row::from_row;
use super::session::{Parameter, Session, Transaction};
use super::{Explanation, RegistryError, ValueError, hash_keys};

/// How many keys one step rewrites, in all their environments, and how many earlier versions.
const STEP: (i32, i32) = (100, 1_000);

/// What became of the hashes.
pub(crate) struct Rehashed {
    /// The id of the project's newest hashing key.
    pub(crate) hash_key: String,
    /// Whether it was introduced just now, and not by who began before.
    pub(crate) introduced: bool,
    /// How many hashes are under it that were not.
    pub(crate) rewritten: i64,
    /// The values that do not open, or are not the ones that their hashes are of: these hashes stay as they are.
    pub(crate) left: Vec<ValueError>,
}

/// A value and its hash: a row of `secrets`, or one of its earlier versions.
struct Hashed {
    environment_id: EnvironmentId,
    environment: String,
    id: SecretId,
    key: String,
    version: i64,
    encrypted_value: String,
    value_hash: String,
}

from_row!(Hashed, "secrets", "id", [environment_id, environment, id, key, version, encrypted_value, value_hash]);

impl Session {
    /// Introduces another hashing key and rewrites all hashes; or goes on, where that was begun and not finished, unless
    /// `another` is asked for. `progress` hears how many are done after each step.
    ///
    /// # Errors
    /// Besides the database's refusals: a ring that the project uses is not held, or is another team's.
    pub(crate) async fn rehash(
        &mut self,
        keyring: &Keyring,
        name: &ProjectName,
        another: bool,
        reason: &str,
        mut progress: impl FnMut(i64),
    ) -> Result<Rehashed, ValueError> {
        let (transaction, project) = self.changing("introducing a hashing key", name.as_str(), reason).await?;
        transaction.require_admin(project, "introduces another hashing key").await?;
        let (hash_key, introduced) = hash_keys::introduce(&transaction, keyring, project, another).await?;
        transaction.commit().await?;

        let mut done = Rehashed { hash_key, introduced, rewritten: 0, left: Vec::new() };
        let (mut after, mut earlier) = (String::new(), None::<(String, Uuid, i64)>);
        loop {
            let (transaction, project) = self.changing("rewriting hashes", name.as_str(), reason).await?;
            let keys = hash_keys::for_rewriting(&transaction, keyring, project, &done.hash_key).await?;
            let rows = match &earlier {
                None => rows_behind(&transaction, project, &after).await?,
                Some(after) => versions_behind(&transaction, project, after).await?,
            };
            match (rows.last(), &earlier) {
                (Some(last), None) => after.clone_from(&last.key),
                (Some(last), Some(_)) => earlier = Some((last.key.clone(), last.id.0, last.version)),
                (None, None) => earlier = Some((String::new(), Uuid::nil(), 0)),
                (None, Some(_)) => return Ok(done),
            }
            done.rewritten += rewrite(&transaction, project, name, keyring, &keys, &rows, &mut done.left).await?;
            transaction.commit().await?;
            progress(done.rewritten);
        }
    }
}

async fn rows_behind(
    transaction: &Transaction<'_>,
    project: ProjectId,
    after: &str,
) -> Result<Vec<Hashed>, RegistryError> {
    let sql = "SELECT environment_id, environment, id, key, version, encrypted_value, value_hash
               FROM hashes_behind($1, $2, $3) ORDER BY key";
    let parameters: [Parameter<'_>; 3] = [(&project.0, Type::UUID), (&after, Type::TEXT), (&STEP.0, Type::INT4)];
    transaction.all(sql, &parameters).await
}

async fn versions_behind(
    transaction: &Transaction<'_>,
    project: ProjectId,
    (key, id, version): &(String, Uuid, i64),
) -> Result<Vec<Hashed>, RegistryError> {
    let sql = "SELECT environment_id, environment, id, key, version, encrypted_value, value_hash
               FROM version_hashes_behind($1, $2, $3, $4, $5) ORDER BY key, id, version";
    let parameters: [Parameter<'_>; 5] =
        [(&project.0, Type::UUID), (key, Type::TEXT), (id, Type::UUID), (version, Type::INT8), (&STEP.1, Type::INT4)];
    transaction.all(sql, &parameters).await
}

/// Answers how many hashes were rewritten. `keys`: the newest hashing key, and all that open, itself among them.
async fn rewrite(
    transaction: &Transaction<'_>,
    project: ProjectId,
    name: &ProjectName,
    keyring: &Keyring,
    (newest, all): &(HashKey, Vec<HashKey>),
    rows: &[Hashed],
    left: &mut Vec<ValueError>,
) -> Result<i64, RegistryError> {
    let (mut ids, mut versions, mut hashes) = (Vec::new(), Vec::new(), Vec::new());
    for row in rows {
        let what = || format!("{}, version {}, of {} in project {name}", row.key, row.version, row.environment);
        let context = SealContext {
            project,
            environment: row.environment_id,
            secret: row.id,
            key: &row.key,
            version: row.version,
        };
        match keyring.open(&context, &row.encrypted_value) {
            Err(source) => left.push(ValueError::Open { what: what(), source }),
            // A hash under the newest key would tell whoever looks that this is the value which was written.
            Ok(value) if verify_text(&value, &row.value_hash, all) == HashCheck::Differs => {
                left.push(ValueError::HashMismatch { what: what() });
            }
            Ok(value) => {
                ids.push(row.id.0);
                versions.push(row.version);
                hashes.push(newest.hash(&value).to_string());
            }
        }
    }
    if ids.is_empty() {
        return Ok(0);
    }
    let parameters: [Parameter<'_>; 4] = [
        (&project.0, Type::UUID),
        (&ids, Type::UUID_ARRAY),
        (&versions, Type::INT8_ARRAY),
        (&hashes, Type::TEXT_ARRAY),
    ];
    let sql = "SELECT rewrite_hashes($1, $2, $3, $4) AS rewritten";
    let rewritten: i64 = transaction.value("secrets", sql, &parameters).await?;
    if i64::try_from(ids.len()) == Ok(rewritten) {
        return Ok(rewritten);
    }
    Err(RegistryError::Conflict(
        Explanation::from(format!("{rewritten} of {} hashes were there to be rewritten, so none was", ids.len()))
            .hint("repeat: it goes on where it was"),
    ))
}
