use super::*;
use crate::api::SecretBinding;
use crate::controller::secret_binding::fixtures::{SnapshotFixture, binding, keyring, snapshot};

fn names<'a>(keys: &[SelectedKey<'a>]) -> Vec<(&'a str, &'a str)> {
    keys.iter().map(|key| (key.secret_key, key.key)).collect()
}

fn open_selected(
    selection: Selection<'_>,
    source: &SnapshotFixture,
    keyring: &Keyring,
) -> Result<Values, ContentError> {
    let snapshot = source.clone().build();
    let selected = select(selection, |_| true, &snapshot);
    let sealed: Vec<_> = selected.keys.iter().map(|key| (*key, source.sealed(key.key))).collect();
    open(&sealed, &snapshot, keyring)
}

fn open_all(source: &SnapshotFixture, keyring: &Keyring) -> Result<Values, ContentError> {
    open_selected(Selection::Every, source, keyring)
}

fn refusal(source: &SnapshotFixture) -> ContentError {
    open_all(source, &keyring()).map(|_| ()).expect_err("it must not open")
}

fn two() -> SnapshotFixture {
    snapshot().with("A", "one").with("B", "two")
}

#[test]
fn without_data_every_granted_key_is_selected_under_its_own_name() {
    let snapshot = two().registered("C").build();
    let all = select(Selection::Every, |_| true, &snapshot);
    assert_eq!(names(&all.keys), [("A", "A"), ("B", "B")]);
    assert_eq!(all.states["C"], KeyState::Missing);
    let some = select(Selection::Every, |key| key == "B", &snapshot);
    assert_eq!(names(&some.keys), [("B", "B")]);
    assert_eq!(some.states.len(), 1);
}

#[test]
fn named_keys_are_renamed_sorted_by_their_new_names_and_compared_under_their_own() {
    let binding: SecretBinding = binding("app").selecting_as(&[("z", "A"), ("a", "B"), ("m", "A")]).build();
    let snapshot = two().stale("B").build();
    let selected = select(binding.spec.selection(), |_| true, &snapshot);
    assert_eq!(names(&selected.keys), [("a", "B"), ("m", "A"), ("z", "A")]);
    assert_eq!(selected.states, BTreeMap::from([("A", KeyState::InSync), ("B", KeyState::Stale)]));
}

#[test]
fn a_named_key_that_is_gone_is_missing_unless_it_is_optional() {
    let binding = binding("app").selecting(&["A", "GONE"]).selecting_optional("MAYBE").build();
    let snapshot = two().registered("MAYBE").build();
    let selected = select(binding.spec.selection(), |_| true, &snapshot);
    assert_eq!(selected.missing, ["GONE"]);
    assert_eq!(names(&selected.keys), [("A", "A")]);
    assert_eq!(selected.states["MAYBE"], KeyState::Missing);
}

#[test]
fn a_named_key_that_is_not_granted_is_not_selected_and_not_compared() {
    let binding = binding("app").selecting(&["A", "B"]).build();
    let snapshot = two().build();
    let selected = select(binding.spec.selection(), |key| key != "B", &snapshot);
    assert_eq!((selected.ungranted.as_slice(), names(&selected.keys).as_slice()), (&["B"][..], &[("A", "A")][..]));
    assert!(!selected.states.contains_key("B"));
}

#[test]
fn values_of_any_bytes_arrive_as_they_are() {
    let bytes = b"\0\xff\xfe\n";
    let source = snapshot().with_bytes("RAW", bytes).with("EMPTY", "");
    let values = open_all(&source, &keyring()).expect("both open");
    assert_eq!(values.get("RAW").map(SecretValue::expose), Some(&bytes[..]));
    assert_eq!(values.get("EMPTY").map(SecretValue::expose), Some(&b""[..]));
}

#[test]
fn only_what_is_selected_is_opened() {
    let binding = binding("app").selecting(&["A"]).build();
    let source = two().sealed_as("B", |text| *text = "t1:broken".into());
    let opened = open_selected(binding.spec.selection(), &source, &keyring());
    assert_eq!(opened.map(|values| values.len()), Ok(1));
}

#[test]
fn a_value_that_was_altered_or_moved_from_another_row_is_refused_by_name() {
    let stranger = snapshot().with_row("B", 999, "two");
    for text in ["not sealed", "t1:cut", stranger.sealed("B")] {
        let refused = refusal(&two().sealed_as("B", |sealed| *sealed = text.into()));
        assert!(matches!(&refused, ContentError::OpenFailed { keys, .. } if keys == &["B"]), "{refused}");
        assert!(!refused.to_string().contains("two"), "{refused}");
    }
    let older = refusal(&two().row("A", |row| row.version = 7));
    assert!(matches!(&older, ContentError::OpenFailed { keys, .. } if keys == &["A"]), "{older}");
}

#[test]
fn a_ring_that_is_not_held_is_named() {
    let source = snapshot().under_ring("production").with("A", "one");
    let poor = Keyring::generate(&["default".parse().expect("a name")]);
    let refused = open_all(&source, &poor).map(|_| ()).expect_err("the ring is not held");
    assert!(matches!(refused, ContentError::RingNotHeld { .. }));
    assert!(refused.to_string().contains("production"), "{refused}");
}

#[test]
fn a_value_that_does_not_match_its_hash_is_refused_and_one_that_cannot_be_compared_is_not() {
    let other = snapshot().with("X", "other").build().keys["X"].value_hash.clone();
    assert_eq!(
        refusal(&two().row("A", |row| row.value_hash = other)),
        ContentError::HashMismatch { keys: vec!["A".into()] }
    );
    let bare = hex::encode([7; 32]).into();
    assert!(matches!(refusal(&two().row("A", |row| row.value_hash = Some(bare))), ContentError::HashMismatch { .. }));
    for unknown in [None, Some("md5:1234".into()), Some(format!("h1:another-key:{}", hex::encode([7; 32])).into())] {
        assert!(open_all(&two().row("A", |row| row.value_hash = unknown), &keyring()).is_ok());
    }
}

#[test]
fn values_that_are_too_large_together_are_refused_with_numbers() {
    let half = "x".repeat(VALUES_MAX / 2);
    assert!(open_all(&snapshot().with("A", &half).with("B", &half), &keyring()).is_ok());
    let refused = refusal(&snapshot().with("A", &half).with("B", &half).with("C", "y"));
    assert_eq!(refused, ContentError::TooLarge { keys: 3, bytes: VALUES_MAX + 1 });
    assert!(refused.to_string().contains("1048577"), "{refused}");
}

#[test]
fn names_that_a_secret_cannot_have_are_refused_by_name() {
    for name in ["a/b", "with space", "ключ", "..", "..a", ".", &"k".repeat(254)] {
        let snapshot = snapshot().with(name, "v").with("FINE", "v").build();
        let keys = select(Selection::Every, |_| true, &snapshot).keys;
        assert_eq!(check_names(&keys), Err(ContentError::KeyNameInvalid { keys: vec![name.into()] }));
    }
    for name in ["tls.crt", ".dockerconfigjson", "A_b-1", &"k".repeat(253)] {
        let snapshot = snapshot().with(name, "v").build();
        assert_eq!(check_names(&select(Selection::Every, |_| true, &snapshot).keys), Ok(()));
    }
    let (binding, snapshot) = (binding("app").selecting_as(&[("x", "A"), ("x", "B")]).build(), two().build());
    let twice = check_names(&select(binding.spec.selection(), |_| true, &snapshot).keys);
    assert_eq!(twice, Err(ContentError::KeyNameTwice { name: "x".into() }));
}

#[test]
fn what_is_shown_for_debugging_has_no_value() {
    let canary = "c4n4ry-value";
    let values = open_all(&snapshot().with("A", canary), &keyring()).expect("it opens");
    assert_eq!(format!("{values:?}"), "Values(1)");
}
