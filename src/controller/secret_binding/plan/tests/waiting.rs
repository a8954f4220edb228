//! When nothing is written, and what is said meanwhile.

use std::time::Duration;

use serde_json::json;

use super::{ab, delivered, nothing};
use crate::api::ConditionType::{Delivered, InSync, ResolvedRefs};
use crate::api::names::SYNC;
use crate::controller::secret_binding::fixtures::binding;
use crate::controller::secret_binding::observed::SyncRequest;
use crate::controller::secret_binding::simulated_cluster::cluster;
use crate::controller::sources::{Fault, Refusal};

#[test]
fn before_anybody_looked_nothing_is_written_not_even_a_status() {
    assert_eq!(cluster(binding("app")).reconcile(), nothing());
}

#[test]
fn a_binding_or_namespace_that_is_being_deleted_is_not_written() {
    let mut cluster = delivered();
    cluster.begin_deletion();
    cluster.read(ab().with("A", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), nothing());

    let mut cluster = delivered();
    cluster.namespace.deletion_timestamp = cluster.status().last_sync_time.clone();
    cluster.delete_secret("app");
    assert_eq!(cluster.reconcile(), nothing());
}

#[test]
fn a_suspended_binding_says_so_once_and_writes_nothing_more() {
    let mut cluster = delivered();
    cluster.edit_binding(binding("app").suspended());
    cluster.read(ab().with("A", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready(), ("True", "Suspended"));
    cluster.delete_secret("app");
    assert_eq!(cluster.reconcile(), nothing());
    cluster.edit_binding(binding("app"));
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    assert_eq!(cluster.ready(), ("True", "Ready"));
}

#[test]
fn a_suspended_source_suspends_its_bindings() {
    let mut cluster = delivered();
    cluster.environment.as_mut().expect("a source").spec.suspend = Some(true);
    cluster.read(ab().with("A", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.condition(InSync), ("True", "Suspended", "spec.suspend is true on ProjectEnvironment shop-dev"));
    assert_eq!(cluster.reconcile(), nothing());
}

#[test]
fn a_short_outage_changes_nothing_and_is_looked_at_again_when_it_gets_long() {
    let mut cluster = delivered();
    cluster.lose_the_database();
    cluster.wait(60);
    assert_eq!((cluster.reconcile(), cluster.requeue), (nothing(), Some(Duration::from_mins(9))));
    cluster.wait(540);
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready(), ("Unknown", "DatabaseUnavailable"));
    assert_eq!(cluster.condition(Delivered).0, "Unknown");
    assert_eq!(cluster.condition(InSync).0, "Unknown");
    assert_eq!(cluster.condition(ResolvedRefs).0, "True");
    assert!(cluster.condition(Delivered).2.contains("connection refused"));
    cluster.wait(3_600);
    assert_eq!(cluster.reconcile(), nothing());
    cluster.read(ab());
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.ready(), cluster.status().revision), (("True", "Ready"), Some(5)));
}

#[test]
fn how_long_an_outage_may_last_is_the_bindings_own_choice() {
    let mut cluster = cluster(binding("app").stale_after("90s")).reading(ab());
    cluster.reconcile();
    cluster.lose_the_database();
    cluster.wait(89);
    assert_eq!((cluster.reconcile(), cluster.requeue), (nothing(), Some(Duration::from_secs(1))));
    cluster.wait(1);
    assert_eq!(cluster.reconcile(), ["status"]);
}

#[test]
fn a_binding_that_never_had_a_word_says_at_once_that_the_database_is_away() {
    let mut cluster = cluster(binding("app"));
    cluster.lose_the_database();
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready(), ("Unknown", "DatabaseUnavailable"));
    cluster.read(ab());
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
}

#[test]
fn a_changed_spec_is_not_claimed_to_be_delivered_while_the_database_is_away() {
    let mut cluster = delivered();
    cluster.lose_the_database();
    cluster.edit_binding(binding("app").selecting(&["A"]));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready(), ("Unknown", "DatabaseUnavailable"));
    assert_eq!(cluster.data("app").map(|data| data.len()), Some(2));
}

#[test]
fn a_secret_that_is_deleted_during_an_outage_is_said_to_be_gone() {
    let mut cluster = delivered();
    cluster.lose_the_database();
    cluster.delete_secret("app");
    assert_eq!(cluster.reconcile(), ["status"]);
    assert!(cluster.condition(Delivered).2.contains("cannot be made anew"), "{}", cluster.condition(Delivered).2);
    cluster.read(ab());
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
}

#[test]
fn a_question_is_answered_in_one_write_and_only_once() {
    let mut cluster = delivered();
    cluster.annotate_binding(SYNC, "n1");
    assert_eq!(cluster.reconcile_answering(Some("n1")), ["status"]);
    assert_eq!(cluster.status().last_handled_sync.as_deref(), Some("n1"));
    assert_eq!(cluster.reconcile_answering(Some("n1")), nothing());
}

#[test]
fn a_question_is_answered_with_what_was_delivered_in_the_same_status() {
    let mut cluster = delivered();
    cluster.read(ab().with("A", "new").stale("B").at_revision(6));
    assert_eq!(cluster.reconcile_answering(Some("n1")), ["replace app", "status"]);
    assert_eq!((cluster.status().last_handled_sync.as_deref(), cluster.condition(InSync).0), (Some("n1"), "False"));
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
    let mut cluster = cluster(binding("app"));
    cluster.environment = None;
    cluster.reconcile_answering(Some("n1"));
    assert_eq!((cluster.ready().1, cluster.status().last_handled_sync.as_deref()), ("SourceNotFound", Some("n1")));
}

#[test]
fn a_request_that_could_not_be_answered_is_tried_again_soon_unless_nobody_polls() {
    let mut cluster = delivered();
    cluster.sync = SyncRequest::Unanswered;
    assert_eq!(cluster.reconcile(), nothing());
    assert_eq!(cluster.requeue, Some(Duration::from_secs(5)));
    // Soon, although by itself it would be looked at much later.
    cluster.lose_the_database();
    assert_eq!((cluster.reconcile(), cluster.requeue), (nothing(), Some(Duration::from_secs(5))));
    cluster.edit_binding(binding("app").suspended());
    cluster.reconcile();
    assert_eq!(cluster.requeue, None);
}

#[test]
fn what_the_source_says_of_the_database_the_binding_says_too() {
    for (fault, reason, progress, words) in [
        (Fault::Away, "DatabaseUnavailable", "Reconciling", "the database is away since"),
        (Fault::Refused, "DatabaseRefused", "Stalled", "the database refuses since"),
        (Fault::Schema, "SchemaNotServed", "Stalled", "schema does not serve this operator since"),
    ] {
        let mut cluster = delivered();
        cluster.lose_the_database_by(fault);
        cluster.wait(600);
        assert_eq!(cluster.reconcile(), ["status"]);
        assert_eq!(cluster.ready(), ("Unknown", reason));
        assert!(cluster.condition(Delivered).2.contains(words), "{}", cluster.condition(Delivered).2);
        assert_eq!(cluster.status().conditions[4].type_, progress);
    }
}

#[test]
fn a_binding_whose_source_needs_a_person_does_not_pretend_to_go_on_by_itself() {
    let mut cluster = delivered();
    cluster.refuse(Refusal::ProjectNotVisible);
    cluster.reconcile();
    assert_eq!((cluster.ready().1, cluster.status().conditions[4].type_.as_str()), ("SourceNotReady", "Stalled"));
}

#[test]
fn an_outage_that_began_before_a_restart_is_as_long_as_it_is() {
    let mut cluster = delivered();
    cluster.wait(1_000);
    // The new operator's first look at the database, after one that saw the outage begin at 1,100.
    cluster.lose_the_database();
    cluster.source_says("DatabaseUnavailable", 1_100);
    cluster.wait(60);
    assert_eq!(cluster.reconcile(), ["status"], "more than ten minutes since 1,100");
    assert_eq!(cluster.ready(), ("Unknown", "DatabaseUnavailable"));
    // Another restart.
    cluster.lose_the_database();
    cluster.source_says("DatabaseUnavailable", 1_101);
    assert_eq!(cluster.reconcile(), nothing());

    let mut fresh = delivered();
    fresh.wait(1_000);
    fresh.lose_the_database();
    fresh.source_says("Available", 1_100);
    assert_eq!((fresh.reconcile(), fresh.requeue), (nothing(), Some(Duration::from_mins(10))));
}

#[test]
fn a_suspended_binding_does_not_claim_of_an_edited_spec_what_was_true_of_the_one_before() {
    let mut cluster = delivered();
    cluster.edit_binding(binding("app").selecting(&["A"]).suspended());
    cluster.reconcile();
    assert_eq!(cluster.ready(), ("True", "Suspended"));
    let status = cluster.status();
    let looked_at = status.conditions.iter().map(|condition| condition.observed_generation);
    assert_eq!(looked_at.chain([status.observed_generation]).collect::<Vec<_>>(), [Some(1); 5]);
    cluster.edit_binding(binding("app").selecting(&["A"]));
    cluster.reconcile();
    assert_eq!((cluster.ready().1, cluster.status().observed_generation), ("Ready", Some(3)));
}

#[test]
fn a_suspended_binding_loses_what_is_withdrawn_where_the_source_says_delete() {
    let elsewhere = json!([{"namespaces": {"names": ["elsewhere"]}}]);
    let suspended = || {
        let mut cluster = delivered();
        cluster.edit_binding(binding("app").suspended());
        cluster.reconcile();
        cluster
    };
    let mut retained = suspended();
    retained.grant(&elsewhere, "Retain");
    assert_eq!((retained.reconcile(), retained.ready().1), (nothing(), "Suspended"));
    let mut namespace = suspended();
    namespace.grant(&elsewhere, "Delete");
    assert_eq!(namespace.reconcile(), ["delete app", "status"]);
    assert_eq!(namespace.condition(Delivered).1, "Revoked");
    assert_eq!(namespace.reconcile(), nothing());
    let mut key = suspended();
    key.grant(&json!([{"namespaces": {"names": ["shop"]}, "keys": {"names": ["A"]}}]), "Delete");
    assert_eq!(key.reconcile(), ["replace app", "status"]);
    assert_eq!(key.data("app").expect("a Secret"), ["A=one"]);
    key.reconcile();
    assert_eq!(key.ready(), ("True", "Suspended"));
    // The platform team's own rest holds everything.
    let mut source = suspended();
    source.grant(&elsewhere, "Delete");
    source.environment.as_mut().expect("a source").spec.suspend = Some(true);
    assert_eq!((source.reconcile(), source.data("app").is_some()), (nothing(), true));
}
