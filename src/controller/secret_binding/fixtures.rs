//! Bindings, environments, snapshots and Secrets for tests, in words.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use uuid::Uuid;

use super::ownership::controller_reference;
use crate::api::{
    DataEntry, OutOfSyncPolicy, RemoteRef, SecretBinding, SecretBindingSpec, SourceRef, Target, Template,
    TemplateMetadata,
};
use crate::core::{EnvironmentId, ProjectId, RegistryTime, SecretId, SecretValue};
use crate::crypto::{HashKey, Keyring, SealContext};
use crate::registry::{Fence, RegisteredKey, Revision, SealedHashKey, SecretRow, Snapshot, Tombstone};

static KEYRING_TEXT: LazyLock<String> = LazyLock::new(|| {
    let rings = ["default", "production"].map(|ring| ring.parse().expect("a name"));
    Keyring::generate(&rings).to_text().to_string()
});

static HASH_KEY: LazyLock<HashKey> = LazyLock::new(HashKey::generate);

/// The same keyring for a whole run: rings `default` and `production`.
pub(super) fn keyring() -> Keyring {
    Keyring::parse(&KEYRING_TEXT).unwrap_or_else(|_| panic!("a keyring that was just written"))
}

/// The token of a revision, in the one history that fixtures have.
pub(super) fn token(revision: i64) -> Uuid {
    Uuid::from_u128(0x7000_0000 + u128::try_from(revision).expect("not negative"))
}

pub(super) struct BindingFixture(SecretBinding);

/// A binding in the namespace `shop`, of every key of the source `shop-dev`.
pub(super) fn binding(name: &str) -> BindingFixture {
    let source_ref = SourceRef { kind: None, name: "shop-dev".into() };
    let mut binding = SecretBinding::new(
        name,
        SecretBindingSpec {
            source_ref,
            target: None,
            data: None,
            out_of_sync_policy: None,
            stale_after: None,
            suspend: None,
        },
    );
    binding.metadata.namespace = Some("shop".into());
    binding.metadata.uid = Some(format!("uid-of-{name}"));
    binding.metadata.generation = Some(1);
    BindingFixture(binding)
}

impl BindingFixture {
    pub(super) fn selecting(self, keys: &[&str]) -> Self {
        self.selecting_as(&keys.iter().map(|key| (*key, *key)).collect::<Vec<_>>())
    }

    pub(super) fn selecting_as(self, keys: &[(&str, &str)]) -> Self {
        keys.iter().fold(self, |binding, (secret_key, key)| binding.with_entry(secret_key, key, None))
    }

    pub(super) fn selecting_optional(self, key: &str) -> Self {
        self.with_entry(key, key, Some(true))
    }

    fn with_entry(mut self, secret_key: &str, key: &str, optional: Option<bool>) -> Self {
        let remote_ref = RemoteRef { key: key.into() };
        let entry = DataEntry { secret_key: secret_key.into(), remote_ref, optional };
        self.0.spec.data.get_or_insert_default().push(entry);
        self
    }

    pub(super) fn with_uid(mut self, uid: &str) -> Self {
        self.0.metadata.uid = Some(uid.into());
        self
    }

    pub(super) fn created_at(mut self, second: i64) -> Self {
        let time = jiff::Timestamp::from_second(second).expect("a time");
        self.0.metadata.creation_timestamp = Some(Time(time));
        self
    }

    pub(super) fn reading(mut self, source: &str) -> Self {
        self.0.spec.source_ref.name = source.into();
        self
    }

    pub(super) fn annotated(mut self, name: &str, text: &str) -> Self {
        self.0.metadata.annotations.get_or_insert_default().insert(name.into(), text.into());
        self
    }

    pub(super) fn into_target(mut self, name: &str) -> Self {
        self.target().name = Some(name.into());
        self
    }

    pub(super) fn immutable(mut self) -> Self {
        self.target().immutable = Some(true);
        self
    }

    pub(super) fn of_type(mut self, type_: &str) -> Self {
        self.target().template.get_or_insert_default().type_ = Some(type_.into());
        self
    }

    pub(super) fn labelled(mut self, name: &str, text: &str) -> Self {
        self.metadata().labels.insert(name.into(), text.into());
        self
    }

    pub(super) fn suspended(mut self) -> Self {
        self.0.spec.suspend = Some(true);
        self
    }

    pub(super) fn stale_after(mut self, text: &str) -> Self {
        self.0.spec.stale_after = Some(text.into());
        self
    }

    fn target(&mut self) -> &mut Target {
        self.0.spec.target.get_or_insert_default()
    }

    fn metadata(&mut self) -> &mut TemplateMetadata {
        let template: &mut Template = self.target().template.get_or_insert_default();
        template.metadata.get_or_insert_default()
    }

    pub(super) fn degrading(mut self) -> Self {
        self.0.spec.out_of_sync_policy = Some(OutOfSyncPolicy::Degrade);
        self
    }

    pub(super) fn build(self) -> SecretBinding {
        self.0
    }
}

#[derive(Clone)]
pub(super) struct SnapshotFixture {
    snapshot: Snapshot,
    next_row: u128,
}

/// An environment on our own tables: project 1, environment 2, ring `default`, revision 5 of epoch 1, without keys.
pub(super) fn snapshot() -> SnapshotFixture {
    let revision = Revision { number: 5, token: token(5) };
    let project = ProjectId(Uuid::from_u128(1));
    let sealed = ["default", "production"].map(|ring| SealedHashKey {
        id: HASH_KEY.id().to_owned(),
        ring: ring.into(),
        sealed: keyring().seal_hash_key(&ring.parse().expect("a name"), project, &HASH_KEY).expect("sealed"),
    });
    let snapshot = Snapshot {
        project,
        environment: EnvironmentId(Uuid::from_u128(2)),
        fence: Fence::Revisions { epoch: 1, project: revision, environment: revision },
        production: false,
        ring: Some("default".into()),
        live_secrets: Some(0),
        rows_may_be_hidden: false,
        secrets: BTreeMap::new(),
        tombstones: BTreeMap::new(),
        registry: BTreeMap::new(),
        exemptions: std::collections::BTreeSet::new(),
        hash_keys: sealed.into(),
    };
    SnapshotFixture { snapshot, next_row: 100 }
}

impl SnapshotFixture {
    /// A key, sealed for its own row and hashed as the command line does it. A key that is there gets a new version.
    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        let known = self.snapshot.secrets.get(key).map(|row| (row.id.0.as_u128(), row.version + 1));
        let (row, version) = known.unwrap_or((self.next_row, 1));
        self.next_row += 1;
        self.put(key, row, version, value.as_bytes());
        self
    }

    /// The key in another row.
    pub(super) fn with_row(mut self, key: &str, row: u128, value: &str) -> Self {
        self.put(key, row, 1, value.as_bytes());
        self
    }

    pub(super) fn with_bytes(mut self, key: &str, value: &[u8]) -> Self {
        let row = self.next_row;
        self.next_row += 1;
        self.put(key, row, 1, value);
        self
    }

    fn put(&mut self, key: &str, row: u128, version: i64, value: &[u8]) {
        let id = SecretId(Uuid::from_u128(row));
        let value = SecretValue::from(value.to_vec());
        let Snapshot { project, environment, .. } = self.snapshot;
        let context = SealContext { project, environment, secret: id, key, version };
        let ring = self.snapshot.ring.as_deref().unwrap_or("default").parse().expect("a name");
        let encrypted_value = keyring().seal(&ring, &context, &value).expect("the ring is held");
        let value_hash = Some(HASH_KEY.hash(&value).to_string());
        let updated_at = RegistryTime::from_micros(1);
        self.snapshot.secrets.insert(key.into(), SecretRow { id, encrypted_value, value_hash, version, updated_at });
        self.snapshot.registry.insert(key.into(), RegisteredKey { last_updated_at: updated_at });
        self.count();
    }

    fn count(&mut self) {
        self.snapshot.live_secrets = i64::try_from(self.snapshot.secrets.len()).ok();
    }

    /// Keys `K0`, `K1` and so on.
    pub(super) fn with_keys(self, count: usize) -> Self {
        (0..count).fold(self, |snapshot, n| snapshot.with(&format!("K{n}"), &n.to_string()))
    }

    /// Deleted on purpose: the row becomes a tombstone.
    pub(super) fn deleted(mut self, key: &str) -> Self {
        let row = self.snapshot.secrets.remove(key).expect("a key to delete");
        let tombstone = Tombstone { key: key.into(), deleted_at: RegistryTime::from_micros(9) };
        self.snapshot.tombstones.insert(row.id, tombstone);
        self.count();
        self
    }

    /// Gone without a tombstone, and the count with it.
    pub(super) fn vanished(mut self, key: &str) -> Self {
        self.snapshot.secrets.remove(key).expect("a key to lose");
        self.count();
        self
    }

    /// Not to be seen, though it is counted.
    pub(super) fn hidden(mut self, key: &str) -> Self {
        self.snapshot.secrets.remove(key).expect("a key to hide");
        self
    }

    pub(super) fn forgotten_by_the_registry(mut self, key: &str) -> Self {
        self.snapshot.registry.remove(key).expect("a registered key");
        self
    }

    pub(super) fn registered(mut self, key: &str) -> Self {
        self.snapshot.registry.insert(key.into(), RegisteredKey { last_updated_at: RegistryTime::from_micros(1) });
        self
    }

    /// Changed in another environment.
    pub(super) fn stale(mut self, key: &str) -> Self {
        self.snapshot.registry.insert(key.into(), RegisteredKey { last_updated_at: RegistryTime::from_micros(2) });
        self
    }

    pub(super) fn at_revision(mut self, number: i64) -> Self {
        if let Fence::Revisions { project, environment, .. } = &mut self.snapshot.fence {
            *project = Revision { number, token: token(number) };
            *environment = *project;
        }
        self
    }

    pub(super) fn with_token(mut self, token: Uuid) -> Self {
        if let Fence::Revisions { project, environment, .. } = &mut self.snapshot.fence {
            project.token = token;
            environment.token = token;
        }
        self
    }

    pub(super) fn at_epoch(mut self, number: i64) -> Self {
        if let Fence::Revisions { epoch, .. } = &mut self.snapshot.fence {
            *epoch = number;
        }
        self
    }

    pub(super) fn of_environment(mut self, id: u128) -> Self {
        self.snapshot.environment = EnvironmentId(Uuid::from_u128(id));
        self
    }

    pub(super) fn under_ring(mut self, ring: &str) -> Self {
        self.snapshot.ring = Some(ring.into());
        self
    }

    pub(super) fn in_foreign_tables(mut self) -> Self {
        self.snapshot.fence = Fence::Digest { environment: 77, project: 78 };
        self.snapshot.ring = None;
        self.snapshot.live_secrets = None;
        self
    }

    pub(super) fn behind_policies(mut self) -> Self {
        self.snapshot.rows_may_be_hidden = true;
        self
    }

    pub(super) fn row(mut self, key: &str, change: impl FnOnce(&mut SecretRow)) -> Self {
        change(self.snapshot.secrets.get_mut(key).expect("a key to change"));
        self
    }

    pub(super) fn build(self) -> Snapshot {
        self.snapshot
    }
}

pub(super) struct SecretFixture(Secret);

/// A Secret in the namespace `shop` that is nobody's.
pub(super) fn secret(name: &str) -> SecretFixture {
    let metadata = ObjectMeta {
        name: Some(name.into()),
        namespace: Some("shop".into()),
        uid: Some(format!("uid-of-secret-{name}")),
        resource_version: Some("1".into()),
        ..ObjectMeta::default()
    };
    SecretFixture(Secret { metadata, type_: Some("Opaque".into()), ..Secret::default() })
}

impl SecretFixture {
    pub(super) fn controlled_by(mut self, binding: &SecretBinding) -> Self {
        self.0.metadata.owner_references = Some(vec![controller_reference(binding)]);
        self
    }

    pub(super) fn controlled_by_kind(mut self, api_version: &str, kind: &str, name: &str) -> Self {
        self.0.metadata.owner_references = Some(vec![OwnerReference {
            api_version: api_version.into(),
            kind: kind.into(),
            name: name.into(),
            uid: "someone".into(),
            controller: Some(true),
            block_owner_deletion: None,
        }]);
        self
    }

    pub(super) fn annotated(mut self, name: &str, text: &str) -> Self {
        self.0.metadata.annotations.get_or_insert_default().insert(name.into(), text.into());
        self
    }

    pub(super) fn of_type(mut self, type_: &str) -> Self {
        self.0.type_ = Some(type_.into());
        self
    }

    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        self.0.data.get_or_insert_default().insert(key.into(), ByteString(value.into()));
        self
    }

    pub(super) fn build(self) -> Secret {
        self.0
    }
}
