//! What a grant gives, and what becomes of what it gave.

use serde_json::json;

use super::holding::assert_holds;
use super::{ab, delivered};
use crate::api::ConditionType::Delivered;
use crate::controller::secret_binding::fixtures::{binding, secret};
use crate::controller::secret_binding::simulated_cluster::cluster;

#[test]
fn a_withdrawn_grant_retains_the_secret_unless_the_source_says_delete() {
    let elsewhere = || json!([{"namespaces": {"names": ["other"]}}]);
    let mut cluster = delivered();
    cluster.grant(&elsewhere(), "Retain");
    assert_holds(&mut cluster, "NotGranted", "shop");
    cluster.grant(&elsewhere(), "Delete");
    assert_eq!(cluster.reconcile(), ["delete app", "status"]);
    assert_eq!(cluster.condition(Delivered).1, "Revoked");
    assert_eq!(cluster.status().target, None);
    assert_eq!(cluster.reconcile(), Vec::<String>::new());
}

#[test]
fn a_source_that_grants_nothing_does_not_take_away_what_another_one_gave() {
    let mut cluster = delivered();
    cluster.edit_binding(binding("app").reading("shop-production"));
    cluster.grant(&json!([{"namespaces": {"names": ["other"]}}]), "Delete");
    assert_holds(&mut cluster, "NotGranted", "shop-production");
}

#[test]
fn a_withdrawn_grant_never_deletes_a_secret_of_somebody_else() {
    let foreign = secret("app").with("theirs", "x").build();
    let mut cluster = cluster(binding("app")).reading(ab()).with_secret(foreign);
    cluster.grant(&json!([{"namespaces": {"names": ["other"]}}]), "Delete");
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.ready().1, cluster.data("app").expect("kept")), ("NotGranted", vec!["theirs=x".to_owned()]));
}

#[test]
fn a_named_key_that_is_not_granted_holds_the_secret_and_leaves_it_where_the_source_says_delete() {
    let only_a = || json!([{"namespaces": {"names": ["shop"]}, "keys": {"names": ["A"]}}]);
    let mut cluster = cluster(binding("app").selecting(&["A", "B"])).reading(ab());
    cluster.reconcile();
    cluster.grant(&only_a(), "Retain");
    assert_holds(&mut cluster, "NotGranted", "B");
    cluster.grant(&only_a(), "Delete");
    assert_eq!(cluster.reconcile()[0], "replace app");
    assert_eq!((cluster.ready().1, cluster.data("app").expect("a Secret")), ("NotGranted", vec!["A=one".to_owned()]));
    assert_eq!(cluster.reconcile(), Vec::<String>::new());
}

#[test]
fn of_every_key_one_that_lost_its_grant_is_retained_or_leaves_as_the_source_says() {
    let only_a = || json!([{"namespaces": {"names": ["shop"]}, "keys": {"names": ["A"]}}]);
    let mut cluster = delivered();
    cluster.grant(&only_a(), "Retain");
    assert_holds(&mut cluster, "NotGranted", "B");
    cluster.grant(&only_a(), "Delete");
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!((cluster.ready().1, cluster.data("app").expect("a Secret")), ("Ready", vec!["A=one".to_owned()]));
}

#[test]
fn nothing_is_made_of_a_part_where_a_named_key_is_not_granted() {
    let only_a = json!([{"namespaces": {"names": ["shop"]}, "keys": {"names": ["A"]}}]);
    for on_revoke in ["Retain", "Delete"] {
        let mut cluster = cluster(binding("app").selecting(&["A", "B"])).reading(ab()).granting(&only_a, on_revoke);
        assert_eq!(cluster.reconcile(), ["status"]);
        assert_eq!((cluster.ready().1, cluster.data("app")), ("NotGranted", None));
    }
}

#[test]
fn a_grant_that_cannot_be_asked_takes_nothing_and_gives_nothing_new() {
    let broken = || json!({"namespaces": {"names": ["shop"]}, "keys": {"regexp": "("}});
    let only_a = || json!({"namespaces": {"names": ["shop"]}, "keys": {"names": ["A"]}});
    for grants in [json!([broken()]), json!([broken(), only_a()])] {
        let mut cluster = delivered();
        cluster.grant(&grants, "Delete");
        cluster.read(ab().with("A", "new").at_revision(6));
        assert_holds(&mut cluster, "SourceNotReady", "spec.grants[0].keys.regexp");
    }
}
