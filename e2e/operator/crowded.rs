//! A namespace with more Secrets of our label than the operator keeps in memory.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use serde_json::json;

use crate::harness::wait_for;
use crate::stage::{Operator, SOON, Stage};

/// So large is each in annotations that the operator itself writes, by somebody who may create Secrets.
const BYTES: usize = 180_000;
const SECRETS: usize = 48;

async fn is_told(stage: &Stage, operator: &Operator) {
    let namespace = format!(r#""kind":"Secret","namespace":"{}""#, stage.cluster.namespace);
    wait_for("the crowded namespace to be told", SOON, async || {
        let count = operator.metric("tidelock_crowded_namespaces{resource=\"secrets\"}").await?;
        let log = operator.log();
        if count >= 1.0 && log.contains(&namespace) { Ok(()) } else { Err(format!("{count} are; the log:\n{log}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_secrets_fill_their_namespaces_share_of_memory_and_nothing_is_lost_by_it() {
    let stage = Stage::with_shop("crowded").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator().await;
    stage.secret_has("app", &[("A", "1")]).await;
    for number in 0..SECRETS {
        let noise: Vec<u8> = (0..BYTES).map(|_| rand::random()).collect();
        let secret = json!({
            "metadata": {
                "name": format!("noise-{number}"),
                "labels": {"app.kubernetes.io/managed-by": "tidelock"},
                "annotations": {"tidelock.dev/rows": STANDARD.encode(noise)},
            },
        });
        stage.cluster.create::<Secret>(&serde_json::from_value(secret).unwrap()).await;
    }
    is_told(&stage, &operator).await;

    // What has no room is read when it is needed: a new binding, a change, and what somebody did to a Secret.
    stage.binding("late", "dev", json!({})).await;
    stage.secret_has("late", &[("A", "1")]).await;
    stage.team.set("dev", "A", "2").await;
    for name in ["app", "late"] {
        stage.secret_has(name, &[("A", "2")]).await;
        stage.delete_secret(name).await;
        stage.secret_has(name, &[("A", "2")]).await;
    }
    operator.stop();

    // And so where it is in the list of a start.
    let operator = stage.operator().await;
    is_told(&stage, &operator).await;
    stage.team.set("dev", "A", "3").await;
    for name in ["app", "late"] {
        stage.secret_has(name, &[("A", "3")]).await;
        stage.binding_is(name, &["Ready=True", "Delivered=True"]).await;
    }
    // Every operator of the run would list them at its start.
    for number in 0..SECRETS {
        stage.delete_secret(&format!("noise-{number}")).await;
    }
}
