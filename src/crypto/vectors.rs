//! Fixed vectors of the whole format, computed from `docs/envelope.md` by another program: what is sealed today opens
//! in every later version. A test that fails here is not to be made to pass by new vectors.

use serde::Deserialize;
use uuid::Uuid;

use crate::core::{EnvironmentId, ProjectId, SecretId, SecretValue};

use super::keyring::EncryptionKey;
use super::sealing::{seal_hash_key_salted, seal_salted};
use super::*;

#[derive(Deserialize)]
struct Vectors {
    keyring: Vec<String>,
    hash_keys: Vec<SealedHashKey>,
    values: Vec<SealedValue>,
    fingerprints: Vec<Fingerprint>,
}

#[derive(Deserialize)]
struct SealedHashKey {
    encryption_key: String,
    salt: String,
    project: Uuid,
    id: String,
    sealed: String,
}

#[derive(Deserialize)]
struct SealedValue {
    encryption_key: String,
    salt: String,
    project: Uuid,
    environment: Uuid,
    secret: Uuid,
    key: String,
    version: i64,
    /// Hexadecimal digits.
    value: String,
    sealed: String,
    /// Under the hashing key of the project.
    value_hash: String,
}

#[derive(Deserialize)]
struct Fingerprint {
    ring: String,
    encryption_key: String,
    purpose: String,
    /// Hexadecimal digits.
    parts: Vec<String>,
    tag: String,
}

impl SealedValue {
    fn context(&self) -> SealContext<'_> {
        SealContext {
            project: ProjectId(self.project),
            environment: EnvironmentId(self.environment),
            secret: SecretId(self.secret),
            key: &self.key,
            version: self.version,
        }
    }
}

fn vectors() -> (Vectors, Keyring) {
    let vectors: Vectors = serde_json::from_str(include_str!("vectors/t1.json")).unwrap();
    let keyring = Keyring::parse(&vectors.keyring.join("\n")).ok().unwrap();
    (vectors, keyring)
}

fn bytes(digits: &str) -> Vec<u8> {
    hex::decode(digits).unwrap()
}

fn salt(digits: &str) -> [u8; 32] {
    bytes(digits).try_into().unwrap()
}

fn held<'k>(keyring: &'k Keyring, id: &str) -> &'k EncryptionKey {
    keyring.find(id.parse().unwrap()).unwrap().1
}

fn hash_key(vectors: &Vectors, keyring: &Keyring, project: Uuid) -> HashKey {
    let sealed = vectors.hash_keys.iter().find(|sealed| sealed.project == project).unwrap();
    keyring.open_hash_key(ProjectId(project), &sealed.sealed).ok().unwrap()
}

#[test]
fn values_sealed_by_the_first_version_open_and_match_their_hash() {
    let (vectors, keyring) = vectors();
    assert_eq!(vectors.values.len(), 6);
    for sealed in &vectors.values {
        let value = keyring.open(&sealed.context(), &sealed.sealed).ok().unwrap();
        assert_eq!(hex::encode(value.expose()), sealed.value);
        let hash = sealed.value_hash.parse().unwrap();
        let key = hash_key(&vectors, &keyring, sealed.project);
        assert_eq!(verify(&value, &hash, Some(&key)), HashCheck::Matches);
        assert_eq!(key.hash(&value).to_string(), sealed.value_hash);
        assert_eq!(key_id_of(&sealed.sealed), Some(sealed.encryption_key.as_str()));
    }
}

#[test]
fn values_sealed_with_the_same_salt_give_the_same_text() {
    let (vectors, keyring) = vectors();
    for sealed in &vectors.values {
        let key = held(&keyring, &sealed.encryption_key);
        let value = SecretValue::from(bytes(&sealed.value));
        let data = sealed.context().associated_data(key.id);
        assert_eq!(seal_salted(key, &salt(&sealed.salt), &data, value.expose()).unwrap(), sealed.sealed);
    }
}

#[test]
fn hash_keys_sealed_by_the_first_version_open_and_seal_to_the_same_text() {
    let (vectors, keyring) = vectors();
    assert_eq!(vectors.hash_keys.len(), 2);
    for sealed in &vectors.hash_keys {
        let project = ProjectId(sealed.project);
        let hash_key = keyring.open_hash_key(project, &sealed.sealed).ok().unwrap();
        assert_eq!(hash_key.id(), sealed.id);
        let key = held(&keyring, &sealed.encryption_key);
        assert_eq!(seal_hash_key_salted(key, &salt(&sealed.salt), project, &hash_key).unwrap(), sealed.sealed);
    }
}

#[test]
fn fingerprints_made_by_the_first_version_are_still_the_same() {
    let (vectors, keyring) = vectors();
    assert_eq!(vectors.fingerprints.len(), 3);
    for fingerprint in &vectors.fingerprints {
        let parts: Vec<_> = fingerprint.parts.iter().map(|part| bytes(part)).collect();
        let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
        let id = fingerprint.encryption_key.parse().unwrap();
        let key = keyring.fingerprint_key_under(id, &fingerprint.purpose).unwrap();
        assert_eq!(key.encryption_key(), id);
        assert_eq!(hex::encode(key.tag(&parts)), fingerprint.tag);

        let ring = keyring.ring(&fingerprint.ring.parse().unwrap()).unwrap();
        if ring.primary() == id {
            let same = keyring.fingerprint_key(ring.name(), &fingerprint.purpose).ok().unwrap();
            assert_eq!(same.tag(&parts), key.tag(&parts));
        }
    }
}

#[test]
fn the_keyring_of_the_vectors_is_written_as_it_was_read() {
    let (vectors, keyring) = vectors();
    assert_eq!(*keyring.to_text(), vectors.keyring.join("\n") + "\n");
}
