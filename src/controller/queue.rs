//! Takes names from a queue and reconciles what they stand for: each object once at a time, each with a deadline, and
//! again after a failure, with growing pauses.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, stream};
use kube::Resource;
use kube::runtime::controller::{self, Action, applier};
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::deadline::{Ended, within};
use crate::telemetry::{Heartbeat, Metrics, ReconcileResult};

/// First and longest pause after a failure; it doubles with each in a row.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));

/// From one beat of the heart to the next, while nothing else happens.
const BEAT: Duration = Duration::from_secs(10);

/// What works on one kind of object.
pub(super) struct Queue<K: Resource<DynamicType = ()> + 'static> {
    pub(super) names: UnboundedReceiver<ObjectRef<K>>,
    pub(super) store: Store<K>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) heartbeat: Heartbeat,
    /// Ends the taking of names; what runs is finished.
    pub(super) stop: CancellationToken,
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

/// What the reconciles of one kind share.
struct Shared<K: Resource<DynamicType = ()>> {
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    /// How often in a row each object failed.
    failures: Mutex<HashMap<ObjectRef<K>, u32>>,
}

impl<K> Queue<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    /// Works until told to stop, and until what runs then is finished.
    pub(super) async fn work<E>(self, reconcile: impl Fn(Arc<K>) -> BoxFuture<'static, Result<Action, E>>)
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let Self { mut names, store, metrics, heartbeat, stop } = self;
        let names = stream::poll_fn(move |context| names.poll_recv(context));
        // The applier polls its queue only when something comes: the beats are there to come.
        let queue = stream::select(names.map(Some), beats(heartbeat).map(|()| None))
            .filter_map(std::future::ready)
            .map(Ok::<_, Infallible>)
            .take_until(stop.clone().cancelled_owned());
        let shared = Arc::new(Shared { metrics, stop, failures: Mutex::default() });
        let run = |object: Arc<K>, shared: Arc<Shared<K>>| {
            let reconcile = reconcile(Arc::clone(&object));
            async move { shared.run(&object, reconcile).await }.boxed()
        };
        let retry = |object: Arc<K>, _: &Failure<E>, shared: Arc<Shared<K>>| Action::requeue(shared.pause(&object));
        applier(run, retry, shared, store, queue, controller::Config::default())
            // Every failure was logged where it happened; a name without an object is one that was deleted meanwhile.
            .for_each(|_| std::future::ready(()))
            .await;
    }
}

impl<K> Shared<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + Send + Sync + 'static,
{
    async fn run<E>(&self, object: &K, reconcile: BoxFuture<'static, Result<Action, E>>) -> Result<Action, Failure<E>>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let began = Instant::now();
        let stop = self.stop.clone();
        // A task of its own: it runs on any core, and a panic ends it alone.
        let task = tokio::spawn(async move { within(&stop, reconcile).await }.in_current_span());
        let result = match AbortOnDropHandle::new(task).await {
            Ok(Ok(Ok(action))) => Ok(action),
            Ok(Ok(Err(error))) => Err(Failure::Reconcile(error)),
            Ok(Err(ended)) => Err(Failure::Ended(ended)),
            Err(_) => Err(Failure::Panicked),
        };
        let outcome = match &result {
            Ok(_) => ReconcileResult::Ok,
            Err(Failure::Ended(Ended::Late)) => ReconcileResult::Timeout,
            Err(_) => ReconcileResult::Error,
        };
        let kind = if K::kind(&()) == "SecretBinding" { "SecretBinding" } else { "ProjectEnvironment" };
        self.metrics.reconciled(kind, outcome, began.elapsed());
        match &result {
            Ok(_) => {
                self.lock().remove(&ObjectRef::from_obj(object));
            }
            Err(Failure::Ended(Ended::Stopped)) => {}
            Err(error) => tracing::warn!(object = %ObjectRef::from_obj(object), %error, "a reconcile failed"),
        }
        result
    }

    /// The pause before an object that failed is tried again.
    fn pause(&self, object: &K) -> Duration {
        let mut failures = self.lock();
        let times = failures.entry(ObjectRef::from_obj(object)).or_default();
        *times = times.saturating_add(1);
        let (first, longest) = RETRY;
        let pause = first.saturating_mul(1_u32.checked_shl(*times - 1).unwrap_or(u32::MAX)).min(longest);
        pause.mul_f64(rand::random_range(0.8..=1.0))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectRef<K>, u32>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Beats, for ever.
fn beats(heartbeat: Heartbeat) -> impl Stream<Item = ()> {
    let mut ticks = interval(BEAT);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    stream::poll_fn(move |context| {
        ticks.poll_tick(context).map(|_| {
            heartbeat.beat();
            Some(())
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ObjectMeta;
    use kube::runtime::reflector::store;
    use kube::runtime::watcher::Event;
    use tokio::sync::mpsc;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("no")]
    struct No;

    fn queue(names: &[&str]) -> (Queue<ConfigMap>, store::Writer<ConfigMap>) {
        let (send, receive) = mpsc::unbounded_channel();
        let (reader, mut writer) = kube::runtime::reflector::store();
        for name in names {
            let metadata = ObjectMeta { name: Some((*name).to_owned()), ..ObjectMeta::default() };
            let object = ConfigMap { metadata, ..ConfigMap::default() };
            send.send(ObjectRef::from_obj(&object)).unwrap();
            writer.apply_watcher_event(&Event::InitApply(object));
        }
        writer.apply_watcher_event(&Event::InitDone);
        let queue = Queue {
            names: receive,
            store: reader,
            metrics: Arc::default(),
            heartbeat: Heartbeat::default(),
            stop: CancellationToken::new(),
        };
        // The sender stays: a queue without one has ended.
        std::mem::forget(send);
        (queue, writer)
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_or_a_panic_is_tried_again_and_keeps_nobody_else_waiting() {
        let (queue, _writer) = queue(&["fails", "panics", "works"]);
        let (stop, worked) = (queue.stop.clone(), Arc::new(AtomicUsize::new(0)));
        let tries = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
        let work = queue.work({
            let (stop, worked) = (stop.clone(), Arc::clone(&worked));
            move |object: Arc<ConfigMap>| {
                let name = object.metadata.name.clone().unwrap_or_default();
                let times = {
                    let mut tries = tries.lock().unwrap();
                    let times = tries.entry(name.clone()).or_default();
                    *times += 1;
                    *times
                };
                let (stop, worked) = (stop.clone(), Arc::clone(&worked));
                async move {
                    match name.as_str() {
                        "fails" if times < 3 => return Err(No),
                        "panics" if times < 2 => panic!("on purpose"),
                        _ => {}
                    }
                    if worked.fetch_add(1, Ordering::Relaxed) == 2 {
                        stop.cancel();
                    }
                    Ok(Action::await_change())
                }
                .boxed()
            }
        });
        tokio::time::timeout(Duration::from_secs(10), work).await.expect("all three come to an end");
        assert_eq!(worked.load(Ordering::Relaxed), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_lets_what_runs_finish() {
        let (queue, _writer) = queue(&["slow"]);
        let (stop, finished) = (queue.stop.clone(), Arc::new(AtomicUsize::new(0)));
        let work = queue.work({
            let (stop, finished) = (stop.clone(), Arc::clone(&finished));
            move |_| {
                let (stop, finished) = (stop.clone(), Arc::clone(&finished));
                async move {
                    stop.cancel();
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    finished.fetch_add(1, Ordering::Relaxed);
                    Ok::<_, No>(Action::await_change())
                }
                .boxed()
            }
        });
        work.await;
        assert_eq!(finished.load(Ordering::Relaxed), 1);
    }
}
