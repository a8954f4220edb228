//! 5,000 bindings of an environment that is granted by 63 patterns: how soon a change in another environment arrives.

use futures::{StreamExt, stream};
use serde_json::json;

use crate::figures::{Figures, millis, percentile};
use crate::harness::wait_for;
use crate::latency;
use crate::stage::{SOON, Stage};

const BINDINGS: u32 = 5_000;
const PATTERNS: usize = 63;
const KEYS: u32 = 50;
const CHANGES: usize = 200;

pub(crate) async fn measure(figures: &mut Figures) {
    let stage = Stage::with_shop("bench-patterns").await;
    let file = (0..KEYS).fold(String::new(), |file, key| file + &format!("SERVICE_{key}_URL=v\n"));
    stage.team.run_with(&stage.team.ana, &["import", "-e", "staging"], file.as_bytes()).await.expect(0);
    stage.team.set("dev", "A", "start").await;
    // Each has to be tried for each key: only the last one covers any.
    let namespace = &stage.cluster.namespace;
    let grants: Vec<_> = (0..PATTERNS)
        .map(|number| {
            let regexp = if number + 1 == PATTERNS {
                "SERVICE_[0-9]+_[A-Z]+".to_owned()
            } else {
                format!("TEAM{number}_[A-Z]+(_[A-Z0-9]+)*")
            };
            json!({"namespaces": {"names": [namespace]}, "keys": {"regexp": regexp}})
        })
        .collect();
    stage.source_with("staging", json!({"grants": grants})).await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator_with(&[("RUST_LOG", "info")]).await;
    let stage = &stage;
    stream::iter(0..BINDINGS)
        .for_each_concurrent(16, |number| async move {
            let key = format!("SERVICE_{}_URL", number % KEYS);
            let spec = json!({"data": [{"secretKey": "URL", "remoteRef": {"key": key}}]});
            stage.binding(&format!("of-patterns-{number}"), "staging", spec).await;
        })
        .await;
    wait_for("all to be ready", 10 * SOON, async || {
        let ready = operator.metric(r#"tidelock_objects{kind="secret_binding",reason="ready"}"#).await?;
        if ready > f64::from(BINDINGS) { Ok(()) } else { Err(format!("{ready} are")) }
    })
    .await;
    let before = super::start::cpu_time(operator.pid());
    let mut times = latency::of_changes(stage, "shop", "dev", CHANGES).await;
    let spent = super::start::cpu_time(operator.pid()).saturating_sub(before);
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    let beside = "beside 5,000 bindings of another environment with 63 patterns";
    figures.add(&format!("commit to Secret changed, {beside}, p50 of {CHANGES}"), &millis(p50), "-");
    figures.add(&format!("the same, p99 of {CHANGES}"), &millis(p99), "250 ms");
    figures.add("the operator's processor time in that", &millis(spent), "-");
    operator.stop();
}
