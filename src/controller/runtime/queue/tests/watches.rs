//! What the queue does while a watch is deaf, and once one hears again.

use super::*;
use crate::controller::runtime::watch_health::SILENCE_MAX;

#[tokio::test(start_paused = true)]
async fn nothing_is_begun_while_a_watch_is_deaf_and_everything_as_soon_as_it_hears() {
    let (mut queue, _send, _writer) = queue(&["one"]);
    queue.watches = WatchHealth::of(&["namespaces"]);
    let (health, stop, began) = (queue.watches.clone(), queue.stop.clone(), Instant::now());
    sleep(SILENCE_MAX + Duration::from_secs(1)).await;
    let at = Arc::new(Mutex::new(None));
    let ran = Arc::clone(&at);
    let work = queue.work(move |_| {
        *ran.lock().unwrap() = Some(began.elapsed().as_secs());
        stop.cancel();
        async { Ok::<_, No>(Requeue::OnChange) }.boxed()
    });
    let hear = async {
        sleep(Duration::from_mins(1)).await;
        health.heard("namespaces");
    };
    ends(async { tokio::join!(work, hear).0 }).await;
    assert_eq!(*at.lock().unwrap(), Some(SILENCE_MAX.as_secs() + 1 + 60));
}

#[tokio::test(start_paused = true)]
async fn after_an_outage_of_any_length_what_failed_is_tried_within_a_second_of_its_end() {
    let (mut queue, _send, _writer) = queue(&["one", "two"]);
    queue.watches = WatchHealth::of(&["secrets"]);
    let (health, stop, began) = (queue.watches.clone(), queue.stop.clone(), Instant::now());
    let outage = Duration::from_secs(40);
    let times = Arc::<Mutex<Vec<Duration>>>::default();
    let worked = Arc::clone(&times);
    let work = queue.work(move |_| {
        let now = began.elapsed();
        let is_back = now >= outage;
        if is_back {
            let mut worked = worked.lock().unwrap();
            worked.push(now);
            if worked.len() == 2 {
                stop.cancel();
            }
        }
        async move { if is_back { Ok(Requeue::OnChange) } else { Err(No) } }.boxed()
    });
    let end = async {
        sleep(Duration::from_secs(1)).await;
        health.failed("secrets");
        sleep(outage.saturating_sub(began.elapsed())).await;
        health.heard("secrets");
    };
    ends(async { tokio::join!(work, end).0 }).await;
    let longest = times.lock().unwrap().iter().max().copied().unwrap();
    assert!(longest <= outage + RETRY_WITHIN + Duration::from_millis(10), "{longest:?}");
}
