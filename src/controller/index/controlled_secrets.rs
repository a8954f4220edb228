//! Which Secrets a binding controls, without a walk through all of them. Follows the watch.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{Key, key};
use crate::controller::runtime::split_key;

/// Names of Secrets by the uid of their controller; Cheap to clone.
///
/// An index and not a walk through the store: at a start, 1,000 bindings would each look at 1,000 Secrets.
#[derive(Debug, Clone, Default)]
pub(crate) struct ControlledSecrets {
    /// Uid of a controller, to Secrets. Seldom more than one.
    secrets: Arc<RwLock<HashMap<Box<str>, Vec<Key>>>>,
}

impl ControlledSecrets {
    /// Names of the Secrets in a namespace that this uid controls, in order.
    #[must_use]
    pub(crate) fn of(&self, uid: &str, namespace: &str) -> Vec<String> {
        let secrets = self.secrets.read().unwrap_or_else(PoisonError::into_inner);
        let of_uid = secrets.get(uid).into_iter().flatten().map(|key| split_key(key));
        of_uid.filter(|(of, _)| *of == namespace).map(|(_, name)| name.to_owned()).collect()
    }

    /// Takes in what became of a Secret.
    pub(in crate::controller) fn update(&self, before: Option<&ObjectMeta>, after: Option<&ObjectMeta>) {
        let (before, after) = (before.and_then(controlled), after.and_then(controlled));
        if before == after {
            return;
        }
        let mut secrets = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((uid, key)) = before
            && let Some(of_uid) = secrets.get_mut(uid)
        {
            of_uid.retain(|other| *other != key);
            if of_uid.is_empty() {
                secrets.remove(uid);
            }
        }
        if let Some((uid, key)) = after {
            let of_uid = secrets.entry(uid.into()).or_insert_with(|| Vec::with_capacity(1));
            if let Err(place) = of_uid.binary_search(&key) {
                of_uid.insert(place, key);
            }
        }
    }
}

/// The uid of a Secret's controller, and the Secret.
fn controlled(secret: &ObjectMeta) -> Option<(&str, Key)> {
    let controller = secret.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    Some((&controller.uid, key(secret.namespace.as_deref()?, secret.name.as_deref()?)))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::*;

    fn secret(name: &str, controller: &str) -> ObjectMeta {
        let owner = OwnerReference { uid: controller.into(), controller: Some(true), ..OwnerReference::default() };
        ObjectMeta {
            namespace: Some("shop".into()),
            name: Some(name.into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        }
    }

    #[test]
    fn a_secret_is_found_under_its_controller_until_it_has_another_or_is_gone() {
        let index = ControlledSecrets::default();
        index.update(None, Some(&secret("a", "one")));
        index.update(None, Some(&secret("b", "one")));
        assert_eq!(index.of("one", "shop"), ["a", "b"]);
        assert_eq!(index.of("one", "elsewhere"), Vec::<String>::new());
        index.update(Some(&secret("a", "one")), Some(&secret("a", "two")));
        assert_eq!((index.of("one", "shop"), index.of("two", "shop")), (vec!["b".to_owned()], vec!["a".to_owned()]));
        index.update(Some(&secret("b", "one")), None);
        assert_eq!(index.of("one", "shop"), Vec::<String>::new());
    }
}
