//! Who gets a permit, and who waits for one.

use super::*;

/// Objects that run until told to end, in the order in which they began.
#[derive(Clone, Default)]
struct Begun(Arc<Mutex<Vec<String>>>);

impl Begun {
    fn names(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

#[tokio::test(start_paused = true)]
async fn low_priority_waits_for_its_few_permits_and_high_priority_goes_past_it() {
    let names = ["low-0", "low-1", "low-2", "low-3", "high", "raised"];
    let (mut queue, send, _writer) = queue(&names);
    // The same objects, asked for otherwise.
    let (again, requests) = mpsc::unbounded_channel();
    drop(send);
    queue.requests = requests;
    queue.limits = PermitLimits::new(4, 2);
    let (stop, begun) = (queue.stop.clone(), Begun::default());
    let work = queue.work({
        let begun = begun.clone();
        move |object: Arc<ConfigMap>| {
            begun.0.lock().unwrap().push(object.metadata.name.clone().unwrap_or_default());
            pending::<Result<Requeue, No>>().boxed()
        }
    });
    let ask = async {
        for name in &names[..4] {
            again.send(request(name, Priority::Low)).unwrap();
        }
        again.send(request("raised", Priority::Low)).unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(begun.names(), ["low-0", "low-1"], "the rest waits");
        again.send(request("high", Priority::High)).unwrap();
        again.send(request("raised", Priority::High)).unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(begun.names(), ["low-0", "low-1", "high", "raised"]);
        // The deadline ends those that run; they come again after those that waited.
        sleep(DEADLINE).await;
        assert_eq!(begun.names()[4..6], ["low-2", "low-3"], "and the one that was raised runs once");
        stop.cancel();
    };
    tokio::join!(ends(work), ask);
}

#[tokio::test(start_paused = true)]
async fn to_wait_for_a_permit_is_not_to_be_late_and_a_stop_ends_the_wait() {
    let (mut queue, _send, _writer) = queue(&["one", "two", "three"]);
    queue.limits = PermitLimits::new(1, 1);
    let (stop, metrics, begun) = (queue.stop.clone(), Arc::clone(&queue.metrics), Begun::default());
    let work = queue.work({
        let (stop, begun) = (stop.clone(), begun.clone());
        move |object: Arc<ConfigMap>| {
            begun.0.lock().unwrap().push(object.metadata.name.clone().unwrap_or_default());
            let (stop, is_second) = (stop.clone(), begun.names().len() == 2);
            async move {
                sleep(DEADLINE.mul_f64(0.9)).await;
                if is_second {
                    stop.cancel();
                }
                Ok::<_, No>(Requeue::OnChange)
            }
            .boxed()
        }
    });
    ends(work).await;
    assert_eq!(begun.names(), ["one", "two"], "the third had no permit yet");
    let late = "tidelock_sync_total{kind=\"config_map\",result=\"timeout\"}";
    assert!(!metrics.to_text().contains(late), "{}", metrics.to_text());
}

#[tokio::test(start_paused = true)]
async fn one_key_leaves_room_for_others() {
    let (mut queue, _send, _writer) = queue(&["dev-0", "dev-1", "dev-2", "dev-3", "other"]);
    queue.limits = PermitLimits::new(4, 1);
    queue.permit_key = |object| object.metadata.name.clone().unwrap_or_default().replace(char::is_numeric, "");
    let (stop, begun) = (queue.stop.clone(), Begun::default());
    let work = queue.work({
        let (stop, begun) = (stop.clone(), begun.clone());
        move |object: Arc<ConfigMap>| {
            begun.0.lock().unwrap().push(object.metadata.name.clone().unwrap_or_default());
            let stop = stop.clone();
            async move {
                sleep(Duration::from_secs(1)).await;
                stop.cancel();
                Ok::<_, No>(Requeue::OnChange)
            }
            .boxed()
        }
    });
    ends(work).await;
    let mut begun = begun.names();
    begun.sort();
    assert_eq!(begun, ["dev-0", "dev-1", "dev-2", "other"]);
}

#[tokio::test(start_paused = true)]
async fn who_was_deleted_while_it_waited_does_not_run_and_costs_nobody_a_permit() {
    let (mut queue, _send, cache) = queue(&["first", "gone", "last"]);
    queue.limits = PermitLimits::new(1, 1);
    let (stop, begun) = (queue.stop.clone(), Begun::default());
    let gone = ObjectRef::new("gone");
    let work = queue.work({
        let (stop, begun) = (stop.clone(), begun.clone());
        move |object: Arc<ConfigMap>| {
            let name = object.metadata.name.clone().unwrap_or_default();
            begun.0.lock().unwrap().push(name.clone());
            let stop = stop.clone();
            async move {
                sleep(Duration::from_secs(1)).await;
                if name == "last" {
                    stop.cancel();
                }
                Ok::<_, No>(Requeue::OnChange)
            }
            .boxed()
        }
    });
    let delete = async {
        sleep(Duration::from_millis(500)).await;
        cache.take_out(&gone);
    };
    tokio::join!(ends(work), delete);
    assert_eq!(begun.names(), ["first", "last"]);
}

#[tokio::test(start_paused = true)]
async fn who_was_raised_while_it_waited_does_not_run_again_when_its_first_turn_comes() {
    let (mut queue, _send, _writer) = queue(&["low", "raised"]);
    let (send, requests) = mpsc::unbounded_channel();
    (queue.requests, queue.limits) = (requests, PermitLimits::new(4, 1));
    let (stop, begun) = (queue.stop.clone(), Begun::default());
    let work = queue.work({
        let begun = begun.clone();
        move |object: Arc<ConfigMap>| {
            let name = object.metadata.name.clone().unwrap_or_default();
            begun.0.lock().unwrap().push(name.clone());
            async move {
                sleep(Duration::from_secs(if name == "low" { 5 } else { 10 })).await;
                Ok::<_, No>(Requeue::OnChange)
            }
            .boxed()
        }
    });
    let ask = async {
        send.send(request("low", Priority::Low)).unwrap();
        send.send(request("raised", Priority::Low)).unwrap();
        sleep(Duration::from_secs(1)).await;
        send.send(request("raised", Priority::High)).unwrap();
        // The permit that it waited for first comes free while it runs.
        sleep(Duration::from_secs(20)).await;
        stop.cancel();
    };
    tokio::join!(ends(work), ask);
    assert_eq!(begun.names(), ["low", "raised"]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_again_at_low_priority_keeps_nobody_of_high_priority_waiting() {
    let names = ["later-0", "later-1", "later-2", "later-3"];
    let (mut queue, send, cache) = queue(&names);
    queue.limits = PermitLimits::new(3, 1);
    let (stop, start, begun) = (queue.stop.clone(), Instant::now(), Begun::default());
    let work = queue.work({
        let begun = begun.clone();
        move |object: Arc<ConfigMap>| {
            let name = object.metadata.name.clone().unwrap_or_default();
            begun.0.lock().unwrap().push(name.clone());
            let is_first = start.elapsed() < Duration::from_secs(1);
            async move {
                if is_first {
                    return Ok::<_, No>(Requeue::LowAfter(Duration::from_secs(6)));
                }
                pending::<Result<Requeue, No>>().await
            }
            .boxed()
        }
    });
    let ask = async {
        sleep(Duration::from_secs(7)).await;
        assert_eq!(begun.names().len(), 5, "of those that come again, one has a permit: {:?}", begun.names());
        let metadata = ObjectMeta { name: Some("new".to_owned()), ..ObjectMeta::default() };
        cache.put(ConfigMap { metadata, ..ConfigMap::default() });
        send.send(request("new", Priority::High)).unwrap();
        // Something else leads to one that waits.
        let runs = begun.names()[4].clone();
        let waits = names.into_iter().find(|name| *name != runs).unwrap();
        send.send(request(waits, Priority::High)).unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(begun.names()[5..], ["new", waits]);
        stop.cancel();
    };
    tokio::join!(ends(work), ask);
}
