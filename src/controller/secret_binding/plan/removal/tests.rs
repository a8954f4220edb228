use super::super::content;
use super::super::provenance::Provenance;
use super::*;
use crate::api::SecretBinding;
use crate::controller::secret_binding::fixtures::{BindingFixture, SnapshotFixture, binding, snapshot};
use crate::controller::sources::SourceReference;

/// What was delivered, and what is asked now.
struct Case {
    delivered_for: SecretBinding,
    delivered: Snapshot,
    now_for: SecretBinding,
    now: Snapshot,
    /// What the registry knows besides.
    registry: SnapshotFixture,
    granted: fn(&str) -> bool,
    on_revoke: OnRevoke,
    environment_was_deleted: bool,
}

fn case(delivered: SnapshotFixture, now: SnapshotFixture) -> Case {
    let every = || binding("app").build();
    Case {
        delivered_for: every(),
        delivered: delivered.build(),
        now_for: every(),
        now: now.clone().build(),
        registry: now,
        granted: |_| true,
        on_revoke: OnRevoke::Retain,
        environment_was_deleted: false,
    }
}

impl Case {
    fn for_binding(self, now: BindingFixture) -> Self {
        Self { now_for: now.build(), ..self }
    }

    fn delivered_for(self, then: BindingFixture) -> Self {
        Self { delivered_for: then.build(), ..self }
    }

    fn granting_only_a(self, on_revoke: OnRevoke) -> Self {
        Self { granted: |key| key == "A", on_revoke, ..self }
    }

    fn judge(&self) -> Result<(), Hold> {
        let then = content::select(self.delivered_for.spec.selection(), |_| true, &self.delivered);
        let provenance = Provenance::of(&self.delivered_for, &self.delivered, &then.keys);
        let names: Vec<&str> = then.keys.iter().map(|key| key.secret_key).collect();
        self.judge_what(Delivered::Known(&provenance), Some(&names))
    }

    fn judge_what(&self, delivered: Delivered, names: Option<&[&str]>) -> Result<(), Hold> {
        let selected = content::select(self.now_for.spec.selection(), self.granted, &self.now);
        let source = SourceReference::from(&self.now_for).to_string();
        let nothing = Tombstones::default();
        let stays = selected.keys.iter().map(|key| key.secret_key.to_owned()).collect();
        let question = |tombstones| Question {
            delivered,
            names: names.map(<[&str]>::to_vec),
            is_handed_over: false,
            keys: &selected.keys,
            stays: &stays,
            selection: self.now_for.spec.selection(),
            source: &source,
            snapshot: &self.now,
            tombstones,
            environment_was_deleted: self.environment_was_deleted,
            is_granted: &self.granted,
            on_revoke: self.on_revoke,
        };
        let asked = to_ask_about(&question(&nothing));
        let answered = self.registry.tombstones(&asked);
        assert!(to_ask_about(&question(&answered)).is_empty(), "nothing is asked for twice");
        judge(&question(&answered))
    }
}

fn ab() -> SnapshotFixture {
    snapshot().with("A", "one").with("B", "two")
}

fn unproven(keys: &[&str], hidden: bool) -> Result<(), Hold> {
    Err(Hold::Unproven { keys: keys.iter().map(|key| (*key).to_owned()).collect(), nameless: 0, hidden })
}

#[test]
fn a_deleted_key_leaves_on_its_tombstone() {
    assert_eq!(case(ab(), ab().deleted("B")).judge(), Ok(()));
}

#[test]
fn a_row_that_vanished_without_a_tombstone_keeps_its_key() {
    assert_eq!(case(ab(), ab().vanished("B")).judge(), unproven(&["B"], false));
}

#[test]
fn a_row_that_the_registry_forgot_as_well_is_named_after_the_secret() {
    let gone = || ab().vanished("B").forgotten_by_the_registry("B");
    assert_eq!(case(ab(), gone()).judge(), unproven(&["B"], false));
    let case = case(ab(), gone());
    let provenance = Provenance::of(
        &case.delivered_for,
        &case.delivered,
        &content::select(Selection::Every, |_| true, &case.delivered).keys,
    );
    let nameless = Err(Hold::Unproven { keys: vec![], nameless: 1, hidden: false });
    assert_eq!(case.judge_what(Delivered::Known(&provenance), None), nameless);
    assert_eq!(case.judge_what(Delivered::Known(&provenance), Some(&["A", "B", "EXTRA"])), nameless);
}

#[test]
fn a_row_that_row_level_security_hides_keeps_its_key() {
    assert_eq!(case(ab(), ab().hidden("B")).judge(), unproven(&["B"], true));
    assert_eq!(case(ab(), ab().vanished("B").behind_policies()).judge(), unproven(&["B"], true));
}

#[test]
fn a_tombstone_of_another_row_proves_nothing() {
    // Delivered from row 7; an earlier row of the key has a tombstone, row 7 just vanished.
    let delivered = ab().deleted("B").with_row("B", 7, "new");
    assert_eq!(case(delivered.clone(), delivered.vanished("B")).judge(), unproven(&["B"], false));
}

#[test]
fn a_row_that_was_recreated_and_hidden_again_keeps_its_key() {
    let delivered = ab().deleted("B").with_row("B", 7, "new");
    assert_eq!(case(delivered.clone(), delivered.hidden("B")).judge(), unproven(&["B"], true));
}

#[test]
fn zero_rows_keep_all() {
    assert_eq!(
        case(ab(), snapshot()).judge(),
        Err(Hold::Unproven { keys: vec!["A".into(), "B".into()], nameless: 0, hidden: false })
    );
}

#[test]
fn a_key_that_came_back_in_another_row_does_not_leave() {
    assert_eq!(case(ab(), ab().vanished("B").with_row("B", 999, "other")).judge(), Ok(()));
}

#[test]
fn a_key_that_the_spec_no_longer_names_leaves_by_the_spec_alone() {
    let only_a = || binding("app").selecting(&["A"]);
    assert_eq!(case(ab(), ab()).for_binding(only_a()).judge(), Ok(()));
    assert_eq!(case(ab(), ab().vanished("B")).for_binding(only_a()).judge(), Ok(()));
}

#[test]
fn a_renamed_key_leaves_under_its_old_name() {
    let renamed = binding("app").selecting_as(&[("a", "A"), ("b", "B")]);
    assert_eq!(case(ab(), ab()).for_binding(renamed).judge(), Ok(()));
}

#[test]
fn a_name_that_takes_another_key_that_is_not_there_yet_lets_the_old_value_go() {
    let then = binding("app").selecting_as(&[("url", "A")]);
    let now = binding("app").selecting_optional("C");
    assert_eq!(case(ab(), ab()).delivered_for(then).for_binding(now).judge(), Ok(()));
}

#[test]
fn an_optional_key_that_was_delivered_needs_proof_as_any_other() {
    let optional = || binding("app").selecting(&["A"]).selecting_optional("B");
    let case = |now| case(ab(), now).delivered_for(optional()).for_binding(optional());
    assert_eq!(case(ab().deleted("B")).judge(), Ok(()));
    assert_eq!(case(ab().vanished("B")).judge(), unproven(&["B"], false));
}

#[test]
fn another_source_in_the_spec_replaces_everything() {
    let staging = || snapshot().of_environment(3).with_row("A", 500, "one");
    assert_eq!(case(ab(), staging()).for_binding(binding("app").reading("shop-staging")).judge(), Ok(()));
}

#[test]
fn another_environment_behind_the_same_source_takes_nothing_unless_the_old_one_was_deleted() {
    let moved = || case(ab(), snapshot().of_environment(3).with_row("A", 500, "one"));
    assert_eq!(moved().judge(), unproven(&["B"], false));
    assert_eq!(Case { environment_was_deleted: true, ..moved() }.judge(), Ok(()));
}

#[test]
fn a_key_whose_grant_was_withdrawn_leaves_only_where_the_source_says_delete() {
    assert_eq!(case(ab(), ab()).granting_only_a(OnRevoke::Delete).judge(), Ok(()));
    let held = case(ab(), ab()).granting_only_a(OnRevoke::Retain).judge();
    assert_eq!(held, Err(Hold::Withdrawn { keys: vec!["B".into()] }));
}

#[test]
fn more_than_half_of_at_least_ten_keys_do_not_leave_at_once() {
    let without = |total: usize, gone: usize| {
        let all = snapshot().with_keys(total);
        let left = (0..gone).fold(all.clone(), |snapshot, n| snapshot.deleted(&format!("K{n}")));
        case(all, left).judge()
    };
    assert_eq!(without(10, 5), Ok(()));
    assert_eq!(without(10, 6), Err(Hold::Mass { removed: 6, delivered: 10 }));
    assert_eq!(without(10, 10), Err(Hold::Mass { removed: 10, delivered: 10 }));
    assert_eq!(without(9, 9), Ok(()));
}

#[test]
fn what_leaves_by_the_spec_is_no_mass_removal() {
    let all = || snapshot().with_keys(12);
    assert_eq!(case(all(), all()).for_binding(binding("app").selecting(&["K0"])).judge(), Ok(()));
}

#[test]
fn an_incomplete_set_is_never_the_first_one_delivered() {
    let first = |now, binding| case(ab(), now).for_binding(binding).judge_what(Delivered::Nothing, None);
    assert_eq!(first(ab().hidden("B"), binding("app")), Err(Hold::Incomplete));
    assert_eq!(first(ab().behind_policies(), binding("app")), Err(Hold::Incomplete));
    assert_eq!(first(ab().hidden("B"), binding("app").selecting(&["A"])), Ok(()));
    assert_eq!(first(ab(), binding("app")), Ok(()));
}

#[test]
fn a_secret_that_lost_its_annotations_loses_no_key() {
    let unreadable = |now| case(ab(), now).judge_what(Delivered::Unreadable, Some(&["A", "B"]));
    assert_eq!(unreadable(ab()), Ok(()));
    assert_eq!(unreadable(ab().deleted("B")), Err(Hold::Unreadable { keys: vec!["B".into()] }));
}

#[test]
fn the_release_names_the_revision_at_which_it_was_given() {
    assert_eq!(release_text(&snapshot().at_revision(41).build(), None), "41");
    assert_eq!(release_text(&snapshot().in_foreign_tables().build(), None), "77");
}

#[test]
fn a_release_that_was_used_is_followed_by_another_one() {
    let at_41 = snapshot().at_revision(41).build();
    for (used, next) in [("40", "41"), ("41", "41.2"), ("41.2", "41.3"), ("4", "41"), ("411", "41"), ("41.x", "41")] {
        assert_eq!(release_text(&at_41, Some(used)), next, "after {used}");
    }
}
