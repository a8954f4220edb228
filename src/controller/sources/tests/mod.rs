//! The poller against a registry by script, with the clock stopped: time passes only where a test lets it.

mod late;
mod reads;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, advance, sleep, timeout};
use uuid::Uuid;

use super::fake_registry::{FakeRegistry, source};
use super::{ChangeKind, Fault, SourceChange, SourceState};
use crate::core::ProjectId;
use crate::registry::{LoggedToken, Refusal, RegistryError, SnapshotVersion, SourceName};

const PROJECT: ProjectId = ProjectId(Uuid::nil());

/// The project's revision that a state was read at.
fn revision(state: &SourceState) -> Option<i64> {
    match state.snapshot()?.version {
        SnapshotVersion::Revisions { project, .. } => Some(project.number),
        SnapshotVersion::Digest { .. } => None,
    }
}

/// The token of a revision that is in the log.
fn logged(token: LoggedToken) -> Uuid {
    let LoggedToken::Token(token) = token else { panic!("{token:?}") };
    token
}

/// The next environment that is said to stand otherwise.
async fn next_source(changes: &mut UnboundedReceiver<SourceChange>) -> SourceName {
    change(changes).await.source
}

/// The next change that is handed on.
async fn change(changes: &mut UnboundedReceiver<SourceChange>) -> SourceChange {
    timeout(Duration::from_mins(1), changes.recv()).await.expect("a change is handed on").expect("the poller runs")
}

/// Comes back when it is so.
async fn until(is_so: impl Fn() -> bool) {
    let waits = async {
        while !is_so() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_mins(1), waits).await.expect("it comes to that");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_known_before_the_first_look_and_everything_after_it() {
    let registry = FakeRegistry::new();
    let (sources, mut changes) = registry.start(&["dev", "staging"]);
    assert!(matches!(sources.state(&source("dev")), SourceState::Pending));
    let woken = [next_source(&mut changes).await, next_source(&mut changes).await];
    assert_eq!(woken, [source("dev"), source("staging")]);
    assert!(matches!(sources.state(&source("dev")), SourceState::Ready(_)));
    assert_eq!(registry.with(|script| (script.polls, script.snapshots)), (1, 2));
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_fence_costs_no_snapshot_and_wakes_nobody() {
    let registry = FakeRegistry::new();
    let (sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    assert!(timeout(Duration::from_secs(10), changes.recv()).await.is_err());
    let (polls, snapshots) = registry.with(|script| (script.polls, script.snapshots));
    assert!((16..=26).contains(&polls), "{polls} polls in 10 s");
    assert_eq!(snapshots, 1);
    registry.change();
    next_source(&mut changes).await;
    assert_eq!(revision(&sources.state(&source("dev"))), Some(2));
    // Someone else's tables have this without any other sign of a change.
    registry.with(|script| script.production = true);
    next_source(&mut changes).await;
    assert!(sources.state(&source("dev")).snapshot().is_some_and(|snapshot| snapshot.production));
}

#[tokio::test(start_paused = true)]
async fn a_change_says_whether_it_touched_the_content_the_comparison_or_only_whether_there_is_an_answer() {
    let registry = FakeRegistry::new();
    let (_sources, mut changes) = registry.start(&["dev"]);
    assert_eq!(change(&mut changes).await.kind, ChangeKind::Availability, "it is read for the first time");
    registry.change();
    assert_eq!(change(&mut changes).await.kind, ChangeKind::Content);
    registry.change_elsewhere();
    assert_eq!(change(&mut changes).await.kind, ChangeKind::Comparison);
    registry.with(|script| script.away = true);
    assert_eq!(change(&mut changes).await.kind, ChangeKind::Availability);
    registry.with(|script| script.away = false);
    assert_eq!(change(&mut changes).await.kind, ChangeKind::Availability, "nothing was written meanwhile");
    registry.with(|script| script.away = true);
    assert_eq!(change(&mut changes).await.kind, ChangeKind::Availability);
    registry.change();
    registry.with(|script| script.away = false);
    assert_eq!(change(&mut changes).await.kind, ChangeKind::Content, "something was");
}

#[tokio::test(start_paused = true)]
async fn a_hint_leads_to_a_look_at_once_also_after_the_listener_was_cut_off() {
    let registry = FakeRegistry::new();
    let (_sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    for listens in 1..=2 {
        until(|| registry.with(|script| script.listens) == listens).await;
        // Somewhere between two polls that nobody asked for.
        let polls = registry.with(|script| script.polls);
        until(|| registry.with(|script| script.polls) > polls).await;
        sleep(Duration::from_millis(50)).await;
        registry.change();
        let before = Instant::now();
        let hints = registry.hints.lock().unwrap().clone().expect("the poller listens");
        hints.send(()).await.unwrap();
        next_source(&mut changes).await;
        assert!(before.elapsed() < Duration::from_millis(25), "{:?}", before.elapsed());
        registry.hang_up.notify_one();
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_of_hints_does_not_become_a_crowd_of_looks() {
    let registry = FakeRegistry::new();
    let (_sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    let hints = registry.hints.lock().unwrap().clone().expect("the poller listens");
    let before = registry.with(|script| script.polls);
    for _ in 0..1_000 {
        hints.send(()).await.unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    let polls = registry.with(|script| script.polls) - before;
    assert!(polls <= 51, "{polls} polls in a second");
}

#[tokio::test(start_paused = true)]
async fn a_look_that_began_before_the_call_is_no_answer() {
    let registry = FakeRegistry::new();
    let hold = Arc::new(Notify::new());
    registry.with(|script| script.hold = Some(Arc::clone(&hold)));
    let (sources, _changes) = registry.start(&["dev"]);
    while registry.with(|script| script.polls) == 0 {
        tokio::task::yield_now().await;
    }
    // The poll has begun, and has seen revision 1.
    let asked = tokio::spawn({
        let sources = sources.clone();
        async move { sources.poll_again(&source("dev")).await }
    });
    tokio::task::yield_now().await;
    registry.change();
    registry.with(|script| script.hold = None);
    hold.notify_one();
    assert_eq!(revision(&asked.await.unwrap()), Some(2));
}

#[tokio::test(start_paused = true)]
async fn callers_at_the_same_time_share_one_look() {
    let registry = FakeRegistry::new();
    let (sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    let before = registry.with(|script| script.polls);
    let dev = source("dev");
    let asked = futures::future::join_all((0..100).map(|_| sources.poll_again(&dev)));
    assert!(asked.await.iter().all(|state| matches!(state, SourceState::Ready(_))));
    assert_eq!(registry.with(|script| script.polls), before + 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_watched_is_looked_at_for_whoever_asks_and_then_forgotten() {
    let registry = FakeRegistry::new();
    let (sources, _changes) = registry.start(&["dev"]);
    assert!(matches!(sources.poll_again(&source("other")).await, SourceState::Ready(_)));
    sources.poll_again(&source("dev")).await;
    assert!(matches!(sources.state(&source("other")), SourceState::Pending));
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_said_at_once_and_keeps_its_beginning_until_it_is_over() {
    let registry = FakeRegistry::new();
    let (sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    registry.with(|script| script.away = true);
    next_source(&mut changes).await;
    let SourceState::Unavailable { since, cause, fault: Fault::Away, last: Some(_) } = sources.state(&source("dev"))
    else {
        panic!("{:?}", sources.state(&source("dev")));
    };
    assert_eq!(cause, "asking: the database is unavailable: connection refused");
    let polls = registry.with(|script| script.polls);
    assert!(timeout(Duration::from_mins(1), changes.recv()).await.is_err(), "nothing new was said");
    assert_eq!(registry.with(|script| script.polls), polls, "the login is checked before anything is read");
    let SourceState::Unavailable { since: still, .. } = sources.poll_again(&source("dev")).await else {
        panic!("{:?}", sources.state(&source("dev")));
    };
    assert_eq!(still, since);

    registry.with(|script| script.away = false);
    let before = Instant::now();
    next_source(&mut changes).await;
    assert!(before.elapsed() <= Duration::from_millis(2_400), "{:?}", before.elapsed());
    assert!(matches!(sources.state(&source("dev")), SourceState::Ready(_)));
    assert_eq!(registry.with(|script| script.snapshots), 1, "the same token means the same content");
}

#[tokio::test(start_paused = true)]
async fn an_environment_that_cannot_be_read_marks_only_itself() {
    let registry = FakeRegistry::new();
    registry.with(|script| script.unreadable.insert(source("dev")));
    let (sources, mut changes) = registry.start(&["dev", "staging"]);
    next_source(&mut changes).await;
    next_source(&mut changes).await;
    assert!(matches!(
        sources.state(&source("dev")),
        SourceState::Unavailable { fault: Fault::Refused, last: None, .. }
    ));
    assert!(matches!(sources.state(&source("staging")), SourceState::Ready(_)));
    registry.with(|script| script.unreadable.clear());
    assert!(matches!(sources.poll_again(&source("dev")).await, SourceState::Ready(_)), "no pause for who asks");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_forgets_what_was_read() {
    let registry = FakeRegistry::new();
    let (sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    registry.with(|script| script.refused.insert(source("dev"), Refusal::EnvironmentNotFound));
    next_source(&mut changes).await;
    let state = sources.state(&source("dev"));
    assert!(matches!(state, SourceState::Refused { refusal: Refusal::EnvironmentNotFound }), "{state:?}");
    registry.with(|script| script.refused.clear());
    next_source(&mut changes).await;
    assert!(matches!(sources.state(&source("dev")), SourceState::Ready(_)));
}

#[tokio::test(start_paused = true)]
async fn a_login_that_may_not_serve_ends_the_poller_before_anything_is_read() {
    let registry = FakeRegistry::new();
    registry.with(|script| (script.away, script.login_refused) = (true, true));
    let (_sources, poller, _changes) = registry.poller(&["dev"]);
    let running = tokio::spawn(poller.run());
    advance(Duration::from_secs(5)).await;
    assert!(!running.is_finished(), "a database that is away refuses nobody");
    registry.with(|script| script.away = false);
    assert!(matches!(running.await.unwrap(), RegistryError::Refused { .. }));
    assert_eq!(registry.with(|script| script.polls), 0);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_asked_for_once_while_the_history_only_grows() {
    let registry = FakeRegistry::new();
    let (sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    let first = registry.with(|script| script.log[0]);
    assert_eq!(sources.token_of(PROJECT, 1).await.unwrap(), LoggedToken::Token(first));
    assert_eq!(registry.with(|script| script.token_questions), 0, "the poll had it");
    registry.change();
    next_source(&mut changes).await;
    // A thousand bindings ask at the same time after each change.
    let asked = futures::future::join_all((0..1_000).map(|_| sources.token_of(PROJECT, 1)));
    assert!(asked.await.into_iter().all(|token| token.unwrap() == LoggedToken::Token(first)));
    assert_eq!(registry.with(|script| script.token_questions), 1, "whether the log has only grown");
    assert_eq!(sources.token_of(PROJECT, 3).await.unwrap(), LoggedToken::Absent);
}

#[tokio::test(start_paused = true)]
async fn bindings_that_rest_on_thousands_of_revisions_ask_for_each_once_and_not_after_each_change() {
    let registry = FakeRegistry::new();
    (0..5_000).for_each(|_| registry.change());
    let (sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    let ask_for_all = async || {
        for revision in 1..=5_000 {
            let logged = sources.token_of(PROJECT, revision).await.unwrap();
            assert!(matches!(logged, LoggedToken::Token(_)), "{revision}: {logged:?}");
        }
        registry.with(|script| script.token_questions)
    };
    let first = ask_for_all().await;
    // As many steps again between two looks.
    (0..2_000).for_each(|_| registry.change());
    next_source(&mut changes).await;
    assert_eq!(ask_for_all().await - first, 1, "whether the log has only grown");
}

#[tokio::test(start_paused = true)]
async fn another_history_is_not_answered_from_memory() {
    let registry = FakeRegistry::new();
    registry.change();
    registry.change();
    let (sources, mut changes) = registry.start(&["dev"]);
    next_source(&mut changes).await;
    let mut lost = Vec::new();
    for revision in [2, 3] {
        lost.push(logged(sources.token_of(PROJECT, revision).await.unwrap()));
    }
    // A restore to revision 1, and as many other steps.
    registry.with(|script| script.log.truncate(1));
    registry.change();
    registry.change();
    next_source(&mut changes).await;
    for revision in [2, 3] {
        let token = logged(sources.token_of(PROJECT, revision).await.unwrap());
        assert!(!lost.contains(&token), "revision {revision} is another one now");
    }
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_for_tokens_at_once_ask_the_registry_once_for_each_and_one_after_the_other() {
    let registry = FakeRegistry::new();
    for _ in 0..9 {
        registry.change();
    }
    let (sources, mut changes) = registry.start(&["dev"]);
    changes.recv().await;
    let asked = (0..100).map(|number| sources.token_of(PROJECT, 1 + number % 5));
    assert!(futures::future::join_all(asked).await.iter().all(|answer| matches!(answer, Ok(LoggedToken::Token(_)))));
    assert_eq!(registry.with(|script| (script.token_questions, script.asking.1)), (5, 1));
}

#[tokio::test(start_paused = true)]
async fn rows_that_were_hidden_are_looked_for_again_though_no_revision_moves() {
    let registry = FakeRegistry::new();
    registry.with(|script| script.hidden_rows = 1);
    let (sources, mut changes) = registry.start(&["dev"]);
    changes.recv().await;
    let hides = || sources.state(&source("dev")).snapshot().is_some_and(|snapshot| snapshot.hides_rows());
    assert!(hides());
    assert!(timeout(Duration::from_secs(10), changes.recv()).await.is_err(), "the same is no news");
    assert!((3..=6).contains(&registry.with(|script| script.snapshots)), "it is read every other second");
    registry.with(|script| script.hidden_rows = 0);
    timeout(Duration::from_secs(4), changes.recv()).await.expect("rows that can be seen again are news");
    assert!(!hides());

    // Who asks is not answered by what was hidden before.
    registry.with(|script| script.hidden_rows = 1);
    registry.change();
    changes.recv().await;
    registry.with(|script| script.hidden_rows = 0);
    let SourceState::Ready(snapshot) = sources.poll_again(&source("dev")).await else { panic!("it can be read") };
    assert!(!snapshot.hides_rows());
}
