//! What the admission policy lets the operator's account write, whatever the operator's code does: tried with its token.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use kube::{Client, Resource};
use serde_json::{Value, json};
use uuid::Uuid;

use super::delete_without_dependents;
use crate::harness::wait_for;
use crate::stage::{SOON, Stage};

const MINTS: &str = "tidelock writes no Secret of a type that makes the control plane mint a credential";
const UNLABELLED: &str = "tidelock writes no Secret without the label app.kubernetes.io/managed-by=tidelock";
const UNCONTROLLED: &str = "tidelock writes no Secret without a SecretBinding as its controller";
const FOREIGN: &str = "tidelock writes and deletes no Secret that belongs to somebody else";

/// A test's namespace with the policy in force, and no operator running.
struct PolicyStage {
    stage: Stage,
    /// With the token of the operator's account.
    operator: Client,
    /// Owner references to objects that exist: the garbage collector takes a Secret whose owners do not.
    binding: Value,
    config_map: Value,
    source: Value,
    /// But this one, of a kind that nobody knows.
    unknown_kind: Value,
    /// As `binding`, and not the controller.
    not_controller: Value,
}

impl PolicyStage {
    async fn new(what: &str) -> Self {
        let stage = Stage::with_shop(what).await;
        let (namespace, account) = stage.account();
        let operator = stage.cluster.client(&stage.cluster.token(namespace, account).await);
        let binding = reference(&stage.binding("app", "dev", json!({})).await);
        let source = reference(&stage.source("dev").await);
        let metadata = ObjectMeta { name: Some("theirs".to_owned()), ..ObjectMeta::default() };
        let config_map = reference(&stage.cluster.create(&ConfigMap { metadata, ..ConfigMap::default() }).await);
        let mut unknown_kind = binding.clone();
        unknown_kind["apiVersion"] = json!("other.dev/v1");
        unknown_kind["uid"] = json!(Uuid::new_v4());
        let mut not_controller = binding.clone();
        not_controller.as_object_mut().unwrap().remove("controller");
        let given = Self { stage, operator, binding, config_map, source, unknown_kind, not_controller };
        wait_for("the policy to be in force", SOON, async || match given.creates("probe", &json!({})).await {
            Ok(()) => Err("a Secret without a label was accepted".to_owned()),
            Err(why) if why.contains("ValidatingAdmissionPolicy") => Ok(()),
            Err(why) => Err(why),
        })
        .await;
        given
    }

    /// As the operator writes it.
    fn ours(&self) -> Value {
        json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "tidelock"}, "ownerReferences": [self.binding]}})
    }

    /// As the operator writes it, with another field of its metadata.
    fn ours_with(&self, field: &str, value: Value) -> Value {
        let mut manifest = self.ours();
        manifest["metadata"][field] = value;
        manifest
    }

    /// This and the next two are dry runs, so that each attempt finds what the one before found.
    async fn creates(&self, name: &str, manifest: &Value) -> Result<(), String> {
        let created = self.secrets().create(&dry_run(), &secret(name, manifest)).await;
        created.map(|_| ()).map_err(|why| why.to_string())
    }

    async fn replaces(&self, name: &str, manifest: &Value) -> Result<(), String> {
        let replaced = self.secrets().replace(name, &dry_run(), &secret(name, manifest)).await;
        replaced.map(|_| ()).map_err(|why| why.to_string())
    }

    async fn deletes(&self, name: &str) -> Result<(), String> {
        let dry_run = DeleteParams { dry_run: true, ..DeleteParams::default() };
        self.secrets().delete(name, &dry_run).await.map(|_| ()).map_err(|why| why.to_string())
    }

    fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.operator.clone(), &self.stage.cluster.namespace)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_account_creates_only_labelled_secrets_of_a_binding_that_mint_no_credential() {
    let given = PolicyStage::new("policy-create").await;
    let of_type = |type_: &str| {
        let mut manifest = given.ours_with("annotations", json!({"kubernetes.io/service-account.name": "default"}));
        manifest["type"] = json!(type_);
        manifest
    };
    let labelled = |labels: Value| given.ours_with("labels", labels);
    let of = |owners: Value| given.ours_with("ownerReferences", owners);
    // Of a binding that leaves it behind on purpose.
    let orphan = |owners: Value| {
        let mut manifest = of(owners);
        manifest["metadata"]["annotations"] = json!({"tidelock.dev/binding": "app"});
        manifest
    };
    let attempts = [
        ("ours", given.ours(), None),
        ("of-a-type", of_type("example.com/any"), None),
        ("token", of_type("kubernetes.io/service-account-token"), Some(MINTS)),
        ("bootstrap", of_type("bootstrap.kubernetes.io/token"), Some(MINTS)),
        ("unlabelled", labelled(json!({})), Some(UNLABELLED)),
        ("somebodys-label", labelled(json!({"app.kubernetes.io/managed-by": "Helm"})), Some(UNLABELLED)),
        ("nobodys", of(json!([])), Some(UNCONTROLLED)),
        ("not-the-controller", of(json!([given.not_controller])), Some(UNCONTROLLED)),
        ("another-controller", of(json!([given.config_map, given.not_controller])), Some(UNCONTROLLED)),
        ("another-kind", of(json!([given.source])), Some(UNCONTROLLED)),
        ("another-group", of(json!([given.unknown_kind])), Some(UNCONTROLLED)),
        ("orphan", orphan(json!([])), None),
        ("orphan-with-an-owner", orphan(json!([given.not_controller])), None),
        ("orphan-of-another-controller", orphan(json!([given.config_map])), Some(UNCONTROLLED)),
    ];
    for (name, attempt, expected) in attempts {
        expect(&format!("creating {name}"), &given.creates(name, &attempt).await, expected);
    }
}

/// Each row is a Secret that the admin made, with what the operator hears when it writes its own over it, and when it
/// deletes it.
#[tokio::test(flavor = "multi_thread")]
async fn the_operators_account_writes_and_deletes_no_secret_that_is_not_its_own_unless_it_was_handed_over() {
    let given = PolicyStage::new("policy-write").await;
    let PolicyStage { binding, config_map, source, unknown_kind, not_controller, .. } = &given;
    let owned_by = |owners: Value| json!({"ownerReferences": owners});
    let with = |annotation: &str, owners: Value| json!({"annotations": {annotation: "app"}, "ownerReferences": owners});
    let (adopt, left) = ("tidelock.dev/adopt", "tidelock.dev/binding");
    let rows = [
        ("ours", owned_by(json!([binding])), None, None),
        ("foreign", owned_by(json!([])), Some(FOREIGN), Some(FOREIGN)),
        ("not-the-controller", owned_by(json!([not_controller])), Some(FOREIGN), Some(FOREIGN)),
        ("another-controller", owned_by(json!([config_map, not_controller])), Some(FOREIGN), Some(FOREIGN)),
        ("another-kind", owned_by(json!([source])), Some(FOREIGN), Some(FOREIGN)),
        ("another-group", owned_by(json!([unknown_kind])), Some(FOREIGN), Some(FOREIGN)),
        // An operator may write to a Secret that a person handed over, and may not delete it.
        ("handed-over", with(adopt, json!([])), None, Some(FOREIGN)),
        ("handed-over-with-an-owner", with(adopt, json!([not_controller])), None, Some(FOREIGN)),
        ("handed-over-but-controlled", with(adopt, json!([config_map])), Some(FOREIGN), Some(FOREIGN)),
        // By a binding that was deleted without its dependents.
        ("left-behind", with(left, json!([])), None, None),
        ("left-behind-but-controlled", with(left, json!([config_map])), Some(FOREIGN), Some(FOREIGN)),
    ];
    for (name, metadata, written, deleted) in rows {
        given.stage.cluster.create(&secret(name, &json!({"metadata": metadata}))).await;
        expect(&format!("writing {name}"), &given.replaces(name, &given.ours()).await, written);
        expect(&format!("deleting {name}"), &given.deletes(name).await, deleted);
    }
    for (what, attempt, expected) in [
        ("its label", given.ours_with("labels", json!({})), UNLABELLED),
        ("its controller", given.ours_with("ownerReferences", json!([not_controller])), UNCONTROLLED),
    ] {
        expect(&format!("taking {what} from ours"), &given.replaces("ours", &attempt).await, Some(expected));
    }
}

/// Where a Secret's owner lets a binding add keys, the operator changes keys and its own annotations alone.
#[tokio::test(flavor = "multi_thread")]
async fn the_operators_account_adds_keys_where_the_owner_allows_it_and_changes_nothing_else() {
    let given = PolicyStage::new("policy-merge").await;
    let theirs = |merge: Option<&str>, owners: Value| {
        let annotations = merge.map_or(json!({}), |binding| json!({"tidelock.dev/merge": binding}));
        let labels = json!({"app.kubernetes.io/managed-by": "Helm"});
        json!({"metadata": {"labels": labels, "annotations": annotations, "ownerReferences": owners}})
    };
    let nobodys = || json!([]);
    let as_it_was = |metadata: &str, value: Value| {
        let mut manifest = theirs(Some("app"), nobodys());
        manifest["metadata"][metadata] = value;
        manifest
    };
    given.stage.cluster.create(&secret("allowed", &theirs(Some("app"), nobodys()))).await;
    given.stage.cluster.create(&secret("silent", &theirs(None, nobodys()))).await;
    given.stage.cluster.create(&secret("a-bindings", &theirs(Some("app"), json!([given.binding])))).await;
    let mut with_data = theirs(Some("app"), nobodys());
    with_data["stringData"] = json!({"A": "ours"});
    let merge = "tidelock.dev/merge";
    for (what, name, attempt, expected) in [
        ("a key", "allowed", with_data.clone(), None),
        (
            "our annotation",
            "allowed",
            as_it_was("annotations", json!({merge: "app", "tidelock.dev/source": "x"})),
            None,
        ),
        ("a label", "allowed", as_it_was("labels", json!({})), Some(UNLABELLED)),
        ("an owner", "allowed", as_it_was("ownerReferences", json!([given.not_controller])), Some(UNLABELLED)),
        ("the permission", "allowed", as_it_was("annotations", json!({})), Some(UNLABELLED)),
        ("what is not allowed", "silent", with_data.clone(), Some(UNLABELLED)),
        ("a binding's own", "a-bindings", with_data.clone(), Some(UNLABELLED)),
    ] {
        expect(&format!("writing {what}"), &given.replaces(name, &attempt).await, expected);
    }
    expect("deleting it", &given.deletes("allowed").await, Some(FOREIGN));
}

/// The one DELETE of a Secret without a controller that the operator has a reason for.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_deleted_binding_left_goes_when_one_of_its_name_comes_back_to_a_grant_that_was_withdrawn() {
    let stage = Stage::with_shop("left-behind").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;
    stage.binding_is("app", &["Ready=True"]).await;
    delete_without_dependents(&stage, "app").await;
    assert!(stage.secrets().get("app").await.unwrap().metadata.owner_references.unwrap_or_default().is_empty());
    let withdrawn = json!({"onRevoke": "Delete", "grants": [{"namespaces": {"names": ["somewhere-else"]}}]});
    stage.patch_source("dev", json!({"spec": withdrawn})).await;
    stage.binding("app", "dev", json!({})).await;
    wait_for("the Secret to be gone", SOON, async || match stage.secrets().get_metadata_opt("app").await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// `expected` is the policy's message; `None` where it has nothing against it.
fn expect(what: &str, answer: &Result<(), String>, expected: Option<&str>) {
    match (answer, expected) {
        (Ok(()), None) => {}
        (Err(why), Some(message)) if why.contains("ValidatingAdmissionPolicy") && why.contains(message) => {}
        _ => panic!("{what}: {answer:?} instead of {expected:?}"),
    }
}

fn secret(name: &str, manifest: &Value) -> Secret {
    let mut secret: Secret = serde_json::from_value(manifest.clone()).unwrap();
    secret.metadata.name = Some(name.to_owned());
    secret
}

fn dry_run() -> PostParams {
    PostParams { dry_run: true, ..PostParams::default() }
}

/// An owner reference that says "controller".
fn reference<K: Resource<DynamicType = ()>>(owner: &K) -> Value {
    serde_json::to_value(owner.controller_owner_ref(&()).unwrap()).unwrap()
}
