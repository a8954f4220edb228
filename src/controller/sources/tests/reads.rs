//! How much is asked of the registry: changes where something is known, groups where there is much, each value once.

use std::time::Duration;

use tokio::time::{advance, timeout};
use uuid::Uuid;

use super::super::fake_registry::{FakeRegistry, source};
use super::{next_source, until};
use crate::core::{EnvironmentId, ProjectId, SecretId};
use crate::registry::ValueId;

#[tokio::test(start_paused = true)]
async fn everything_is_read_once_then_what_changed_and_everything_again_after_an_hour() {
    let registry = FakeRegistry::new();
    let (_sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    let reads = || registry.with(|script| (script.snapshots, script.whole_snapshots));
    assert_eq!(reads(), (1, 1));
    for _ in 0..2 {
        registry.change();
        next_source(&mut changes).await;
    }
    assert_eq!(reads(), (3, 1));
    advance(Duration::from_mins(72)).await;
    until(|| reads() == (4, 2)).await;
    assert!(changes.try_recv().is_err(), "it came to the same");
}

#[tokio::test(start_paused = true)]
async fn who_finds_that_what_was_read_is_not_there_has_everything_read_anew() {
    let registry = FakeRegistry::new();
    let (sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    sources.poll_again(&source("dev")).await;
    assert_eq!(registry.with(|script| script.snapshots), 1, "nothing changed");
    sources.read_again(&source("dev")).await;
    assert_eq!(registry.with(|script| (script.snapshots, script.whole_snapshots)), (2, 2));
    sources.poll_again(&source("dev")).await;
    assert_eq!(registry.with(|script| script.snapshots), 2, "it is read once");
}

#[tokio::test(start_paused = true)]
async fn more_environments_than_one_poll_takes_are_asked_about_in_turns() {
    let registry = FakeRegistry::new();
    registry.with(|script| script.poll_width = Some(2));
    let names = ["a", "b", "c", "d", "e"];
    let (_sources, mut changes) = registry.start(&names);
    for _ in names {
        next_source(&mut changes).await;
    }
    assert_eq!(registry.with(|script| script.poll_sizes[..3].to_vec()), [2, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_was_too_large_is_repeated_in_smaller_ones() {
    let registry = FakeRegistry::new();
    registry.with(|script| (script.poll_width, script.too_many) = (Some(8), Some(2)));
    let names = ["a", "b", "c", "d", "e"];
    let (_sources, mut changes) = registry.start(&names);
    for _ in names {
        timeout(Duration::from_millis(100), next_source(&mut changes)).await.expect("no outage");
    }
    assert_eq!(registry.with(|script| script.poll_sizes[..4].to_vec()), [5, 2, 2, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_many_want_at_once_is_asked_for_once() {
    let registry = FakeRegistry::new();
    let (sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    let of = (ProjectId(Uuid::nil()), EnvironmentId(Uuid::nil()));
    let value = |version| ValueId { row: SecretId(Uuid::nil()), version, value_version: "hash".into() };
    let ask = async |version| sources.sealed_values(of, vec![value(version)]).await.unwrap();
    ask(1).await;
    futures::future::join_all((0..50).map(|_| ask(1))).await;
    assert_eq!(registry.with(|script| script.value_questions), 1);
    ask(2).await;
    assert_eq!(registry.with(|script| script.value_questions), 2);
}
