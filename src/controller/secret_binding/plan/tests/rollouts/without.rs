//! Where nothing is restarted, for now or at all: what is not delivered, what is left alone, and what fails.

use super::{RESTART, WEB, ab, cluster, delivered, having, nothing, restarting, target};
use crate::api::names::RELEASE_REMOVAL;
use crate::controller::secret_binding::plan::rollouts::Standing;
use crate::controller::secret_binding::plan::{WriteFailure, WriteFailureKind};
use crate::controller::secret_binding::workloads::Found;

#[test]
fn what_is_not_delivered_restarts_nothing_and_what_is_put_right_does() {
    let mut cluster = delivered(&[WEB]);
    cluster.read(having("new", 6));
    cluster.refusal = Some(WriteFailure { kind: WriteFailureKind::Refused, message: "a quota".into() });
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.rollouts(), ("False", "NotDelivered"));
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.rollouts(), ("Unknown", "RestartPending"), "others may join");
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), RESTART);
    // Held, and let go.
    cluster.read(having("new", 7).vanished("A"));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.rollouts(), ("False", "NotDelivered"));
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), nothing());
    cluster.annotate_binding(RELEASE_REMOVAL, "7");
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), RESTART);
}

#[test]
fn who_is_suspended_restarts_nothing_until_it_goes_on() {
    let mut cluster = delivered(&[WEB]);
    cluster.change("new", 6);
    cluster.edit_binding(restarting(&[WEB]).suspended());
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.rollouts(), ("Unknown", "Suspended"));
    cluster.edit_binding(restarting(&[WEB]));
    assert_eq!(cluster.reconcile(), ["status"]);
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), RESTART);
}

#[test]
fn what_is_paused_is_left_alone_until_it_is_resumed_and_then_restarted_once() {
    for path in [WEB, "Rollout/web"] {
        let mut cluster = delivered(&["StatefulSet/db", path]);
        cluster.change_workload(path, |workload| workload.is_paused = true);
        cluster.change("new", 6);
        cluster.wait_for_others();
        assert_eq!(cluster.reconcile(), ["restart StatefulSet db", "status"]);
        assert_eq!(cluster.rollouts(), ("False", "RolloutPaused"));
        let said = format!("paused and left alone: {}; restarted: StatefulSet db", target(path));
        assert_eq!(cluster.rollouts_say(), said);
        assert!(cluster.requeue.is_some(), "no event tells of its end");
        assert_eq!(cluster.reconcile(), nothing());
        cluster.change_workload(path, |workload| workload.is_paused = false);
        assert_eq!(cluster.reconcile(), [format!("restart {}", target(path)), "status".to_owned()]);
        assert_eq!(cluster.rollouts(), ("True", "Restarted"));
        assert_eq!(cluster.reconcile(), nothing());
    }
}

#[test]
fn what_is_missing_or_replaced_on_deletion_only_is_told_and_done_with() {
    let mut cluster = delivered(&["StatefulSet/db"]);
    cluster.edit_binding(restarting(&["StatefulSet/db", "DaemonSet/none"]));
    cluster.reconcile();
    cluster.change_workload("StatefulSet/db", |workload| workload.is_on_delete = true);
    cluster.change("new", 6);
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.rollouts(), ("False", "RestartTargetNotFound"));
    let said = "not there: DaemonSet none; left alone, as their pods are replaced on deletion only: StatefulSet db";
    assert_eq!((cluster.rollouts_say(), cluster.requeue), (said, None));
    // It starts with what the Secret holds.
    let mut cluster = cluster.with_workload("DaemonSet/none");
    assert_eq!(cluster.reconcile(), nothing());
    cluster.change("newer", 7);
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), ["restart DaemonSet none", "status"]);
    assert_eq!(cluster.rollouts(), ("False", "RolloutOnDelete"));
}

#[test]
fn where_restarts_are_off_it_is_said_and_nothing_is_made_up_for_later() {
    let mut cluster = cluster(restarting(&[WEB])).reading(ab()).with_workload(WEB);
    cluster.workloads.are_off_limits = true;
    cluster.reconcile();
    assert_eq!(cluster.rollouts(), ("False", "RestartsNotEnabled"));
    assert_eq!(cluster.ready().0, "True");
    cluster.read(having("new", 6));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    cluster.wait_for_others();
    assert_eq!((cluster.reconcile(), cluster.workloads.reads), (nothing(), 0));
    cluster.workloads.are_off_limits = false;
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.rollouts(), ("True", "NoRestartDue"));
    cluster.change("newer", 7);
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), RESTART);
}

#[test]
fn a_restart_that_does_not_succeed_is_told_and_tried_again() {
    let refused = || Standing::Refused("the API server refused it (403)".into());
    for (refusal, unreadable, reason) in [
        (Some(refused()), None, "RestartRefused"),
        (Some(Standing::Failed("away".into())), None, "RestartFailed"),
        (None, Some(Found::Refused("the API server refused it (403)".into())), "RestartRefused"),
        (None, Some(Found::Failed("away".into())), "RestartFailed"),
    ] {
        let mut cluster = delivered(&[WEB]);
        cluster.change("new", 6);
        cluster.wait_for_others();
        (cluster.workloads.refusal, cluster.workloads.unreadable) = (refusal, unreadable);
        assert_eq!(cluster.reconcile(), ["status"]);
        assert_eq!(cluster.rollouts(), ("False", reason));
        assert!(cluster.rollouts_say().starts_with("not restarted: Deployment web ("), "{}", cluster.rollouts_say());
        assert!(cluster.requeue.is_some(), "{reason}");
        cluster.workloads.unreadable = None;
        assert_eq!(cluster.reconcile(), RESTART, "{reason}: and waits for nobody");
    }
    // Somebody else was quicker: it is read again at once.
    let mut cluster = delivered(&[WEB]);
    cluster.change("new", 6);
    cluster.wait_for_others();
    cluster.workloads.refusal = Some(Standing::Conflict);
    assert_eq!(cluster.reconcile(), RESTART);
    assert_eq!(cluster.workloads.reads, 2);
}
