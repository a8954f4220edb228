//! What keeps a Secret as it is.

use std::time::Duration;

use serde_json::json;

use super::super::super::fixtures::{SnapshotFixture, binding, snapshot, token};
use super::super::super::world::{World, world};
use crate::api::ConditionType::{Delivered, InSync, ResolvedRefs};
use crate::api::names::RELEASE_REMOVAL;
use crate::registry::Refusal;

fn ab() -> SnapshotFixture {
    snapshot().with("A", "one").with("B", "two")
}

fn delivered(snapshot: SnapshotFixture) -> World {
    let mut world = world(binding("app")).reading(snapshot);
    world.reconcile();
    world
}

/// That the Secret still has what it had, and why.
fn assert_holds(world: &mut World, reason: &str, named: &str) {
    let before = world.data("app");
    assert_eq!(world.reconcile(), ["status"], "{reason}");
    assert_eq!(world.data("app"), before, "{reason}");
    assert_eq!(world.ready().1, reason);
    let said = [ResolvedRefs, Delivered].map(|condition| world.condition(condition).2.to_owned()).join(" ");
    assert!(said.contains(named), "{said}");
    assert_eq!(world.reconcile(), Vec::<String>::new(), "{reason}: said once");
}

#[test]
fn a_row_that_vanished_without_a_tombstone_holds_everything() {
    let mut world = delivered(ab());
    world.read(ab().with("A", "new").vanished("B").at_revision(6));
    assert_holds(&mut world, "RemovalUnproven", "B");
    assert_eq!(world.condition(Delivered).1, "NotResolved");
}

#[test]
fn a_vanished_row_that_nobody_knows_any_more_is_named_after_the_secret() {
    let mut world = delivered(ab());
    world.read(ab().vanished("B").forgotten_by_the_registry("B").at_revision(6));
    assert_holds(&mut world, "RemovalUnproven", "B");
}

#[test]
fn rows_that_may_be_hidden_hold_everything_and_say_nothing_about_being_in_sync() {
    let mut world = delivered(ab());
    world.read(ab().hidden("B").at_revision(6));
    assert_holds(&mut world, "RowsMayBeHidden", "B");
    assert_eq!(world.condition(InSync).0, "Unknown");
}

#[test]
fn zero_rows_hold_everything() {
    let mut world = delivered(ab());
    world.read(snapshot().at_revision(6));
    assert_holds(&mut world, "RemovalUnproven", "gone");
}

#[test]
fn most_keys_gone_at_once_are_held_until_a_person_agrees_to_that_revision() {
    let all = || snapshot().with_keys(10);
    let most = || (0..7).fold(all(), |left, n| left.deleted(&format!("K{n}"))).at_revision(6);
    let mut world = delivered(all());
    world.read(most());
    assert_holds(&mut world, "MassRemoval", "7 of 10");
    assert!(world.condition(ResolvedRefs).2.contains("tidelock.dev/release-removal=6"));
    world.annotate_binding(RELEASE_REMOVAL, "5");
    assert_eq!(world.reconcile(), Vec::<String>::new());
    world.annotate_binding(RELEASE_REMOVAL, "6");
    assert_eq!(world.reconcile(), ["replace app", "status"]);
    assert_eq!(world.data("app").map(|data| data.len()), Some(3));
}

#[test]
fn an_unproven_removal_is_released_the_same_way() {
    let mut world = delivered(ab());
    world.read(ab().vanished("B").at_revision(6));
    world.annotate_binding(RELEASE_REMOVAL, "6");
    assert_eq!(world.reconcile(), ["replace app", "status"]);
    assert_eq!(world.data("app").expect("a Secret"), ["A=one"]);
}

#[test]
fn a_release_is_good_for_one_write_however_long_its_annotation_stays() {
    let mut world = delivered(snapshot().with_keys(3));
    let left = |gone: &[&str]| gone.iter().fold(snapshot().with_keys(3), |left, key| left.vanished(key)).at_revision(6);
    world.read(left(&["K0"]));
    world.annotate_binding(RELEASE_REMOVAL, "6");
    assert_eq!(world.reconcile(), ["replace app", "status"]);
    // Another row vanishes, and the revision does not move.
    world.read(left(&["K0", "K1"]));
    assert_holds(&mut world, "RemovalUnproven", "K1");
    assert!(world.condition(ResolvedRefs).2.contains("tidelock.dev/release-removal=6.2"));
    world.annotate_binding(RELEASE_REMOVAL, "6.2");
    assert_eq!(world.reconcile(), ["replace app", "status"]);
    assert_eq!(world.data("app").map(|data| data.len()), Some(1));
}

#[test]
fn nothing_is_delivered_for_the_first_time_while_rows_may_be_hidden() {
    let mut world = world(binding("app")).reading(ab().hidden("B"));
    assert_eq!(world.reconcile(), ["status"]);
    assert_eq!((world.data("app"), world.ready().1), (None, "RowsMayBeHidden"));
}

#[test]
fn a_named_key_that_is_gone_holds_the_secret_and_an_optional_one_leaves() {
    let named = || binding("app").selecting(&["A", "B"]);
    let mut strict = world(named()).reading(ab());
    strict.reconcile();
    strict.read(ab().with("A", "new").deleted("B").at_revision(6));
    assert_holds(&mut strict, "KeyMissing", "B");
    let mut lenient = world(binding("app").selecting(&["A"]).selecting_optional("B")).reading(ab());
    lenient.reconcile();
    lenient.read(ab().deleted("B").at_revision(6));
    lenient.reconcile();
    assert_eq!(lenient.data("app").expect("a Secret"), ["A=one"]);
    assert_eq!(lenient.condition(InSync).1, "KeysMissing");
}

#[test]
fn a_restored_database_holds_everything_until_a_new_epoch() {
    let mut world = delivered(ab().at_revision(9));
    world.read(ab().with("A", "old").at_revision(7));
    assert_holds(&mut world, "HistoryDiverged", "revision 9");
    // Written on to the same number, and then past it.
    world.read(ab().with("A", "other").at_revision(9).with_token(token(999)));
    world.reconcile();
    assert_eq!((world.ready().1, world.data("app").expect("a Secret")[0].as_str()), ("HistoryDiverged", "A=one"));
    world.read(ab().with("A", "other").at_revision(12));
    world.log_has(9, Some(token(999)));
    world.reconcile();
    assert_eq!(world.ready().1, "HistoryDiverged");
    world.log_has(9, None);
    world.reconcile();
    assert_eq!(world.ready().1, "HistoryDiverged");
    let mut remade = delivered(ab().at_revision(9));
    remade.read(ab().with("A", "old").at_revision(7));
    assert_holds(&mut remade, "HistoryDiverged", "revision 9");
    remade.delete_secret("app");
    assert_eq!(remade.reconcile(), ["create app", "status"], "the remedy that the table names");
    world.read(ab().with("A", "other").at_revision(12).at_epoch(2));
    assert_eq!(world.reconcile(), ["replace app", "status"]);
    assert_eq!(world.data("app").expect("a Secret"), ["A=other", "B=two"]);
}

#[test]
fn a_history_that_only_grew_is_no_reason_to_hold() {
    let mut world = delivered(ab().at_revision(9));
    world.read(ab().with("A", "new").at_revision(12));
    // While the database cannot be asked whether it did, nothing is written and nothing said.
    world.log_is_unreadable = true;
    assert_eq!((world.reconcile(), world.requeue), (Vec::new(), Some(Duration::from_secs(5))));
    world.log_is_unreadable = false;
    assert_eq!(world.reconcile(), ["replace app", "status"]);
}

#[test]
fn someone_elses_tables_deliver_without_a_history() {
    let mut world = delivered(ab().in_foreign_tables());
    assert_eq!(world.ready(), ("True", "Ready"));
    assert_eq!((world.status().revision, world.status().registry_revision), (None, None));
    world.read(ab().in_foreign_tables().vanished("B"));
    assert_holds(&mut world, "RemovalUnproven", "B");
}

#[test]
fn whatever_the_registry_refuses_the_secret_keeps_what_it_has() {
    for refusal in [
        Refusal::ProjectNotVisible,
        Refusal::EnvironmentNotFound,
        Refusal::EnvironmentDeleted,
        Refusal::ProductionNotPermitted,
        Refusal::EnvironmentNotPermitted,
    ] {
        let mut world = delivered(ab());
        world.refuse(refusal);
        assert_holds(&mut world, "SourceNotReady", "shop-dev");
    }
}

#[test]
fn a_source_that_is_deleted_while_bound_takes_nothing() {
    let mut world = delivered(ab());
    world.environment = None;
    assert_holds(&mut world, "SourceNotFound", "shop-dev");
}

#[test]
fn a_withdrawn_grant_retains_the_secret_unless_the_source_says_delete() {
    let elsewhere = || json!([{"namespaces": {"names": ["other"]}}]);
    let mut world = delivered(ab());
    world.grant(&elsewhere(), "Retain");
    assert_holds(&mut world, "NotGranted", "shop");
    world.grant(&elsewhere(), "Delete");
    assert_eq!(world.reconcile(), ["delete app", "status"]);
    assert_eq!(world.condition(Delivered).1, "Revoked");
    assert_eq!(world.status().target, None);
    assert_eq!(world.reconcile(), Vec::<String>::new());
}

#[test]
fn a_source_that_grants_nothing_does_not_take_away_what_another_one_gave() {
    let mut world = delivered(ab());
    world.edit_binding(binding("app").reading("shop-production"));
    world.grant(&json!([{"namespaces": {"names": ["other"]}}]), "Delete");
    assert_holds(&mut world, "NotGranted", "shop-production");
}

#[test]
fn a_withdrawn_grant_never_deletes_a_secret_of_somebody_else() {
    let foreign = super::super::super::fixtures::secret("app").with("theirs", "x").build();
    let mut world = world(binding("app")).reading(ab()).with_secret(foreign);
    world.grant(&json!([{"namespaces": {"names": ["other"]}}]), "Delete");
    assert_eq!(world.reconcile(), ["status"]);
    assert_eq!((world.ready().1, world.data("app").expect("kept")), ("NotGranted", vec!["theirs=x".to_owned()]));
}

#[test]
fn a_named_key_that_is_not_granted_holds_the_secret_and_leaves_it_where_the_source_says_delete() {
    let only_a = || json!([{"namespaces": {"names": ["shop"]}, "keys": {"names": ["A"]}}]);
    let mut world = world(binding("app").selecting(&["A", "B"])).reading(ab());
    world.reconcile();
    world.grant(&only_a(), "Retain");
    assert_holds(&mut world, "NotGranted", "B");
    world.grant(&only_a(), "Delete");
    assert_eq!(world.reconcile()[0], "replace app");
    assert_eq!((world.ready().1, world.data("app").expect("a Secret")), ("NotGranted", vec!["A=one".to_owned()]));
    assert_eq!(world.reconcile(), Vec::<String>::new());
}

#[test]
fn of_every_key_one_that_lost_its_grant_is_retained_or_leaves_as_the_source_says() {
    let only_a = || json!([{"namespaces": {"names": ["shop"]}, "keys": {"names": ["A"]}}]);
    let mut world = delivered(ab());
    world.grant(&only_a(), "Retain");
    assert_holds(&mut world, "NotGranted", "B");
    world.grant(&only_a(), "Delete");
    assert_eq!(world.reconcile(), ["replace app", "status"]);
    assert_eq!((world.ready().1, world.data("app").expect("a Secret")), ("Ready", vec!["A=one".to_owned()]));
}
