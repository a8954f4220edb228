//! A binding that is deleted with its dependents and made again, as `kubectl replace --force` does it: how long its Secret
//! is away. The garbage collector goes by the dead owner's uid and sees no successor, so it is mostly first.

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use kube::runtime::watcher;
use serde_json::json;

use crate::figures::{Figures, millis, percentile};
use crate::stage::Stage;

const ROUNDS: usize = 30;

pub(crate) async fn measure(figures: &mut Figures) {
    let stage = Stage::with_shop("bench-remade").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator_with(&[("RUST_LOG", "info")]).await;
    stage.secret_has("app", &[("A", "1")]).await;
    let mut changes = Box::pin(watcher(stage.secrets(), watcher::Config::default().fields("metadata.name=app")));
    while !matches!(changes.next().await, Some(Ok(watcher::Event::InitDone))) {}

    let mut times: Vec<Duration> = Vec::with_capacity(ROUNDS);
    for _ in 0..ROUNDS {
        stage.binding_is("app", &["Ready=True"]).await;
        stage.bindings().delete("app", &DeleteParams::background()).await.expect("a binding can be deleted");
        let owner = stage.binding("app", "dev", json!({})).await.metadata.uid.expect("the API server gives one");
        let mut gone = None;
        let away = loop {
            match changes.next().await.expect("the watch goes on").expect("the watch works") {
                watcher::Event::Delete(_) => gone = Some(Instant::now()),
                watcher::Event::Apply(secret) if is_owned_by(&secret, &owner) => {
                    break gone.map_or(Duration::ZERO, |gone| gone.elapsed());
                }
                _ => {}
            }
        };
        times.push(away);
    }
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    figures.add("binding deleted and made again: its Secret is away, p50 of 30", &millis(p50), "-");
    figures.add("binding deleted and made again: its Secret is away, p99 of 30", &millis(p99), "-");
}

fn is_owned_by(secret: &Secret, uid: &str) -> bool {
    secret.metadata.owner_references.as_ref().is_some_and(|owners| owners.iter().any(|owner| owner.uid == uid))
}
