//! What the operator holds for each binding: at 1,000, 5,000 and 10,000 of them, after a start, and after 100,000 syncs.

use std::time::Duration;

use serde_json::json;

use crate::figures::Figures;
use crate::harness::wait_for;
use crate::stage::{Operator, Stage};
use crate::start::{make_bindings, resident_memory};

const SIZES: [usize; 3] = [1_000, 5_000, 10_000];
const SYNCS: usize = 100_000;
const PATIENCE: Duration = Duration::from_mins(10);
/// From the last write to the look at the memory.
const SETTLING: Duration = Duration::from_secs(30);

pub(crate) async fn measure(figures: &mut Figures) {
    let stage = Stage::with_shop("bench-memory").await;
    stage.team.set("dev", "A", &"x".repeat(1024)).await;
    stage.source("dev").await;
    let quick = std::env::var("QUICK").is_ok_and(|quick| !quick.is_empty());
    let operator = stage.operator_with(&[("RUST_LOG", "warn")]).await;
    figures.add("resident memory without a binding", &settled(&operator).await, "-");
    operator.stop();
    let (mut made, mut revision) = (0, 0);
    for size in SIZES.into_iter().filter(|size| !quick || *size == SIZES[0]) {
        let operator = stage.operator_with(&[("RUST_LOG", "warn")]).await;
        make_bindings(&stage, made..size).await;
        made = size;
        are_at(&stage, size, revision).await;
        figures.add(&format!("resident memory once {size} bindings are Ready"), &settled(&operator).await, goal(size));
        operator.stop();
        let operator = stage.operator_with(&[("RUST_LOG", "warn")]).await;
        answered(&stage, size).await;
        let memory = settled(&operator).await;
        figures.add(&format!("resident memory after a start over {size} bindings"), &memory, goal(size));
        if size == SIZES[2] || quick {
            let rounds = if quick { 3 } else { SYNCS / size };
            for round in 0..rounds {
                revision = set(&stage, &format!("{round:01024}")).await;
                are_at(&stage, size, revision).await;
            }
            let memory = settled(&operator).await;
            figures.add(&format!("resident memory after {} syncs of them", rounds * size), &memory, goal(size));
        }
        operator.stop();
    }
}

fn goal(bindings: usize) -> &'static str {
    if bindings == SIZES[2] { "60 MiB" } else { "-" }
}

async fn settled(operator: &Operator) -> String {
    tokio::time::sleep(SETTLING).await;
    resident_memory(operator.pid())
}

/// Sets the key that all bindings have; the environment's revision then.
async fn set(stage: &Stage, value: &str) -> i64 {
    stage.team.set("dev", "A", value).await;
    stage.team.revision().await
}

/// Waits until so many bindings are Ready with that revision, or a later one.
async fn are_at(stage: &Stage, bindings: usize, revision: i64) {
    let mut left: Vec<String> = (0..bindings).map(|number| format!("app-{number}")).collect();
    wait_for("every binding at the revision", PATIENCE, async || {
        while let Some(name) = left.last() {
            let status = stage.bindings().get(name).await.map_err(|why| why.to_string())?.status.unwrap_or_default();
            let is_ready = status.conditions.iter().any(|said| said.type_ == "Ready" && said.status == "True");
            if !is_ready || status.revision.is_none_or(|at| at < revision) {
                return Err(format!("{} of {bindings} are not", left.len()));
            }
            left.pop();
        }
        Ok(())
    })
    .await;
}

/// Waits until a request for a sync is answered: the operator has looked at everything before.
async fn answered(stage: &Stage, bindings: usize) {
    let nonce = format!("after-{bindings}");
    stage.patch_binding("app-0", json!({"metadata": {"annotations": {"tidelock.dev/sync": nonce}}})).await;
    wait_for("the answer after the start", PATIENCE, async || {
        let status = stage.bindings().get("app-0").await.map_err(|why| why.to_string())?.status.unwrap_or_default();
        if status.last_handled_sync.as_ref() == Some(&nonce) { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
}
