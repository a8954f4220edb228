//! The replica that works is killed: how soon another one has written what was committed at that moment.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::figures::{Figures, millis, percentile};
use crate::stage::Stage;

const KILLS: usize = 7;

pub(crate) async fn measure(figures: &mut Figures) {
    let stage = Stage::with_shop("bench-leader").await;
    stage.allow_replicas().await;
    stage.team.set("dev", "A", "start").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let mut leader = stage.replica("3").await;
    leader.leads(true).await;
    stage.secret_has("app", &[("A", "start")]).await;
    let mut times: Vec<Duration> = Vec::with_capacity(KILLS);
    for round in 0..KILLS {
        let next = stage.replica("3").await;
        let value = format!("value-{round}");
        leader.kill();
        let killed = Instant::now();
        stage.team.set("dev", "A", &value).await;
        stage.secret_has("app", &[("A", &value)]).await;
        times.push(killed.elapsed());
        next.leads(true).await;
        leader = next;
    }
    let slowest = percentile(&mut times, 1.0);
    figures.add(
        &format!(
            "the leader of two killed, with leaderElection.seconds=3: to the next one's first write, median of {KILLS}"
        ),
        &millis(percentile(&mut times, 0.5)),
        "5 s",
    );
    figures.add("the same, the slowest", &millis(slowest), "5 s");
    leader.stop();
}
