//! How much is asked of the registry: changes where something is known, groups where there is much, each value once.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, advance, sleep, timeout};
use uuid::Uuid;

use super::super::SourceState;
use super::super::fake_registry::{FakeRegistry, source};
use super::{next_source, until};
use crate::core::{EnvironmentId, ProjectId, SecretId};
use crate::registry::{Refusal, ServerPosition, ValueId};

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
async fn what_only_compares_otherwise_waits_a_moment_and_what_has_changed_does_not() {
    let registry = FakeRegistry::new();
    let (sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    let polled = async || {
        let before = registry.with(|script| script.polls);
        sources.nudge();
        until(|| registry.with(|script| script.polls) > before).await;
    };
    let later = async |changes: &mut _, least, most| {
        registry.change_elsewhere();
        polled().await;
        let began = Instant::now();
        next_source(changes).await;
        let took = began.elapsed().as_millis();
        assert!((least..most).contains(&took), "{took} ms");
    };
    // Just read, and then read for long.
    later(&mut changes, 350, 410).await;
    sleep(Duration::from_millis(450)).await;
    later(&mut changes, 80, 110).await;
    // A change of its own meanwhile ends the wait.
    registry.change_elsewhere();
    polled().await;
    registry.change();
    polled().await;
    let began = Instant::now();
    next_source(&mut changes).await;
    assert!(began.elapsed() < Duration::from_millis(20), "{:?}", began.elapsed());
    assert_eq!(registry.with(|script| script.snapshots), 4, "both at once");
}

/// Behind one address: a standby that is up to date, and one that is not.
#[tokio::test(start_paused = true)]
async fn what_one_standby_has_said_another_that_lags_does_not_take_back() {
    let registry = FakeRegistry::new();
    let at = |wal| Some(ServerPosition { wal, is_standby: true });
    registry.with(|script| script.position = at(10));
    let (sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    let polls = || registry.with(|script| script.polls);
    registry.with(|script| {
        script.position = at(9);
        script.refused.insert(source("dev"), Refusal::EnvironmentNotFound);
    });
    let before = polls();
    until(|| polls() > before + 3).await;
    assert!(matches!(sources.state(&source("dev")), SourceState::Ready(_)));
    let of = (ProjectId(Uuid::nil()), EnvironmentId(Uuid::nil()));
    assert!(sources.tombstones(of, &[[1; 8]]).await.is_err(), "what it lacks may have been deleted all the same");
    // One that begins to read where it is up to date, and ends where it is not.
    registry.with(|script| (script.position, script.refused) = (at(11), BTreeMap::new()));
    assert!(sources.tombstones(of, &[[1; 8]]).await.unwrap().was_asked_for([1; 8]));
    registry.change();
    next_source(&mut changes).await;
    registry.with(|script| {
        script.position = at(10);
        script.refused.insert(source("dev"), Refusal::EnvironmentNotFound);
    });
    assert!(timeout(Duration::from_secs(50), changes.recv()).await.is_err());
    // For good: that is what the database says now.
    next_source(&mut changes).await;
    assert!(matches!(sources.state(&source("dev")), SourceState::Refused { .. }));
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
