use std::sync::Mutex;
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
        kind: "ConfigMap",
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
async fn a_name_that_comes_while_its_object_runs_leads_to_one_more_run_and_never_to_two_at_once() {
    let (mut queue, _writer) = queue(&[]);
    let (send, receive) = mpsc::unbounded_channel();
    queue.names = receive;
    let object = ConfigMap {
        metadata: ObjectMeta { name: Some("busy".into()), ..ObjectMeta::default() },
        ..ConfigMap::default()
    };
    let (reader, mut writer) = kube::runtime::reflector::store();
    writer.apply_watcher_event(&Event::Apply(object.clone()));
    queue.store = reader;
    let name = ObjectRef::from_obj(&object);
    send.send(name.clone()).unwrap();
    let (stop, runs, at_once) = (queue.stop.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let work = queue.work({
        let (stop, runs) = (stop.clone(), Arc::clone(&runs));
        move |_| {
            let (stop, runs, at_once) = (stop.clone(), Arc::clone(&runs), Arc::clone(&at_once));
            let (send, name) = (send.clone(), name.clone());
            async move {
                assert_eq!(at_once.fetch_add(1, Ordering::Relaxed), 0, "two at once");
                if runs.fetch_add(1, Ordering::Relaxed) == 0 {
                    for _ in 0..5 {
                        send.send(name.clone()).unwrap();
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    at_once.fetch_sub(1, Ordering::Relaxed);
                    return Ok::<_, No>(Action::await_change());
                }
                at_once.fetch_sub(1, Ordering::Relaxed);
                // Time enough for a third run, were there one.
                if runs.load(Ordering::Relaxed) == 2 {
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_mins(1)).await;
                        stop.cancel();
                    });
                }
                Ok(Action::await_change())
            }
            .boxed()
        }
    });
    work.await;
    assert_eq!(runs.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn an_action_with_a_time_leads_to_another_run_after_it() {
    let (queue, _writer) = queue(&["timed"]);
    let (stop, began) = (queue.stop.clone(), Instant::now());
    let times = Arc::new(Mutex::new(Vec::new()));
    let work = queue.work({
        let (stop, times) = (stop.clone(), Arc::clone(&times));
        move |_| {
            let (stop, times) = (stop.clone(), Arc::clone(&times));
            async move {
                let mut times = times.lock().unwrap();
                times.push(began.elapsed().as_secs());
                if times.len() == 3 {
                    stop.cancel();
                }
                Ok::<_, No>(Action::requeue(Duration::from_secs(7)))
            }
            .boxed()
        }
    });
    work.await;
    assert_eq!(*times.lock().unwrap(), [0, 7, 14]);
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
