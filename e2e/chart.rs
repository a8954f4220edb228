//! The chart on a real API server: what it renders is accepted, and gives the operator what it calls for and no more.

mod policy;
mod rendered;
mod restart_policy;
mod rights;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};

use crate::harness::wait_for;
use crate::stage::{SOON, Stage};

/// As a GitOps tool deletes that leaves dependents alone: the binding goes and its Secret stays, with no owner.
async fn delete_without_dependents(stage: &Stage, binding: &str) {
    stage.bindings().delete(binding, &DeleteParams::orphan()).await.unwrap();
    wait_for("the binding to be gone", SOON, async || match stage.bindings().get_opt(binding).await {
        Ok(None) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
}

/// The API server's own check judges the pod that the Deployment would make.
#[tokio::test(flavor = "multi_thread")]
async fn the_operators_pod_is_admitted_where_only_restricted_ones_are() {
    let stage = Stage::with_shop("restricted").await;
    let (namespace, _) = stage.account();
    let enforce = ["label", "namespace", namespace, "pod-security.kubernetes.io/enforce=restricted"];
    stage.kubectl(&enforce, b"").await.unwrap();
    let deployments: Api<Deployment> = stage.cluster.api();
    let deployment = deployments.list(&ListParams::default()).await.unwrap().items.pop().expect("the chart has one");
    let template = deployment.spec.template;
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let pods: Api<Pod> = stage.cluster.api();
    let pod = Pod {
        metadata: ObjectMeta { name: Some("operator".to_owned()), ..ObjectMeta::default() },
        spec: template.spec,
        ..Pod::default()
    };
    pods.create(&dry_run, &pod).await.unwrap();
    let container = &pod.spec.as_ref().unwrap().containers[0];
    assert_eq!(container.security_context.as_ref().and_then(|context| context.read_only_root_filesystem), Some(true));
    let mut lax = pod;
    lax.spec.as_mut().unwrap().containers[0].security_context = None;
    let refused = pods.create(&dry_run, &lax).await.unwrap_err().to_string();
    assert!(refused.contains("PodSecurity"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_apply_and_are_delivered() {
    let stage = Stage::with_shop("examples").await;
    let dotenv = "DATABASE_URL=postgres://one\nSENTRY_DSN=https://one\nSHARED_KEY=k\n";
    for environment in ["dev", "staging", "production"] {
        let import = ["import", "-", "-e", environment, "--follow"];
        stage.team.run_with(&stage.team.ana, &import, dotenv.as_bytes()).await.expect(0);
    }
    // The examples carry no class, so they are for an operator that has none.
    let _operator = stage.operator_with(&[("TIDELOCK_CLASS", "")]).await;
    let examples = crate::harness::tools::repository().join("examples");
    let folder = examples.to_string_lossy();
    stage.kubectl(&["apply", "-f", &format!("{folder}/namespaces.yaml")], b"").await.unwrap();
    stage.kubectl(&["apply", "-f", &folder], b"").await.unwrap();
    let shaped = ["shop-dev/shop-env-file", "shop-dev/shop-urls", "shop-dev/shop-parts", "shop-dev/shop-shared"];
    for binding in ["shop-dev/shop", "shop-staging/shop-database"].into_iter().chain(shaped) {
        let (namespace, name) = binding.split_once('/').unwrap();
        let wait = ["wait", "--for=condition=Ready", "--timeout=20s", "secretbinding", name, "--namespace", namespace];
        if let Err(why) = stage.kubectl(&wait, b"").await {
            let told =
                stage.kubectl(&["get", "secretbinding", name, "--namespace", namespace, "-o", "yaml"], b"").await;
            panic!("{why:#}: {told:?}");
        }
    }
    let columns = stage.kubectl(&["get", "secretbinding", "shop", "--namespace", "shop-dev"], b"").await.unwrap();
    let head: Vec<&str> = columns.lines().next().unwrap_or_default().split_whitespace().collect();
    assert_eq!(head, ["NAME", "SOURCE", "TARGET", "READY", "INSYNC", "REASON", "REVISION", "AGE"], "{columns}");
    let columns = stage.kubectl(&["get", "projectenvironment", "shop-dev"], b"").await.unwrap();
    let head: Vec<&str> = columns.lines().next().unwrap_or_default().split_whitespace().collect();
    let expected = ["NAME", "PROJECT", "ENVIRONMENT", "PRODUCTION", "READY", "INSYNC", "STALE", "MISSING", "AGE"];
    assert_eq!(head, expected, "{columns}");
    stage.kubectl(&["delete", "-f", &folder, "--wait=false"], b"").await.unwrap();
}
