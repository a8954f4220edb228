use super::super::content;
use super::*;
use crate::api::names::{ADOPT, ROWS, SOURCE};
use crate::controller::secret_binding::fixtures::{
    BindingFixture, SnapshotFixture, binding, keyring, secret, snapshot,
};

fn desired<'b>(binding: &'b SecretBinding, source: &SnapshotFixture) -> Desired<'b> {
    let snapshot = source.clone().build();
    let selected = content::select(binding.spec.selection(), |_| true, &snapshot);
    let sealed: Vec<_> = selected.keys.iter().map(|key| (*key, source.sealed(key.key))).collect();
    Desired {
        binding,
        values: content::open(&sealed, &snapshot, &keyring()).expect("all open"),
        provenance: Provenance::of(binding, &snapshot, &selected.keys),
    }
}

/// The Secret as we would have written it.
fn written(binding: &Owned, snapshot: &SnapshotFixture) -> FullSecret {
    desired(&binding.0, snapshot).build(None).expect("it fits")
}

/// What a person does.
type Change = fn(&mut Secret);

struct Owned(SecretBinding);

fn app() -> Owned {
    Owned(binding("app").build())
}

fn of(fixture: BindingFixture) -> Owned {
    Owned(fixture.build())
}

fn source() -> SnapshotFixture {
    snapshot().with("A", "one").with("B", "two")
}

#[test]
fn what_we_wrote_does_not_differ_from_what_we_would_write() {
    for binding in [app(), of(binding("app").labelled("team", "shop").of_type("example.com/x").immutable())] {
        let current = written(&binding, &source());
        assert!(desired(&binding.0, &source().at_revision(99)).differences(&current).is_empty());
    }
}

#[test]
fn every_change_by_hand_is_seen_and_named() {
    let table: [(Change, &str); 6] = [
        (
            |secret| drop(secret.data.as_mut().expect("data").insert("A".into(), ByteString(b"x".to_vec()))),
            "changed keys A",
        ),
        (|secret| drop(secret.data.as_mut().expect("data").remove("A")), "missing keys A"),
        (|secret| drop(secret.data.as_mut().expect("data").insert("C".into(), ByteString(vec![]))), "extra keys C"),
        (|secret| drop(secret.metadata.labels.take()), "metadata app.kubernetes.io/managed-by"),
        (|secret| drop(secret.metadata.annotations.as_mut().expect("ours").remove(ROWS)), "metadata tidelock.dev/rows"),
        (|secret| drop(secret.metadata.owner_references.take()), "metadata ownerReferences"),
    ];
    for (change, expected) in table {
        let mut current = written(&app(), &source());
        change(&mut current.0);
        assert_eq!(desired(&app().0, &source()).differences(&current).to_string(), expected);
    }
}

#[test]
fn what_other_people_set_is_no_difference_and_stays() {
    let mut current = written(&app(), &source());
    current.0.metadata.labels.get_or_insert_default().insert("theirs".into(), "1".into());
    current.0.metadata.annotations.get_or_insert_default().insert("theirs".into(), "2".into());
    current.0.metadata.finalizers = Some(vec!["theirs.dev/x".into()]);
    let binding = app();
    let desired = desired(&binding.0, &source());
    assert!(desired.differences(&current).is_empty());
    let replaced = desired.build(Some(&current.0.metadata)).expect("it fits").0.metadata;
    assert_eq!(replaced.labels.expect("labels")["theirs"], "1");
    assert_eq!(replaced.annotations.expect("annotations")["theirs"], "2");
    assert_eq!(replaced.finalizers, Some(vec!["theirs.dev/x".into()]));
}

#[test]
fn a_replacement_carries_the_uid_and_resource_version_that_were_seen() {
    let current = secret("app").with("A", "old").build();
    let replaced = desired(&app().0, &source()).build(Some(&current.metadata)).expect("it fits").0;
    let of = |metadata: &ObjectMeta| (metadata.uid.clone(), metadata.resource_version.clone());
    assert_eq!(of(&replaced.metadata), of(&current.metadata));
    assert_eq!(replaced.data.expect("data").keys().collect::<Vec<_>>(), ["A", "B"]);
}

#[test]
fn a_label_that_left_the_template_leaves_the_secret_and_a_persons_label_does_not() {
    let mut current = written(&of(binding("app").labelled("team", "shop")), &source());
    current.0.metadata.labels.get_or_insert_default().insert("theirs".into(), "1".into());
    let binding = app();
    let desired = desired(&binding.0, &source());
    assert!(desired.differences(&current).metadata.contains(&"team".to_owned()));
    let labels = desired.build(Some(&current.0.metadata)).expect("it fits").0.metadata.labels.expect("labels");
    assert!(!labels.contains_key("team") && labels.contains_key("theirs"), "{labels:?}");
}

#[test]
fn taking_over_a_reborn_or_adopted_secret_makes_this_binding_its_only_controller() {
    let dead = binding("app").with_uid("dead").build();
    for current in [secret("app").controlled_by(&dead), secret("app").annotated(ADOPT, "app")] {
        let binding = app();
        let owners = desired(&binding.0, &source()).build(Some(&current.build().metadata)).expect("it fits");
        let owners = owners.0.metadata.owner_references.expect("owners");
        assert_eq!(owners, [controller_reference(&binding.0)]);
    }
}

#[test]
fn nothing_of_the_bindings_own_metadata_is_copied() {
    let binding = of(binding("app").annotated("argocd.argoproj.io/tracking-id", "x"));
    let annotations = written(&binding, &source()).0.metadata.annotations.expect("annotations");
    assert_eq!(annotations.keys().collect::<Vec<_>>(), [BINDING, ROWS, SOURCE]);
}

#[test]
fn five_thousand_keys_fit_and_names_that_are_too_long_together_are_refused_with_numbers() {
    let build = |count: usize, name: fn(usize) -> String| {
        let binding = app();
        let values = (0..count).map(|n| (name(n), Vec::new().into())).collect();
        let provenance = Provenance {
            rows: vec![super::super::provenance::DeliveredRow { key: [0; 8], row: [0; 8] }; count],
            ..desired(&binding.0, &snapshot()).provenance
        };
        Desired { binding: &binding.0, values, provenance }.build(None).map(|_| ())
    };
    assert_eq!(build(5_000, |n| format!("KEY_NUMBER_{n}")), Ok(()));
    let long = build(5_000, |n| format!("{n:0>250}")).expect_err("too large").to_string();
    assert!(long.contains("1556480"), "{long}");
    let many = build(12_500, |n| n.to_string()).expect_err("too many").to_string();
    assert!(many.contains("annotations") && many.contains("262144"), "{many}");
}

#[test]
fn what_is_shown_for_debugging_has_no_value() {
    let canary = "c4n4ry-value";
    let binding = app();
    let desired = desired(&binding.0, &snapshot().with("A", canary));
    let shown = format!("{desired:?} {:?}", desired.build(None));
    for secret in [canary, "YzRuNHJ5", "[99, 52", "6334"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
