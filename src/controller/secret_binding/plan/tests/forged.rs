//! What somebody forges who may write statuses, Secrets or bindings in one namespace: it is put right, or costs nobody else
//! anything.

use serde_json::json;

use super::{ab, delivered};
use crate::api::ConditionType::{Delivered, ResolvedRefs};
use crate::api::names::{MANAGED_BY, MANAGED_BY_LABEL, RELEASE_REMOVAL, ROWS, SOURCE};
use crate::api::{SecretBinding, SecretBindingStatus};
use crate::controller::secret_binding::fixtures::{binding, secret, token};
use crate::controller::secret_binding::simulated_cluster::{SimulatedCluster, cluster};
use crate::controller::sources::LoggedToken;

#[test]
fn a_status_that_somebody_altered_is_written_once_and_the_secret_keeps_what_it_has() {
    type Alteration = fn(&mut SecretBindingStatus);
    let alterations: [(&str, Alteration); 9] = [
        ("a reason", |status| status.conditions[0].reason = "Forged".into()),
        ("a message", |status| status.conditions[1].message = "forged".into()),
        ("an answer", |status| status.conditions[2].status = "False".into()),
        ("a condition less", |status| drop(status.conditions.pop())),
        ("the generation", |status| status.observed_generation = Some(77)),
        ("the revision", |status| status.revision = Some(77)),
        ("the registry's revision", |status| status.registry_revision = Some(77)),
        ("the fingerprint", |status| status.target.as_mut().expect("a target").inputs = Some("1:forged".into())),
        ("the target", |status| status.target = None),
    ];
    for (what, alter) in alterations {
        let mut cluster = delivered();
        let before = cluster.status().clone();
        alter(cluster.binding.status.as_mut().expect("a status"));
        let expected: &[&str] = if what == "the fingerprint" { &["replace app", "status"] } else { &["status"] };
        assert_eq!(cluster.reconcile(), expected, "{what}");
        let after = cluster.status();
        let of_target = |status: &SecretBindingStatus| {
            let target = status.target.clone().expect("a target");
            (target.name, target.uid, target.inputs, target.keys)
        };
        assert_eq!(of_target(after), of_target(&before), "{what}");
        assert_eq!((after.revision, after.registry_revision), (before.revision, before.registry_revision), "{what}");
        let said = |status: &SecretBindingStatus| -> Vec<_> {
            let conditions = status.conditions.iter();
            conditions
                .map(|said| (said.type_.clone(), said.status.clone(), said.reason.clone(), said.message.clone()))
                .collect()
        };
        assert_eq!(said(after), said(&before), "{what}");
        assert_eq!(cluster.reconcile(), Vec::<String>::new(), "{what}: it is written again");
    }
}

/// Replaces a part of an annotation of the Secret.
fn forge(cluster: &mut SimulatedCluster, annotation: &str, forge: impl FnOnce(&str) -> String) {
    cluster.edit_secret("app", |secret| {
        let annotations = secret.metadata.annotations.as_mut().expect("annotations");
        let forged = forge(&annotations[annotation]);
        annotations.insert(annotation.to_owned(), forged);
    });
}

#[test]
fn a_secret_that_claims_a_point_of_the_history_that_never_was_is_held_until_somebody_puts_it_right() {
    for (claim, forged) in [
        (r#""revision":5"#, r#""revision":9223372036854775807"#),
        (r#""epoch":1"#, r#""epoch":9223372036854775807"#),
        (&*format!("{}", token(5)), "00000000-0000-0000-0000-000000000000"),
    ] {
        let mut cluster = delivered();
        forge(&mut cluster, SOURCE, |origin| {
            assert!(origin.contains(claim), "{origin}");
            origin.replace(claim, forged)
        });
        cluster.read(ab().with("A", "new").at_revision(6));
        if claim.contains('-') {
            cluster.log_has(5, LoggedToken::Token(token(5)));
        }
        assert_eq!(cluster.reconcile(), ["status"], "{forged}");
        assert_eq!(cluster.condition(Delivered).1, "HistoryDiverged", "{forged}");
        // Who may forge it may delete it.
        cluster.delete_secret("app");
        cluster.reconcile();
        assert_eq!(cluster.data("app").expect("a Secret"), ["A=new", "B=two"], "{forged}");
        assert_eq!(cluster.ready().0, "True");
    }
}

#[test]
fn whatever_a_secret_claims_to_be_made_from_it_ends_with_what_the_source_has() {
    for (annotation, claim) in [
        (SOURCE, json!({"source": "ProjectEnvironment other"})),
        (SOURCE, json!({"environment": "00000000-0000-0000-0000-00000000dead"})),
        (SOURCE, json!({"project": "00000000-0000-0000-0000-00000000dead"})),
        (SOURCE, json!({"generation": i64::MAX})),
        (SOURCE, json!({"released": "5"})),
        (SOURCE, json!({"labels": [MANAGED_BY_LABEL], "annotations": [SOURCE, ROWS]})),
        (ROWS, json!("")),
    ] {
        let mut cluster = delivered();
        forge(&mut cluster, annotation, |before| match &claim {
            serde_json::Value::String(text) => text.clone(),
            claim => {
                let mut origin: serde_json::Value = serde_json::from_str(before).expect("JSON");
                for (name, value) in claim.as_object().expect("an object") {
                    origin[name] = value.clone();
                }
                origin.to_string()
            }
        });
        cluster.read(ab().with("A", "new").with("C", "three").at_revision(6));
        cluster.reconcile();
        cluster.reconcile();
        assert_eq!(cluster.data("app").expect("a Secret"), ["A=new", "B=two", "C=three"], "{claim}");
        let metadata = &cluster.secret("app").metadata;
        let label = metadata.labels.as_ref().and_then(|labels| labels.get(MANAGED_BY_LABEL));
        assert_eq!(label.map(String::as_str), Some(MANAGED_BY), "{claim}");
        assert!(metadata.annotations.as_ref().expect("annotations")[SOURCE].contains(r#""revision":6"#), "{claim}");
        assert_eq!(cluster.ready().0, "True", "{claim}");
        assert_eq!(cluster.reconcile(), Vec::<String>::new(), "{claim}: it is written again");
    }
}

#[test]
fn a_row_that_nobody_delivered_is_a_removal_that_a_person_has_to_release() {
    let mut cluster = delivered();
    forge(&mut cluster, ROWS, |rows| format!("{rows}{}", "A".repeat(64 - rows.len())));
    cluster.read(ab().with("A", "new").at_revision(6));
    cluster.reconcile();
    assert_eq!(cluster.condition(ResolvedRefs).1, "RemovalUnproven");
    cluster.annotate_binding(RELEASE_REMOVAL, "6");
    cluster.reconcile();
    assert_eq!(cluster.data("app").expect("a Secret"), ["A=new", "B=two"]);
}

#[test]
fn a_secret_with_a_forged_owner_is_the_bindings_only_by_its_uid_or_name_and_never_of_a_type_that_mints_credentials() {
    let other = |name: &str, uid: &str| -> SecretBinding { binding(name).with_uid(uid).build() };
    let uid = || binding("app").build().metadata.uid.expect("a uid");
    let credential = "kubernetes.io/service-account-token";
    for (owner, type_, expected) in [
        (other("app", &uid()), None, "Delivered"),
        // The uid counts; what is beside it may be anything.
        (other("elsewhere", &uid()), None, "Delivered"),
        (other("elsewhere", "forged"), None, "TargetTaken"),
        (other("app", &uid()), Some(credential), "TargetForeign"),
    ] {
        let mut forged = secret("app").controlled_by(&owner);
        if let Some(type_) = type_ {
            forged = forged.of_type(type_);
        }
        let mut cluster = cluster(binding("app")).reading(ab()).with_secret(forged.build());
        cluster.reconcile();
        assert_eq!(cluster.condition(Delivered).1, expected, "{owner:?}");
        let is_written = cluster.data("app") == Some(vec!["A=one".to_owned(), "B=two".to_owned()]);
        assert_eq!(is_written, expected == "Delivered", "{owner:?}");
    }
}

/// What a person can do who may only edit bindings.
#[test]
fn a_release_lets_go_of_keys_that_leave_and_of_nothing_else() {
    let named = || binding("app").selecting(&["A", "B"]);
    let released = |mut cluster: SimulatedCluster| {
        cluster.annotate_binding(RELEASE_REMOVAL, "6");
        cluster.reconcile();
        (cluster.condition(ResolvedRefs).1.to_owned(), cluster.condition(Delivered).1.to_owned(), cluster.data("app"))
    };
    let kept = Some(vec!["A=one".to_owned(), "B=two".to_owned()]);

    let mut missing = cluster(named()).reading(ab());
    missing.reconcile();
    missing.read(ab().with("A", "new").deleted("B").at_revision(6));
    assert_eq!(released(missing), ("KeyMissing".into(), "NotResolved".into(), kept.clone()));

    let mut diverged = delivered();
    diverged.read(ab().with("A", "new").at_revision(6));
    diverged.log_has(5, LoggedToken::Absent);
    assert_eq!(released(diverged), ("Resolved".into(), "HistoryDiverged".into(), kept.clone()));

    let mut elsewhere = delivered();
    elsewhere.grant(&json!([{"namespaces": {"names": ["elsewhere"]}}]), "Retain");
    elsewhere.read(ab().with("A", "new").at_revision(6));
    assert_eq!(released(elsewhere), ("NotGranted".into(), "NotResolved".into(), kept));

    let foreign = cluster(binding("app")).reading(ab().at_revision(6)).with_secret(secret("app").build());
    assert_eq!(released(foreign).1, "TargetForeign");

    let mut taken = cluster(binding("app")).reading(ab().at_revision(6));
    taken.earlier_claimant = Some("older".to_owned());
    assert_eq!(released(taken), ("Resolved".into(), "TargetTaken".into(), None));
}

#[test]
fn a_release_of_one_revision_is_none_of_another_though_it_was_written_before_anything_was_held() {
    let mut cluster = delivered();
    cluster.annotate_binding(RELEASE_REMOVAL, "7");
    assert_eq!(cluster.reconcile(), Vec::<String>::new());
    cluster.read(ab().vanished("B").at_revision(6));
    cluster.reconcile();
    assert_eq!(cluster.condition(ResolvedRefs).1, "RemovalUnproven");
    assert_eq!(cluster.data("app").expect("a Secret").len(), 2);
}
