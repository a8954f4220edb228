//! 1,000 bindings change at once, and each has a Deployment of its own restarted: how many patches that is, and how soon a
//! change in another environment arrives meanwhile.

use std::time::Instant;

use futures::{StreamExt, stream};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::json;

use crate::figures::{Figures, millis, percentile};
use crate::harness::wait_for;
use crate::latency;
use crate::stage::{SOON, Stage};

const RESTARTS: u32 = 1_000;
/// Changes between two looks at how many were restarted.
const CHANGES: usize = 25;
const PATCHES: &str = r#"tidelock_api_writes_total{resource="deployments",verb="Patch"}"#;

pub(crate) async fn measure(figures: &mut Figures) {
    let stage = Stage::with_shop("bench-restarts").await;
    stage.upgrade_chart("rolloutRestarts.enabled=true").await;
    for environment in ["dev", "staging"] {
        stage.team.set(environment, if environment == "dev" { "A" } else { "B" }, "start").await;
        stage.source(environment).await;
    }
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator_with(&[("RUST_LOG", "info"), ("TIDELOCK_ROLLOUT_RESTARTS", "true")]).await;
    let stage = &stage;
    stream::iter(0..RESTARTS)
        .for_each_concurrent(16, |number| async move {
            let name = format!("web-{number}");
            let template = json!({
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "app", "image": "example.com/app"}]},
            });
            let spec = json!({"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": template});
            let deployment: Deployment =
                serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).expect("a Deployment");
            stage.cluster.create(&deployment).await;
            let targets = json!([{"kind": "Deployment", "name": name}]);
            stage.binding(&name, "staging", json!({"rolloutRestartTargets": targets})).await;
        })
        .await;
    wait_for("all to be ready", 10 * SOON, async || {
        let ready = operator.metric(r#"tidelock_objects{kind="SecretBinding",reason="Ready"}"#).await?;
        if ready > f64::from(RESTARTS) { Ok(()) } else { Err(format!("{ready} are")) }
    })
    .await;
    stage.team.set("staging", "B", "other").await;
    let delivered = Instant::now();
    wait_for("the first restart", 5 * SOON, async || {
        let patches = operator.metric(PATCHES).await?;
        let status = stage.bindings().get("web-0").await.map_err(|why| why.to_string())?.status;
        if patches > 0.0 { Ok(()) } else { Err(format!("{status:?}")) }
    })
    .await;
    let (first, mut times) = (Instant::now(), Vec::new());
    while operator.metric(PATCHES).await.unwrap_or_default() < f64::from(RESTARTS) {
        assert!(delivered.elapsed() < 10 * SOON, "they are restarted some time");
        times.extend(latency::of_changes(stage, "shop", "dev", CHANGES).await);
    }
    let took = first.elapsed();
    // Whatever is repeated comes within the pauses that refusals and conflicts make.
    for number in [0, RESTARTS / 2, RESTARTS - 1] {
        stage.binding_is(&format!("web-{number}"), &["RolloutRestarted=True(Restarted)"]).await;
    }
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    let patches = operator.metric(PATCHES).await.unwrap_or_default();
    let count = times.len();
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    figures.add("patches for 1,000 restarts at once", &format!("{patches}"), "1000");
    figures.add("from the first to the last, at most", &millis(took), "-");
    figures.add(&format!("commit to Secret changed meanwhile, p50 of {count}"), &millis(p50), "-");
    figures.add("the same, p99", &millis(p99), "250 ms");
    operator.stop();
}
