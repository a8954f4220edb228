//! What every other test takes for granted about the control plane.

use std::process::Command;
use std::time::Duration;

use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DeleteParams, ObjectMeta, PostParams};
use kube::{Resource, ResourceExt};

use crate::harness::{Cluster, ControlPlane, tools, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_is_the_real_one_in_the_version_that_was_built() {
    let client = ControlPlane::shared().await.admin().unwrap();
    let answered = client.apiserver_version().await.unwrap();

    let output = Command::new(tools::tool("kube-apiserver").unwrap()).arg("--version").output().unwrap();
    let built = String::from_utf8(output.stdout).unwrap();
    assert_eq!(format!("Kubernetes {}", answered.git_version), built.trim());
    let minor: u32 = answered.minor.parse().unwrap();
    assert!(minor >= 33, "the oldest Kubernetes that is supported is 1.33, this is 1.{minor}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubeconfig_is_whole_also_while_another_test_asks_for_it() {
    let plane = ControlPlane::shared().await;
    let path = plane.admin_kubeconfig().unwrap();
    let whole = std::fs::read_to_string(&path).unwrap();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for _ in 0..500 {
                plane.admin_kubeconfig().unwrap();
            }
        });
        while !writer.is_finished() {
            assert!(std::fs::read_to_string(&path).unwrap() == whole, "cut off");
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_is_who_its_token_says_and_may_do_nothing_yet() {
    let cluster = Cluster::for_test("token").await;
    let token = cluster.service_account("reader").await;
    let client = cluster.client(&token);

    let review = Api::<SelfSubjectReview>::all(client.clone())
        .create(&PostParams::default(), &SelfSubjectReview::default())
        .await
        .unwrap();
    let user = review.status.and_then(|status| status.user_info).and_then(|user| user.username);
    let name = format!("system:serviceaccount:{}:reader", cluster.namespace);
    assert_eq!(user.as_deref(), Some(name.as_str()));

    let refusal = Api::<Secret>::namespaced(client, &cluster.namespace).get("any").await.unwrap_err();
    assert!(matches!(&refusal, kube::Error::Api(status) if status.code == 403), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_with_its_owner() {
    let cluster = Cluster::for_test("garbage").await;
    let owner = cluster.create(&ConfigMap { metadata: named("owner"), ..ConfigMap::default() }).await;
    let mut metadata = named("owned");
    metadata.owner_references = owner.controller_owner_ref(&()).map(|owner| vec![owner]);
    cluster.create(&Secret { metadata, ..Secret::default() }).await;

    cluster.api::<ConfigMap>().delete("owner", &DeleteParams::background()).await.unwrap();

    let secrets = cluster.api::<Secret>();
    wait_for("the Secret to be collected", Duration::from_mins(1), async || match secrets.get_opt("owned").await {
        Ok(None) => Ok(()),
        Ok(Some(secret)) => Err(format!("{:?}", secret.meta())),
        Err(why) => Err(why.to_string()),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_says_who_wrote_what_and_no_value() {
    let cluster = Cluster::for_test("audit").await;
    let token = cluster.service_account("writer").await;
    let log = cluster.audit_from_now().await;
    let client = cluster.client(&token);

    let mut secret = Secret { metadata: named("forbidden"), ..Secret::default() };
    secret.string_data = Some([("key".to_owned(), "audit-canary".to_owned())].into());
    Api::namespaced(client, &cluster.namespace).create(&PostParams::default(), &secret).await.unwrap_err();
    secret.metadata = named("allowed");
    let created = cluster.create(&secret).await;
    assert_eq!(created.name_any(), "allowed");

    let writes = log.writes_by(&cluster.admin, (&cluster.namespace, "writer")).await.unwrap();
    let [write] = &*writes else { panic!("one write was made, these are logged: {writes:?}") };
    assert_eq!((&*write.verb, &*write.object().resource), ("create", "secrets"));
    assert_eq!(write.response_status.as_ref().map(|status| status.code), Some(403));

    let all = log.events(&cluster.admin).await.unwrap();
    assert!(all.iter().any(|event| event.object().name == "allowed" && event.is_write()), "{all:?}");
    let text = std::fs::read_to_string(log.path()).unwrap();
    assert!(!text.contains("audit-canary") && !text.contains("YXVkaXQtY2FuYXJ5"));
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_works_with_the_kubeconfig() {
    let cluster = Cluster::for_test("kubectl").await;
    let output = Command::new(tools::tool("kubectl").unwrap())
        .arg(format!("--kubeconfig={}", cluster.plane().admin_kubeconfig().unwrap().display()))
        .args(["get", "namespace", &cluster.namespace, "-o", "name"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said.trim(), format!("namespace/{}", cluster.namespace), "{output:?}");
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}
