//! The project's hashing key, sealed once for each ring that the project's environments use. It comes into being with the
//! project, and only an ADMIN seals it for another ring: a copy that opens for nobody would keep everybody from writing.
//!
//! There are several where an ADMIN introduced another one (`rehash`): new hashes are under the newest, but for keys whose
//! hashes were not rewritten yet.

use tokio_postgres::types::Type;

use crate::core::{ProjectId, RingName, SecretValue, ValueHash};
use crate::crypto::{HashCheck, HashKey, Keyring, OpenError, Ring, SealError, verify_text};

use super::session::Transaction;
use super::{Explanation, RegistryError, SealedHashKey, ValueError};

/// What the value of a hashing key is called in errors.
const WHAT: &str = "the project's hashing key";

/// The rings of a new keyring, which the environments of a new project will use.
const FIRST_RINGS: [&str; 2] = ["default", "production"];

/// The hashing keys that a writer uses. Of the older ones those that the keyring opens.
pub(super) struct HashKeys {
    newest: HashKey,
    older: Vec<HashKey>,
}

impl HashKeys {
    /// Whether a stored hash is the value's.
    pub(super) fn matches(&self, value: &SecretValue, stored: &str) -> bool {
        verify_text(value, stored, self.all()) == HashCheck::Matches
    }

    /// The hash that a key's other hashes can be compared with; `in_use`: the hashing key that those are under.
    pub(super) fn hash(&self, value: &SecretValue, in_use: Option<&str>) -> ValueHash {
        let key = in_use.and_then(|id| self.all().find(|key| key.id() == id));
        key.unwrap_or(&self.newest).hash(value)
    }

    /// Whether hashes may be under different ones.
    pub(super) const fn are_several(&self) -> bool {
        !self.older.is_empty()
    }

    fn all(&self) -> impl Iterator<Item = &HashKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }
}

/// Makes the key of a new project, sealed for the rings of a new keyring as far as this one holds them. Answers for which.
pub(super) async fn create(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    project: ProjectId,
) -> Result<Vec<String>, ValueError> {
    let rings = keyring.rings().map(Ring::name).filter(|ring| FIRST_RINGS.contains(&ring.as_str()));
    let rings: Vec<RingName> = rings.cloned().collect();
    let key = HashKey::generate();
    for ring in &rings {
        add_copy(transaction, keyring, project, ring, &key).await?;
    }
    Ok(rings.into_iter().map(String::from).collect())
}

/// The hashing key for a write under `ring`, called under the project's mutex. An ADMIN makes it where the project has
/// none, and seals it for `ring` where it was not yet.
///
/// Where it is sealed for the ring, just that copy proves that the keyring is the team's: another keyring's ring of the same
/// name would seal values that nobody else opens.
pub(super) async fn for_writing(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    project: ProjectId,
    ring: &RingName,
) -> Result<HashKeys, ValueError> {
    let (copies, older) = newest_and_older(&copies(transaction, project).await?);
    let of_ring: Vec<SealedHashKey> = copies.iter().filter(|copy| copy.ring == ring.as_str()).cloned().collect();
    if !keyring.rings().any(|held| held.name() == ring) {
        let source = SealError::RingNotHeld(ring.clone());
        return Err(ValueError::Seal { what: format!("values for ring {ring}"), source });
    }
    let older = older.iter().filter_map(|copies| open(keyring, project, copies).ok()).collect();
    if !of_ring.is_empty() {
        let newest = open(keyring, project, &of_ring).map_err(|error| not_the_teams(error, ring))?;
        return Ok(HashKeys { newest, older });
    }
    if !administers(transaction, project).await? {
        let message = format!("the project's hashing key is not sealed for ring {ring} yet, which takes an ADMIN");
        let hint = format!("have an ADMIN who holds ring {ring} write to an environment on it first");
        return Err(RegistryError::Refused(Explanation::from(message).hint(hint)).into());
    }
    let key = if copies.is_empty() { HashKey::generate() } else { open(keyring, project, &copies)? };
    add_copy(transaction, keyring, project, ring, &key).await?;
    if copies.is_empty() {
        // At once for every ring in use that the keyring holds, so that the next writer needs one ring only.
        for other in rings_in_use(transaction, project).await? {
            if let Some(held) = keyring.rings().map(Ring::name).find(|held| held.as_str() == other && *held != ring) {
                add_copy(transaction, keyring, project, held, &key).await?;
            }
        }
    }
    Ok(HashKeys { newest: key, older })
}

/// Seals the hashing key for a ring as soon as an environment uses it. Answers whether it is sealed for it now: who is no
/// ADMIN, or holds neither that ring nor an older one of the project, cannot do it, and need not.
pub(super) async fn seal_for(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    project: ProjectId,
    ring: &str,
) -> Result<bool, ValueError> {
    let (copies, _) = newest_and_older(&copies(transaction, project).await?);
    if copies.iter().any(|copy| copy.ring == ring) {
        return Ok(true);
    }
    let held = keyring.rings().map(Ring::name).find(|held| held.as_str() == ring);
    let (Some(ring), true) = (held, administers(transaction, project).await?) else { return Ok(false) };
    let key = match open(keyring, project, &copies) {
        _ if copies.is_empty() => HashKey::generate(),
        Ok(key) => key,
        Err(ValueError::HashKey { source: OpenError::KeyNotHeld { .. } }) => return Ok(false),
        Err(other) => return Err(other),
    };
    add_copy(transaction, keyring, project, ring, &key).await?;
    Ok(true)
}

async fn administers(transaction: &Transaction<'_>, project: ProjectId) -> Result<bool, RegistryError> {
    let sql = "SELECT is_administrator($1) AS administered";
    transaction.value("memberships", sql, &[(&project.0, Type::UUID)]).await
}

async fn rings_in_use(transaction: &Transaction<'_>, project: ProjectId) -> Result<Vec<String>, RegistryError> {
    let sql = "SELECT DISTINCT ring FROM environments WHERE project_id = $1 AND deleted_at IS NULL";
    transaction.values("environments", sql, &[(&project.0, Type::UUID)]).await
}

/// A ring of that name is held, and it is another one.
fn not_the_teams(error: ValueError, ring: &RingName) -> ValueError {
    match error {
        ValueError::HashKey { source: OpenError::KeyNotHeld { key, .. } } => RegistryError::Refused(
            Explanation::from(format!(
                "the keyring's ring {ring} is not the one that the project's values are sealed under: it lacks \
                 encryption key {key}"
            ))
            .hint(
                "get the team's keyring from who wrote here before; a keyring of your own fits only your own projects",
            ),
        )
        .into(),
        other => other,
    }
}

/// Introduces another hashing key, sealed for every ring that the project's environments use: who held one of these could
/// write before, and can afterwards. Not where the last one still has hashes to come, unless `another` is asked for.
/// Answers the newest key's id, and whether it is new.
pub(super) async fn introduce(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    project: ProjectId,
    another: bool,
) -> Result<(String, bool), ValueError> {
    let (newest, _) = newest_and_older(&copies(transaction, project).await?);
    let used = rings_in_use(transaction, project).await?;
    let held = |used: &String| keyring.rings().map(Ring::name).find(|held| held.as_str() == used);
    if let Some(missing) = used.iter().find(|used| held(used).is_none()) {
        let message = format!("the project's environments use ring {missing}, which the keyring does not hold");
        let hint = "have it done by an ADMIN who holds all rings of the project: each value has to be opened";
        return Err(RegistryError::Refused(Explanation::from(message).hint(hint)).into());
    }
    let mut rings: Vec<&RingName> = used.iter().filter_map(held).collect();
    for ring in &rings {
        let of_ring: Vec<SealedHashKey> = newest.iter().filter(|copy| copy.ring == ring.as_str()).cloned().collect();
        // One that was put there damaged is just what another one mends.
        if let Err(error @ ValueError::HashKey { source: OpenError::KeyNotHeld { .. } }) =
            open(keyring, project, &of_ring)
        {
            return Err(not_the_teams(error, ring));
        }
    }
    let opens = open(keyring, project, &newest).is_ok();
    if opens && !another {
        let sql = "SELECT is_rehash_unfinished($1) AS unfinished";
        let unfinished: Option<bool> = transaction.value("project_hash_keys", sql, &[(&project.0, Type::UUID)]).await?;
        if let (Some(true), Some(copy)) = (unfinished, newest.first()) {
            return Ok((copy.id.clone(), false));
        }
    }
    if rings.is_empty() {
        rings = keyring.rings().map(Ring::name).filter(|ring| FIRST_RINGS.contains(&ring.as_str())).collect();
    }
    let key = HashKey::generate();
    for ring in rings {
        add_copy(transaction, keyring, project, ring, &key).await?;
    }
    Ok((key.id().to_owned(), true))
}

/// The newest key, which has to be the one that was introduced, and all that open, itself among them.
pub(super) async fn for_rewriting(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    project: ProjectId,
    introduced: &str,
) -> Result<(HashKey, Vec<HashKey>), ValueError> {
    let (newest, older) = newest_and_older(&copies(transaction, project).await?);
    let key = open(keyring, project, &newest)?;
    if key.id() != introduced {
        let message = "somebody else introduced yet another hashing key meanwhile";
        let hint = "repeat: the hashes are rewritten under that one";
        return Err(RegistryError::Conflict(Explanation::from(message).hint(hint)).into());
    }
    let all = std::iter::once(&newest).chain(&older).filter_map(|copies| open(keyring, project, copies).ok());
    Ok((key, all.collect()))
}

/// The hashing keys of which the keyring opens a copy, to check what was read.
pub(super) async fn for_reading(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    project: ProjectId,
) -> Result<Vec<HashKey>, ValueError> {
    let (newest, older) = newest_and_older(&copies(transaction, project).await?);
    let mut opened = Vec::new();
    for copies in std::iter::once(newest).chain(older) {
        match open(keyring, project, &copies) {
            Ok(key) => opened.push(key),
            Err(ValueError::HashKey { source: OpenError::KeyNotHeld { .. } }) => {}
            Err(_) if copies.is_empty() => {}
            Err(other) => return Err(other),
        }
    }
    Ok(opened)
}

/// All copies of all hashing keys, those of the newest key first.
async fn copies(transaction: &Transaction<'_>, project: ProjectId) -> Result<Vec<SealedHashKey>, RegistryError> {
    let sql = "SELECT hash_key_id AS id, ring, sealed FROM hash_keys_of($1)
               ORDER BY min(created_at) OVER (PARTITION BY hash_key_id) DESC, created_at";
    transaction.all(sql, &[(&project.0, Type::UUID)]).await
}

/// The copies of the newest key, and those of each older one.
fn newest_and_older(copies: &[SealedHashKey]) -> (Vec<SealedHashKey>, Vec<Vec<SealedHashKey>>) {
    let mut keys = copies.chunk_by(|one, next| one.id == next.id).map(<[SealedHashKey]>::to_vec);
    (keys.next().unwrap_or_default(), keys.collect())
}

/// Opens one copy; one that does not open is no reason not to try the others. The error says what is wrong with one, or else
/// names a ring whose holder could.
fn open(keyring: &Keyring, project: ProjectId, copies: &[SealedHashKey]) -> Result<HashKey, ValueError> {
    let (mut broken, mut not_held) = (None, None);
    for copy in copies {
        match keyring.open_hash_key(project, &copy.sealed) {
            Ok(key) if key.id() == copy.id => return Ok(key),
            Ok(_) => {
                broken.get_or_insert(OpenError::Tampered);
            }
            Err(error @ OpenError::KeyNotHeld { .. }) => {
                let error = copy.ring.parse().map_or(error.clone(), |ring| error.in_ring(&ring));
                not_held.get_or_insert(error);
            }
            Err(error) => {
                broken.get_or_insert(error);
            }
        }
    }
    Err(ValueError::HashKey { source: broken.or(not_held).unwrap_or(OpenError::NotOurs) })
}

async fn add_copy(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    project: ProjectId,
    ring: &RingName,
    key: &HashKey,
) -> Result<(), ValueError> {
    let sealed = keyring
        .seal_hash_key(ring, project, key)
        .map_err(|source| ValueError::Seal { what: WHAT.to_owned(), source })?;
    transaction
        .execute(
            "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed) VALUES ($1, $2, $3, $4)",
            &[(&project.0, Type::UUID), (&key.id(), Type::TEXT), (&ring.as_str(), Type::TEXT), (&sealed, Type::TEXT)],
        )
        .await?;
    Ok(())
}
