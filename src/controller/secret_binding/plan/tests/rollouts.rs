//! Workloads are restarted once for each change of content, and for nothing else.

mod without;

use serde_json::{Value, json};

use super::{ab, nothing};
use crate::api::ConditionType::RolloutRestarted;
use crate::controller::secret_binding::fixtures::{BindingFixture, SnapshotFixture, binding, secret};
use crate::controller::secret_binding::plan::rollouts::{Due, RESTART_DELAY, due};
use crate::controller::secret_binding::simulated_cluster::{SimulatedCluster, cluster, target};
use crate::controller::secret_binding::workloads::Workload;

const WEB: &str = "Deployment/web";

/// What a change is followed by, once others could join.
const RESTART: [&str; 2] = ["restart Deployment web", "status"];

fn restarting(targets: &[&str]) -> BindingFixture {
    let targets: Vec<Value> = targets.iter().map(|path| serde_json::to_value(target(path)).expect("JSON")).collect();
    binding("app").with_spec(json!({"rolloutRestartTargets": targets}))
}

/// A cluster in which `app`, which restarts these, has been delivered.
fn delivered(targets: &[&str]) -> SimulatedCluster {
    let cluster = cluster(restarting(targets)).reading(ab());
    let mut cluster = targets.iter().fold(cluster, |cluster, path| cluster.with_workload(path));
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    cluster
}

/// A source whose key A has that value, written anew with each revision.
fn having(value: &str, revision: i64) -> SnapshotFixture {
    (0..revision).fold(ab(), |source, _| source.with("A", value)).at_revision(revision)
}

impl SimulatedCluster {
    /// Another content, delivered.
    fn change(&mut self, value: &str, revision: i64) {
        self.read(having(value, revision));
        assert_eq!(self.reconcile(), ["replace app", "status"]);
        assert_eq!(self.rollouts(), ("Unknown", "RestartPending"));
        assert_eq!(self.requeue, Some(RESTART_DELAY));
    }

    fn wait_for_others(&mut self) {
        self.wait(i64::try_from(RESTART_DELAY.as_secs()).expect("some seconds"));
    }

    /// Status and reason.
    fn rollouts(&self) -> (&str, &str) {
        let (status, reason, _) = self.condition(RolloutRestarted);
        (status, reason)
    }

    fn rollouts_say(&self) -> &str {
        self.condition(RolloutRestarted).2
    }

    /// What a workload was restarted for by `app`, and what `app` holds.
    fn restarted_for(&self, path: &str) -> (Option<&String>, Option<&String>) {
        let content = self.status().target.as_ref().and_then(|target| target.content.as_ref());
        (self.workload(path).annotations.get("restart.tidelock.dev/app"), content)
    }
}

#[test]
fn a_change_of_content_restarts_each_target_once_by_the_digest_of_the_content() {
    for path in [WEB, "StatefulSet/db", "DaemonSet/agent", "Rollout/web"] {
        let mut cluster = delivered(&[path]);
        let restart = format!("restart {}", target(path));
        for (revision, value) in [(6, "new"), (7, "newer"), (8, "one")] {
            cluster.change(value, revision);
            cluster.wait_for_others();
            assert_eq!(cluster.reconcile(), [&restart, "status"], "{value}");
            assert_eq!(cluster.rollouts(), ("True", "Restarted"));
            let (annotation, content) = cluster.restarted_for(path);
            assert!(annotation.is_some() && annotation == content);
            assert_eq!(cluster.requeue, None);
            assert_eq!(cluster.reconcile(), nothing(), "once");
        }
        assert_eq!(cluster.workloads.reads, 3, "a workload is read when a restart is due, and at no other time");
    }
}

#[test]
fn nothing_is_restarted_where_the_content_stays_what_it_was() {
    type Change = fn(&mut SimulatedCluster);
    let table: [(&str, Change); 9] = [
        ("nothing at all", |_| {}),
        ("a revision that did not touch it", |cluster| cluster.read(ab().at_revision(9))),
        ("the same value once more", |cluster| cluster.read(having("one", 9))),
        ("another epoch", |cluster| cluster.read(ab().at_epoch(2).at_revision(9))),
        ("a label", |cluster| cluster.edit_binding(restarting(&[WEB]).labelled("team", "shop"))),
        ("a hand that is put right", |cluster| {
            cluster.edit_secret("app", |secret| drop(secret.data.get_or_insert_default().remove("A")));
        }),
        ("a Secret that is made again", |cluster| drop(cluster.delete_secret("app"))),
        ("one more target", |cluster| cluster.edit_binding(restarting(&[WEB, "StatefulSet/db"]))),
        ("a binding that is deleted and made again", |cluster| {
            cluster.binding.status = None;
            cluster.binding.metadata.uid = Some("another".into());
        }),
    ];
    for (what, change) in table {
        for restarted_before in [false, true] {
            let mut cluster = delivered(&[WEB]).with_workload("StatefulSet/db");
            if restarted_before {
                cluster.change("other", 6);
                cluster.wait_for_others();
                cluster.reconcile();
                cluster.change("one", 7);
                cluster.wait_for_others();
                assert_eq!(cluster.reconcile(), RESTART);
            }
            change(&mut cluster);
            for _ in 0..3 {
                let writes = cluster.reconcile();
                assert!(!writes.iter().any(|write| write.starts_with("restart")), "{what}: {writes:?}");
                assert_eq!(cluster.rollouts().0, "True", "{what}: {}", cluster.rollouts_say());
                cluster.wait_for_others();
            }
        }
    }
}

#[test]
fn targets_that_are_named_together_with_a_change_are_restarted_for_it() {
    let mut cluster = cluster(binding("app")).reading(ab()).with_workload(WEB);
    cluster.reconcile();
    assert_eq!(cluster.status().target.as_ref().and_then(|target| target.content.as_ref()), None);
    cluster.edit_binding(restarting(&[WEB]));
    cluster.change("new", 6);
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), RESTART);
    // Without targets nothing of it is remembered, so that naming them anew restarts nothing.
    cluster.edit_binding(binding("app"));
    cluster.reconcile();
    assert_eq!(cluster.status().restarted_for, None);
    assert!(cluster.status().conditions.iter().all(|condition| condition.type_ != "RolloutRestarted"));
    cluster.read(having("newer", 7));
    cluster.reconcile();
    cluster.edit_binding(restarting(&[WEB]));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.rollouts(), ("True", "NoRestartDue"));
}

#[test]
fn a_secret_that_is_handed_over_with_other_content_is_a_change() {
    let theirs = secret("app").with("A", "theirs").with("B", "two").annotated("tidelock.dev/adopt", "app").build();
    let mut cluster = cluster(restarting(&[WEB])).reading(ab()).with_workload(WEB).with_secret(theirs);
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), RESTART);
}

#[test]
fn a_crash_at_any_point_neither_loses_a_restart_nor_repeats_it() {
    // Before the status that says that one is due.
    let mut cluster = delivered(&[WEB]);
    let before = cluster.binding.status.clone();
    cluster.change("new", 6);
    cluster.binding.status = before;
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.rollouts(), ("Unknown", "RestartPending"));
    cluster.wait_for_others();
    // After the restart, and before the status that says so.
    let before = cluster.binding.status.clone();
    assert_eq!(cluster.reconcile(), RESTART);
    cluster.binding.status = before;
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.rollouts(), ("True", "Restarted"));
    // Before the first status of all, and then a change: what was there is what they ran with.
    let mut cluster = delivered(&[WEB]);
    cluster.binding.status = None;
    cluster.change("new", 6);
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), RESTART);
}

#[test]
fn a_clock_that_is_an_hour_off_makes_nobody_wait_longer() {
    for offset in [-3_600, 3_600] {
        let mut cluster = delivered(&[WEB]);
        cluster.change("new", 6);
        cluster.wait(offset);
        assert_eq!(cluster.reconcile(), RESTART, "{offset}");
    }
}

#[test]
fn bindings_that_change_within_the_delay_share_one_restart() {
    let other = || Due { annotation: "restart.tidelock.dev/other".into(), content: "theirs".into() };
    let mut cluster = delivered(&[WEB, "StatefulSet/db"]);
    cluster.workloads.due = vec![(target(WEB), other()), (target("Deployment/elsewhere"), other())];
    cluster.change("new", 6);
    cluster.wait(2);
    assert_eq!(cluster.reconcile(), nothing(), "others may join");
    // The condition's time is in whole seconds.
    assert_eq!(
        cluster.requeue,
        Some(RESTART_DELAY.checked_sub(std::time::Duration::from_millis(2_900)).expect("more"))
    );
    cluster.wait(4);
    assert_eq!(cluster.reconcile(), ["restart Deployment web", "restart StatefulSet db", "status"]);
    let annotations = |path| cluster.workload(path).annotations.keys().cloned().collect::<Vec<_>>();
    assert_eq!(annotations(WEB), ["restart.tidelock.dev/app", "restart.tidelock.dev/other"]);
    assert_eq!(annotations("StatefulSet/db"), ["restart.tidelock.dev/app"]);
    // The other one finds it done; what another one restarted for this binding is done as well.
    cluster.change("newer", 7);
    let content = cluster.restarted_for(WEB).1.cloned().expect("a digest");
    for path in [WEB, "StatefulSet/db"] {
        let annotate = |workload: &mut Workload| {
            workload.annotations.insert("restart.tidelock.dev/app".into(), content.clone());
        };
        cluster.change_workload(path, annotate);
    }
    cluster.wait_for_others();
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.rollouts(), ("True", "Restarted"));
}

#[test]
fn a_binding_is_due_from_the_delivery_of_another_content_to_its_restart_unless_it_is_suspended() {
    let mut cluster = delivered(&[WEB]);
    assert_eq!(due(&cluster.binding), None);
    cluster.change("new", 6);
    let content = cluster.restarted_for(WEB).1.cloned().expect("a digest");
    assert_eq!(due(&cluster.binding), Some(Due { annotation: "restart.tidelock.dev/app".into(), content }));
    cluster.binding.spec.suspend = Some(true);
    assert_eq!(due(&cluster.binding), None);
    cluster.binding.spec.suspend = None;
    cluster.wait_for_others();
    cluster.reconcile();
    assert_eq!(due(&cluster.binding), None);
}

#[test]
fn a_digest_under_a_key_that_is_not_held_any_more_restarts_nothing_by_itself() {
    let lost = |digest: &mut Option<String>| {
        *digest = Some(format!("1:{}:{}", uuid::Uuid::from_u128(9), "0".repeat(64)));
    };
    let mut cluster = delivered(&[WEB]);
    let status = cluster.binding.status.as_mut().expect("a status");
    let target = status.target.as_mut().expect("a target");
    for digest in [&mut status.restarted_for, &mut target.content, &mut target.inputs] {
        lost(digest);
    }
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!((cluster.rollouts(), cluster.reads), (("True", "NoRestartDue"), 1), "what is there was looked at");
    assert_eq!(cluster.reconcile(), nothing());
    cluster.change("new", 6);
}

#[test]
fn neither_status_nor_annotation_shows_a_value() {
    let mut cluster = delivered(&[WEB]);
    cluster.change("h4nter2", 6);
    cluster.wait_for_others();
    cluster.reconcile();
    let said = format!("{} {:?}", cluster.everything_said(), cluster.workload(WEB));
    assert!(!said.contains("h4nter2"));
    let digest = cluster.restarted_for(WEB).0.expect("a digest");
    assert!(digest.len() <= 128, "{digest}");
}
