//! Whose Secret it is, and what becomes of the one that was written before.

use std::time::Duration;

use serde_json::json;

use super::{ab, delivered};
use crate::api::ConditionType::{Delivered, InSync, Ready, ResolvedRefs};
use crate::api::names::{ADOPT, RELEASE_REMOVAL};
use crate::controller::secret_binding::fixtures::{binding, secret, snapshot};
use crate::controller::secret_binding::plan::{BLOCKED_REQUEUE_AFTER, TargetEvent, WriteFailure, WriteFailureKind};
use crate::controller::secret_binding::simulated_cluster::{SimulatedCluster, cluster};

#[test]
fn a_foreign_secret_is_not_touched_and_the_binding_goes_on_once_it_is_gone() {
    let foreign = secret("app").with("theirs", "x").build();
    let mut cluster = cluster(binding("app")).reading(ab()).with_secret(foreign.clone());
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.secret("app"), &foreign);
    assert_eq!((cluster.condition(Delivered).1, cluster.requeue), ("TargetForeign", Some(BLOCKED_REQUEUE_AFTER)));
    assert_eq!(cluster.condition(ResolvedRefs).0, "True");
    assert_eq!((cluster.reconcile(), cluster.requeue), (vec![], Some(BLOCKED_REQUEUE_AFTER)));
    cluster.delete_secret("app");
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
}

fn hand_over(cluster: &mut SimulatedCluster) {
    cluster.edit_secret("app", |secret| {
        secret.metadata.annotations.get_or_insert_default().insert(ADOPT.into(), "app".into());
    });
}

#[test]
fn a_secret_that_is_handed_over_becomes_this_bindings_alone_and_the_event_says_what_changed() {
    let mut cluster = cluster(binding("app")).reading(ab()).with_secret(secret("app").with("A", "theirs").build());
    cluster.reconcile();
    hand_over(&mut cluster);
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.data("app").expect("a Secret"), ["A=one", "B=two"]);
    let Some(TargetEvent::Adopted { what }) = &cluster.event else { panic!("{:?}", cluster.event) };
    assert_eq!(what, "Secret app, which was handed over: keys overwritten A; added B");
}

#[test]
fn keys_of_its_own_that_a_secret_is_handed_over_with_are_named_and_held_until_released() {
    let theirs = secret("app").with("A", "x").with("theirs", "c4n4ry").build();
    let mut cluster = cluster(binding("app")).reading(ab()).with_secret(theirs);
    cluster.reconcile();
    hand_over(&mut cluster);
    let before = cluster.data("app");
    assert_eq!(cluster.reconcile(), ["status"]);
    let (_, reason, message) = cluster.condition(ResolvedRefs);
    assert_eq!(reason, "RemovalUnproven");
    assert!(message.contains("would lose: theirs;") && message.contains("release-removal=5"), "{message}");
    assert_eq!((cluster.data("app"), cluster.requeue), (before, Some(BLOCKED_REQUEUE_AFTER)), "no event tells of it");
    let tried = cluster.vain_creations;
    assert_eq!(cluster.reconcile(), Vec::<String>::new(), "said once");
    assert_eq!(cluster.vain_creations, tried, "it is known to be there");
    cluster.annotate_binding(RELEASE_REMOVAL, "5");
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    let Some(TargetEvent::Adopted { what }) = &cluster.event else { panic!("{:?}", cluster.event) };
    assert_eq!(what, "Secret app, which was handed over: keys overwritten A; added B; removed theirs");
    assert!(!cluster.everything_said().contains("c4n4ry"));
}

#[test]
fn the_owner_of_a_key_may_also_take_it_off_before_the_secret_is_handed_over() {
    let mut cluster = cluster(binding("app")).reading(ab()).with_secret(secret("app").with("theirs", "x").build());
    hand_over(&mut cluster);
    cluster.reconcile();
    assert_eq!(cluster.ready().1, "RemovalUnproven");
    cluster.edit_secret("app", |secret| drop(secret.data.as_mut().expect("data").remove("theirs")));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
}

#[test]
fn keys_that_somebody_put_into_a_secret_while_nobody_had_it_are_held_too() {
    let mut cluster = delivered();
    cluster.edit_secret("app", |secret| {
        secret.metadata.owner_references = None;
        secret.data.as_mut().expect("data").insert("theirs".into(), k8s_openapi::ByteString(vec![]));
    });
    cluster.binding.metadata.uid = Some("another-life".into());
    cluster.binding.status = None;
    assert_eq!(cluster.reconcile(), ["status"]);
    assert!(cluster.condition(ResolvedRefs).2.contains("would lose: theirs"), "{:?}", cluster.condition(ResolvedRefs));
    cluster.annotate_binding(RELEASE_REMOVAL, "5");
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
}

#[test]
fn a_secret_that_cannot_be_repaired_and_lost_its_label_is_made_again_when_it_is_deleted() {
    let mut cluster = cluster(binding("app").immutable()).reading(ab());
    cluster.reconcile();
    cluster.edit_secret("app", |secret| secret.metadata.labels = None);
    cluster.read(ab().with("A", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.ready().1, cluster.requeue), ("TargetImmutable", Some(BLOCKED_REQUEUE_AFTER)));
    cluster.delete_secret("app");
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    // The same for whatever else keeps a Secret as it is.
    let mut held = delivered();
    held.edit_secret("app", |secret| secret.metadata.labels = None);
    held.read(ab().vanished("B").at_revision(6));
    held.reconcile();
    assert_eq!((held.ready().1, held.requeue), ("RemovalUnproven", Some(BLOCKED_REQUEUE_AFTER)));
}

#[test]
fn of_two_bindings_for_one_target_the_owner_wins_and_else_the_older() {
    let other = binding("other").build();
    let mut cluster = cluster(binding("app")).reading(ab()).with_secret(secret("app").controlled_by(&other).build());
    cluster.reconcile();
    assert_eq!((cluster.condition(Delivered).1, cluster.requeue), ("TargetTaken", Some(BLOCKED_REQUEUE_AFTER)));
    assert!(cluster.condition(Delivered).2.contains("SecretBinding other"));

    cluster.delete_secret("app");
    cluster.earlier_claimant = Some("other".into());
    cluster.reconcile();
    assert_eq!((cluster.condition(Delivered).1, cluster.requeue), ("TargetTaken", Some(BLOCKED_REQUEUE_AFTER)));
    cluster.earlier_claimant = None;
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    // An older one that comes later does not take it away.
    cluster.earlier_claimant = Some("other".into());
    cluster.read(ab().with("A", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
}

#[test]
fn a_binding_that_is_made_again_takes_its_secret_over_without_a_gap() {
    let mut cluster = delivered();
    cluster.binding.metadata.uid = Some("another-life".into());
    cluster.binding.status = None;
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert!(matches!(cluster.event, Some(TargetEvent::Adopted { .. })));
    let owners = cluster.secret("app").metadata.owner_references.as_ref().expect("owners");
    assert_eq!(owners.iter().map(|owner| owner.uid.as_str()).collect::<Vec<_>>(), ["another-life"]);
}

#[test]
fn a_binding_that_is_made_again_holds_what_the_first_one_would_have_held() {
    let mut cluster = delivered();
    cluster.binding.metadata.uid = Some("another-life".into());
    cluster.binding.status = None;
    cluster.read(ab().vanished("B").at_revision(6));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.ready().1, cluster.data("app").map(|data| data.len())), ("RemovalUnproven", Some(2)));
}

#[test]
fn a_binding_that_was_made_again_meanwhile_takes_nothing_over() {
    let mut cluster = delivered();
    cluster.binding.metadata.uid = Some("another-life".into());
    cluster.is_gone = true;
    cluster.read(ab().with("A", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), Vec::<String>::new());
}

#[test]
fn a_renamed_target_is_written_first_and_then_the_old_one_removed() {
    let mut cluster = delivered();
    cluster.edit_binding(binding("app").into_target("new"));
    assert_eq!(cluster.reconcile(), ["create new", "delete app", "status"]);
    assert_eq!(cluster.data("new").expect("a Secret"), ["A=one", "B=two"]);
    assert_eq!(cluster.reconcile(), Vec::<String>::new());
}

#[test]
fn a_renamed_target_that_cannot_be_written_leaves_the_old_one() {
    let mut cluster = delivered().with_secret(secret("new").with("theirs", "x").build());
    cluster.edit_binding(binding("app").into_target("new"));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready().1, "TargetForeign");
    assert!(cluster.data("app").is_some());
}

#[test]
fn renaming_a_target_loses_no_key_that_an_unchanged_one_would_keep() {
    let mut cluster = delivered();
    cluster.edit_binding(binding("app").into_target("new"));
    cluster.read(ab().vanished("B").at_revision(6));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.ready().1, cluster.data("new")), ("RemovalUnproven", None));
    cluster.annotate_binding(RELEASE_REMOVAL, "6");
    assert_eq!(cluster.reconcile(), ["create new", "delete app", "status"]);
}

#[test]
fn a_renamed_target_whose_old_secret_lost_its_annotations_waits_for_a_person() {
    let mut cluster = delivered();
    cluster.edit_secret("app", |secret| secret.metadata.annotations = None);
    cluster.edit_binding(binding("app").into_target("new"));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.ready().1, cluster.data("new")), ("RemovalUnproven", None));
    cluster.annotate_binding(RELEASE_REMOVAL, "5");
    assert_eq!(cluster.reconcile(), ["create new", "delete app", "status"]);
}

#[test]
fn an_immutable_secret_is_written_once_and_a_later_difference_is_reported() {
    let mut cluster = cluster(binding("app").immutable()).reading(ab());
    cluster.reconcile();
    assert_eq!(cluster.secret("app").immutable, Some(true));
    cluster.read(ab().with("A", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready(), ("False", "TargetImmutable"));
    assert!(cluster.condition(Delivered).2.contains("changed keys A"), "{}", cluster.condition(Delivered).2);
    // A person deletes it; it is made anew.
    cluster.delete_secret("app");
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    assert_eq!(cluster.data("app").expect("a Secret"), ["A=new", "B=two"]);
}

#[test]
fn a_change_of_type_is_reported_and_never_done_by_deleting() {
    let mut cluster = delivered();
    cluster.edit_binding(binding("app").of_type("example.com/config"));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready(), ("False", "TargetImmutable"));
    assert!(cluster.condition(Delivered).2.contains("Opaque"));
    cluster.edit_binding(binding("app"));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready(), ("True", "Ready"));
}

#[test]
fn labels_are_kept_up_also_on_an_immutable_secret() {
    let mut cluster = cluster(binding("app").immutable()).reading(ab());
    cluster.reconcile();
    cluster.edit_binding(binding("app").immutable().labelled("team", "shop"));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    cluster.edit_binding(binding("app"));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.secret("app").immutable, Some(true));
}

#[test]
fn types_that_mint_credentials_and_reserved_names_are_refused_whatever_the_schema_says() {
    for invalid in [
        binding("app").of_type("kubernetes.io/service-account-token"),
        binding("app").of_type("bootstrap.kubernetes.io/token"),
        binding("app").labelled("argocd.argoproj.io/instance", "x"),
        binding("app").labelled("tidelock.dev/rows", "x"),
    ] {
        let mut cluster = cluster(invalid).reading(ab());
        assert_eq!(cluster.reconcile(), ["status"]);
        assert_eq!((cluster.ready().1, cluster.data("app")), ("InvalidSpec", None));
    }
}

#[test]
fn a_secret_that_is_being_deleted_is_waited_for() {
    let mut cluster = delivered();
    cluster.edit_secret("app", |secret| {
        let time = jiff::Timestamp::from_second(1).expect("a time");
        secret.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(time));
    });
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.ready().1, cluster.requeue), ("WriteFailed", Some(BLOCKED_REQUEUE_AFTER)));
    cluster.delete_secret("app");
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
}

#[test]
fn a_source_of_a_kind_that_nobody_knows_is_told_and_the_secret_keeps_what_it_has() {
    let mut cluster = delivered();
    let before = cluster.data("app");
    cluster.edit_binding(binding("app").of_a_kind_that_nobody_knows());
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.ready().1, cluster.data("app")), ("InvalidSpec", before));
}

#[test]
fn a_write_that_is_refused_is_said_by_its_kind_and_keeps_what_was_delivered() {
    use WriteFailureKind::{Immutable, Refused, TooLarge};
    for (kind, reason) in [(Immutable, "TargetImmutable"), (TooLarge, "TargetTooLarge"), (Refused, "WriteRefused")] {
        let mut cluster = cluster(binding("app")).reading(snapshot().with("A", "one"));
        cluster.reconcile();
        let before = cluster.status().target.clone();
        cluster.read(snapshot().with("A", "one").with("A", "two").stale("A").at_revision(6));
        cluster.refusal = Some(WriteFailure { kind, message: "no more than ten".to_owned() });
        assert_eq!(cluster.reconcile_answering(Some("n1")), ["status"]);
        assert_eq!(cluster.ready(), ("False", reason));
        assert_eq!(cluster.status().last_handled_sync.as_deref(), Some("n1"), "a refusal is an answer, too");
        assert_eq!(cluster.condition(Delivered).2, "no more than ten");
        assert_eq!(cluster.condition(InSync).1, "KeysStale", "the comparison goes on");
        assert_eq!((&cluster.status().target, cluster.status().revision), (&before, Some(5)));
        assert_eq!(cluster.status().registry_revision, Some(6), "it is what the comparison rests on");
        assert_eq!(cluster.requeue, Some(Duration::from_mins(1)));
        // The next one is taken.
        assert_eq!(cluster.reconcile(), ["replace app", "status"]);
        assert_eq!(cluster.ready(), ("True", "Ready"));
    }
}

#[test]
fn a_withdrawal_that_is_refused_is_said_to_be_one() {
    let mut cluster = cluster(binding("app")).reading(snapshot().with("A", "one"));
    cluster.reconcile();
    cluster.grant(&json!([{"namespaces": {"names": ["elsewhere"]}}]), "Delete");
    cluster.refusal = Some(WriteFailure { kind: WriteFailureKind::Refused, message: "a policy".to_owned() });
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready(), ("False", "NotGranted"));
    assert_eq!(cluster.condition(Ready).2, "not granted any more: a policy");
    assert_eq!(cluster.reconcile(), ["delete app", "status"]);
}
