//! Bindings, environments and Secrets for tests, in words.

mod snapshots;

use std::sync::LazyLock;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use uuid::Uuid;

use super::plan::ownership::controller_reference;
use crate::api::{
    DataEntry, OutOfSyncPolicy, RemoteRef, SecretBinding, SecretBindingSpec, SourceKind, SourceRef, Target, Template,
    TemplateMetadata,
};
use crate::crypto::{HashKey, Keyring};

pub(super) use snapshots::{SnapshotFixture, snapshot};

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
            data_from: None,
            name_transformer: None,
            out_of_sync_policy: None,
            stale_after: None,
            rollout_restart_targets: None,
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
        let remote_ref = RemoteRef { key: key.into(), property: None, decoding_strategy: None };
        let entry = DataEntry { secret_key: secret_key.into(), remote_ref, optional };
        self.0.spec.data.get_or_insert_default().push(entry);
        self
    }

    /// With fields of `spec` added or replaced, as a manifest has them.
    pub(super) fn with_spec(mut self, fields: serde_json::Value) -> Self {
        let mut spec = serde_json::to_value(&self.0.spec).expect("JSON");
        let serde_json::Value::Object(fields) = fields else { panic!("fields of a spec") };
        spec.as_object_mut().expect("a spec").extend(fields);
        self.0.spec = serde_json::from_value(spec).expect("a spec");
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

    pub(super) fn of_a_kind_that_nobody_knows(mut self) -> Self {
        self.0.spec.source_ref.kind = Some(SourceKind::Unknown);
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
