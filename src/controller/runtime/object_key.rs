//! An object by namespace and name: as one text, where many are held, and as kube refers to it.

use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

/// `<namespace>/<name>`; of a cluster-scoped object, nothing stands before the slash. Neither part can have one.
pub(crate) fn object_key(namespace: Option<&str>, name: &str) -> String {
    format!("{}/{name}", namespace.unwrap_or_default())
}

/// Namespace and name.
pub(crate) fn split_key(key: &str) -> (&str, &str) {
    key.split_once('/').unwrap_or(("", key))
}

/// The object's name, as that of a `K`. Without the uid and version that a reference made from an object has.
pub(super) fn reference_of<K: Resource<DynamicType = ()>>(object: &impl Resource) -> ObjectRef<K> {
    let name = ObjectRef::new(&object.name_any());
    match object.namespace() {
        Some(namespace) => name.within(&namespace),
        None => name,
    }
}
