//! Somebody else writes between the operator's read and its write; and what the operator reads at all.

use http::Method;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::harness::api_server_proxy::{ApiServerProxy, Exchange};
use crate::harness::wait_for;
use crate::stage::{Operator, SOON, Stage, text};

/// A stage with one value in dev, and the proxy that its operators come through.
async fn proxied(what: &str) -> (Stage, ApiServerProxy) {
    let stage = Stage::with_shop(what).await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    let proxy = ApiServerProxy::before(&stage.cluster).await;
    (stage, proxy)
}

async fn operator(stage: &Stage, proxy: &ApiServerProxy) -> Operator {
    let (namespace, account) = stage.account();
    let kubeconfig = proxy.kubeconfig(&stage.cluster, &stage.cluster.token(namespace, account).await);
    stage.operator_with(&[("KUBECONFIG", &kubeconfig.to_string_lossy())]).await
}

/// As [`proxied`], with a SecretBinding `app` whose Secret the operator has made.
async fn delivered(what: &str) -> (Stage, ApiServerProxy, Operator) {
    let (stage, proxy) = proxied(what).await;
    stage.binding("app", "dev", json!({})).await;
    let operator = operator(&stage, &proxy).await;
    stage.binding_is("app", &["Ready=True"]).await;
    (stage, proxy, operator)
}

/// Path of the API for the Secrets of the test's namespace.
fn secrets_path(stage: &Stage) -> String {
    format!("/api/v1/namespaces/{}/secrets", stage.cluster.namespace)
}

/// Puts a Secret of somebody else's in the place of `name`.
async fn put_foreign(stage: &Stage, name: &str) {
    let _ = stage.secrets().delete(name, &DeleteParams::default()).await;
    let theirs: Secret =
        serde_json::from_value(json!({"metadata": {"name": name}, "stringData": {"theirs": "untouched"}})).unwrap();
    stage.secrets().create(&PostParams::default(), &theirs).await.unwrap();
}

async fn is_untouched(stage: &Stage, name: &str) {
    let secret = stage.secrets().get(name).await.unwrap();
    assert_eq!(text(&secret).into_iter().collect::<Vec<_>>(), [("theirs".to_owned(), "untouched".to_owned())]);
    assert!(secret.metadata.owner_references.unwrap_or_default().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_secret_that_takes_the_place_of_ours_before_the_replace_is_untouched() {
    let (stage, proxy, _operator) = delivered("before-replace").await;
    let held = proxy.hold(Method::PUT, format!("{}/app", secrets_path(&stage)));
    stage.team.set("dev", "A", "2").await;
    held.meanwhile(put_foreign(&stage, "app")).await;
    stage.binding_is("app", &["Delivered=False(TargetForeign)"]).await;
    is_untouched(&stage, "app").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_that_is_quicker_than_the_replace_keeps_its_label_and_loses_its_data() {
    let (stage, proxy, _operator) = delivered("quicker-hand").await;
    let held = proxy.hold(Method::PUT, format!("{}/app", secrets_path(&stage)));
    stage.team.set("dev", "A", "2").await;
    let edit = Patch::Merge(json!({"metadata": {"labels": {"theirs": "kept"}}, "stringData": {"A": "by hand"}}));
    held.meanwhile(async { stage.secrets().patch("app", &PatchParams::default(), &edit).await.unwrap() }).await;
    let secret = stage.secret_has("app", &[("A", "2")]).await;
    assert_eq!(secret.metadata.labels.unwrap_or_default().get("theirs").map(String::as_str), Some("kept"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_secret_that_appears_before_the_create_is_untouched() {
    let (stage, proxy) = proxied("before-create").await;
    let _operator = operator(&stage, &proxy).await;
    let held = proxy.hold(Method::POST, secrets_path(&stage));
    stage.binding("app", "dev", json!({})).await;
    held.meanwhile(put_foreign(&stage, "app")).await;
    stage.binding_is("app", &["Delivered=False(TargetForeign)"]).await;
    is_untouched(&stage, "app").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_secret_that_takes_the_old_name_of_a_renamed_target_is_not_deleted() {
    let (stage, proxy, _operator) = delivered("before-delete").await;
    let held = proxy.hold(Method::DELETE, format!("{}/app", secrets_path(&stage)));
    stage.patch_binding("app", json!({"spec": {"target": {"name": "app-v2"}}})).await;
    held.meanwhile(put_foreign(&stage, "app")).await;
    stage.secret_has("app-v2", &[("A", "1")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
    is_untouched(&stage, "app").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_bindings_secret_is_not_made_again_while_the_watch_does_not_tell_of_the_deletion() {
    let (stage, proxy, _operator) = delivered("silent-watch").await;
    proxy.deafen("/apis/tidelock.dev/v1alpha1/secretbindings");
    let log = stage.cluster.audit_from_now().await;
    stage.bindings().delete("app", &DeleteParams::default()).await.unwrap();
    // The garbage collector takes the Secret away, and the operator hears of that.
    let of_binding = format!("/apis/tidelock.dev/v1alpha1/namespaces/{}/secretbindings/app", stage.cluster.namespace);
    wait_for("the operator to ask whether the binding exists", SOON, async || {
        let exchanges = proxy.exchanges();
        let asked = exchanges.iter().any(|one| one.method == Method::GET && one.target == of_binding);
        if asked { Ok(()) } else { Err(format!("{} exchanges, and none of {of_binding}", exchanges.len())) }
    })
    .await;
    assert!(stage.secrets().get_opt("app").await.unwrap().is_none());
    // A change of the source leads to another look, at a binding that is remembered to be gone.
    stage.team.set("dev", "A", "2").await;
    stage.source_is("dev", &["Ready=True"]).await;
    let writes = stage.operator_writes(&log).await;
    let of_secrets: Vec<&str> =
        writes.iter().filter(|write| write.object().resource == "secrets").map(|write| write.verb.as_str()).collect();
    assert_eq!(of_secrets, Vec::<&str>::new());
    // One that is made again under the same name is another one.
    stage.binding("app", "dev", json!({})).await;
    proxy.hear();
    stage.secret_has("app", &[("A", "2")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
}

/// Reads of Secrets: of all of them, by list and watch, and of single ones.
fn reads<'e>(exchanges: &'e [Exchange], stage: &Stage) -> (Vec<&'e Exchange>, Vec<&'e Exchange>) {
    let of_one = format!("{}/", secrets_path(stage));
    let gets = exchanges.iter().filter(|exchange| exchange.method == Method::GET);
    let secrets = gets.filter(|exchange| exchange.target.contains("/secrets?") || exchange.target.contains(&of_one));
    secrets.partition(|exchange| exchange.target.contains("/secrets?"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_watches_the_labelled_secrets_without_their_values_and_reads_whole_what_a_hand_changed() {
    let (stage, proxy) = proxied("metadata-only").await;
    let (value, edited) = (uuid::Uuid::new_v4().to_string(), uuid::Uuid::new_v4().to_string());
    let holds =
        |exchange: &Exchange, value: &str| String::from_utf8_lossy(&exchange.answer).contains(&STANDARD.encode(value));
    stage.team.set("dev", "A", &value).await;
    for name in ["app", "other"] {
        stage.binding(name, "dev", json!({})).await;
    }
    let first = operator(&stage, &proxy).await;
    for name in ["app", "other"] {
        stage.binding_is(name, &["Ready=True"]).await;
    }
    // After a restart the operator lists the existing Secrets.
    first.stop();
    let _second = operator(&stage, &proxy).await;
    stage.team.set("dev", "B", "2").await;
    for name in ["app", "other"] {
        stage.secret_has(name, &[("A", &value), ("B", "2")]).await;
    }
    let exchanges = proxy.exchanges();
    let (of_all, of_one) = reads(&exchanges, &stage);
    assert!(!of_all.is_empty());
    for read in &of_all {
        assert!(read.target.contains("labelSelector=app.kubernetes.io%2Fmanaged-by%3Dtidelock"), "{}", read.target);
    }
    // The list and the watch after the restart have had both Secrets in them.
    let told = of_all.iter().filter(|read| String::from_utf8_lossy(&read.answer).contains("\"name\":\"other\""));
    assert!(told.count() > 0, "{:?}", of_all.iter().map(|read| &read.target).collect::<Vec<_>>());
    for read in of_all.iter().chain(&of_one) {
        assert!(!holds(read, &value), "a value was read by {}", read.target);
    }

    // The metadata shows that somebody edited the Secret; what was edited is only in the Secret itself.
    let before = exchanges.len();
    let edit = Patch::Merge(json!({"stringData": {"A": edited}}));
    stage.secrets().patch("app", &PatchParams::default(), &edit).await.unwrap();
    stage.secret_has("app", &[("A", &value), ("B", "2")]).await;
    let exchanges = proxy.exchanges();
    let (_, of_one) = reads(&exchanges[before..], &stage);
    let whole: Vec<&str> = of_one.iter().filter(|read| holds(read, &edited)).map(|read| read.target.as_str()).collect();
    assert_eq!(whole, [format!("{}/app", secrets_path(&stage))]);
    assert!(of_one.iter().all(|read| !read.target.ends_with("/other")), "{of_one:?}");
    assert!(reads(&exchanges, &stage).0.iter().all(|read| !holds(read, &value) && !holds(read, &edited)));
}
