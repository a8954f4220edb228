use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::api::{Grants, ProjectEnvironment, find};
use crate::core::{EnvironmentId, ProjectId, SecretId};
use crate::registry::Refusal;
use crate::registry::{KeyEntry, Revision, SecretRow, SnapshotVersion};

/// An environment with keys: name, time here, time in the registry.
fn snapshot(keys: &[(&str, Option<i64>, Option<i64>)]) -> Snapshot {
    let revision = |number| Revision { number, token: Uuid::nil() };
    let time = RegistryTime::from_micros;
    let row = |updated| SecretRow {
        id: SecretId(Uuid::nil()),
        value_hash: None,
        version: 1,
        value_version: "hash".into(),
        updated_at: time(updated),
    };
    let version = SnapshotVersion::Revisions { epoch: 0, project: revision(9), environment: revision(7) };
    let mut snapshot = Snapshot::empty(ProjectId(Uuid::nil()), EnvironmentId(Uuid::max()), version, true);
    for (key, here, last) in keys {
        let entry = KeyEntry { secret: here.map(row), last_updated_at: last.map(time), exempt: *key == "EXEMPT" };
        snapshot.keys.set((*key).into(), entry);
    }
    snapshot
}

fn ready(keys: &[(&str, Option<i64>, Option<i64>)]) -> SourceState {
    SourceState::Ready(Arc::new(snapshot(keys)))
}

fn unavailable(fault: Fault) -> SourceState {
    SourceState::Unavailable { since: Timestamp::UNIX_EPOCH, cause: "connection refused".to_owned(), fault, last: None }
}

fn object(spec: &serde_json::Value) -> ProjectEnvironment {
    let mut whole = json!({
        "project": "shop", "environment": "dev", "grants": [{"namespaces": {"names": ["shop"]}}],
    });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({
        "apiVersion": "tidelock.dev/v1alpha1", "kind": "ProjectEnvironment",
        "metadata": {"name": "dev", "generation": 3}, "spec": whole,
    }))
    .unwrap()
}

fn observed(object: ProjectEnvironment, state: SourceState) -> ObservedEnvironment {
    ObservedEnvironment {
        grants: Arc::new(Grants::new(&object.spec.grants)),
        object: Arc::new(object),
        asked: None,
        state,
        bindings: 2,
        now: Timestamp::from_second(100).unwrap(),
    }
}

fn condition(status: &ProjectEnvironmentStatus, of: ConditionType) -> String {
    find(&status.conditions, of).map_or_else(String::new, |found| format!("{} {}", found.status, found.reason))
}

#[test]
fn each_state_of_the_source_has_its_conditions() {
    let stale = [("A", Some(1), Some(2))];
    let degrade = json!({"outOfSyncPolicy": "Degrade"});
    let bad = json!({"grants": [{"namespaces": {"names": ["a"]}, "keys": {"regexp": "("}}]});
    let table = [
        (json!({}), ready(&[("A", Some(2), Some(2))]), "True Available", "True AllKeysInSync"),
        (json!({}), ready(&stale), "True Available", "False KeysStale"),
        (degrade, ready(&stale), "False KeysStale", "False KeysStale"),
        (json!({}), ready(&[("A", None, Some(2))]), "True Available", "False KeysMissing"),
        (json!({}), ready(&[("A", Some(2), None)]), "True Available", "False KeysUnregistered"),
        (json!({}), ready(&[("EXEMPT", None, Some(2))]), "True Available", "True AllKeysInSync"),
        (
            json!({}),
            SourceState::Refused { refusal: Refusal::ProjectNotVisible },
            "False ProjectNotVisible",
            "Unknown SourceNotReady",
        ),
        (json!({}), unavailable(Fault::Away), "False DatabaseUnavailable", "Unknown DatabaseUnavailable"),
        (json!({}), unavailable(Fault::Refused), "False DatabaseRefused", "Unknown SourceNotReady"),
        (json!({}), unavailable(Fault::Schema), "False SchemaNotServed", "Unknown SourceNotReady"),
        (bad, ready(&[]), "False InvalidSpec", "Unknown InvalidSpec"),
        (json!({"suspend": true}), ready(&[]), "Unknown Suspended", "Unknown Suspended"),
    ];
    for (spec, state, is_ready, in_sync) in table {
        let status = plan(&observed(object(&spec), state)).unwrap();
        assert_eq!(condition(&status, ConditionType::Ready), is_ready);
        assert_eq!(condition(&status, ConditionType::InSync), in_sync);
        assert_eq!(status.observed_generation, Some(3));
    }
}

#[test]
fn a_suspended_environment_does_not_claim_of_an_edited_spec_what_was_true_of_the_one_before() {
    let looked_at = plan(&observed(object(&json!({})), ready(&[]))).unwrap();
    let mut edited = object(&json!({"suspend": true, "project": "another"}));
    edited.metadata.generation = Some(4);
    edited.status = Some(looked_at);
    let status = plan(&observed(edited, ready(&[]))).unwrap();
    assert_eq!(condition(&status, ConditionType::Ready), "True Suspended");
    let generations = status.conditions.iter().map(|condition| condition.observed_generation);
    assert!(generations.chain([status.observed_generation]).all(|generation| generation == Some(3)), "{status:?}");
}

#[test]
fn nothing_is_said_before_the_first_look() {
    assert!(plan(&observed(object(&json!({})), SourceState::Pending)).is_none());
}

#[test]
fn rows_that_may_be_hidden_leave_the_comparison_open() {
    let hidden = Snapshot { live_secrets: Some(5), ..snapshot(&[("A", Some(1), Some(1))]) };
    let status = plan(&observed(object(&json!({})), SourceState::Ready(Arc::new(hidden)))).unwrap();
    assert_eq!(condition(&status, ConditionType::InSync), "Unknown RowsMayBeHidden");
    assert_eq!(condition(&status, ConditionType::Ready), "True Available");
}

#[test]
fn values_come_from_the_snapshot() {
    let keys = [("A", Some(1), Some(1)), ("B", Some(1), Some(2)), ("C", None, Some(2)), ("D", Some(1), None)];
    let status = plan(&observed(object(&json!({})), ready(&keys))).unwrap();
    assert_eq!(status.project_id, Some(Uuid::nil().to_string()));
    assert_eq!(status.environment_id, Some(Uuid::max().to_string()));
    assert_eq!((status.production, status.revision, status.registry_revision), (Some(true), Some(7), Some(9)));
    assert_eq!(status.bindings, Some(2));
    let expected = KeyCounts { total: 4, in_sync: 1, stale: 1, missing: 1, unregistered: 1, exempt: 0 };
    assert_eq!(status.keys, Some(expected));
    let listed: Vec<_> = status.out_of_sync.iter().map(|key| (key.key.as_str(), key.state)).collect();
    assert_eq!(listed, [("B", KeyState::Stale), ("C", KeyState::Missing), ("D", KeyState::Unregistered)]);
    assert_eq!(status.out_of_sync[0].last_updated_at, Some(MicroTime(Timestamp::from_microsecond(2).unwrap())));
    assert_eq!(status.out_of_sync[1].updated_at, None);
}

#[test]
fn the_first_fifty_keys_are_listed_stale_ones_first() {
    let names: Vec<String> = (0..40).map(|n| format!("K{n:02}")).collect();
    let long = "x".repeat(254);
    let missing = names.iter().map(|name| (name.as_str(), None, Some(1)));
    let stale: Vec<String> = (0..40).map(|n| format!("Z{n:02}")).collect();
    let stale = stale.iter().map(|name| (name.as_str(), Some(1), Some(2)));
    let odd = ["DATABASE_URL: postgres://u:hunter2@h/d", "", &long].map(|name| (name, Some(1), Some(2)));
    let keys: Vec<_> = missing.chain(stale).chain(odd).collect();
    let status = plan(&observed(object(&json!({})), ready(&keys))).unwrap();
    assert_eq!(status.out_of_sync.len(), 50);
    assert_eq!((status.out_of_sync[0].key.as_str(), status.out_of_sync[40].key.as_str()), ("Z00", "K00"));
    assert_eq!(status.keys.as_ref().unwrap().stale, 43, "what is not listed is counted");
    assert!(!serde_json::to_string(&status).unwrap().contains("hunter2"));
}

#[test]
fn an_outage_and_a_suspension_keep_the_last_values_and_a_refusal_does_not() {
    let before = plan(&observed(object(&json!({})), ready(&[("A", Some(1), Some(2))]))).unwrap();
    let later = |spec, state| {
        let object = ProjectEnvironment { status: Some(before.clone()), ..object(&spec) };
        plan(&ObservedEnvironment { bindings: 5, ..observed(object, state) }).unwrap()
    };
    let away = later(json!({}), unavailable(Fault::Away));
    assert_eq!((away.keys, away.revision, away.bindings), (before.keys, Some(7), Some(5)));
    let suspended = later(json!({"suspend": true}), SourceState::Pending);
    assert_eq!((&suspended.out_of_sync, suspended.bindings), (&before.out_of_sync, Some(2)));
    assert_eq!(condition(&suspended, ConditionType::InSync), "False Suspended");
    let refused = later(json!({}), SourceState::Refused { refusal: Refusal::EnvironmentDeleted });
    assert_eq!((refused.keys, refused.project_id), (None, None));
}

#[test]
fn a_request_is_answered_by_its_nonce_and_the_answer_stays() {
    let asked = ObservedEnvironment { asked: Some("n1".to_owned()), ..observed(object(&json!({})), ready(&[])) };
    let status = plan(&asked).unwrap();
    assert_eq!(status.last_handled_sync.as_deref(), Some("n1"));
    let object = ProjectEnvironment { status: Some(status), ..object(&json!({})) };
    let again = plan(&observed(object.clone(), unavailable(Fault::Away))).unwrap();
    assert_eq!(again.last_handled_sync.as_deref(), Some("n1"));
    for (state, answer) in [
        (unavailable(Fault::Away), "n1"),
        (unavailable(Fault::Refused), "n1"),
        (SourceState::Refused { refusal: Refusal::EnvironmentDeleted }, "n2"),
    ] {
        let asked = ObservedEnvironment { asked: Some("n2".to_owned()), ..observed(object.clone(), state) };
        assert_eq!(plan(&asked).unwrap().last_handled_sync.as_deref(), Some(answer), "{:?}", asked.state);
    }
}

#[test]
fn a_look_that_finds_nothing_new_says_the_same() {
    let first = plan(&observed(object(&json!({})), ready(&[("A", Some(1), Some(2))]))).unwrap();
    let object = ProjectEnvironment { status: Some(first.clone()), ..object(&json!({})) };
    let later = ObservedEnvironment {
        now: Timestamp::from_second(999).unwrap(),
        ..observed(object, ready(&[("A", Some(1), Some(2))]))
    };
    assert_eq!(plan(&later), Some(first));
}
