//! What arrives in a Secret.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;

use crate::harness::database::Login;
use crate::harness::pooler::Pooler;
use crate::harness::wait_for;
use crate::stage::{SOON, Stage, data, text};

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_set_arrives_and_so_does_its_change() {
    let stage = Stage::with_shop("delivers").await;
    stage.team.set("dev", "DATABASE_URL", "postgres://one").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;

    stage.secret_has("app", &[("DATABASE_URL", "postgres://one")]).await;
    stage.binding_is("app", &["Ready=True", "ResolvedRefs=True", "Delivered=True", "InSync=True"]).await;

    stage.team.set("dev", "DATABASE_URL", "postgres://two").await;
    stage.team.set("dev", "API_KEY", "k").await;
    stage.secret_has("app", &[("API_KEY", "k"), ("DATABASE_URL", "postgres://two")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_of_it_works_through_a_pooler_and_listens_beside_it() {
    let stage = Stage::with_shop("pooled-operator").await;
    let team = &stage.team;
    let logins = [&team.database.owner, &team.ana, &team.operator];
    let Some(pooler) = Pooler::before(&team.database, &logins).await else { return };
    let ana = Login { url: pooler.url(&team.ana), ..team.ana.clone() };
    for environment in ["dev", "staging"] {
        team.set_as(&ana, "A", environment, "0").await.expect(0);
        stage.source(environment).await;
    }
    let names = stage.numbered_bindings(10, "dev").await;
    let (url, listen) = (pooler.url(&team.operator), team.operator.url.clone());
    let operator = stage.operator_with(&[("TIDELOCK_DATABASE_URL", &url), ("TIDELOCK_LISTEN_URL", &listen)]).await;
    for round in 1..=5 {
        let value = round.to_string();
        team.set_as(&ana, "A", "dev", &value).await.expect(0);
        for name in &names {
            stage.secret_has(name, &[("A", &value)]).await;
        }
        stage.source_is("staging", &["Ready=True", "InSync=False(KeysStale)"]).await;
        team.done(&ana, &["secret", "confirm", "A", "-e", "staging"]).await;
        stage.source_is("staging", &["InSync=True"]).await;
    }
    let failed = operator.metric(r#"tidelock_polls_total{result="error"}"#).await;
    assert!(failed.is_err() || failed == Ok(0.0), "{failed:?}\n{}", operator.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_never_holds_half_of_a_transaction() {
    let stage = Stage::with_shop("whole").await;
    let import = async |value: &str| {
        let dotenv = format!("A={value}\nB={value}\nC={value}\n");
        stage.team.run_with(&stage.team.ana, &["import", "-", "-e", "dev"], dotenv.as_bytes()).await.expect(0);
    };
    import("0").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;
    stage.secret_has("app", &[("A", "0"), ("B", "0"), ("C", "0")]).await;
    let (api, seen) = (stage.secrets(), Arc::new(Mutex::new(Vec::new())));
    let all = seen.clone();
    tokio::spawn(async move {
        let mut changes = Box::pin(watcher(api, watcher::Config::default()).applied_objects());
        while let Some(Ok(secret)) = changes.next().await {
            all.lock().unwrap().push(text(&secret));
        }
    });
    for round in 1..=20 {
        import(&round.to_string()).await;
    }
    stage.secret_has("app", &[("A", "20"), ("B", "20"), ("C", "20")]).await;
    wait_for("the last version", SOON, async || {
        let seen = seen.lock().unwrap();
        if seen.last().is_some_and(|last| last["A"] == "20") { Ok(()) } else { Err(format!("{:?}", seen.last())) }
    })
    .await;
    let seen = seen.lock().unwrap();
    assert!(seen.len() > 2, "{seen:?}");
    assert!(seen.iter().all(|data| data["A"] == data["B"] && data["B"] == data["C"]), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn named_keys_are_renamed_and_optional_ones_may_be_absent() {
    let stage = Stage::with_shop("renames").await;
    stage.team.set("dev", "DATABASE_URL", "postgres://one").await;
    stage.team.set("dev", "OTHER", "not asked for").await;
    stage.source("dev").await;
    let data = json!([
        {"secretKey": "url", "remoteRef": {"key": "DATABASE_URL"}},
        {"secretKey": "token", "remoteRef": {"key": "TOKEN"}, "optional": true},
    ]);
    stage.binding("app", "dev", json!({"data": data})).await;
    let _operator = stage.operator().await;

    stage.secret_has("app", &[("url", "postgres://one")]).await;
    stage.team.set("dev", "TOKEN", "t").await;
    stage.secret_has("app", &[("token", "t"), ("url", "postgres://one")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_target_has_the_name_type_labels_and_annotations_asked_for() {
    let stage = Stage::with_shop("shapes").await;
    stage.team.set("dev", "username", "u").await;
    stage.team.set("dev", "password", "p").await;
    stage.source("dev").await;
    let template = json!({
        "type": "kubernetes.io/basic-auth",
        "metadata": {"labels": {"team": "shop"}, "annotations": {"note": "by hand"}},
    });
    stage.binding("app", "dev", json!({"target": {"name": "login", "template": template}})).await;
    let _operator = stage.operator().await;

    let secret = stage.secret_has("login", &[("password", "p"), ("username", "u")]).await;
    assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/basic-auth"));
    assert_eq!(secret.metadata.labels.unwrap_or_default().get("team").map(String::as_str), Some("shop"));
    assert_eq!(secret.metadata.annotations.unwrap_or_default().get("note").map(String::as_str), Some("by hand"));
    let owners = secret.metadata.owner_references.unwrap_or_default();
    assert_eq!((owners.len(), owners[0].kind.as_str(), owners[0].controller), (1, "SecretBinding", Some(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_bindings_own_metadata_reaches_the_secret_and_it_gets_no_finalizer() {
    let stage = Stage::with_shop("not-copied").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let marks = json!({
        "labels": {"app.kubernetes.io/instance": "argo", "argocd.argoproj.io/instance": "argo"},
        "annotations": {"argocd.argoproj.io/tracking-id": "argo", "note": "the binding's own"},
    });
    stage.patch_binding("app", json!({"metadata": marks})).await;
    let _operator = stage.operator().await;
    let secret = stage.secret_has("app", &[("A", "1")]).await;
    let names: Vec<String> = [secret.metadata.labels, secret.metadata.annotations]
        .into_iter()
        .flatten()
        .flat_map(BTreeMap::into_keys)
        .collect();
    assert!(
        !names.iter().any(|name| name.contains("argo") || name.contains("instance") || name == "note"),
        "{names:?}"
    );
    assert!(stage.binding_is("app", &["Ready=True"]).await.metadata.finalizers.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn any_bytes_arrive_as_they_are_and_so_does_no_byte() {
    let stage = Stage::with_shop("bytes").await;
    let bytes: Vec<u8> = (0..=255).chain([0, 0xff, b'\n']).collect();
    let set = ["secret", "set", "BINARY", "-e", "dev", "--raw"];
    stage.team.run_with(&stage.team.ana, &set, &bytes).await.expect(0);
    stage.team.set("dev", "EMPTY", "").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;

    let found = stage.secret("app", |secret| Ok(data(secret))).await;
    assert_eq!(found["BINARY"], bytes);
    assert_eq!(found["EMPTY"], b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_of_values_that_is_too_large_is_refused_with_its_numbers() {
    let stage = Stage::with_shop("too-large").await;
    stage.team.set("dev", "A", &"a".repeat(600_000)).await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;
    stage.secret("app", |secret| Ok(text(secret).len())).await;

    stage.team.set("dev", "B", &"b".repeat(600_000)).await;
    let binding = stage.binding_is("app", &["Ready=False(TargetTooLarge)", "Delivered=False(TargetTooLarge)"]).await;
    let message = format!("{:?}", binding.status.map(|status| status.conditions));
    assert!(message.contains("1200000") && message.contains("1048576"), "{message}");
    // Keys that the Secret already had stay.
    stage.secret("app", |secret| if text(secret).len() == 1 { Ok(()) } else { Err("changed".to_owned()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_thousand_keys_arrive_in_one_secret() {
    use std::fmt::Write as _;
    let stage = Stage::with_shop("many-keys").await;
    let dotenv = (0..5_000).fold(String::new(), |mut text, number| {
        let _ = writeln!(text, "KEY_{number}=value-{number}");
        text
    });
    stage.team.run_with(&stage.team.ana, &["import", "-", "-e", "dev"], dotenv.as_bytes()).await.expect(0);
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;

    let found = stage.secret("app", |secret| Ok(text(secret))).await;
    assert_eq!(found.len(), 5_000);
    assert_eq!(found["KEY_4999"], "value-4999");
    stage.binding_is("app", &["Ready=True"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_no_secret_can_have_blocks_only_who_selects_it_and_its_name_is_nowhere() {
    let stage = Stage::with_shop("key-names").await;
    stage.team.set("dev", "with space", "v").await;
    stage.team.set("dev", "GOOD", "g").await;
    stage.source("dev").await;
    stage.binding("every", "dev", json!({})).await;
    let named = json!([
        {"secretKey": "spaced", "remoteRef": {"key": "with space"}},
        {"secretKey": "GOOD", "remoteRef": {"key": "GOOD"}},
    ]);
    stage.binding("named", "dev", json!({"data": named})).await;
    let operator = stage.operator().await;

    stage.secret_has("named", &[("GOOD", "g"), ("spaced", "v")]).await;
    let every = stage.binding_is("every", &["Delivered=False(KeyNameInvalid)"]).await;
    let said = format!("{:?}", every.status.map(|status| status.conditions));
    assert!(said.contains("1 whose name no Secret takes and is not shown") && !said.contains("with space"), "{said}");
    assert!(!operator.log().contains("with space"), "{}", operator.log());
}
