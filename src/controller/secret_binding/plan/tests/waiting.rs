//! When nothing is written, and what is said meanwhile.

use std::time::Duration;

use super::super::super::fixtures::{SnapshotFixture, binding, snapshot};
use super::super::super::world::{World, world};
use crate::api::ConditionType::{Delivered, InSync, ResolvedRefs};
use crate::api::names::SYNC;

fn ab() -> SnapshotFixture {
    snapshot().with("A", "one").with("B", "two")
}

fn delivered() -> World {
    let mut world = world(binding("app")).reading(ab());
    world.reconcile();
    world
}

fn nothing() -> Vec<String> {
    Vec::new()
}

#[test]
fn before_anybody_looked_nothing_is_written_not_even_a_status() {
    assert_eq!(world(binding("app")).reconcile(), nothing());
}

#[test]
fn a_binding_or_namespace_that_is_being_deleted_is_not_written() {
    let mut world = delivered();
    world.begin_deletion();
    world.read(ab().with("A", "new").at_revision(6));
    assert_eq!(world.reconcile(), nothing());

    let mut world = delivered();
    world.namespace.deletion_timestamp = world.status().last_sync_time.clone();
    world.delete_secret("app");
    assert_eq!(world.reconcile(), nothing());
}

#[test]
fn a_suspended_binding_says_so_once_and_writes_nothing_more() {
    let mut world = delivered();
    world.edit_binding(binding("app").suspended());
    world.read(ab().with("A", "new").at_revision(6));
    assert_eq!(world.reconcile(), ["status"]);
    assert_eq!(world.ready(), ("True", "Suspended"));
    world.delete_secret("app");
    assert_eq!(world.reconcile(), nothing());
    world.edit_binding(binding("app"));
    assert_eq!(world.reconcile(), ["create app", "status"]);
    assert_eq!(world.ready(), ("True", "Ready"));
}

#[test]
fn a_suspended_source_suspends_its_bindings() {
    let mut world = delivered();
    world.environment.as_mut().expect("a source").spec.suspend = Some(true);
    world.read(ab().with("A", "new").at_revision(6));
    assert_eq!(world.reconcile(), ["status"]);
    assert_eq!(world.condition(InSync), ("True", "Suspended", "spec.suspend is true on ProjectEnvironment shop-dev"));
    assert_eq!(world.reconcile(), nothing());
}

#[test]
fn a_short_outage_changes_nothing_and_is_looked_at_again_when_it_gets_long() {
    let mut world = delivered();
    world.lose_the_database();
    world.wait(60);
    assert_eq!((world.reconcile(), world.requeue), (nothing(), Some(Duration::from_mins(9))));
    world.wait(540);
    assert_eq!(world.reconcile(), ["status"]);
    assert_eq!(world.ready(), ("Unknown", "DatabaseUnavailable"));
    assert_eq!(world.condition(Delivered).0, "Unknown");
    assert_eq!(world.condition(InSync).0, "Unknown");
    assert_eq!(world.condition(ResolvedRefs).0, "True");
    assert!(world.condition(Delivered).2.contains("connection refused"));
    world.wait(3_600);
    assert_eq!(world.reconcile(), nothing());
    world.read(ab());
    assert_eq!(world.reconcile(), ["status"]);
    assert_eq!((world.ready(), world.status().revision), (("True", "Ready"), Some(5)));
}

#[test]
fn how_long_an_outage_may_last_is_the_bindings_own_choice() {
    let mut world = world(binding("app").stale_after("90s")).reading(ab());
    world.reconcile();
    world.lose_the_database();
    world.wait(89);
    assert_eq!((world.reconcile(), world.requeue), (nothing(), Some(Duration::from_secs(1))));
    world.wait(1);
    assert_eq!(world.reconcile(), ["status"]);
}

#[test]
fn a_binding_that_never_had_a_word_says_at_once_that_the_database_is_away() {
    let mut world = world(binding("app"));
    world.lose_the_database();
    assert_eq!(world.reconcile(), ["status"]);
    assert_eq!(world.ready(), ("Unknown", "DatabaseUnavailable"));
    world.read(ab());
    assert_eq!(world.reconcile(), ["create app", "status"]);
}

#[test]
fn a_changed_spec_is_not_claimed_to_be_delivered_while_the_database_is_away() {
    let mut world = delivered();
    world.lose_the_database();
    world.edit_binding(binding("app").selecting(&["A"]));
    assert_eq!(world.reconcile(), ["status"]);
    assert_eq!(world.ready(), ("Unknown", "DatabaseUnavailable"));
    assert_eq!(world.data("app").map(|data| data.len()), Some(2));
}

#[test]
fn a_secret_that_is_deleted_during_an_outage_is_said_to_be_gone() {
    let mut world = delivered();
    world.lose_the_database();
    world.delete_secret("app");
    assert_eq!(world.reconcile(), ["status"]);
    assert!(world.condition(Delivered).2.contains("cannot be made anew"), "{}", world.condition(Delivered).2);
    world.read(ab());
    assert_eq!(world.reconcile(), ["create app", "status"]);
}

#[test]
fn a_question_is_answered_in_one_write_and_only_once() {
    let mut world = delivered();
    world.annotate_binding(SYNC, "n1");
    assert_eq!(world.reconcile_answering(Some("n1")), ["status"]);
    assert_eq!(world.status().last_handled_sync.as_deref(), Some("n1"));
    assert_eq!(world.reconcile_answering(Some("n1")), nothing());
}

#[test]
fn a_question_is_answered_with_what_was_delivered_in_the_same_status() {
    let mut world = delivered();
    world.read(ab().with("A", "new").stale("B").at_revision(6));
    assert_eq!(world.reconcile_answering(Some("n1")), ["replace app", "status"]);
    assert_eq!((world.status().last_handled_sync.as_deref(), world.condition(InSync).0), (Some("n1"), "False"));
}

#[test]
fn neither_an_outage_nor_a_suspension_answers_a_question() {
    let mut away = delivered();
    away.lose_the_database();
    away.wait(3_600);
    away.reconcile_answering(Some("n1"));
    assert_eq!(away.status().last_handled_sync, None);
    let mut suspended = delivered();
    suspended.edit_binding(binding("app").suspended());
    suspended.reconcile_answering(Some("n1"));
    assert_eq!(suspended.status().last_handled_sync, None);
}

#[test]
fn what_needs_no_database_is_an_answer() {
    let mut world = world(binding("app"));
    world.environment = None;
    world.reconcile_answering(Some("n1"));
    assert_eq!((world.ready().1, world.status().last_handled_sync.as_deref()), ("SourceNotFound", Some("n1")));
}
