//! Takes requests and reconciles the objects that they name: each object once at a time, with a permit and a deadline,
//! and again after a failure, with growing pauses.
//!
//! Not kube's own applier: that polls every object in flight whenever one of them moves, so that 10,000 objects that
//! wait cost 10,000 polls for each step of each of them; and it knows neither priorities nor bounds by source.

mod failures;

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use kube::Resource;
use kube::runtime::reflector::ObjectRef;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::time::DelayQueue;
use tokio_util::time::delay_queue::Key;

use super::cache::Cache;
use super::lease::Leadership;
use super::permits::{Permit, PermitLimits, Permits, Priority};
use super::watch_health::WatchHealth;
use crate::telemetry::{Heartbeat, Metrics, ReconcileResult};

use failures::{Failure, FailureLog};

/// Longest that a reconcile may take, from when it has its permit.
const DEADLINE: Duration = Duration::from_secs(30);

/// From one beat of the heart to the next, while nothing else happens.
pub(crate) const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);

/// Pauses after failures in a row: 150 ms, doubled with each up to 30 s, and up to as much again at random.
fn retry_pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(150))
        .with_max_delay(Duration::from_secs(30))
        .without_max_times()
        .with_jitter()
        .build()
}

/// After an outage of the API server, within which all that failed meanwhile is tried again.
const RETRY_WITHIN: Duration = Duration::from_secs(1);

/// An object that is to be reconciled, and how soon.
#[derive(Debug)]
pub(crate) struct Request<O: Resource<DynamicType = ()>> {
    pub(crate) name: ObjectRef<O>,
    pub(crate) priority: Priority,
    /// Not before that time has passed, unless something else leads to it; `None`: at once.
    pub(crate) after: Option<Duration>,
}

/// What a reconcile answers: when to reconcile again, if nothing happens before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "it says when the object has to be reconciled again"]
pub(crate) enum Requeue {
    /// Only when something happens to it.
    OnChange,
    /// After that time at the latest.
    After(Duration),
    /// Likewise, at low priority unless something else leads to it.
    LowAfter(Duration),
}

/// What reconciles one kind of object.
pub(crate) struct Queue<O: Resource<DynamicType = ()> + 'static, K> {
    pub(crate) requests: UnboundedReceiver<Request<O>>,
    pub(crate) cache: Cache<O>,
    pub(crate) limits: PermitLimits,
    /// By what permits are counted, beside their number in all.
    pub(crate) permit_key: fn(&O) -> K,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) heartbeat: Heartbeat,
    /// While one of these is deaf, nothing is begun: what it should have told may forbid it.
    pub(crate) watches: WatchHealth,
    /// Whether this replica is the one that works: the others only take note of what waits.
    pub(crate) leadership: Leadership,
    /// Ends the taking of requests; what runs is finished.
    pub(crate) stop: CancellationToken,
}

/// An object that waits, runs, or is to be reconciled again at some time.
struct Slot {
    /// That of the request that led to this, the highest of several; kept over pauses.
    priority: Priority,
    /// When it was first asked for.
    since: Instant,
    waits: bool,
    runs: bool,
    /// It was asked for again while it ran.
    again: Option<Priority>,
    timer: Option<Key>,
    /// The pauses that are left, where it failed the last times.
    pauses: Option<ExponentialBackoff>,
}

/// A reconcile that ended.
struct Done<O: Resource<DynamicType = ()>, K, E: std::error::Error + 'static> {
    name: ObjectRef<O>,
    permit: Permit<K>,
    result: Result<Requeue, Failure<E>>,
}

/// What is known of all objects that are not at rest.
struct Worker<O: Resource<DynamicType = ()> + 'static, K, F, E: std::error::Error + 'static> {
    cache: Cache<O>,
    permit_key: fn(&O) -> K,
    metrics: Arc<Metrics>,
    reconcile: F,
    slots: HashMap<ObjectRef<O>, Slot>,
    permits: Permits<ObjectRef<O>, K>,
    running: JoinSet<Done<O, K, E>>,
    timers: DelayQueue<ObjectRef<O>>,
    failures: FailureLog<K>,
}

impl<O, K> Queue<O, K>
where
    O: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K: Clone + Eq + Hash + Send + 'static,
{
    /// Works until told to stop, and until what runs then is finished.
    pub(crate) async fn work<E>(self, reconcile: impl Fn(Arc<O>) -> BoxFuture<'static, Result<Requeue, E>>)
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let Self { mut requests, cache, limits, permit_key, metrics, heartbeat, watches, mut leadership, stop } = self;
        let mut recoveries = watches.recoveries();
        let mut worker = Worker {
            cache,
            permit_key,
            metrics,
            reconcile,
            slots: HashMap::new(),
            permits: Permits::new(limits),
            running: JoinSet::new(),
            timers: DelayQueue::new(),
            failures: FailureLog::default(),
        };
        let mut beats = interval(HEARTBEAT_INTERVAL);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                request = requests.recv() => match request {
                    Some(Request { name, priority, after: None }) => worker.wake(name, priority),
                    Some(Request { name, priority, after: Some(after) }) => worker.wake_after(name, priority, after),
                    None => break,
                },
                Some(expired) = worker.timers.next() => worker.expire(expired.into_inner()),
                Some(done) = worker.running.join_next() => {
                    if let Ok(done) = done {
                        worker.finish(done);
                    }
                }
                Ok(()) = recoveries.changed() => worker.retry_soon(),
                () = leadership.changed() => {}
                _ = beats.tick() => heartbeat.beat(),
            }
            if stop.is_cancelled() {
                break;
            }
            if leadership.is_held() && !watches.is_deaf() {
                worker.start_all();
            }
            worker.metrics.queued(&O::kind(&()), worker.permits.waiting(), worker.running.len());
        }
        while let Some(done) = worker.running.join_next().await {
            if let Ok(done) = done {
                worker.count(&done);
            }
        }
    }
}

impl<O, K, F, E> Worker<O, K, F, E>
where
    O: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K: Clone + Eq + Hash + Send + 'static,
    F: Fn(Arc<O>) -> BoxFuture<'static, Result<Requeue, E>>,
    E: std::error::Error + Send + Sync + 'static,
{
    /// Has an object wait for its turn, or run once more when it is done, if it runs.
    fn wake(&mut self, name: ObjectRef<O>, priority: Priority) {
        // A name without an object is one that was deleted meanwhile.
        let Some(object) = self.cache.get(&name) else { return self.forget(&name) };
        let slot = self.slots.entry(name.clone()).or_insert_with(|| Slot::new(priority));
        if let Some(timer) = slot.timer.take() {
            self.timers.remove(&timer);
            slot.since = Instant::now();
        }
        if slot.runs {
            slot.again = slot.again.max(Some(priority));
        } else if !slot.waits || slot.priority < priority {
            // Where it waits already, the entry of lower priority is passed over when its turn comes.
            (slot.priority, slot.waits) = (priority, true);
            self.permits.wait(name, priority, (self.permit_key)(&object));
        }
    }

    /// Has an object wait for its turn when that time has passed, unless it is to be reconciled sooner anyhow. What runs may not
    /// have seen what it is asked for.
    fn wake_after(&mut self, name: ObjectRef<O>, priority: Priority, after: Duration) {
        if !self.cache.contains(&name) {
            return self.forget(&name);
        }
        let slot = self.slots.entry(name.clone()).or_insert_with(|| Slot::new(priority));
        if slot.runs {
            slot.again = slot.again.max(Some(priority));
        } else if let Some(timer) = &slot.timer {
            if self.timers.deadline(timer) > Instant::now() + after {
                self.timers.reset(timer, after);
            }
        } else if !slot.waits {
            slot.timer = Some(self.timers.insert(name, after));
        }
    }

    /// The time to reconcile an object again has come.
    fn expire(&mut self, name: ObjectRef<O>) {
        if let Some(slot) = self.slots.get_mut(&name) {
            (slot.timer, slot.since) = (None, Instant::now());
            let priority = slot.priority;
            self.wake(name, priority);
        }
    }

    /// Has whatever failed run again without the pause that it was to make, all within a second.
    fn retry_soon(&mut self) {
        for slot in self.slots.values_mut().filter(|slot| slot.pauses.is_some()) {
            slot.pauses = Some(retry_pauses());
            if let Some(timer) = &slot.timer {
                self.timers.reset(timer, rand::random_range(Duration::ZERO..RETRY_WITHIN));
            }
        }
    }

    /// Lets go of an object that is gone, unless it runs.
    fn forget(&mut self, name: &ObjectRef<O>) {
        if self.slots.get(name).is_some_and(|slot| !slot.runs)
            && let Some(Slot { timer: Some(timer), .. }) = self.slots.remove(name)
        {
            self.timers.remove(&timer);
        }
    }

    /// Starts whatever waits and gets a permit.
    fn start_all(&mut self) {
        while let Some((name, permit)) = self.permits.next() {
            let slot = self.slots.get_mut(&name).filter(|slot| slot.waits && slot.priority == permit.priority());
            let (Some(slot), Some(object)) = (slot, self.cache.get(&name)) else {
                self.permits.give_back(permit);
                if !self.cache.contains(&name) {
                    self.forget(&name);
                }
                continue;
            };
            (slot.waits, slot.runs) = (false, true);
            let reconcile = (self.reconcile)(object);
            self.running.spawn(async move {
                let result = match timeout(DEADLINE, AssertUnwindSafe(reconcile).catch_unwind()).await {
                    Ok(Ok(result)) => result.map_err(Failure::Reconcile),
                    Ok(Err(_)) => Err(Failure::Panicked),
                    Err(_) => Err(Failure::Late { after: DEADLINE }),
                };
                Done { name, permit, result }
            });
        }
    }

    /// What follows: another turn, a timer, or rest.
    fn finish(&mut self, done: Done<O, K, E>) {
        self.count(&done);
        let Done { name, permit, result } = done;
        self.permits.give_back(permit);
        let Some(slot) = self.slots.get_mut(&name) else { return };
        (slot.runs, slot.since) = (false, Instant::now());
        let after = match result {
            Ok(requeue) => {
                slot.pauses = None;
                match requeue {
                    Requeue::OnChange => None,
                    Requeue::After(after) => Some(after),
                    Requeue::LowAfter(after) => {
                        slot.priority = Priority::Low;
                        Some(after)
                    }
                }
            }
            Err(_) => slot.pauses.get_or_insert_with(retry_pauses).next(),
        };
        if let Some(priority) = slot.again.take() {
            self.wake(name, priority);
        } else if let Some(after) = after {
            slot.timer = Some(self.timers.insert(name, after));
        } else {
            self.slots.remove(&name);
        }
    }

    fn count(&mut self, Done { name, result, permit }: &Done<O, K, E>) {
        let outcome = match result {
            Ok(_) => ReconcileResult::Ok,
            Err(Failure::Late { .. }) => ReconcileResult::Timeout,
            Err(_) => ReconcileResult::Error,
        };
        let took = self.slots.get(name).map_or(Duration::ZERO, |slot| slot.since.elapsed());
        self.metrics.reconciled(&O::kind(&()), outcome, took);
        if let Err(failure) = result {
            self.failures.tell(name, permit.key(), failure);
        }
    }
}

impl Slot {
    fn new(priority: Priority) -> Self {
        Self { priority, since: Instant::now(), waits: false, runs: false, again: None, timer: None, pauses: None }
    }
}

#[cfg(test)]
mod tests;
