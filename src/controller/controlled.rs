//! Which Secrets a binding controls.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError, RwLock};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Names of Secrets by the uid of their controller; follows the watch of Secrets. Cheap to clone.
///
/// An index and not a walk through the store: at a start, 1,000 bindings would each look at 1,000 Secrets.
#[derive(Debug, Clone, Default)]
pub struct ControlledSecrets {
    /// Uid of a controller, to namespaces and names.
    names: Arc<RwLock<HashMap<String, BTreeSet<Name>>>>,
}

/// Namespace and name.
type Name = (String, String);

impl ControlledSecrets {
    /// Names of the Secrets in a namespace that this uid controls, in order.
    #[must_use]
    pub fn of(&self, uid: &str, namespace: &str) -> Vec<String> {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        let of_uid = names.get(uid).into_iter().flatten();
        of_uid.filter(|(of, _)| of == namespace).map(|(_, name)| name.clone()).collect()
    }

    /// Takes in what became of a Secret.
    pub(super) fn follow(&self, before: Option<&ObjectMeta>, after: Option<&ObjectMeta>) {
        let (before, after) = (before.and_then(controlled), after.and_then(controlled));
        if before == after {
            return;
        }
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        if let Some((uid, name)) = before
            && let Some(of_uid) = names.get_mut(&uid)
        {
            of_uid.remove(&name);
            if of_uid.is_empty() {
                names.remove(&uid);
            }
        }
        if let Some((uid, name)) = after {
            names.entry(uid).or_default().insert(name);
        }
    }
}

/// The uid of a Secret's controller, and the Secret's name.
fn controlled(secret: &ObjectMeta) -> Option<(String, Name)> {
    let controller = secret.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))?;
    Some((controller.uid.clone(), (secret.namespace.clone()?, secret.name.clone()?)))
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
        index.follow(None, Some(&secret("a", "one")));
        index.follow(None, Some(&secret("b", "one")));
        assert_eq!(index.of("one", "shop"), ["a", "b"]);
        assert_eq!(index.of("one", "elsewhere"), Vec::<String>::new());
        index.follow(Some(&secret("a", "one")), Some(&secret("a", "two")));
        assert_eq!((index.of("one", "shop"), index.of("two", "shop")), (vec!["b".to_owned()], vec!["a".to_owned()]));
        index.follow(Some(&secret("b", "one")), None);
        assert_eq!(index.of("one", "shop"), Vec::<String>::new());
    }
}
