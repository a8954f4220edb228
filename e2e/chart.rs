//! The chart on a real API server: what it renders is accepted, and gives the operator what it calls for and no more.

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use serde_json::json;

use crate::stage::Stage;

/// As the operator: a client with its token.
async fn operator_of(stage: &Stage) -> Client {
    let (namespace, account) = stage.account();
    stage.cluster.client(&stage.cluster.token(namespace, account).await)
}

/// What a client may do in the stage's namespace, each as `verb group/resource`.
async fn rights_of(stage: &Stage, client: Client) -> BTreeSet<String> {
    let asked = SelfSubjectRulesReviewSpec { namespace: Some(stage.cluster.namespace.clone()) };
    let review = SelfSubjectRulesReview { spec: asked, ..SelfSubjectRulesReview::default() };
    let answer = Api::<SelfSubjectRulesReview>::all(client).create(&PostParams::default(), &review).await;
    let status = answer.unwrap().status.unwrap();
    assert!(!status.incomplete, "{:?}", status.evaluation_error);
    let mut rights = BTreeSet::new();
    for rule in &status.resource_rules {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                rights.extend(rule.verbs.iter().map(|verb| format!("{verb} {group}/{resource}")));
            }
        }
    }
    rights
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_account_may_do_its_work_and_nothing_beside_it() {
    let stage = Stage::with_shop("rights").await;
    let anyone = stage.cluster.service_account("anyone").await;
    let anyone = rights_of(&stage, stage.cluster.client(&anyone)).await;
    let may = rights_of(&stage, operator_of(&stage).await).await;
    let may: Vec<&String> = may.difference(&anyone).collect();
    let expected = [
        "create /secrets",
        "create events.k8s.io/events",
        "delete /secrets",
        "get /secrets",
        "get tidelock.dev/secretbindings",
        "list /namespaces",
        "list /secrets",
        "list tidelock.dev/projectenvironments",
        "list tidelock.dev/secretbindings",
        "patch events.k8s.io/events",
        "patch tidelock.dev/projectenvironments/status",
        "patch tidelock.dev/secretbindings/status",
        "update /secrets",
        "watch /namespaces",
        "watch /secrets",
        "watch tidelock.dev/projectenvironments",
        "watch tidelock.dev/secretbindings",
    ];
    assert_eq!(may, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_account_cannot_mint_credentials_nor_take_a_secret_that_is_not_its_own() {
    let stage = Stage::with_shop("policy").await;
    let operator = operator_of(&stage).await;
    let api: Api<Secret> = Api::namespaced(operator, &stage.cluster.namespace);
    let ours = json!({"app.kubernetes.io/managed-by": "tidelock"});
    let attempts = [
        json!({"metadata": {"name": "token", "labels": ours, "annotations": {"kubernetes.io/service-account.name": "default"}},
               "type": "kubernetes.io/service-account-token"}),
        json!({"metadata": {"name": "bootstrap", "labels": ours}, "type": "bootstrap.kubernetes.io/token"}),
        json!({"metadata": {"name": "unlabelled"}, "type": "Opaque"}),
    ];
    for attempt in attempts {
        let secret: Secret = serde_json::from_value(attempt.clone()).unwrap();
        let refused = crate::harness::wait::try_wait_for("the policy to be in force", crate::stage::SOON, async || {
            match api.create(&PostParams { dry_run: true, ..PostParams::default() }, &secret).await {
                Ok(_) => Err("it was accepted".to_owned()),
                Err(why) => Ok(why.to_string()),
            }
        })
        .await;
        let refused = refused.unwrap_or_else(|why| panic!("{attempt}: {why}"));
        assert!(refused.contains("ValidatingAdmissionPolicy") || refused.contains("denied"), "{refused}");
    }

    let foreign = json!({"metadata": {"name": "foreign"}});
    let mut foreign = stage.cluster.create::<Secret>(&serde_json::from_value(foreign).unwrap()).await;
    foreign.metadata.labels = serde_json::from_value(ours).unwrap();
    let replaced = api.replace("foreign", &PostParams::default(), &foreign).await.map(|_| ());
    let deleted = api.delete("foreign", &DeleteParams::default()).await.map(|_| ());
    for refused in [replaced, deleted].map(Result::unwrap_err) {
        assert!(refused.to_string().contains("belongs to somebody else"), "{refused}");
    }
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
    for binding in ["shop-dev/shop", "shop-staging/shop-database"] {
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
