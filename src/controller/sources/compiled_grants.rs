//! Grants as they were compiled last: once for each generation of an object, however many bindings ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use kube::ResourceExt;

use crate::api::{Grants, ProjectEnvironment};

/// The grants of sources, by the source's name.
#[derive(Debug, Default)]
pub(crate) struct CompiledGrants(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    uid: Option<String>,
    generation: Option<i64>,
    grants: Arc<Grants>,
}

impl CompiledGrants {
    /// The grants of an object, which are compiled where its spec is another one than before.
    pub(crate) fn of(&self, object: &ProjectEnvironment) -> Arc<Grants> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (uid, generation) = (&object.metadata.uid, object.metadata.generation);
        match known.get(&object.name_any()) {
            Some(entry) if entry.uid == *uid && entry.generation == generation && generation.is_some() => {
                Arc::clone(&entry.grants)
            }
            _ => {
                let grants = Arc::new(Grants::new(&object.spec.grants));
                let entry = Entry { uid: uid.clone(), generation, grants: Arc::clone(&grants) };
                known.insert(object.name_any(), entry);
                grants
            }
        }
    }

    /// Lets go of the grants of an object that is gone.
    pub(crate) fn forget(&self, object: &ProjectEnvironment) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&object.name_any());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_generation_is_compiled_once_and_another_one_or_another_object_anew() {
        let object = |uid: &str, generation: i64| -> ProjectEnvironment {
            serde_json::from_value(json!({
                "metadata": {"name": "dev", "uid": uid, "generation": generation},
                "spec": {"project": "shop", "environment": "dev", "grants": [{"namespaces": {"names": ["a"]}}]},
            }))
            .unwrap()
        };
        let known = CompiledGrants::default();
        let first = known.of(&object("u", 1));
        assert!(Arc::ptr_eq(&first, &known.of(&object("u", 1))));
        for other in [object("u", 2), object("v", 2)] {
            assert!(!Arc::ptr_eq(&first, &known.of(&other)));
        }
        known.forget(&object("v", 2));
        assert!(known.0.lock().unwrap().is_empty());
    }
}
