//! From a commit in PostgreSQL to the Secret's data changed, over 300 changes; and what each change costs in writes.

use std::time::{Duration, Instant};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher;
use serde_json::json;
use tidelock::core::{KeyName, SecretValue};
use tidelock::crypto::Keyring;
use tidelock::registry::{ConnectSettings, ObservedTimes, Session, WriteOptions};

use crate::figures::{Figures, millis, percentile};
use crate::harness::wait_for;
use crate::stage::Stage;

const CHANGES: usize = 300;

pub(crate) async fn measure(stage: &Stage, figures: &mut Figures) {
    stage.team.set("dev", "A", "start").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator_with(&[("RUST_LOG", "info")]).await;
    stage.secret_has("app", &[("A", "start")]).await;
    stage.binding_is("app", &["Ready=True"]).await;

    let log = stage.cluster.audit_from_now().await;
    let mut times = of_changes(stage, "shop", "dev", CHANGES).await;
    let (p50, p99) = (percentile(&mut times, 0.5), percentile(&mut times, 0.99));
    figures.add("commit to Secret changed, p50 of 300", &millis(p50), "50 ms");
    figures.add("commit to Secret changed, p99 of 300", &millis(p99), "250 ms");

    stage.binding_is("app", &["Ready=True"]).await;
    let writes = stage.operator_writes(&log).await;
    let of_binding = writes.iter().filter(|write| write.object().resource != "projectenvironments").count();
    #[allow(clippy::cast_precision_loss, reason = "some hundreds")]
    let each = of_binding as f64 / CHANGES as f64;
    figures.add("API writes for each sync of a binding", &format!("{each:.2}"), "2");

    // The environment's status is told at most once a second: the last change is not over before that.
    let revision = stage.team.revision().await;
    wait_for("the environment's status of the last change", Duration::from_secs(30), async || {
        let source = stage.sources().get(&stage.source_name("dev")).await.map_err(|why| why.to_string())?;
        let told = source.status.unwrap_or_default().registry_revision;
        if told == Some(revision) { Ok(()) } else { Err(format!("{told:?} of {revision}")) }
    })
    .await;

    // Nothing changes for ten polls of half a second.
    let log = stage.cluster.audit_from_now().await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let writes = stage.operator_writes(&log).await;
    figures.add("API writes in 5 s while nothing changes", &writes.len().to_string(), "0");
}

/// Ana changes the key `A` of an environment, again and again: from each commit to the Secret `app` having it.
pub(crate) async fn of_changes(stage: &Stage, project: &str, environment: &str, count: usize) -> Vec<Duration> {
    let mut changes = Box::pin(watcher(stage.secrets(), watcher::Config::default().fields("metadata.name=app")));
    let keyring = Keyring::read(&stage.team.keyring()).unwrap_or_else(|why| panic!("{why}"));
    let mut session = Session::open(&ConnectSettings::new(&stage.team.ana.url), None).await.expect("ana may connect");
    let (project, environment) = (project.parse().expect("a name"), environment.parse().expect("a name"));
    let environment = session.environment(&project, &environment).await.expect("it is there");
    let key: KeyName = "A".parse().expect("a name");

    let mut times: Vec<Duration> = Vec::with_capacity(count);
    for round in 0..count {
        let value = format!("value-{round}");
        let values = [(key.clone(), SecretValue::from(value.clone().into_bytes()))];
        let options = WriteOptions {
            follow: false,
            observed: &ObservedTimes::default(),
            dry_run: false,
            allow_empty: false,
            reason: "benchmark",
        };
        session.write_values(&keyring, &environment, &values, options).await.unwrap_or_else(|why| panic!("{why}"));
        let committed = Instant::now();
        loop {
            let event = changes.next().await.expect("the watch goes on").expect("the watch works");
            if let watcher::Event::Apply(secret) | watcher::Event::InitApply(secret) = event
                && has(&secret, &value)
            {
                break;
            }
        }
        times.push(committed.elapsed());
    }
    times
}

fn has(secret: &Secret, value: &str) -> bool {
    secret.data.as_ref().and_then(|data| data.get("A")).is_some_and(|bytes| bytes.0 == value.as_bytes())
}
