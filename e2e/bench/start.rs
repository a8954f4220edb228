//! 1,000 bindings that exist while the operator is stopped: from its start to the last `Ready`, against the bare loop;
//! then its memory, and what a restart writes.

use std::ops::Range;
use std::time::Duration;

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use tidelock::api::SecretBinding;
use tidelock::controller;

use crate::bare_loop;
use crate::figures::{Figures, millis, percentile};
use crate::harness::wait_for;
use crate::stage::Stage;

const BINDINGS: usize = 1_000;
const ROUNDS: usize = 5;
/// As many requests at once as the operator makes for one source, which leaves a quarter of its places to others.
const CONCURRENCY: usize = controller::CONCURRENCY * 3 / 4;
const PATIENCE: Duration = Duration::from_mins(5);

pub(crate) async fn measure(figures: &mut Figures) {
    let stage = Stage::with_shop("bench-start").await;
    stage.team.set("dev", "A", &"x".repeat(1024)).await;
    stage.source("dev").await;
    let (mut operator_times, mut loop_times, mut ratios, mut cpu_times) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        make_bindings(&stage, 0..BINDINGS).await;
        let (operator, took) = until_ready(&stage).await;
        cpu_times.push(cpu_time(operator.pid()));
        let secret = stage.secrets().get("app-0").await.expect("it was just written");
        let status = stage.bindings().get("app-0").await.expect("it is there").status.expect("it was just written");
        if round == ROUNDS - 1 {
            after_settling(&stage, operator, figures).await;
        } else {
            operator.stop();
        }
        remove_bindings(&stage).await;
        make_bindings(&stage, 0..BINDINGS).await;
        let bindings = stage.bindings().list(&ListParams::default()).await.expect("they can be listed").items;
        let bare = bare_loop::run(&stage, bindings, &secret, &status, CONCURRENCY).await;
        remove_bindings(&stage).await;
        println!("round {round}: operator {}, bare loop {}", millis(took), millis(bare));
        ratios.push(Duration::from_secs_f64(took.as_secs_f64() / bare.as_secs_f64()));
        operator_times.push(took);
        loop_times.push(bare);
    }
    figures.add("1,000 bindings, start to last Ready, median of 5", &millis(percentile(&mut operator_times, 0.5)), "-");
    figures.add("bare loop of the same two writes, median of 5", &millis(percentile(&mut loop_times, 0.5)), "-");
    figures.add(
        "the operator's own processor time in that, median of 5",
        &millis(percentile(&mut cpu_times, 0.5)),
        "-",
    );
    figures.add("ratio, median of 5", &format!("{:.2}", percentile(&mut ratios, 0.5).as_secs_f64()), "1.25");
}

/// User and system time so far; the kernel counts in hundredths of a second.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks =
        after_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>();
    Duration::from_millis(ticks * 10)
}

/// What a process has in memory, in MiB.
pub(crate) fn resident_memory(pid: u32) -> String {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let kib: f64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok())
        .expect("the kernel tells");
    format!("{:.1} MiB", kib / 1024.0)
}

/// Memory 60 s after settling, and a restart over unchanged bindings.
async fn after_settling(stage: &Stage, operator: crate::stage::Operator, figures: &mut Figures) {
    tokio::time::sleep(Duration::from_mins(1)).await;
    let memory = resident_memory(operator.pid());
    figures.add("resident memory with 1,000 bindings of 1 KiB, 60 s after settling", &memory, "40 MiB");
    operator.stop();

    let log = stage.cluster.audit_from_now().await;
    let operator = stage.operator_with(&[("RUST_LOG", "info")]).await;
    // The one write that is asked for shows that it has looked.
    stage.patch_binding("app-0", json!({"metadata": {"annotations": {"tidelock.dev/sync": "restart"}}})).await;
    wait_for("the answer after the restart", PATIENCE, async || {
        let status = stage.bindings().get("app-0").await.map_err(|why| why.to_string())?.status.unwrap_or_default();
        if status.last_handled_sync.as_deref() == Some("restart") { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let writes = stage.operator_writes(&log).await;
    let unasked = writes.iter().filter(|write| write.object().name != "app-0").count();
    figures.add("API writes after a restart over 1,000 unchanged bindings", &unasked.to_string(), "0");
    operator.stop();
}

pub(crate) async fn make_bindings(stage: &Stage, numbers: Range<usize>) {
    stream::iter(numbers)
        .for_each_concurrent(CONCURRENCY, |number| async move {
            stage.binding(&format!("app-{number}"), "dev", json!({})).await;
        })
        .await;
}

/// Starts the operator and waits until every binding is `Ready`. The API server's own log says when the last status was
/// taken: a watch of this process's would have its share of the cores that both sides work on.
async fn until_ready(stage: &Stage) -> (crate::stage::Operator, Duration) {
    let log = stage.cluster.audit_from_now().await;
    let started = Timestamp::now();
    let operator = stage.operator_launched(&[("RUST_LOG", "info")]).await;
    let (_, account) = stage.account();
    let told = [account, "\"resource\":\"secretbindings\"", "\"subresource\":\"status\"", "\"code\":200"];
    wait_for("a status of every binding", PATIENCE, async || match log.count(&told) {
        Ok(count) if count >= BINDINGS => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let writes = stage.operator_writes(&log).await;
    let statuses = writes.iter().filter(|write| write.object().resource == "secretbindings");
    let last = statuses.map(|write| write.stage_timestamp.parse::<Timestamp>().expect("a time")).max();
    let bindings = stage.bindings().list(&ListParams::default()).await.expect("they can be listed").items;
    assert!(bindings.iter().all(is_ready), "every binding is Ready");
    let took = last.expect("some were written").duration_since(started);
    (operator, took.try_into().expect("it ended after it began"))
}

fn is_ready(binding: &SecretBinding) -> bool {
    binding
        .status
        .as_ref()
        .is_some_and(|status| status.conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

async fn remove_bindings(stage: &Stage) {
    let (parameters, everything) = (DeleteParams::default(), ListParams::default());
    stage.bindings().delete_collection(&parameters, &everything).await.expect("bindings can be deleted");
    stage.secrets().delete_collection(&parameters, &everything).await.expect("Secrets can be deleted");
    wait_for("the bindings and Secrets to be gone", PATIENCE, async || {
        let bindings = stage.bindings().list_metadata(&everything).await.map_err(|why| why.to_string())?.items.len();
        let secrets = stage.secrets().list_metadata(&everything).await.map_err(|why| why.to_string())?.items.len();
        if bindings + secrets == 0 { Ok(()) } else { Err(format!("{bindings} bindings, {secrets} Secrets")) }
    })
    .await;
}
