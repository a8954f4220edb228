//! Reading that takes long: it is no answer to a later question, and keeps nobody else waiting.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout};

use super::super::fake_registry::{FakeRegistry, source};
use super::super::{SourceChange, SourceState, Sources};
use super::{next_source, revision, until};
use crate::registry::Refusal;

/// A poller that is reading `dev`, which takes until the test says so; the first change was handed on for `others`.
async fn reading_dev(
    registry: &Arc<FakeRegistry>,
    others: &[&str],
) -> (Sources, UnboundedReceiver<SourceChange>, Arc<Notify>) {
    let done = Arc::new(Notify::new());
    registry.with(|script| script.slow.insert(source("dev"), Arc::clone(&done)));
    let (sources, mut changes) = registry.start(&[&["dev"][..], others].concat());
    for _ in others {
        next_source(&mut changes).await;
    }
    until(|| registry.with(|script| script.snapshots) > others.len()).await;
    // What is read from now on takes no time.
    registry.with(|script| script.slow.clear());
    (sources, changes, done)
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_a_change_is_no_answer_to_who_asks_after_it() {
    let registry = FakeRegistry::new();
    let (sources, _changes, done) = reading_dev(&registry, &[]).await;
    registry.change();
    let asked = tokio::spawn(async move { sources.poll_again(&source("dev")).await });
    sleep(Duration::from_millis(50)).await;
    assert_eq!(registry.with(|script| script.polls), 2, "a poll has seen the change");
    assert!(!asked.is_finished());
    let before = Instant::now();
    done.notify_one();
    assert_eq!(revision(&asked.await.unwrap()), Some(2));
    assert!(before.elapsed() < Duration::from_millis(25), "it is read anew at once: {:?}", before.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_was_read_late_does_not_take_back_what_was_said_meanwhile() {
    for away in [true, false] {
        let registry = FakeRegistry::new();
        let (sources, mut changes, done) = reading_dev(&registry, &[]).await;
        registry.with(|script| {
            script.away = away;
            script.refused = (!away).then_some((source("dev"), Refusal::EnvironmentNotFound)).into_iter().collect();
        });
        next_source(&mut changes).await;
        done.notify_one();
        assert!(timeout(Duration::from_secs(10), changes.recv()).await.is_err(), "{:?}", sources.state(&source("dev")));
        let state = sources.state(&source("dev"));
        assert!(matches!(state, SourceState::Unavailable { .. } | SourceState::Refused { .. }), "{state:?}");
        registry.with(|script| (script.away, script.refused) = (false, BTreeMap::new()));
        next_source(&mut changes).await;
        assert!(matches!(sources.state(&source("dev")), SourceState::Ready(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_takes_long_to_read_keeps_no_other_one_waiting() {
    let registry = FakeRegistry::new();
    let (sources, mut changes, _done) = reading_dev(&registry, &["staging"]).await;
    registry.change();
    assert_eq!(next_source(&mut changes).await, source("staging"));
    assert_eq!(revision(&sources.state(&source("staging"))), Some(2));
    assert!(matches!(sources.state(&source("dev")), SourceState::Pending));
}

#[tokio::test(start_paused = true)]
async fn four_environments_are_read_at_once_and_looks_go_on_meanwhile() {
    let registry = FakeRegistry::new();
    let (names, done) = (["a", "b", "c", "d", "e", "f"], Arc::new(Notify::new()));
    registry.with(|script| script.slow = names.map(|name| (source(name), Arc::clone(&done))).into());
    let (_sources, mut changes) = registry.start(&names);
    sleep(Duration::from_secs(2)).await;
    let (polls, snapshots) = registry.with(|script| (script.polls, script.snapshots));
    assert!(polls >= 3, "{polls} polls in 2 s");
    assert_eq!(snapshots, 4);
    registry.with(|script| script.slow.clear());
    done.notify_waiters();
    for _ in names {
        next_source(&mut changes).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_environment_whose_reading_takes_half_a_minute_is_read_and_keeps_nobody_else_waiting() {
    let registry = FakeRegistry::new();
    let slow = ["slow-1", "slow-2", "slow-3", "slow-4", "slow-5"];
    registry.with(|script| script.takes = slow.map(|name| (source(name), Duration::from_secs(30))).into());
    let (sources, mut changes) = registry.start(&[&["dev"][..], &slow].concat());
    let mut longest = Duration::ZERO;
    let is_read = |name: &str| matches!(sources.state(&source(name)), SourceState::Ready(_));
    next_source(&mut changes).await;
    for _ in 0..600 {
        if slow.iter().all(|name| is_read(name)) {
            break;
        }
        registry.change();
        let (expected, began) = (registry.with(|script| script.log.len()), Instant::now());
        let expected = i64::try_from(expected).unwrap();
        while revision(&sources.state(&source("dev"))).is_none_or(|read| read < expected) {
            sleep(Duration::from_millis(50)).await;
            assert!(began.elapsed() < Duration::from_mins(1), "dev is not read any more");
        }
        longest = longest.max(began.elapsed());
    }
    for name in slow {
        assert!(is_read(name), "{name}: {:?}", sources.state(&source(name)));
    }
    assert!(longest < Duration::from_secs(15), "dev waited for {longest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_who_ask_for_a_slow_source_to_be_read_anew_share_one_reading_and_hold_no_other_up() {
    let registry = FakeRegistry::new();
    let (sources, mut changes) = registry.start(&["dev", "staging"]);
    next_source(&mut changes).await;
    next_source(&mut changes).await;
    registry.with(|script| script.takes.insert(source("dev"), Duration::from_secs(3)));
    let before = registry.with(|script| (script.polls, script.snapshots));
    let began = Instant::now();
    let asked = (0..1_000).map(|_| {
        let sources = sources.clone();
        tokio::spawn(async move { sources.read_again(&source("dev")).await })
    });
    let asked: Vec<_> = asked.collect();
    sleep(Duration::from_millis(100)).await;
    let since = Instant::now();
    registry.change();
    while next_source(&mut changes).await != source("staging") {}
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
    for answer in asked {
        assert!(matches!(answer.await.unwrap(), SourceState::Ready(_)));
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(7), "two readings at most: {took:?}");
    let (polls, snapshots) = registry.with(|script| (script.polls - before.0, script.snapshots - before.1));
    assert!(polls < 40 && snapshots <= 4, "{polls} polls, {snapshots} snapshots");
}
