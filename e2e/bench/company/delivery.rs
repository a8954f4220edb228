//! From a commit to the Secret with ten watched environments, and what the operator keeps in memory of many.

use std::time::Duration;

use serde_json::json;

use super::beside;
use super::data::{self, Scale};
use crate::figures::{Figures, percentile};
use crate::harness::wait_for;
use crate::latency::of_changes;
use crate::stage::{Operator, Stage, Team};
use crate::start::resident_memory;

const CHANGES: usize = 100;
const PATIENCE: Duration = Duration::from_mins(5);

pub(super) async fn measure(team: Team, scale: Scale, figures: &mut Figures) {
    let empty = Stage::with_shop("bench-empty").await;
    let (small, operator) = latency(&empty, "shop", "dev", &["dev"]).await;
    operator.stop();
    drop(empty);

    let environments: Vec<String> = (1..=10).map(|n| format!("env-{n}")).collect();
    let environments: Vec<&str> = environments.iter().map(String::as_str).collect();
    let stage = Stage::of(async { team }, "bench-company").await;
    let (among, operator) = latency(&stage, "project-1", "env-1", &environments).await;
    figures.add(
        "commit to Secret, p50, among 10 environments of 500 keys in all of this, to an empty registry",
        &beside(among, small),
        "1.5",
    );
    operator.stop();
    remove(&stage, &environments).await;

    let (among, operator) = latency(&stage, "large", "env-1", &environments).await;
    let large = scale.large;
    figures.add(&format!("the same among 10 environments of {large} keys"), &beside(among, small), "2");
    operator.stop();
    // From a cold start.
    let operator = ready(&stage, &environments).await;
    figures.add(
        &format!("resident memory with 10 environments of {large} keys, 20 s after a cold start"),
        &settled(&operator).await,
        "150 MiB",
    );
    operator.stop();
    remove(&stage, &environments).await;

    data::fill_many(&stage.team, scale).await;
    let many: Vec<String> = (1..=scale.many).map(|n| format!("env-{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for environment in &many {
        stage.source_with(environment, json!({"project": "many"})).await;
    }
    let operator = ready(&stage, &many).await;
    figures.add(
        &format!("resident memory with {} environments of 200 keys of 1 KiB, 20 s after a cold start", scale.many),
        &settled(&operator).await,
        "120 MiB",
    );
    operator.stop();
}

/// The median over some changes of one key, while these environments of its project are watched.
async fn latency(stage: &Stage, project: &str, environment: &str, watched: &[&str]) -> (Duration, Operator) {
    let set = ["secret", "set", "A", "-p", project, "-e", environment];
    let done = stage.team.run_with(&stage.team.ana, &set, b"start").await;
    assert!([0, 3].contains(&done.code), "{}", done.stderr);
    for name in watched {
        stage.source_with(name, json!({"project": project})).await;
    }
    let data = json!([{"secretKey": "A", "remoteRef": {"key": "A"}}]);
    stage.binding("app", environment, json!({"data": data})).await;
    let operator = ready(stage, watched).await;
    stage.secret_has("app", &[("A", "start")]).await;
    let mut times = of_changes(stage, project, environment, CHANGES).await;
    (percentile(&mut times, 0.5), operator)
}

/// Starts an operator, and waits until it has read all of these.
async fn ready(stage: &Stage, environments: &[&str]) -> Operator {
    let operator = stage.operator_with(&[("RUST_LOG", "info")]).await;
    for environment in environments {
        wait_for(&format!("{environment} to be read"), PATIENCE, async || {
            let source = stage.sources().get(&stage.source_name(environment)).await.map_err(|why| why.to_string())?;
            let status = source.status.unwrap_or_default();
            let is_ready =
                status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True");
            if is_ready { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await;
    }
    operator
}

/// Its memory once it has nothing to do; and that no statement of the database's took too long.
async fn settled(operator: &Operator) -> String {
    tokio::time::sleep(Duration::from_secs(20)).await;
    let log = operator.log();
    assert!(!log.contains("could not be read") && !log.contains("does not answer"), "{log}");
    resident_memory(operator.pid())
}

async fn remove(stage: &Stage, environments: &[&str]) {
    for environment in environments {
        let name = stage.source_name(environment);
        stage.sources().delete(&name, &kube::api::DeleteParams::default()).await.expect("it can be deleted");
    }
    stage.bindings().delete("app", &kube::api::DeleteParams::default()).await.expect("it can be deleted");
    wait_for("the Secret to be gone", PATIENCE, async || match stage.secrets().get_opt("app").await {
        Ok(None) => Ok(()),
        other => Err(format!("{:?}", other.map(|found| found.is_some()))),
    })
    .await;
}
