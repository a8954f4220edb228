//! What is written, and how often.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::{ab, delivered, nothing};
use crate::api::ConditionType::{Delivered, InSync};
use crate::api::names::{MANAGED_BY_LABEL, RELEASE_REMOVAL, ROWS};
use crate::controller::secret_binding::fixtures::{binding, snapshot};
use crate::controller::secret_binding::plan::TargetEvent;
use crate::controller::secret_binding::simulated_cluster::{SimulatedCluster, cluster};

/// What a person does.
type Change = fn(&mut SimulatedCluster);

#[test]
fn a_new_binding_costs_two_writes_and_no_read() {
    let mut cluster = cluster(binding("app")).reading(ab());
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    assert_eq!(cluster.reads, 0);
    assert_eq!(cluster.data("app").expect("a Secret"), ["A=one", "B=two"]);
    assert_eq!(cluster.ready(), ("True", "Ready"));
    let status = cluster.status();
    assert_eq!((status.revision, status.registry_revision, status.observed_generation), (Some(5), Some(5), Some(1)));
    assert_eq!(status.target.as_ref().and_then(|target| target.keys), Some(2));
    assert!(status.last_sync_time.is_some());
}

#[test]
fn an_unchanged_binding_costs_nothing_not_even_a_read() {
    let mut cluster = delivered();
    for _ in 0..3 {
        cluster.wait(3_600);
        assert_eq!(cluster.reconcile(), nothing());
    }
    assert_eq!(cluster.reads, 0);
}

#[test]
fn a_changed_value_costs_two_writes_and_no_read() {
    let mut cluster = delivered();
    cluster.read(ab().with("A", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.reads, 0);
    assert_eq!(cluster.data("app").expect("a Secret"), ["A=new", "B=two"]);
    assert_eq!(cluster.status().revision, Some(6));
    assert_eq!(cluster.reconcile(), nothing());
}

#[test]
fn a_revision_that_does_not_touch_the_keys_of_a_binding_writes_nothing() {
    let mut cluster = cluster(binding("app").selecting(&["A"])).reading(ab());
    cluster.reconcile();
    cluster.read(ab().with("B", "new").with("C", "more").at_revision(9));
    assert_eq!(cluster.reconcile(), nothing());
    assert_eq!((cluster.status().revision, cluster.status().registry_revision), (Some(5), Some(5)));
}

#[test]
fn falling_behind_writes_the_status_alone_and_keeps_the_revision_of_the_content() {
    let mut cluster = delivered();
    let synced = cluster.status().last_sync_time.clone();
    cluster.wait(60);
    cluster.read(ab().stale("B").at_revision(6));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.condition(InSync), ("False", "KeysStale", "1 stale: B"));
    assert_eq!(cluster.ready(), ("True", "Ready"));
    assert_eq!((cluster.status().revision, cluster.status().registry_revision), (Some(5), Some(6)));
    assert_eq!(cluster.status().last_sync_time, synced);
}

#[test]
fn a_write_of_the_same_content_is_a_sync_too() {
    let mut cluster = delivered();
    let synced = cluster.status().last_sync_time.clone();
    cluster.wait(60);
    cluster.edit_binding(binding("app").labelled("team", "shop"));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert!(cluster.status().last_sync_time > synced);
}

#[test]
fn under_degrade_falling_behind_is_not_ready() {
    let mut cluster = cluster(binding("app").degrading()).reading(ab().registered("C"));
    cluster.reconcile();
    assert_eq!(cluster.ready(), ("False", "KeysMissing"));
}

#[test]
fn a_deleted_key_leaves_and_an_added_one_comes() {
    let mut cluster = delivered();
    cluster.read(ab().deleted("A").with("C", "three").at_revision(6));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.data("app").expect("a Secret"), ["B=two", "C=three"]);
}

#[test]
fn a_renamed_key_and_another_type_of_value_arrive_as_asked() {
    let mut cluster = cluster(binding("app").selecting_as(&[("url", "A"), ("same", "A")])).reading(ab());
    cluster.reconcile();
    assert_eq!(cluster.data("app").expect("a Secret"), ["same=one", "url=one"]);
}

#[test]
fn whatever_a_person_does_to_the_secret_is_repaired_and_said_once() {
    fn data(cluster: &mut SimulatedCluster, change: impl FnOnce(&mut BTreeMap<String, ByteString>)) {
        cluster.edit_secret("app", |secret| change(secret.data.as_mut().expect("data")));
    }
    fn metadata(cluster: &mut SimulatedCluster, change: impl FnOnce(&mut ObjectMeta)) {
        cluster.edit_secret("app", |secret| change(&mut secret.metadata));
    }
    let changes: [(Change, &str); 6] = [
        (|cluster| drop(cluster.delete_secret("app")), "was gone"),
        (|cluster| data(cluster, |data| drop(data.insert("A".into(), ByteString(b"x".to_vec())))), "changed keys A"),
        (|cluster| data(cluster, |data| drop(data.insert("EXTRA".into(), ByteString(vec![])))), "extra keys EXTRA"),
        (|cluster| data(cluster, |data| drop(data.remove("B"))), "missing keys B"),
        (|cluster| metadata(cluster, |metadata| metadata.labels = None), MANAGED_BY_LABEL),
        (|cluster| metadata(cluster, |metadata| metadata.annotations = None), ROWS),
    ];
    for (change, what) in changes {
        let mut cluster = delivered();
        change(&mut cluster);
        assert_eq!(cluster.reconcile().len(), 2, "{what}");
        assert_eq!(cluster.data("app").expect("a Secret"), ["A=one", "B=two"], "{what}");
        let Some(TargetEvent::Repaired { what: said }) = &cluster.event else { panic!("{what}: {:?}", cluster.event) };
        assert!(said.contains(what), "{said}");
        assert_eq!(cluster.reconcile(), nothing(), "{what}");
        assert_eq!(cluster.event, None);
    }
}

#[test]
fn a_label_of_somebody_else_is_no_repair_and_no_write_to_the_secret() {
    let mut cluster = delivered();
    cluster.edit_secret("app", |secret| {
        secret.metadata.labels.get_or_insert_default().insert("theirs".into(), "1".into());
    });
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.event, None);
    assert_eq!(cluster.reconcile(), nothing());
}

#[test]
fn annotations_of_somebody_else_outlive_a_changed_value() {
    let mut cluster = delivered();
    cluster.edit_secret("app", |secret| {
        secret.metadata.annotations.get_or_insert_default().insert("theirs.dev/x".into(), "1".into());
    });
    cluster.reconcile();
    cluster.read(ab().with("A", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.secret("app").metadata.annotations.as_ref().expect("annotations")["theirs.dev/x"], "1");
}

#[test]
fn a_lost_status_costs_one_read_and_one_write() {
    let mut cluster = delivered();
    cluster.binding.status = None;
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.reads, cluster.status().revision), (1, Some(5)));
}

#[test]
fn a_change_of_policy_alone_does_not_write_the_secret() {
    let mut cluster = delivered();
    cluster.edit_binding(binding("app").degrading());
    assert_eq!(cluster.reconcile(), ["status"]);
    cluster.read(ab().with("A", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
}

#[test]
fn a_value_that_does_not_open_holds_the_secret_and_names_the_key() {
    let mut cluster = delivered();
    cluster.read(ab().with("B", "new").sealed_as("A", |text| text.push('A')).row("A", |row| row.version = 9));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready(), ("False", "OpenFailed"));
    assert!(cluster.condition(Delivered).2.contains("cannot open A:"), "{}", cluster.condition(Delivered).2);
    assert_eq!(cluster.data("app").expect("a Secret"), ["A=one", "B=two"]);
}

#[test]
fn one_bad_row_blocks_only_the_bindings_that_select_it() {
    let bad = || ab().sealed_as("A", |text| *text = "t1:broken".into());
    let mut well = cluster(binding("app").selecting(&["B"])).reading(bad());
    well.reconcile();
    assert_eq!(well.ready(), ("True", "Ready"));
    let mut ill = cluster(binding("app").selecting(&["A"])).reading(bad());
    assert_eq!(ill.reconcile(), ["status"]);
    assert_eq!(ill.ready(), ("False", "OpenFailed"));
}

#[test]
fn a_key_name_that_a_secret_cannot_have_holds_every_key_bindings_alone() {
    let odd = || ab().with("a/b", "three");
    let mut every = cluster(binding("app")).reading(odd());
    every.reconcile();
    assert_eq!(every.ready(), ("False", "KeyNameInvalid"));
    let mut renamed = cluster(binding("app").selecting_as(&[("ab", "a/b")])).reading(odd());
    renamed.reconcile();
    assert_eq!(renamed.data("app").expect("a Secret"), ["ab=three"]);
}

#[test]
fn values_that_are_too_large_are_refused_before_the_api_server_does() {
    let mut cluster = cluster(binding("app")).reading(snapshot().with("A", &"x".repeat(1_048_577)));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready(), ("False", "TargetTooLarge"));
}

#[test]
fn no_value_is_ever_said() {
    let canary = "c4n4ry-value";
    let mut cluster = cluster(binding("app")).reading(ab().with("A", canary));
    cluster.reconcile();
    cluster.edit_secret("app", |secret| drop(secret.data.as_mut().expect("data").remove("A")));
    cluster.reconcile();
    let said = cluster.everything_said();
    cluster.read(ab().with("A", canary).row("A", |row| row.version = 7));
    cluster.annotate_binding(RELEASE_REMOVAL, "5");
    cluster.reconcile();
    let said = format!("{said} {}", cluster.everything_said());
    for form in [canary, "YzRuNHJ5LXZhbHVl", "M0bjRyeS12YWx1Z", "NG40cnktdmFsdW", "63346e347279"] {
        assert!(!said.contains(form), "{said}");
    }
}
