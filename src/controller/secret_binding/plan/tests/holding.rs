//! What keeps a Secret as it is.

use std::time::Duration;

use super::{ab, delivered, delivered_from};
use crate::api::ConditionType::{Delivered, InSync, ResolvedRefs};
use crate::api::names::RELEASE_REMOVAL;
use crate::controller::secret_binding::fixtures::{binding, snapshot, token};
use crate::controller::secret_binding::simulated_cluster::{SimulatedCluster, cluster};
use crate::registry::{LoggedToken, Refusal};

/// That the Secret still has what it had, and why.
pub(super) fn assert_holds(cluster: &mut SimulatedCluster, reason: &str, named: &str) {
    let before = cluster.data("app");
    assert_eq!(cluster.reconcile(), ["status"], "{reason}");
    assert_eq!(cluster.data("app"), before, "{reason}");
    assert_eq!(cluster.ready().1, reason);
    let said = [ResolvedRefs, Delivered].map(|condition| cluster.condition(condition).2.to_owned()).join(" ");
    assert!(said.contains(named), "{said}");
    assert_eq!(cluster.reconcile(), Vec::<String>::new(), "{reason}: said once");
}

#[test]
fn a_row_that_vanished_without_a_tombstone_holds_everything() {
    let mut cluster = delivered();
    cluster.read(ab().with("A", "new").vanished("B").at_revision(6));
    assert_holds(&mut cluster, "RemovalUnproven", "B");
    assert_eq!(cluster.condition(Delivered).1, "NotResolved");
}

#[test]
fn a_vanished_row_that_nobody_knows_any_more_is_named_after_the_secret() {
    let mut cluster = delivered();
    cluster.read(ab().vanished("B").forgotten_by_the_registry("B").at_revision(6));
    assert_holds(&mut cluster, "RemovalUnproven", "B");
}

#[test]
fn rows_that_may_be_hidden_hold_everything_and_say_nothing_about_being_in_sync() {
    let mut cluster = delivered();
    cluster.read(ab().hidden("B").at_revision(6));
    assert_holds(&mut cluster, "RowsMayBeHidden", "B");
    assert_eq!(cluster.condition(InSync).0, "Unknown");
}

#[test]
fn zero_rows_hold_everything() {
    let mut cluster = delivered();
    cluster.read(snapshot().at_revision(6));
    assert_holds(&mut cluster, "RemovalUnproven", "gone");
}

#[test]
fn most_keys_gone_at_once_are_held_until_a_person_agrees_to_that_revision() {
    let all = || snapshot().with_keys(10);
    let most = || (0..7).fold(all(), |left, n| left.deleted(&format!("K{n}"))).at_revision(6);
    let mut cluster = delivered_from(all());
    cluster.read(most());
    assert_holds(&mut cluster, "MassRemoval", "7 of 10");
    assert!(cluster.condition(ResolvedRefs).2.contains("tidelock.dev/release-removal=6"));
    cluster.annotate_binding(RELEASE_REMOVAL, "5");
    assert_eq!(cluster.reconcile(), Vec::<String>::new());
    cluster.annotate_binding(RELEASE_REMOVAL, "6");
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.data("app").map(|data| data.len()), Some(3));
}

#[test]
fn an_unproven_removal_is_released_the_same_way() {
    let mut cluster = delivered();
    cluster.read(ab().vanished("B").at_revision(6));
    cluster.annotate_binding(RELEASE_REMOVAL, "6");
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.data("app").expect("a Secret"), ["A=one"]);
}

#[test]
fn a_release_is_good_for_one_write_however_long_its_annotation_stays() {
    let mut cluster = delivered_from(snapshot().with_keys(3));
    let left = |gone: &[&str]| gone.iter().fold(snapshot().with_keys(3), |left, key| left.vanished(key)).at_revision(6);
    cluster.read(left(&["K0"]));
    cluster.annotate_binding(RELEASE_REMOVAL, "6");
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    // Another row vanishes, and the revision does not move.
    cluster.read(left(&["K0", "K1"]));
    assert_holds(&mut cluster, "RemovalUnproven", "K1");
    assert!(cluster.condition(ResolvedRefs).2.contains("tidelock.dev/release-removal=6.2"));
    cluster.annotate_binding(RELEASE_REMOVAL, "6.2");
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.data("app").map(|data| data.len()), Some(1));
}

#[test]
fn nothing_is_delivered_for_the_first_time_while_rows_may_be_hidden() {
    let mut cluster = cluster(binding("app")).reading(ab().hidden("B"));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.data("app"), cluster.ready().1), (None, "RowsMayBeHidden"));
}

#[test]
fn a_named_key_that_is_gone_holds_the_secret_and_an_optional_one_leaves() {
    let named = || binding("app").selecting(&["A", "B"]);
    let mut strict = cluster(named()).reading(ab());
    strict.reconcile();
    strict.read(ab().with("A", "new").deleted("B").at_revision(6));
    assert_holds(&mut strict, "KeyMissing", "B");
    let mut lenient = cluster(binding("app").selecting(&["A"]).selecting_optional("B")).reading(ab());
    lenient.reconcile();
    lenient.read(ab().deleted("B").at_revision(6));
    lenient.reconcile();
    assert_eq!(lenient.data("app").expect("a Secret"), ["A=one"]);
    assert_eq!(lenient.condition(InSync).1, "KeysMissing");
}

#[test]
fn a_standby_that_is_behind_holds_and_says_so_until_it_has_come_as_far() {
    let mut cluster = delivered_from(ab().at_revision(9));
    cluster.read(ab().with("A", "old").at_revision(7).on_a_standby());
    for logged in [LoggedToken::NotYet, LoggedToken::Token(token(9))] {
        cluster.log_has(9, logged);
        cluster.reconcile();
        assert_eq!(cluster.ready(), ("Unknown", "StandbyBehind"), "{logged:?}");
        assert!(cluster.condition(Delivered).2.contains("revision 9"), "{:?}", cluster.condition(Delivered));
        assert!(cluster.requeue.is_some());
        assert_eq!(cluster.data("app").expect("a Secret"), ["A=one", "B=two"]);
    }
    cluster.read(ab().at_revision(9).on_a_standby());
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready().0, "True");
    // The primary says that there is no such revision.
    cluster.read(ab().with("A", "old").at_revision(7).on_a_standby());
    cluster.log_has(9, LoggedToken::Absent);
    assert_holds(&mut cluster, "HistoryDiverged", "revision 9");
}

#[test]
fn a_restored_database_holds_everything_until_a_new_epoch() {
    let mut cluster = delivered_from(ab().at_revision(9));
    cluster.read(ab().with("A", "old").at_revision(7));
    assert_holds(&mut cluster, "HistoryDiverged", "revision 9");
    // Written on to the same number, and then past it.
    cluster.read(ab().with("A", "other").at_revision(9).with_token(token(999)));
    cluster.reconcile();
    assert_eq!((cluster.ready().1, cluster.data("app").expect("a Secret")[0].as_str()), ("HistoryDiverged", "A=one"));
    cluster.read(ab().with("A", "other").at_revision(12));
    cluster.log_has(9, LoggedToken::Token(token(999)));
    cluster.reconcile();
    assert_eq!(cluster.ready().1, "HistoryDiverged");
    cluster.log_has(9, LoggedToken::Absent);
    cluster.reconcile();
    assert_eq!(cluster.ready().1, "HistoryDiverged");
    let mut remade = delivered_from(ab().at_revision(9));
    remade.read(ab().with("A", "old").at_revision(7));
    assert_holds(&mut remade, "HistoryDiverged", "revision 9");
    remade.delete_secret("app");
    assert_eq!(remade.reconcile(), ["create app", "status"], "the remedy that the table names");
    cluster.read(ab().with("A", "other").at_revision(12).at_epoch(2));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.data("app").expect("a Secret"), ["A=other", "B=two"]);
}

#[test]
fn a_history_that_only_grew_is_no_reason_to_hold() {
    let mut cluster = delivered_from(ab().at_revision(9));
    cluster.read(ab().with("A", "new").at_revision(12));
    // While the database cannot be asked whether it did, nothing is written and nothing said.
    cluster.log_is_unreadable = true;
    assert_eq!((cluster.reconcile(), cluster.requeue), (Vec::new(), Some(Duration::from_secs(5))));
    cluster.log_is_unreadable = false;
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
}

#[test]
fn someone_elses_tables_deliver_without_a_history() {
    let mut cluster = delivered_from(ab().in_foreign_tables());
    assert_eq!(cluster.ready(), ("True", "Ready"));
    assert_eq!((cluster.status().revision, cluster.status().registry_revision), (None, None));
    cluster.read(ab().in_foreign_tables().vanished("B"));
    assert_holds(&mut cluster, "RemovalUnproven", "B");
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
        let mut cluster = delivered();
        cluster.refuse(refusal);
        assert_holds(&mut cluster, "SourceNotReady", "shop-dev");
    }
}

#[test]
fn a_source_that_is_deleted_while_bound_takes_nothing() {
    let mut cluster = delivered();
    cluster.environment = None;
    assert_holds(&mut cluster, "SourceNotFound", "shop-dev");
}

#[test]
fn what_the_secret_itself_says_is_read_before_anything_is_judged_by_it() {
    let mut cluster = cluster(binding("app").selecting(&["A", "B"])).reading(ab());
    cluster.reconcile();
    // Somebody touched it, so that the cache's word is not enough, and the restored database lacks a key as well.
    cluster.edit_secret("app", |secret| {
        secret.metadata.annotations.get_or_insert_default().insert("theirs".into(), "x".into());
    });
    cluster.read(snapshot().with("A", "one").at_revision(3));
    assert_holds(&mut cluster, "HistoryDiverged", "revision 5");
}
