//! The project's hashing key: one, sealed once for each ring that the project's environments use. It comes into being with
//! the project, and only an ADMIN seals it for another ring: a copy that opens for nobody would keep everybody from writing.

use tokio_postgres::types::Type;

use crate::core::{ProjectId, RingName};
use crate::crypto::{HashKey, Keyring, OpenError, Ring, SealError};

use super::session::Transaction;
use super::{Explanation, RegistryError, SealedHashKey, ValueError};

/// What the value of a hashing key is called in errors.
const WHAT: &str = "the project's hashing key";

/// The rings of a new keyring, which the environments of a new project will use.
const FIRST_RINGS: [&str; 2] = ["default", "production"];

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
) -> Result<HashKey, ValueError> {
    let copies = copies(transaction, project).await?;
    let of_ring: Vec<SealedHashKey> = copies.iter().filter(|copy| copy.ring == ring.as_str()).cloned().collect();
    if !keyring.rings().any(|held| held.name() == ring) {
        let source = SealError::RingNotHeld(ring.clone());
        return Err(ValueError::Seal { what: format!("values for ring {ring}"), source });
    }
    if !of_ring.is_empty() {
        return open(keyring, project, &of_ring).map_err(|error| not_the_teams(error, ring));
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
    Ok(key)
}

/// Seals the hashing key for a ring as soon as an environment uses it. Answers whether it is sealed for it now: who is no
/// ADMIN, or holds neither that ring nor an older one of the project, cannot do it, and need not.
pub(super) async fn seal_for(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    project: ProjectId,
    ring: &str,
) -> Result<bool, ValueError> {
    let copies = copies(transaction, project).await?;
    if copies.iter().any(|copy| copy.ring == ring) {
        return Ok(true);
    }
    let held = keyring.rings().map(Ring::name).find(|held| held.as_str() == ring);
    let (Some(ring), true) = (held, administers(transaction, project).await?) else { return Ok(false) };
    let key = match open(keyring, project, &copies) {
        _ if copies.is_empty() => HashKey::generate(),
        Ok(key) => key,
        Err(ValueError::Open { source: OpenError::KeyNotHeld { .. }, .. }) => return Ok(false),
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
        ValueError::Open { source: OpenError::KeyNotHeld { key, .. }, .. } => RegistryError::Refused(
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

/// The hashing key where the keyring opens a copy of it, to check what was read.
pub(super) async fn for_reading(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    project: ProjectId,
) -> Result<Option<HashKey>, ValueError> {
    let copies = copies(transaction, project).await?;
    match open(keyring, project, &copies) {
        Ok(key) => Ok(Some(key)),
        Err(ValueError::Open { source: OpenError::KeyNotHeld { .. }, .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// All copies of the project's oldest hashing key.
async fn copies(transaction: &Transaction<'_>, project: ProjectId) -> Result<Vec<SealedHashKey>, RegistryError> {
    let sql = "SELECT hash_key_id AS id, ring, sealed FROM project_hash_keys
               WHERE project_id = $1 ORDER BY created_at, hash_key_id";
    let all: Vec<SealedHashKey> = transaction.all(sql, &[(&project.0, Type::UUID)]).await?;
    let first = all.first().map(|copy| copy.id.clone());
    Ok(all.into_iter().filter(|copy| Some(&copy.id) == first.as_ref()).collect())
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
    Err(failed(broken.or(not_held).unwrap_or(OpenError::NotOurs)))
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

fn failed(source: OpenError) -> ValueError {
    ValueError::Open { what: WHAT.to_owned(), source }
}
