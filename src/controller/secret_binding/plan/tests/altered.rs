//! Writes that do not last: admission alters them on their way, or somebody undoes them afterwards; and bindings that are gone
//! while the cache still has them.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::{ab, nothing};
use crate::api::ConditionType::{Delivered, InSync};
use crate::api::names::MANAGED_BY_LABEL;
use crate::controller::secret_binding::fixtures::{binding, secret};
use crate::controller::secret_binding::plan::TargetEvent;
use crate::controller::secret_binding::simulated_cluster::{SimulatedCluster, cluster};

fn alter(secret: &mut Secret) {
    secret.data.as_mut().expect("data").insert("A".into(), ByteString(b"c4n4ry".to_vec()));
}

fn altered() -> SimulatedCluster {
    let mut cluster = cluster(binding("app")).reading(ab());
    cluster.admission = Some(alter);
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    cluster
}

#[test]
fn what_admission_altered_is_not_delivered_and_what_differs_is_named_without_a_value() {
    let cluster = altered();
    assert_eq!(cluster.ready(), ("False", "TargetAltered"));
    let (status, reason, message) = cluster.condition(Delivered);
    assert_eq!((status, reason), ("False", "TargetAltered"));
    assert!(message.contains("changed keys A;") && message.contains("MutatingAdmissionPolicies"), "{message}");
    assert_eq!(cluster.condition(InSync).0, "True", "the comparison with the registry goes on");
    assert!(!cluster.everything_said().contains("c4n4ry"));
}

#[test]
fn what_admission_alters_is_sent_again_with_growing_pauses_and_not_in_a_loop() {
    let mut cluster = altered();
    for pause in [1, 2, 4, 8, 16, 32, 45, 45] {
        assert_eq!(cluster.requeue, Some(Duration::from_secs(pause)));
        // Its own write is an event, too.
        assert_eq!((cluster.reconcile(), cluster.requeue), (nothing(), Some(Duration::from_secs(pause))));
        cluster.wait(i64::try_from(pause).expect("small"));
        assert_eq!(cluster.reconcile(), ["replace app"], "the status says the same, and is not written");
    }
}

#[test]
fn once_nothing_is_altered_any_more_the_next_attempt_delivers() {
    let mut cluster = altered();
    cluster.admission = None;
    assert_eq!(cluster.reconcile(), nothing());
    cluster.wait(1);
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!((cluster.ready().0, cluster.data("app").expect("a Secret")[0].as_str()), ("True", "A=one"));
    assert_eq!(cluster.reconcile(), nothing());
}

#[test]
fn neither_a_restart_nor_an_answered_request_makes_an_altered_secret_a_delivered_one() {
    let mut cluster = altered();
    cluster.repeats = None;
    assert_eq!(cluster.reconcile(), ["replace app"], "what was remembered is lost in a restart");
    assert_eq!(cluster.ready(), ("False", "TargetAltered"));
    assert_eq!(cluster.reconcile_answering(Some("n1")), ["replace app", "status"], "a person does not wait");
    assert_eq!(
        (cluster.ready(), cluster.status().last_handled_sync.as_deref()),
        (("False", "TargetAltered"), Some("n1"))
    );
}

#[test]
fn a_new_content_is_tried_at_once_and_the_first_alteration_of_it_is_the_first() {
    let mut cluster = altered();
    cluster.wait(1);
    cluster.reconcile();
    cluster.read(ab().with("B", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), ["replace app"]);
    assert_eq!((cluster.ready().1, cluster.requeue), ("TargetAltered", Some(Duration::from_secs(1))));
}

#[test]
fn a_secret_under_an_earlier_name_stays_while_the_new_one_is_altered() {
    let mut cluster = cluster(binding("app")).reading(ab());
    cluster.reconcile();
    cluster.edit_binding(binding("app").into_target("new"));
    cluster.admission = Some(alter);
    assert_eq!(cluster.reconcile(), ["create new", "status"]);
    assert_eq!(cluster.data("app").expect("the last that was delivered")[0], "A=one");
    cluster.admission = None;
    cluster.wait(1);
    assert_eq!(cluster.reconcile(), ["replace new", "delete app", "status"]);
}

#[test]
fn marks_that_admission_takes_off_are_missed_and_what_others_add_is_theirs() {
    let mut stripped = cluster(binding("app")).reading(ab());
    stripped.admission = Some(|secret| secret.metadata.labels = None);
    stripped.reconcile();
    assert_eq!(stripped.condition(Delivered).1, "TargetAltered");
    assert!(stripped.condition(Delivered).2.contains("app.kubernetes.io/managed-by"));
    let mut labelled = cluster(binding("app")).reading(ab());
    labelled.admission = Some(|secret| {
        secret.metadata.labels.get_or_insert_default().insert("team".into(), "shop".into());
    });
    labelled.reconcile();
    assert_eq!(labelled.ready().0, "True");
}

#[test]
fn repairs_that_somebody_undoes_each_time_get_growing_pauses_and_say_so() {
    let mut cluster = cluster(binding("app")).reading(ab());
    cluster.reconcile();
    for _ in 0..6 {
        cluster.delete_secret("app");
        assert_eq!(cluster.reconcile(), ["create app", "status"]);
    }
    cluster.delete_secret("app");
    assert_eq!((cluster.reconcile(), cluster.requeue), (vec!["status".to_owned()], Some(Duration::from_secs(1))));
    assert_eq!(cluster.ready(), ("False", "TargetContested"));
    cluster.wait(1);
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    assert!(matches!(cluster.event, Some(TargetEvent::Repaired { .. })));
    cluster.edit_secret("app", alter);
    assert_eq!((cluster.reconcile(), cluster.requeue), (vec!["status".to_owned()], Some(Duration::from_secs(2))));
    assert!(cluster.condition(Delivered).2.contains("changed keys A"), "{}", cluster.condition(Delivered).2);
    cluster.wait(600);
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.ready().0, "True");
}

#[test]
fn nothing_is_made_for_a_binding_that_is_gone_while_the_cache_still_has_it() {
    // However young it is: its Secret was made before.
    let mut cluster = cluster(binding("app").created_at(999)).reading(ab());
    cluster.reconcile();
    cluster.delete_secret("app");
    cluster.is_gone = true;
    assert_eq!(cluster.reconcile(), nothing());
    assert_eq!((cluster.data("app"), cluster.questions_of_life > 0), (None, true));
}

#[test]
fn whether_it_exists_is_not_asked_for_a_binding_that_was_created_a_moment_ago() {
    let questions = |created| {
        let mut cluster = cluster(binding("app").created_at(created)).reading(ab());
        assert_eq!(cluster.reconcile(), ["create app", "status"]);
        cluster.questions_of_life
    };
    // The simulated clock begins at 1,000.
    assert_eq!([questions(999), questions(900), questions(1_100)], [0, 1, 1]);
}

#[test]
fn a_withdrawal_by_a_binding_that_is_gone_leaves_its_successors_secret() {
    let successor = binding("app").with_uid("successor").build();
    let mut cluster = cluster(binding("app"))
        .reading(ab())
        .with_secret(secret("app").with("A", "x").controlled_by(&successor).build());
    cluster.edit_secret("app", |secret| {
        secret.metadata.labels.get_or_insert_default().insert(MANAGED_BY_LABEL.into(), "tidelock".into());
    });
    cluster.grant(&serde_json::json!([{"namespaces": {"names": ["elsewhere"]}}]), "Delete");
    cluster.is_gone = true;
    assert_eq!(cluster.reconcile(), nothing());
    assert!(cluster.data("app").is_some());
}
