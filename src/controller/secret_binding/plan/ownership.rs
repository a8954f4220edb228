//! Whose Secret is it? A foreign one is never written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Resource, ResourceExt};

use crate::api::names::{ADOPT, BINDING, CREDENTIAL_MINTING_TYPES, MERGE};
use crate::api::{CreationPolicy, SecretBinding};

/// What a Secret is to a binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// Controlled by this very binding.
    Ours,
    /// Controlled by an earlier binding of this name, which is gone, since there is never more than one of a name; or
    /// written by it and left to nobody when it was deleted without its dependents.
    PreviousBinding,
    /// Controlled by nobody, and a person said that this binding may have it.
    Adoptable,
    /// Somebody else's, who said that this binding may add keys to it.
    Mergeable,
    /// Controlled by another SecretBinding.
    OwnedByOtherBinding { name: String },
    /// Somebody else's.
    Foreign {
        /// Whose, in words.
        who: String,
    },
}

/// What a Secret is to a binding. `type_` is the Secret's type, where that is known.
#[must_use]
pub(crate) fn ownership(binding: &SecretBinding, secret: &ObjectMeta, type_: Option<&str>) -> Ownership {
    if let Some(type_) = type_.filter(|type_| CREDENTIAL_MINTING_TYPES.contains(type_)) {
        return Ownership::Foreign { who: format!("the control plane, by its type {type_}") };
    }
    let owners = secret.owner_references.as_deref().unwrap_or_default();
    let controller = owners.iter().find(|owner| owner.controller == Some(true));
    if binding.spec.creation_policy() == CreationPolicy::Merge {
        return to_merge_into(binding, secret, controller);
    }
    match controller {
        Some(owner) if Some(&owner.uid) == binding.metadata.uid.as_ref() => Ownership::Ours,
        Some(owner) if is_binding(owner) && owner.name == binding.name_any() => Ownership::PreviousBinding,
        Some(owner) if is_binding(owner) => Ownership::OwnedByOtherBinding { name: owner.name.clone() },
        Some(owner) => Ownership::Foreign { who: format!("{} {}", owner.kind, owner.name) },
        // It was never to have a controller, and is ours also where it was handed over once.
        None if names_us(secret, BINDING, binding) && binding.spec.creation_policy() == CreationPolicy::Orphan => {
            Ownership::Ours
        }
        None if names_us(secret, ADOPT, binding) => Ownership::Adoptable,
        None if names_us(secret, BINDING, binding) => Ownership::PreviousBinding,
        None => Ownership::Foreign { who: "somebody else: no SecretBinding controls it".to_owned() },
    }
}

/// What a Secret is to a binding that would only add keys to it. What a binding controls is that one's to write whole.
fn to_merge_into(binding: &SecretBinding, secret: &ObjectMeta, controller: Option<&OwnerReference>) -> Ownership {
    match controller {
        Some(owner) if is_binding(owner) && owner.name != binding.name_any() => {
            Ownership::OwnedByOtherBinding { name: owner.name.clone() }
        }
        Some(owner) if is_binding(owner) => {
            let who = "this binding, which wrote it whole before creationPolicy was Merge".to_owned();
            Ownership::Foreign { who }
        }
        _ if names_us(secret, MERGE, binding) => Ownership::Mergeable,
        _ => Ownership::Foreign { who: "somebody else, who has not let this binding add keys to it".to_owned() },
    }
}

fn names_us(secret: &ObjectMeta, annotation: &str, binding: &SecretBinding) -> bool {
    let named = secret.annotations.as_ref().and_then(|annotations| annotations.get(annotation));
    named.is_some_and(|name| *name == binding.name_any())
}

/// The owner reference that says "ours". It does not block the owner's deletion: to ask for that needs a right on the
/// binding's finalizers wherever owner references are checked, and nothing here has to happen first.
#[must_use]
pub(crate) fn controller_reference(binding: &SecretBinding) -> OwnerReference {
    OwnerReference {
        api_version: SecretBinding::api_version(&()).into_owned(),
        kind: SecretBinding::kind(&()).into_owned(),
        name: binding.name_any(),
        uid: binding.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: None,
    }
}

/// Of any version: the version of a stored reference is that of its writer.
fn is_binding(owner: &OwnerReference) -> bool {
    let group = owner.api_version.split_once('/').map(|(group, _)| group);
    group == Some(&*SecretBinding::group(&())) && owner.kind == SecretBinding::kind(&())
}

/// Of two bindings that both want a target that neither owns, whether the first may have it: the older one may.
#[must_use]
pub(crate) fn goes_first(binding: &SecretBinding, other: &SecretBinding) -> bool {
    let age = |binding: &SecretBinding| {
        (binding.metadata.creation_timestamp.as_ref().map(|time| time.0), binding.metadata.uid.clone())
    };
    age(binding) < age(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::secret_binding::fixtures::{binding, secret};

    fn of(secret: crate::controller::secret_binding::fixtures::SecretFixture) -> Ownership {
        let secret = secret.build();
        ownership(&binding("app").build(), &secret.metadata, secret.type_.as_deref())
    }

    #[test]
    fn a_secret_that_this_binding_controls_is_ours() {
        assert_eq!(of(secret("app").controlled_by(&binding("app").build())), Ownership::Ours);
    }

    #[test]
    fn a_secret_of_a_dead_binding_of_the_same_name_is_taken_over() {
        assert_eq!(
            of(secret("app").controlled_by(&binding("app").with_uid("dead").build())),
            Ownership::PreviousBinding
        );
    }

    #[test]
    fn a_secret_of_another_binding_is_left_to_it_also_when_annotated() {
        let other = Ownership::OwnedByOtherBinding { name: "other".into() };
        let secret = || secret("app").controlled_by(&binding("other").build());
        assert_eq!(of(secret()), other);
        assert_eq!(of(secret().annotated(ADOPT, "app")), other);
    }

    #[test]
    fn a_secret_without_a_controller_is_foreign_until_a_person_hands_it_over() {
        assert!(matches!(of(secret("app")), Ownership::Foreign { .. }));
        assert!(matches!(of(secret("app").annotated(ADOPT, "other")), Ownership::Foreign { .. }));
        assert_eq!(of(secret("app").annotated(ADOPT, "app")), Ownership::Adoptable);
    }

    #[test]
    fn a_secret_that_a_binding_of_this_name_left_behind_is_taken_over() {
        assert_eq!(of(secret("app").annotated(BINDING, "app")), Ownership::PreviousBinding);
        assert!(matches!(of(secret("app").annotated(BINDING, "other")), Ownership::Foreign { .. }));
    }

    #[test]
    fn a_secret_of_another_controller_is_foreign_also_when_annotated_and_the_controller_is_named() {
        let foreign =
            of(secret("app").controlled_by_kind("bitnami.com/v1alpha1", "SealedSecret", "app").annotated(ADOPT, "app"));
        assert_eq!(foreign, Ownership::Foreign { who: "SealedSecret app".into() });
        assert!(matches!(
            of(secret("app").controlled_by_kind("other.dev/v1", "SecretBinding", "app")),
            Ownership::Foreign { .. }
        ));
    }

    #[test]
    fn an_owner_that_is_not_the_controller_makes_no_secret_ours() {
        let mut secret = secret("app").controlled_by(&binding("app").build()).build();
        secret.metadata.owner_references.as_mut().expect("owners")[0].controller = None;
        assert!(matches!(ownership(&binding("app").build(), &secret.metadata, None), Ownership::Foreign { .. }));
    }

    #[test]
    fn a_secret_that_mints_a_credential_is_never_ours() {
        for type_ in CREDENTIAL_MINTING_TYPES {
            let secret = secret("app").of_type(type_).annotated(ADOPT, "app").controlled_by(&binding("app").build());
            assert!(matches!(of(secret), Ownership::Foreign { .. }), "{type_}");
        }
    }

    #[test]
    fn the_older_of_two_bindings_goes_first_and_the_uid_decides_between_twins() {
        let (old, young) = (binding("old").created_at(1).build(), binding("young").created_at(2).build());
        assert!(goes_first(&old, &young) && !goes_first(&young, &old));
        let twin = binding("twin").created_at(1).build();
        assert_ne!(goes_first(&old, &twin), goes_first(&twin, &old));
    }
}
