//! Several operators in one cluster: of one class, as during a roll-out, so that nothing relies on being alone; and of
//! other classes, whose objects are not ours.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Resource;
use kube::api::Api;
use kube::runtime::{WatchStreamExt, watcher};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::sync::NOWHERE;
use crate::harness::wait_for;
use crate::stage::{SOON, Stage};

const BINDINGS: usize = 4;

/// Everything that a condition has been, one after the other, without repetitions.
type Course = Arc<Mutex<Vec<String>>>;

fn follow<K>(
    api: Api<K>,
    name: &str,
    type_: &'static str,
    conditions: impl Fn(&K) -> Vec<Condition> + Send + 'static,
) -> Course
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let course = Course::default();
    let (seen, field) = (course.clone(), format!("metadata.name={name}"));
    tokio::spawn(async move {
        let mut changes = Box::pin(watcher(api, watcher::Config::default().fields(&field)).applied_objects());
        while let Some(Ok(object)) = changes.next().await {
            let found =
                conditions(&object).iter().find(|c| c.type_ == type_).map(|c| format!("{}({})", c.status, c.reason));
            let mut seen = seen.lock().unwrap();
            if let Some(found) = found.filter(|found| seen.last() != Some(found)) {
                seen.push(found);
            }
        }
    });
    course
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_write_each_change_once_and_never_contradict_each_other() {
    let stage = Stage::with_shop("two-operators").await;
    for environment in ["dev", "staging"] {
        stage.source(environment).await;
        stage.team.set(environment, "A", "0").await;
    }
    let names = stage.numbered_bindings(BINDINGS, "dev").await;
    // The first is notified of each change; the second has to poll, so it is behind most of the time; the annotation makes
    // it reconcile the object just then.
    let mark = |round: i32| json!({"metadata": {"annotations": {"tidelock.dev/round": round.to_string()}}});
    let _first = stage.operator().await;
    let _second = stage.operator_with(&[("TIDELOCK_LISTEN_URL", NOWHERE)]).await;
    for name in &names {
        stage.binding_is(name, &["Ready=True", "InSync=True"]).await;
    }
    stage.source_is("staging", &["InSync=True"]).await;
    let ready = names.iter().map(|name| {
        follow(stage.bindings(), name, "Ready", |binding| binding.status.clone().unwrap_or_default().conditions)
    });
    let ready: Vec<Course> = ready.collect();
    let in_sync = follow(stage.sources(), &stage.source_name("staging"), "InSync", |source| {
        source.status.clone().unwrap_or_default().conditions
    });
    let log = stage.cluster.audit_from_now().await;

    let mut expected = vec!["True(AllKeysInSync)".to_owned()];
    for round in 1..=6 {
        let value = round.to_string();
        stage.team.set("dev", "A", &value).await;
        for name in &names {
            stage.secret_has(name, &[("A", &value)]).await;
            stage.patch_binding(name, mark(round)).await;
        }
        stage.source_is("staging", &["InSync=False(KeysStale)"]).await;
        stage.patch_source("staging", mark(round)).await;
        stage.team.done(&stage.team.ana, &["secret", "confirm", "A", "-e", "staging"]).await;
        stage.source_is("staging", &["InSync=True"]).await;
        expected.extend(["False(KeysStale)".to_owned(), "True(AllKeysInSync)".to_owned()]);
    }
    wait_for("the course of staging", SOON, async || {
        let seen = in_sync.lock().unwrap().clone();
        if seen.len() >= expected.len() { Ok(()) } else { Err(format!("{seen:?}")) }
    })
    .await;
    assert_eq!(*in_sync.lock().unwrap(), expected, "no step back");
    for course in ready {
        assert_eq!(*course.lock().unwrap(), ["True(Ready)"], "no step back");
    }

    let writes = stage.operator_writes(&log).await;
    let taken = |what: &str| {
        let taken = writes.iter().filter(|write| write.request_uri.contains(what));
        taken.filter(|write| write.response_status.as_ref().is_some_and(|status| status.code < 300)).count()
    };
    for name in &names {
        assert_eq!(taken(&format!("/secrets/{name}?")), 6, "{name}: each change is written once");
        assert_eq!(taken(&format!("/secretbindings/{name}/status")), 6, "{name}: and told once");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_leaves_the_objects_of_another_class_and_of_none_alone_and_lends_its_sources_to_nobody() {
    let stage = Stage::with_shop("classes").await;
    stage.team.set("dev", "A", "1").await;
    let class = |class: Option<&str>| json!({"metadata": {"labels": {"tidelock.dev/class": class}}});
    for environment in ["dev", "staging"] {
        stage.source(environment).await;
    }
    stage.patch_source("staging", class(Some("another"))).await;
    for name in ["of-another", "of-none", "across", "ours"] {
        stage.binding(name, if name == "across" { "staging" } else { "dev" }, json!({})).await;
    }
    stage.patch_binding("of-another", class(Some("another"))).await;
    stage.patch_binding("of-none", class(None)).await;
    let source = async || stage.sources().get(&stage.source_name("staging")).await.unwrap();
    let before = source().await.metadata.resource_version;

    let _operator = stage.operator().await;
    stage.binding_is("across", &["Ready=False(SourceNotFound)"]).await;
    for value in ["1", "2"] {
        stage.team.set("dev", "A", value).await;
        stage.secret_has("ours", &[("A", value)]).await;
    }
    assert_eq!(source().await.metadata.resource_version, before);
    for name in ["of-another", "of-none"] {
        assert!(stage.secrets().get_opt(name).await.unwrap().is_none(), "{name}");
        let status = stage.bindings().get(name).await.unwrap().status.unwrap_or_default();
        assert_eq!(status.observed_generation, Some(-1), "{name}: {status:?}");
    }
    // A binding whose class changes goes over to the other operator.
    stage.patch_binding("of-another", class(Some(&stage.cluster.namespace))).await;
    stage.secret_has("of-another", &[("A", "2")]).await;
}
