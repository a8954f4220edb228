use jiff::Timestamp;
use serde_json::{Value, json};

use super::explain::{Finding, Looked, References, Seen, explain};
use crate::api::{ProjectEnvironment, SecretBinding};
use crate::cli::cluster::{Reported as _, Standing};
use crate::cli::program::Program;

fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({
        "type": type_, "status": status, "reason": reason, "message": message, "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

fn object(kind: &str, metadata: &Value, spec: &Value, status: &Value) -> Value {
    let mut whole = json!({
        "apiVersion": "tidelock.dev/v1alpha1", "kind": kind,
        "metadata": {"name": "app", "generation": 1, "uid": "us", "creationTimestamp": "2026-01-01T00:00:00Z"},
    });
    for (name, value) in metadata.as_object().expect("metadata") {
        whole["metadata"][name] = value.clone();
    }
    (whole["spec"], whole["status"]) = (spec.clone(), status.clone());
    whole
}

fn binding(metadata: &Value, spec: &Value, status: &Value) -> Standing {
    let mut with_source = json!({"sourceRef": {"name": "dev"}});
    for (name, value) in spec.as_object().expect("a spec") {
        with_source[name] = value.clone();
    }
    let metadata_in_shop = {
        let mut metadata = metadata.clone();
        metadata["namespace"] = json!("shop");
        metadata
    };
    let whole = object("SecretBinding", &metadata_in_shop, &with_source, status);
    serde_json::from_value::<SecretBinding>(whole).expect("a binding").standing()
}

fn source(metadata: &Value, suspend: bool, status: &Value) -> Standing {
    let spec = json!({
        "project": "shop", "environment": "dev", "grants": [{"namespaces": {"names": ["shop"]}}], "suspend": suspend,
    });
    let mut metadata = metadata.clone();
    metadata["name"] = json!("dev");
    let whole = object("ProjectEnvironment", &metadata, &spec, status);
    serde_json::from_value::<ProjectEnvironment>(whole).expect("a source").standing()
}

fn ready(reason: &str) -> Value {
    json!({"observedGeneration": 1, "conditions": [
        condition("Ready", "True", reason, ""), condition("InSync", "True", "AllKeysInSync", ""),
    ]})
}

fn not_ready(reason: &str, message: &str) -> Value {
    json!({"observedGeneration": 1, "conditions": [condition("Ready", "False", reason, message)]})
}

/// What there is to say of a binding, with a source and a Secret that are as they should be.
fn of(object: Standing) -> Vec<Finding> {
    of_all(object, Looked::Found(source(&json!({}), false, &ready("Available"))), Some("us"))
}

fn of_all(object: Standing, source: Looked<Standing>, controller: Option<&str>) -> Vec<Finding> {
    let owner = controller.map(
        |uid| json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": uid, "controller": true}]),
    );
    let target = serde_json::from_value(json!({"name": "app", "ownerReferences": owner})).expect("metadata");
    let references = References {
        source_name: "dev".to_owned(),
        source,
        target_name: "app".to_owned(),
        target: Looked::Found(target),
        written: None,
    };
    let now = "2026-01-01T00:05:00Z".parse::<Timestamp>().expect("a time");
    explain(&Seen { object, references: Some(references), now }, Program::Kubectl)
}

fn told(findings: &[Finding]) -> String {
    let told = findings
        .iter()
        .map(|found| format!("{}: {} | {}\n", found.about, found.says, found.remedy.as_deref().unwrap_or("-")));
    told.collect()
}

#[test]
fn what_is_as_it_should_be_is_told_and_nothing_is_to_be_done() {
    let findings = of(binding(&json!({}), &json!({}), &ready("Ready")));
    assert!(findings.iter().all(|finding| !finding.is_wrong && finding.remedy.is_none()), "{}", told(&findings));
    assert!(told(&findings).contains("Secret app: it is there, and this binding controls it."), "{}", told(&findings));
}

#[test]
fn each_cause_is_told_with_its_remedy() {
    let nothing = json!({});
    let stale = json!({"observedGeneration": 1, "conditions": [
        condition("Ready", "True", "Ready", ""), condition("InSync", "False", "KeysStale", "1 of 2 keys: A"),
    ]});
    let sync = json!({"annotations": {"tidelock.dev/sync": "new"}});
    let class = json!({"labels": {"tidelock.dev/class": "blue"}});
    for (findings, expected) in [
        (
            of(binding(&nothing, &nothing, &not_ready("TargetForeign", "Secret app exists"))),
            &["Ready: False (TargetForeign). The target exists", "says: Secret app exists", "tidelock.dev/adopt="][..],
        ),
        (
            of(binding(&nothing, &nothing, &stale)),
            &["InSync: False (KeysStale).", "1 of 2 keys: A | `tidelock status`"],
        ),
        (
            of(binding(&nothing, &nothing, &json!({"observedGeneration": -1}))),
            &[
                "Operator: no operator has looked at it yet, and it is there for 5 min. | See that an operator without a class",
            ],
        ),
        (
            of(binding(&json!({"creationTimestamp": "2026-01-01T00:04:55Z"}), &nothing, &nothing)),
            &["it is new. | Wait a moment."],
        ),
        (
            of(binding(&json!({"generation": 2}), &nothing, &ready("Ready"))),
            &["the status is about generation 1 of 2."],
        ),
        (
            of(binding(&sync, &nothing, &ready("Ready"))),
            &["a sync was asked for by tidelock.dev/sync, and is not answered"],
        ),
        (
            of(binding(&class, &nothing, &ready("Ready"))),
            &["it has no class, and the binding has class blue", "the same label"],
        ),
        (of(binding(&class, &nothing, &nothing)), &["an operator of the class blue"]),
        (of(binding(&nothing, &json!({"suspend": true}), &suspended())), &["(Suspended)", "Remove `spec.suspend`"]),
        (
            of_all(
                binding(&nothing, &nothing, &ready("Ready")),
                Looked::Found(source(&nothing, true, &nothing)),
                Some("us"),
            ),
            &["ProjectEnvironment dev: it is suspended"],
        ),
        (
            of_all(binding(&nothing, &nothing, &not_ready("SourceNotFound", "")), Looked::Absent, Some("us")),
            &["ProjectEnvironment dev: there is none of that name. | Correct spec.sourceRef"],
        ),
        (
            of_all(
                binding(&nothing, &nothing, &not_ready("SourceNotReady", "")),
                Looked::Found(source(&nothing, false, &not_ready("ProjectNotVisible", "no shop"))),
                Some("us"),
            ),
            &["ProjectEnvironment dev: False (ProjectNotVisible).", "no shop | Correct `spec.project`"],
        ),
        (
            of(binding(&json!({"deletionTimestamp": "2026-01-01T00:00:01Z"}), &nothing, &ready("Ready"))),
            &["SecretBinding: it is being deleted"],
        ),
        (
            of(binding(&nothing, &nothing, &not_ready("OfALaterRelease", "so it is"))),
            &["False (OfALaterRelease). The operator says: so it is | This program does not know the reason"],
        ),
    ] {
        let text = told(&findings);
        assert!(findings.iter().any(|finding| finding.is_wrong), "{text}");
        for part in expected {
            assert!(text.contains(part), "{part} in:\n{text}");
        }
    }
}

fn suspended() -> Value {
    json!({"observedGeneration": 1, "conditions": [condition("Ready", "True", "Suspended", "spec.suspend is true")]})
}

#[test]
fn what_may_not_be_looked_at_is_said_and_blames_nobody() {
    let source = Looked::Unreadable("projectenvironments is forbidden".to_owned());
    let findings = of_all(binding(&json!({}), &json!({}), &ready("Ready")), source, Some("another"));
    let text = told(&findings);
    assert!(findings.iter().all(|finding| !finding.is_wrong), "{text}");
    assert!(text.contains("it cannot be looked at: projectenvironments is forbidden"), "{text}");
    assert!(text.contains("Secret app: it is there, and Deployment web controls it."), "{text}");
}

#[test]
fn a_secret_that_is_gone_and_one_that_cannot_go_are_told() {
    let seen = |target: Looked<_>| Seen {
        object: binding(&json!({}), &json!({}), &ready("Ready")),
        references: Some(References {
            source_name: "dev".to_owned(),
            source: Looked::Found(source(&json!({}), false, &ready("Available"))),
            target_name: "app".to_owned(),
            target,
            written: Some(serde_json::from_value(json!({"name": "app"})).expect("a target")),
        }),
        now: Timestamp::UNIX_EPOCH,
    };
    let gone = told(&explain(&seen(Looked::Absent), Program::Tidelock));
    assert!(gone.contains("Secret app: the status says that it was written, and it is not there."), "{gone}");
    let going = json!({"name": "app", "deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["example.com/hold"]});
    let going = Looked::Found(serde_json::from_value(going).expect("metadata"));
    let going = told(&explain(&seen(going), Program::Tidelock));
    assert!(going.contains("waits for its finalizers: example.com/hold."), "{going}");
}
