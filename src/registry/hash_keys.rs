//! The project's hashing key: one, sealed once for each ring that the project's environments use.

use tokio_postgres::types::Type;

use crate::core::{ProjectId, RingName};
use crate::crypto::{HashKey, Keyring, OpenError, Ring};

use super::session::{Parameter, Transaction};
use super::{RegistryError, SealedHashKey, ValueError};

/// What the value of a hashing key is called in errors.
const WHAT: &str = "the project's hashing key";

/// The hashing key for a write under `ring`, called under the project's mutex. Made where the project has none; sealed
/// for `ring` where it was not yet.
pub(super) async fn for_writing(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    project: ProjectId,
    ring: &RingName,
) -> Result<HashKey, ValueError> {
    let copies = copies(transaction, project).await?;
    if copies.is_empty() {
        return create(transaction, keyring, project, ring).await;
    }
    let has_copy = copies.iter().any(|copy| copy.ring == ring.as_str());
    let key = open(keyring, project, &copies, Some(ring))?;
    if !has_copy {
        add_copy(transaction, keyring, project, ring, &key).await?;
    }
    Ok(key)
}

/// Seals the hashing key for a ring as soon as an environment uses it. Answers whether it is sealed for it now: who
/// holds neither that ring nor an older one of the project cannot do it, and need not.
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
    let Some(ring) = keyring.rings().map(Ring::name).find(|held| held.as_str() == ring) else {
        return Ok(false);
    };
    if copies.is_empty() {
        create(transaction, keyring, project, ring).await?;
        return Ok(true);
    }
    match open(keyring, project, &copies, None) {
        Ok(key) => add_copy(transaction, keyring, project, ring, &key).await.map(|()| true),
        Err(ValueError::Open { source: OpenError::KeyNotHeld { .. }, .. }) => Ok(false),
        Err(other) => Err(other),
    }
}

/// The hashing key where the keyring opens a copy of it, to check what was read.
pub(super) async fn for_reading(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    project: ProjectId,
) -> Result<Option<HashKey>, ValueError> {
    let copies = copies(transaction, project).await?;
    match open(keyring, project, &copies, None) {
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

/// Opens one copy, that of `preferred` first; one that does not open is no reason not to try the others. The error says
/// what is wrong with one, or else names a ring whose holder could.
fn open(
    keyring: &Keyring,
    project: ProjectId,
    copies: &[SealedHashKey],
    preferred: Option<&RingName>,
) -> Result<HashKey, ValueError> {
    let is_preferred = |copy: &&SealedHashKey| preferred.is_some_and(|ring| ring.as_str() == copy.ring);
    let in_order = copies.iter().filter(is_preferred).chain(copies.iter().filter(|copy| !is_preferred(copy)));
    let (mut broken, mut not_held) = (None, None);
    for copy in in_order {
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

/// A fresh key, sealed at once for every ring in use that the keyring holds, so that the next writer needs one ring only.
async fn create(
    transaction: &Transaction<'_>,
    keyring: &Keyring,
    project: ProjectId,
    ring: &RingName,
) -> Result<HashKey, ValueError> {
    let key = HashKey::generate();
    add_copy(transaction, keyring, project, ring, &key).await?;
    let sql = "SELECT DISTINCT ring FROM environments WHERE project_id = $1 AND deleted_at IS NULL AND ring <> $2";
    let parameters: [Parameter<'_>; 2] = [(&project.0, Type::UUID), (&ring.as_str(), Type::TEXT)];
    for name in transaction.values::<String>("environments", sql, &parameters).await? {
        if let Some(held) = keyring.rings().map(Ring::name).find(|held| held.as_str() == name) {
            add_copy(transaction, keyring, project, held, &key).await?;
        }
    }
    Ok(key)
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
