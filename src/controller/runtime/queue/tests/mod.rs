mod permits;
mod watches;

use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::ObjectMeta;
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::{sleep, timeout};

use super::*;

#[derive(Debug, thiserror::Error)]
#[error("no")]
struct No;

type TestQueue = Queue<ConfigMap, String>;

fn request(name: &str, priority: Priority) -> Request<ConfigMap> {
    Request { name: ObjectRef::new(name), priority, after: None }
}

/// A queue over objects of these names, which have all come already; the means to let more come; and its store's end.
fn queue(names: &[&str]) -> (TestQueue, UnboundedSender<Request<ConfigMap>>, Cache<ConfigMap>) {
    let (send, receive) = mpsc::unbounded_channel();
    let cache = Cache::with([]);
    for name in names {
        let metadata = ObjectMeta { name: Some((*name).to_owned()), ..ObjectMeta::default() };
        let object = ConfigMap { metadata, ..ConfigMap::default() };
        send.send(request(name, Priority::High)).unwrap();
        cache.put(object);
    }
    let queue = Queue {
        watches: WatchHealth::of(&[]),
        leadership: Leadership::always(),
        requests: receive,
        cache: cache.clone(),
        limits: PermitLimits::new(24, 8),
        permit_key: |object| object.metadata.namespace.clone().unwrap_or_default(),
        metrics: Arc::default(),
        heartbeat: Heartbeat::default(),
        stop: CancellationToken::new(),
    };
    (queue, send, cache)
}

/// Waits for the end of a queue that is told to stop some time.
async fn ends(work: impl Future<Output = ()>) {
    timeout(Duration::from_mins(10), work).await.expect("it was told to stop");
}

/// Works until an object was reconciled three times, each time to be reconciled again after the pause; and the seconds at
/// which that was.
fn three_times(queue: TestQueue, pause: Duration) -> (impl Future<Output = ()>, Arc<Mutex<Vec<u64>>>) {
    let (stop, began, times) = (queue.stop.clone(), Instant::now(), Arc::<Mutex<Vec<u64>>>::default());
    let recorded = Arc::clone(&times);
    let work = queue.work(move |_| {
        let mut times = recorded.lock().unwrap();
        times.push(began.elapsed().as_secs());
        if times.len() == 3 {
            stop.cancel();
        }
        async move { Ok::<_, No>(Requeue::After(pause)) }.boxed()
    });
    (work, times)
}

#[tokio::test(start_paused = true)]
async fn a_failure_or_a_panic_is_tried_again_and_keeps_nobody_else_waiting() {
    let (queue, _names, _writer) = queue(&["fails", "panics", "works"]);
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
                Ok(Requeue::OnChange)
            }
            .boxed()
        }
    });
    ends(work).await;
    assert_eq!(worked.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_comes_while_its_object_runs_leads_to_one_more_run_and_never_to_two_at_once() {
    let (queue, send, _writer) = queue(&["busy"]);
    let (stop, runs, at_once) = (queue.stop.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let work = queue.work({
        let (stop, runs) = (stop.clone(), Arc::clone(&runs));
        move |_| {
            let (stop, runs, at_once) = (stop.clone(), Arc::clone(&runs), Arc::clone(&at_once));
            let send = send.clone();
            async move {
                assert_eq!(at_once.fetch_add(1, Ordering::Relaxed), 0, "two at once");
                if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                    for _ in 0..5 {
                        send.send(request("busy", Priority::High)).unwrap();
                    }
                    sleep(Duration::from_secs(1)).await;
                    at_once.fetch_sub(1, Ordering::Relaxed);
                    return Ok::<_, No>(Requeue::After(Duration::from_hours(1)));
                }
                at_once.fetch_sub(1, Ordering::Relaxed);
                // Time enough for a third run, were there one.
                if runs.load(Ordering::Relaxed) == 2 {
                    tokio::spawn(async move {
                        sleep(Duration::from_mins(1)).await;
                        stop.cancel();
                    });
                }
                Ok(Requeue::OnChange)
            }
            .boxed()
        }
    });
    ends(work).await;
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn an_action_with_a_time_leads_to_another_run_after_it() {
    let (queue, _names, _writer) = queue(&["timed"]);
    let (work, times) = three_times(queue, Duration::from_secs(7));
    ends(work).await;
    assert_eq!(*times.lock().unwrap(), [0, 7, 14]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_lets_what_runs_finish() {
    let (queue, _names, _writer) = queue(&["slow"]);
    let (stop, finished) = (queue.stop.clone(), Arc::new(AtomicUsize::new(0)));
    let work = queue.work({
        let (stop, finished) = (stop.clone(), Arc::clone(&finished));
        move |_| {
            let (stop, finished) = (stop.clone(), Arc::clone(&finished));
            async move {
                stop.cancel();
                sleep(Duration::from_secs(5)).await;
                finished.fetch_add(1, Ordering::Relaxed);
                Ok::<_, No>(Requeue::OnChange)
            }
            .boxed()
        }
    });
    ends(work).await;
    assert_eq!(finished.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_keeps_nobody_waiting_and_is_ended_at_its_deadline_and_tried_again() {
    let (queue, _names, _writer) = queue(&["hangs", "works"]);
    let (stop, metrics, heartbeat) = (queue.stop.clone(), Arc::clone(&queue.metrics), queue.heartbeat.clone());
    let (began, course) = (Instant::now(), Arc::new(Mutex::new(Vec::new())));
    let work = queue.work({
        let course = Arc::clone(&course);
        move |object: Arc<ConfigMap>| {
            let name = object.metadata.name.clone().unwrap_or_default();
            course.lock().unwrap().push((name.clone(), began.elapsed().as_secs()));
            let (stop, runs) = (stop.clone(), course.lock().unwrap().iter().filter(|(of, _)| *of == name).count());
            async move {
                match (name.as_str(), runs) {
                    ("hangs", 1) => pending().await,
                    ("hangs", _) => stop.cancel(),
                    _ => {}
                }
                Ok::<_, No>(Requeue::OnChange)
            }
            .boxed()
        }
    });
    ends(work).await;
    let course = course.lock().unwrap();
    let course: Vec<(&str, u64)> = course.iter().map(|(name, second)| (name.as_str(), *second)).collect();
    assert_eq!(course, [("hangs", 0), ("works", 0), ("hangs", 30)]);
    assert!(metrics.to_text().contains(r#"result="timeout"} 1"#), "{}", metrics.to_text());
    assert!(heartbeat.age() <= HEARTBEAT_INTERVAL, "the queue itself went round");
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_with_each_failure_in_a_row_and_a_success_ends_the_row() {
    let (queue, _names, _writer) = queue(&["fails"]);
    let (stop, times) = (queue.stop.clone(), Arc::new(Mutex::new(Vec::new())));
    let work = queue.work({
        let (stop, times) = (stop.clone(), Arc::clone(&times));
        move |_| {
            let (stop, times) = (stop.clone(), Arc::clone(&times));
            async move {
                let mut times = times.lock().unwrap();
                times.push(Instant::now());
                match times.len() {
                    4 => Ok(Requeue::After(Duration::from_secs(7))),
                    6 => {
                        stop.cancel();
                        Ok(Requeue::OnChange)
                    }
                    _ => Err(No),
                }
            }
            .boxed()
        }
    });
    ends(work).await;
    let times = times.lock().unwrap();
    let pauses: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Up to as much again at random, to the timer's millisecond.
    for (pause, least, most) in [(0, 150, 301), (1, 300, 601), (2, 600, 1_201), (3, 7_000, 7_001), (4, 150, 301)] {
        let [least, most] = [least, most].map(Duration::from_millis);
        assert!((least..=most).contains(&pauses[pause]), "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_woken_before_its_time_does_not_come_again_at_that_time_and_who_is_gone_not_at_all() {
    let (queue, names, _writer) = queue(&["timed"]);
    let (work, times) = three_times(queue, Duration::from_mins(1));
    let wake = async {
        sleep(Duration::from_secs(10)).await;
        for name in ["gone", "timed"] {
            names.send(request(name, Priority::High)).unwrap();
        }
    };
    tokio::join!(ends(work), wake);
    assert_eq!(*times.lock().unwrap(), [0, 10, 70]);
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_later_is_done_then_and_puts_nothing_off() {
    let (queue, send, _cache) = queue(&["quiet", "waits"]);
    let (stop, began) = (queue.stop.clone(), Instant::now());
    let times = Arc::<Mutex<Vec<(String, u64)>>>::default();
    let work = queue.work({
        let times = Arc::clone(&times);
        move |object: Arc<ConfigMap>| {
            let name = object.metadata.name.clone().unwrap_or_default();
            times.lock().unwrap().push((name.clone(), began.elapsed().as_secs()));
            let requeue = if name == "waits" { Requeue::After(Duration::from_secs(10)) } else { Requeue::OnChange };
            async move { Ok::<_, No>(requeue) }.boxed()
        }
    });
    let ask = async {
        sleep(Duration::from_secs(1)).await;
        for name in ["quiet", "waits"] {
            let after = Some(Duration::from_secs(30));
            send.send(Request { name: ObjectRef::new(name), priority: Priority::High, after }).unwrap();
        }
        sleep(Duration::from_secs(34)).await;
        stop.cancel();
    };
    tokio::join!(ends(work), ask);
    let of = |wanted: &str| -> Vec<u64> {
        times.lock().unwrap().iter().filter(|(name, _)| name == wanted).map(|(_, at)| *at).collect()
    };
    assert_eq!((of("quiet"), of("waits")), (vec![0, 31], vec![0, 10, 20, 30]));
}
