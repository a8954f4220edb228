//! Whose a Secret is, and what becomes of it when its source is emptied: `creationPolicy` and `deletionPolicy`.

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::ab;
use crate::api::ConditionType::{Delivered, ResolvedRefs};
use crate::api::names::MERGE;
use crate::controller::secret_binding::fixtures::{binding, secret};
use crate::controller::secret_binding::plan::BLOCKED_REQUEUE_AFTER;
use crate::controller::secret_binding::simulated_cluster::{SimulatedCluster, cluster};

fn with_target(target: &Value) -> SimulatedCluster {
    cluster(binding("app").with_spec(json!({"target": target}))).reading(ab())
}

fn merging(theirs: &[(&str, &str)]) -> SimulatedCluster {
    let theirs = theirs.iter().fold(secret("app"), |secret, (name, value)| secret.with(name, value));
    with_target(&json!({"creationPolicy": "Merge"})).with_secret(theirs.annotated(MERGE, "app").build())
}

fn data(cluster: &SimulatedCluster) -> Vec<String> {
    cluster.data("app").expect("a Secret")
}

#[test]
fn keys_are_added_to_a_secret_that_allows_it_and_nothing_else_of_it_is_touched() {
    let mut cluster = merging(&[("theirs", "x")]);
    let before = cluster.secret("app").clone();
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(data(&cluster), ["A=one", "B=two", "theirs=x"]);
    let after = cluster.secret("app");
    assert_eq!(after.metadata.labels, before.metadata.labels);
    assert_eq!((&after.metadata.owner_references, &after.type_), (&before.metadata.owner_references, &before.type_));
    assert_eq!(cluster.requeue, Some(BLOCKED_REQUEUE_AFTER), "no event tells of it");
    assert_eq!(cluster.reconcile(), Vec::<String>::new());
    // Its owner goes on with it, and what leaves the source leaves it.
    cluster.edit_secret("app", |secret| {
        let data = secret.data.get_or_insert_default();
        data.insert("more".into(), ByteString(b"y".to_vec()));
        data.remove("A");
    });
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    cluster.read(ab().deleted("A").at_revision(6));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(data(&cluster), ["B=two", "more=y", "theirs=x"]);
    cluster.read(ab().deleted("A").vanished("B").at_revision(7));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.condition(ResolvedRefs).1, "RemovalUnproven");
}

#[test]
fn a_key_that_the_owner_has_is_a_conflict_and_is_never_overwritten() {
    let mut cluster = merging(&[("A", "theirs"), ("x", "y")]);
    assert_eq!(cluster.reconcile(), ["status"]);
    let (_, reason, message) = cluster.condition(Delivered);
    assert_eq!((reason, message), ("MergeConflict", "Secret app has keys already that this binding did not write: A"));
    assert_eq!(data(&cluster), ["A=theirs", "x=y"]);
    cluster.edit_secret("app", |secret| drop(secret.data.as_mut().expect("data").remove("A")));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    // What another binding added is not this one's either.
    let mut other = merging(&[]);
    other.reconcile();
    other.binding.metadata.name = Some("other".into());
    other.binding.spec.target.as_mut().expect("a target").name = Some("app".into());
    other.edit_secret("app", |secret| {
        secret.metadata.annotations.get_or_insert_default().insert(MERGE.into(), "other".into());
    });
    other.binding.status = None;
    assert_eq!(other.reconcile(), ["status"]);
    assert_eq!(other.ready().1, "MergeConflict");
}

#[test]
fn keys_are_added_to_no_secret_that_is_not_there_or_does_not_allow_it() {
    let mut cluster = with_target(&json!({"creationPolicy": "Merge"}));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.ready().1, cluster.requeue), ("TargetMissing", Some(BLOCKED_REQUEUE_AFTER)));
    let mut cluster = cluster.with_secret(secret("app").annotated(MERGE, "somebody").build());
    cluster.reconcile();
    assert_eq!((cluster.ready().1, cluster.requeue), ("TargetForeign", Some(BLOCKED_REQUEUE_AFTER)));
    assert!(cluster.condition(Delivered).2.contains("tidelock.dev/merge=app"));
    cluster.edit_secret("app", |secret| {
        secret.metadata.annotations.get_or_insert_default().insert(MERGE.into(), "app".into());
    });
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    // One that a binding controls, this one included, is not somebody else's to be added to.
    for owner in ["app", "other"] {
        let owned = secret("app").controlled_by(&binding(owner).build()).annotated(MERGE, "app").build();
        let mut cluster = with_target(&json!({"creationPolicy": "Merge"})).with_secret(owned.clone());
        cluster.reconcile();
        assert_eq!(cluster.secret("app"), &owned, "{owner}");
    }
}

#[test]
fn what_was_added_is_taken_out_where_the_grant_is_withdrawn_and_the_secret_stays() {
    let mut cluster = merging(&[("theirs", "x")]);
    cluster.reconcile();
    cluster.grant(&json!([{"namespaces": {"names": ["elsewhere"]}}]), "Delete");
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(data(&cluster), ["theirs=x"]);
    assert_eq!(cluster.condition(Delivered).1, "Revoked");
    assert_eq!(cluster.reconcile(), Vec::<String>::new());
}

#[test]
fn a_binding_that_once_merged_takes_no_secret_over() {
    let mut cluster = merging(&[("theirs", "x")]);
    cluster.reconcile();
    let before = cluster.secret("app").clone();
    cluster.edit_binding(binding("app"));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.ready().1, cluster.secret("app")), ("TargetForeign", &before));
}

#[test]
fn an_orphan_has_no_owner_and_is_the_bindings_all_the_same() {
    let mut cluster = with_target(&json!({"creationPolicy": "Orphan"}));
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    assert!(cluster.secret("app").metadata.owner_references.iter().flatten().next().is_none());
    assert_eq!(cluster.reconcile(), Vec::<String>::new());
    cluster.read(ab().with("A", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    cluster.edit_secret("app", |secret| drop(secret.data.as_mut().expect("data").remove("A")));
    assert_eq!(cluster.reconcile(), ["replace app", "status"], "repaired");
    // Owner and back: the reference comes and goes.
    cluster.edit_binding(binding("app"));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.secret("app").metadata.owner_references.as_ref().map(Vec::len), Some(1));
    cluster.edit_binding(binding("app").with_spec(json!({"target": {"creationPolicy": "Orphan"}})));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.secret("app").metadata.owner_references.iter().flatten().count(), 0);
    cluster.edit_binding(binding("app").with_spec(json!({"target": {"creationPolicy": "Orphan", "name": "new"}})));
    assert_eq!(cluster.reconcile(), ["create new", "status"], "the one under the old name stays");
    // Somebody else's is foreign to it as to any other.
    let mut cluster = with_target(&json!({"creationPolicy": "Orphan"})).with_secret(secret("app").build());
    cluster.reconcile();
    assert_eq!(cluster.ready().1, "TargetForeign");
}

#[test]
fn an_orphan_that_was_handed_over_loses_nothing_without_proof_either() {
    let theirs = secret("app").with("A", "theirs").annotated("tidelock.dev/adopt", "app").build();
    let mut cluster = with_target(&json!({"creationPolicy": "Orphan"})).with_secret(theirs);
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    cluster.read(ab().deleted("B").at_revision(6));
    assert_eq!(cluster.reconcile(), ["replace app", "status"], "what it was made from is known");
    cluster.read(ab().deleted("B").vanished("A").at_revision(7));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert!(cluster.condition(ResolvedRefs).2.contains("nothing proves that it was meant: A"));
}

#[test]
fn a_deletion_policy_says_what_is_held_what_leaves_and_whether_the_secret_goes() {
    let one = |policy: &str| json!({"data": [{"secretKey": "a", "remoteRef": {"key": "A"}}], "target": {"deletionPolicy": policy}});
    let found = |policy: &str| json!({"dataFrom": [{"find": {"keys": ["A"]}}], "target": {"deletionPolicy": policy}});
    for (spec, writes, reason) in [
        (one("Retain"), vec!["status"], "KeyMissing"),
        (one("Merge"), vec!["replace app", "status"], "Ready"),
        (one("Delete"), vec!["delete app", "status"], "Ready"),
        (found("Retain"), vec!["status"], "KeyMissing"),
        (found("Merge"), vec!["replace app", "status"], "Ready"),
        (found("Delete"), vec!["delete app", "status"], "Ready"),
    ] {
        let mut cluster = cluster(binding("app").with_spec(spec.clone())).reading(ab());
        cluster.reconcile();
        cluster.read(ab().vanished("A").at_revision(6));
        assert_eq!(cluster.reconcile(), ["status"], "{spec}: without proof it stays");
        assert_ne!(cluster.ready().0, "True", "{spec}");
        cluster.read(ab().deleted("A").at_revision(7));
        let before = cluster.ready().1.to_owned();
        let done = cluster.reconcile();
        assert!(done == writes || (before == reason && done.is_empty()), "{spec}: {done:?}");
        assert_eq!(cluster.ready().1, reason, "{spec}");
        assert_eq!(cluster.reconcile(), Vec::<String>::new(), "{spec}");
        cluster.read(ab().at_revision(8));
        cluster.reconcile();
        assert_eq!(cluster.ready().1, "Ready", "{spec}");
        assert_eq!(data(&cluster).len(), 1, "{spec}");
    }
}

#[test]
fn a_secret_that_would_be_empty_is_not_made_and_somebody_elses_is_not_deleted() {
    let empty = || json!({"dataFrom": [{"find": {"keys": ["NONE"]}}], "target": {"deletionPolicy": "Delete"}});
    let mut none = cluster(binding("app").with_spec(empty())).reading(ab());
    assert_eq!(none.reconcile(), ["status"]);
    assert_eq!((none.condition(Delivered).0, none.condition(Delivered).1), ("True", "SourceEmpty"));
    let foreign = secret("app").with("theirs", "x").build();
    let mut foreign = cluster(binding("app").with_spec(empty())).reading(ab()).with_secret(foreign);
    foreign.reconcile();
    assert_eq!(data(&foreign), ["theirs=x"]);
}

#[test]
fn what_cannot_go_together_is_refused_here_too() {
    for target in [
        json!({"creationPolicy": "Merge", "immutable": true}),
        json!({"creationPolicy": "Merge", "deletionPolicy": "Delete"}),
        json!({"creationPolicy": "Merge", "template": {"type": "example.com/x"}}),
        json!({"creationPolicy": "Later"}),
    ] {
        let mut cluster = with_target(&target);
        assert_eq!(cluster.reconcile(), ["status"], "{target}");
        assert_eq!(cluster.ready().1, "InvalidSpec", "{target}");
    }
}
