//! Takes names from a queue and reconciles what they stand for: each object once at a time, each with a deadline, and
//! again after a failure, with growing pauses.
//!
//! Not kube's own applier: that polls every object in flight whenever one of them moves, so that 10,000 objects that
//! wait for a lane cost 10,000 looks for each step of each of them. Here a task wakes for itself alone.

use std::any::Any;
use std::collections::HashMap;
use std::fmt::Debug;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kube::Resource;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use super::action::Action;
use super::deadline::{Ended, within};
use crate::telemetry::{Heartbeat, Metrics, ReconcileResult};

/// First and longest pause after a failure; it doubles with each in a row.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_mins(1));

/// From one beat of the heart to the next, while nothing else happens.
pub(crate) const BEAT: Duration = Duration::from_secs(10);

/// What works on one kind of object.
pub(crate) struct Queue<K: Resource<DynamicType = ()> + 'static> {
    /// For metrics.
    pub(crate) kind: &'static str,
    pub(crate) names: UnboundedReceiver<ObjectRef<K>>,
    pub(crate) store: Store<K>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) heartbeat: Heartbeat,
    /// Ends the taking of names; what runs is finished.
    pub(crate) stop: CancellationToken,
}

/// Why a reconcile did not come to its end.
#[derive(Debug, thiserror::Error)]
enum Failure<E: std::error::Error + 'static> {
    #[error(transparent)]
    Reconcile(E),
    #[error(transparent)]
    Ended(#[from] Ended),
    #[error("it panicked")]
    Panicked,
}

impl<E: std::error::Error> From<Box<dyn Any + Send>> for Failure<E> {
    /// What a panic carries could repeat anything, so it is dropped.
    fn from(_: Box<dyn Any + Send>) -> Self {
        Self::Panicked
    }
}

/// An object that runs, waits for its time, or failed the last times.
#[derive(Default)]
struct Slot {
    runs: bool,
    /// Its name came again while it ran.
    again: bool,
    timer: Option<Key>,
    /// How often in a row it failed.
    failures: u32,
}

/// A reconcile that ended.
struct Done<K: Resource<DynamicType = ()>, E: std::error::Error + 'static> {
    name: ObjectRef<K>,
    result: Result<Action, Failure<E>>,
    took: Duration,
}

/// What is known of all objects that are not at rest.
struct Worker<K: Resource<DynamicType = ()> + 'static, F, E: std::error::Error + 'static> {
    kind: &'static str,
    store: Store<K>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    reconcile: F,
    slots: HashMap<ObjectRef<K>, Slot>,
    running: JoinSet<Done<K, E>>,
    timers: DelayQueue<ObjectRef<K>>,
}

impl<K> Queue<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    /// Works until told to stop, and until what runs then is finished.
    pub(crate) async fn work<E>(self, reconcile: impl Fn(Arc<K>) -> BoxFuture<'static, Result<Action, E>>)
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let Self { kind, mut names, store, metrics, heartbeat, stop } = self;
        let (slots, running, timers) = (HashMap::new(), JoinSet::new(), DelayQueue::new());
        let mut worker = Worker { kind, store, metrics, stop: stop.clone(), reconcile, slots, running, timers };
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                name = names.recv() => match name {
                    Some(name) => worker.wake(name),
                    None => break,
                },
                Some(expired) = worker.timers.next() => {
                    let name = expired.into_inner();
                    worker.slots.entry(name.clone()).or_default().timer = None;
                    worker.wake(name);
                }
                Some(done) = worker.running.join_next() => {
                    if let Ok(done) = done {
                        worker.finish(done);
                    }
                }
                _ = beats.tick() => heartbeat.beat(),
            }
        }
        while let Some(done) = worker.running.join_next().await {
            if let Ok(done) = done {
                worker.count(&done);
            }
        }
    }
}

impl<K, F, E> Worker<K, F, E>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
    F: Fn(Arc<K>) -> BoxFuture<'static, Result<Action, E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    /// Reconciles an object now, or once more when it is done, if it runs.
    fn wake(&mut self, name: ObjectRef<K>) {
        let slot = self.slots.entry(name.clone()).or_default();
        if let Some(timer) = slot.timer.take() {
            self.timers.remove(&timer);
        }
        if slot.runs {
            slot.again = true;
            return;
        }
        // A name without an object is one that was deleted meanwhile.
        let Some(object) = self.store.get(&name) else {
            self.slots.remove(&name);
            return;
        };
        slot.runs = true;
        let (stop, reconcile) = (self.stop.clone(), (self.reconcile)(object));
        self.running.spawn(async move {
            let began = Instant::now();
            let result = match AssertUnwindSafe(within(&stop, reconcile)).catch_unwind().await {
                Ok(Ok(Ok(action))) => Ok(action),
                Ok(Ok(Err(error))) => Err(Failure::Reconcile(error)),
                Ok(Err(ended)) => Err(Failure::Ended(ended)),
                Err(panic) => Err(Failure::from(panic)),
            };
            Done { name, result, took: began.elapsed() }
        });
    }

    /// What follows: another run, a timer, or rest.
    fn finish(&mut self, done: Done<K, E>) {
        self.count(&done);
        let Done { name, result, .. } = done;
        let slot = self.slots.entry(name.clone()).or_default();
        slot.runs = false;
        let after = if let Ok(action) = result {
            slot.failures = 0;
            action.after()
        } else {
            slot.failures = slot.failures.saturating_add(1);
            Some(pause(slot.failures))
        };
        if std::mem::take(&mut slot.again) {
            self.wake(name);
        } else if let Some(after) = after {
            slot.timer = Some(self.timers.insert(name, after));
        } else {
            self.slots.remove(&name);
        }
    }

    fn count(&self, Done { name, result, took }: &Done<K, E>) {
        let outcome = match result {
            Ok(_) => ReconcileResult::Ok,
            Err(Failure::Ended(Ended::Late)) => ReconcileResult::Timeout,
            Err(_) => ReconcileResult::Error,
        };
        self.metrics.reconciled(self.kind, outcome, *took);
        match result {
            Ok(_) | Err(Failure::Ended(Ended::Stopped)) => {}
            Err(error) => tracing::warn!(object = %name, %error, "a reconcile failed"),
        }
    }
}

/// The pause before an object that failed so often in a row is tried again.
fn pause(failures: u32) -> Duration {
    let (first, longest) = RETRY;
    let pause = first.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX)).min(longest);
    pause.mul_f64(rand::random_range(0.8..=1.0))
}

#[cfg(test)]
mod tests;
