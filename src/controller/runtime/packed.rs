//! An object as compressed JSON, in one allocation.

use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// An object's text, compressed with LZ4. Cheap to clone.
pub(super) struct Packed<K> {
    text: Arc<[u8]>,
    of: PhantomData<fn() -> K>,
}

impl<K> Clone for Packed<K> {
    fn clone(&self) -> Self {
        Self { text: Arc::clone(&self.text), of: PhantomData }
    }
}

impl<K> Packed<K> {
    /// Bytes.
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }
}

impl<K: Serialize> Packed<K> {
    /// `None`: it cannot be written as JSON, so that it was never read from it.
    pub(super) fn of(object: &K) -> Option<Self> {
        let json = serde_json::to_vec(object).ok()?;
        Some(Self { text: lz4_flex::compress_prepend_size(&json).into(), of: PhantomData })
    }
}

impl<K: DeserializeOwned> Packed<K> {
    /// `None`: it is not what [`Packed::of`] made.
    pub(super) fn open(&self) -> Option<K> {
        let json = lz4_flex::decompress_size_prepended(&self.text).ok()?;
        serde_json::from_slice(&json).ok()
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Secret;
    use kube::core::PartialObjectMeta;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::SecretBinding;

    fn is_given_back<K: Serialize + DeserializeOwned>(object: Value) -> bool {
        let object: K = serde_json::from_value(object).expect("an object");
        let again = Packed::of(&object).and_then(|packed| packed.open()).expect("it was just packed");
        serde_json::to_value(again).ok() == serde_json::to_value(object).ok()
    }

    #[test]
    fn whatever_was_read_is_given_back() {
        let metadata = json!({
            "name": "app", "namespace": "shop", "uid": "u", "resourceVersion": "7", "generation": 2,
            "creationTimestamp": "2026-01-02T03:04:05Z", "annotations": {"tidelock.dev/sync": "n1"},
        });
        let condition = json!({
            "type": "Ready", "status": "True", "reason": "Ready", "message": "\u{e4} \"quoted\"",
            "lastTransitionTime": "2026-01-02T03:04:05.123456Z", "observedGeneration": 2,
        });
        assert!(is_given_back::<PartialObjectMeta<Secret>>(json!({"metadata": metadata})));
        for kind in ["ProjectEnvironment", "SomethingNewer"] {
            assert!(is_given_back::<SecretBinding>(json!({
                "metadata": metadata,
                "spec": {"sourceRef": {"kind": kind, "name": "dev"}, "outOfSyncPolicy": kind, "data": []},
                "status": {"conditions": [condition], "revision": 5, "observedGeneration": -1},
            })));
        }
    }

    #[test]
    fn an_ordinary_binding_and_its_secret_take_little() {
        let said = |of_type: &str| {
            json!({
                "type": of_type, "status": "True", "reason": of_type, "observedGeneration": 1,
                "message": "Secret app-1 has 12 keys of shop/dev, as of revision 5", "lastTransitionTime": "2026-01-02T03:04:05Z",
            })
        };
        let binding: SecretBinding = serde_json::from_value(json!({
            "metadata": {
                "name": "app-1", "namespace": "shop", "uid": "9ab0fd39-ff55-4137-8b3b-31a4152ad07b",
                "resourceVersion": "12345678", "generation": 1, "creationTimestamp": "2026-01-02T03:04:05Z",
            },
            "spec": {"sourceRef": {"name": "shop-dev"}},
            "status": {
                "conditions": [said("Ready"), said("ResolvedRefs"), said("Delivered"), said("InSync")],
                "observedGeneration": 1, "revision": 5, "registryRevision": 5, "lastSyncTime": "2026-01-02T03:04:05Z",
                "target": {
                    "name": "app-1", "uid": "1c9bcfa3-9a7e-4c4e-a0cb-3aafae2a0b9f", "resourceVersion": "12345679", "keys": 12,
                    "inputs": format!("2:0123456789abcdef:{}", "0f1e2d3c4b5a6978".repeat(4)),
                },
            },
        }))
        .expect("a binding");
        let packed = Packed::of(&binding).expect("it is JSON");
        assert!(packed.len() <= 800, "{}", packed.len());
    }
}
