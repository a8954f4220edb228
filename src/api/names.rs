//! Names that the operator and people agree on: labels, annotations, the field manager.
//!
//! The operator's custom resources carry no finalizer: a target is cleaned up through its owner reference.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::core::digest_of_key;

/// Prefix of every annotation and label of ours; people's templates must not use it.
pub const PREFIX: &str = "tidelock.dev/";

/// Field manager of every write of the operator.
pub const FIELD_MANAGER: &str = "tidelock";

/// Set by a person on a custom resource: look now, and answer with the same value in `status.lastHandledSync`.
pub const SYNC: &str = "tidelock.dev/sync";

/// Set by a person on a Secret: the SecretBinding of that name in the same namespace may take it over.
pub const ADOPT: &str = "tidelock.dev/adopt";

/// Set by a person on a Secret: the SecretBinding of that name in the same namespace may add keys to it, and touch no other.
pub const MERGE: &str = "tidelock.dev/merge";

/// Label on a ConfigMap, with the value `true`: bindings of its namespace may take templates from it, and the operator may
/// read it.
pub const TEMPLATE_LABEL: &str = "tidelock.dev/template";

/// Set by a person on a SecretBinding: the removals held back at this revision are meant. The value is
/// the revision, as the condition spells it; it is good for one write.
pub const RELEASE_REMOVAL: &str = "tidelock.dev/release-removal";

/// Label on a custom resource: the operator that it is for, where a cluster has several. An operator takes the objects
/// of its own class; one without a class those without the label.
pub const CLASS: &str = "tidelock.dev/class";

/// On a Secret of ours: the SecretBinding that it belongs to.
pub const BINDING: &str = "tidelock.dev/binding";

/// On a Secret of ours: which environment, epoch, revision and token its data was read at.
pub const SOURCE: &str = "tidelock.dev/source";

/// On a Secret of ours: the rows that its keys were delivered from, so that a removal can be proven later.
pub const ROWS: &str = "tidelock.dev/rows";

/// Prefix of the annotations by which workloads are restarted, before the name of the SecretBinding: on the pod template,
/// or, of a Rollout, on itself.
pub const RESTART_PREFIX: &str = "restart.tidelock.dev/";

/// Most bytes of an annotation's name behind its prefix.
const ANNOTATION_NAME_MAX: usize = 63;

/// The annotation by which a SecretBinding restarts a workload. A name that is too long is cut, with a digest of all of it.
#[must_use]
pub fn restart_annotation(binding: &str) -> String {
    if binding.len() <= ANNOTATION_NAME_MAX {
        return format!("{RESTART_PREFIX}{binding}");
    }
    let digest = hex::encode(digest_of_key(binding));
    // A name of a SecretBinding is ASCII, and may have a dot or a dash before the cut.
    let cut = &binding[..binding.floor_char_boundary(ANNOTATION_NAME_MAX - digest.len() - 1)];
    format!("{RESTART_PREFIX}{cut}-{digest}")
}

/// Label on every Secret of ours; the operator watches by it.
pub const MANAGED_BY_LABEL: &str = "app.kubernetes.io/managed-by";

/// Value of [`MANAGED_BY_LABEL`].
pub const MANAGED_BY: &str = "tidelock";

/// Types of Secret that make the control plane mint a credential; never written.
pub const CREDENTIAL_MINTING_TYPES: [&str; 2] =
    ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];

/// Longest value of [`SYNC`] that is answered, in bytes.
pub const SYNC_MAX: usize = 253;

/// The nonce that a person set with [`SYNC`]; `None` where there is none, it is empty or longer than [`SYNC_MAX`].
fn sync_nonce(metadata: &ObjectMeta) -> Option<&str> {
    let nonce = metadata.annotations.as_ref()?.get(SYNC)?;
    (1..=SYNC_MAX).contains(&nonce.len()).then_some(nonce)
}

/// The nonce of a request for a poll that a status, which handled that one last, has not answered yet.
#[must_use]
pub fn unanswered_sync<'m>(metadata: &'m ObjectMeta, last_handled: Option<&str>) -> Option<&'m str> {
    sync_nonce(metadata).filter(|nonce| last_handled != Some(nonce))
}

/// Whether a label or annotation of that name may not be asked for in a template: Argo CD would take the Secret for
/// one of its own and prune it, or it is the operator's.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(PREFIX)
        || name.starts_with("argocd.argoproj.io/")
        || name == "app.kubernetes.io/instance"
        || name == MANAGED_BY_LABEL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nonce_is_read_unless_it_is_empty_or_too_long() {
        let nonce = |value: &str| {
            let metadata =
                ObjectMeta { annotations: Some([(SYNC.to_owned(), value.to_owned())].into()), ..ObjectMeta::default() };
            sync_nonce(&metadata).map(str::to_owned)
        };
        assert_eq!(nonce("a1"), Some("a1".to_owned()));
        assert_eq!(nonce(""), None);
        assert_eq!(nonce(&"n".repeat(254)), None);
        assert_eq!(sync_nonce(&ObjectMeta::default()), None);
    }

    #[test]
    fn every_binding_has_a_restart_annotation_of_its_own_with_a_name_that_kubernetes_takes() {
        assert_eq!(restart_annotation("app"), "restart.tidelock.dev/app");
        let long = |last: &str| format!("{}{last}", "a.".repeat(120));
        for binding in ["a".repeat(63), "a".repeat(64), long("b"), long("c")] {
            let name = restart_annotation(&binding);
            let name = name.strip_prefix(RESTART_PREFIX).expect("the prefix");
            assert!(name.len() <= 63 && name.ends_with(|last: char| last.is_ascii_alphanumeric()), "{name}");
        }
        assert_ne!(restart_annotation(&long("b")), restart_annotation(&long("c")));
    }

    #[test]
    fn names_that_argo_cd_prunes_by_and_our_own_are_reserved() {
        for name in ["argocd.argoproj.io/instance", "app.kubernetes.io/instance", "tidelock.dev/rows", MANAGED_BY_LABEL]
        {
            assert!(is_reserved(name), "{name}");
        }
        assert!(!is_reserved("app.kubernetes.io/name"));
    }
}
