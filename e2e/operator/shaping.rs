//! What a SecretBinding makes of values, as the API server stores it: found and renamed, in templates and files, of checked
//! types, and in Secrets of several owners.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::harness::wait_for;
use crate::stage::{SOON, Stage};

/// A password that must be seen in Secrets alone.
const CANARY: &str = "c4n4ry-of-shaping";

async fn shop(what: &str) -> Stage {
    let stage = Stage::with_shop(what).await;
    let dotenv = format!("DB_USER=shop\nDB_PASSWORD={CANARY}\nDB_CONFIG='{{\"host\": \"db\", \"port\": 5432}}'\n");
    stage.team.run_with(&stage.team.ana, &["import", "-", "-e", "dev"], dotenv.as_bytes()).await.expect(0);
    stage.source("dev").await;
    stage
}

impl Stage {
    async fn create_secret(&self, manifest: Value) {
        self.secrets().create(&PostParams::default(), &serde_json::from_value(manifest).unwrap()).await.unwrap();
    }

    async fn patch_secret(&self, name: &str, patch: Value) {
        self.secrets().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    }
}

fn keeps_the_canary(said: &impl serde::Serialize) {
    assert!(!serde_json::to_string(said).unwrap().contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_binding_goes_through_every_shape_and_back_to_the_first() {
    let stage = shop("shaping").await;
    let find = json!([{
        "find": {"name": {"regexp": "^DB_"}, "excludeKeys": ["DB_CONFIG"]},
        "rewrite": [{"regexp": {"source": "^DB_", "target": ""}}, {"transform": {"template": "{{ value | lower }}"}}],
    }]);
    let found = [("password", CANARY), ("user", "shop")];
    let host = json!([
        {"secretKey": "host", "remoteRef": {"key": "DB_CONFIG", "property": "host"}},
        {"secretKey": "port", "remoteRef": {"key": "DB_CONFIG", "property": "port"}},
    ]);
    let url = "postgres://{{ user }}:{{ password }}@{{ host }}:{{ port }}";
    let log = stage.cluster.audit_from_now().await;
    stage.binding("app", "dev", json!({"dataFrom": find})).await;
    let _operator = stage.operator().await;
    let first = stage.secret_has("app", &found).await;

    stage.patch_binding("app", json!({"spec": {"data": host, "target": {"template": {"data": {"url": url}}}}})).await;
    stage.secret_has("app", &[("url", &format!("postgres://shop:{CANARY}@db:5432"))]).await;
    stage
        .patch_binding(
            "app",
            json!({"spec": {"target": {"template": {"mergePolicy": "Merge", "data": {"url": "{{ user }}"}}}}}),
        )
        .await;
    stage
        .secret_has("app", &[("host", "db"), ("password", CANARY), ("port", "5432"), ("url", "shop"), ("user", "shop")])
        .await;
    let file = json!({"format": {"as": "dotenv", "secretKey": ".env"}, "template": null});
    stage.patch_binding("app", json!({"spec": {"data": null, "target": file, "nameTransformer": "upper-snake"}})).await;
    stage.secret_has("app", &[(".env", &format!("PASSWORD={CANARY}\nUSER=shop\n"))]).await;
    stage.patch_binding("app", json!({"spec": {"target": null, "nameTransformer": null}})).await;
    let last = stage.secret_has("app", &found).await;
    assert_eq!(first.metadata.uid, last.metadata.uid, "never deleted to be made again");
    let binding = stage.binding_is("app", &["Ready=True(Ready)"]).await;
    keeps_the_canary(&binding);

    let writes = stage.operator_writes(&log).await;
    assert!(writes.len() <= 2 * 5 + 2, "two for each change: {}", writes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_template_or_a_rewrite_gets_wrong_holds_the_secret_and_is_told_without_a_value() {
    let stage = shop("misshapen").await;
    let good =
        json!({"data": [{"secretKey": "user", "remoteRef": {"key": "DB_USER"}}], "dataFrom": null, "target": null});
    stage.binding("app", "dev", good.clone()).await;
    let operator = stage.operator().await;
    stage.secret_has("app", &[("user", "shop")]).await;
    let template = |text: &str| json!({"target": {"template": {"data": {"a": text}}}});
    let all = |rewrite: Value| json!({"dataFrom": [{"find": {"name": {"regexp": "^DB_(U|P)"}}, "rewrite": rewrite}]});
    let endless = "{% for a in range(99999) %}{% for b in range(99999) %}{{ user }}{% endfor %}{% endfor %}";
    let doubling = "{% set n = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}";
    for (spec, condition, words) in [
        (
            template("\n{{ nobody }}"),
            "Delivered=False(TemplateFailed)",
            "data.a, line 2: it uses what is not there: nobody",
        ),
        (template(endless), "Delivered=False(TemplateFailed)", "more steps"),
        (template(doubling), "Delivered=False(TemplateFailed)", "more steps"),
        (template("{{ '/////w==' | b64dec }}"), "Delivered=False(TemplateFailed)", "not text in UTF-8"),
        (
            all(json!([{"regexp": {"source": ".+", "target": "one"}}])),
            "Delivered=False(KeyNameInvalid)",
            "(key DB_PASSWORD) and spec.dataFrom[0] (key DB_USER)",
        ),
        (all(json!([{"merge": {}}])), "Delivered=False(ValueUnsuitable)", "the value is not JSON"),
        (
            json!({"dataFrom": [{"find": {"name": {"regexp": "NOBODY"}}}]}),
            "ResolvedRefs=False(KeyMissing)",
            "finds no key",
        ),
        (
            json!({"data": null, "target": {"template": {"type": "kubernetes.io/tls"}}}),
            "Delivered=False(SecretTypeInvalid)",
            "needs the entry tls.crt",
        ),
        (
            json!({"target": {"template": {"type": "example.com/other"}}}),
            "Delivered=False(TargetImmutable)",
            "has type Opaque",
        ),
    ] {
        stage.patch_binding("app", json!({"spec": spec})).await;
        let binding = stage.binding_is("app", &[condition]).await;
        let conditions = binding.status.as_ref().unwrap().conditions.clone();
        assert!(conditions.iter().any(|said| said.message.contains(words)), "{words}: {conditions:?}");
        keeps_the_canary(&binding);
        stage.secret_has("app", &[("user", "shop")]).await;
        stage.patch_binding("app", json!({"spec": good})).await;
        stage.binding_is("app", &["Ready=True(Ready)"]).await;
    }
    assert!(!operator.log().contains(CANARY));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_secret_whose_key_is_another_certificates_is_not_written() {
    let stage = shop("tls").await;
    let pair = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    };
    let ((certificate, key), (_, other)) = (pair("shop.example"), pair("pay.example"));
    for (name, value) in [("CRT", &certificate), ("KEY", &other)] {
        stage.team.set("dev", name, value).await;
    }
    let spec = json!({
        "data": [{"secretKey": "tls.crt", "remoteRef": {"key": "CRT"}}, {"secretKey": "tls.key", "remoteRef": {"key": "KEY"}}],
        "target": {"template": {"type": "kubernetes.io/tls"}},
    });
    stage.binding("app", "dev", spec).await;
    let _operator = stage.operator().await;
    stage.binding_is("app", &["Delivered=False(SecretTypeInvalid)"]).await;
    assert!(stage.secrets().get_opt("app").await.unwrap().is_none());
    stage.team.set("dev", "KEY", &key).await;
    let written = stage.secret_has("app", &[("tls.crt", &certificate), ("tls.key", &key)]).await;
    assert_eq!(written.type_.as_deref(), Some("kubernetes.io/tls"));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_merged_into_a_secret_that_allows_it_and_leave_it_alone_otherwise() {
    let stage = shop("merge").await;
    let spec = json!({"dataFrom": [{"find": {"keys": ["DB_USER"]}}], "target": {"creationPolicy": "Merge"}});
    stage.binding("app", "dev", spec).await;
    let _operator = stage.operator().await;
    stage.binding_is("app", &["Delivered=False(TargetMissing)"]).await;
    let labels = json!({"app.kubernetes.io/managed-by": "Helm"});
    stage.create_secret(json!({"metadata": {"name": "app", "labels": labels}, "stringData": {"theirs": "x"}})).await;
    stage.binding_is("app", &["Delivered=False(TargetForeign)"]).await;
    stage.patch_secret("app", json!({"metadata": {"annotations": {"tidelock.dev/merge": "app"}}})).await;
    let merged = stage.secret_has("app", &[("DB_USER", "shop"), ("theirs", "x")]).await;
    assert_eq!(merged.labels().get("app.kubernetes.io/managed-by").map(String::as_str), Some("Helm"));
    assert!(merged.metadata.owner_references.is_none());
    stage.binding_is("app", &["Ready=True(Ready)"]).await;

    stage.team.set("dev", "DB_USER", "new").await;
    stage.secret_has("app", &[("DB_USER", "new"), ("theirs", "x")]).await;
    stage.patch_secret("app", json!({"stringData": {"DB_PASSWORD": "theirs"}})).await;
    let more = json!([{"find": {"keys": ["DB_USER", "DB_PASSWORD"]}}]);
    stage.patch_binding("app", json!({"spec": {"dataFrom": more}})).await;
    stage.binding_is("app", &["Delivered=False(MergeConflict)"]).await;
    stage.secret_has("app", &[("DB_PASSWORD", "theirs"), ("DB_USER", "new"), ("theirs", "x")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_outlives_its_binding_and_an_emptied_secret_is_deleted_where_that_is_asked_for() {
    let stage = shop("orphan").await;
    stage
        .binding(
            "stays",
            "dev",
            json!({"dataFrom": [{"find": {"keys": ["DB_USER"]}}], "target": {"creationPolicy": "Orphan"}}),
        )
        .await;
    stage
        .binding(
            "goes",
            "dev",
            json!({"dataFrom": [{"find": {"keys": ["DB_USER"]}}], "target": {"deletionPolicy": "Delete"}}),
        )
        .await;
    let _operator = stage.operator().await;
    let orphan = stage.secret_has("stays", &[("DB_USER", "shop")]).await;
    assert!(orphan.metadata.owner_references.is_none());
    stage.secret_has("goes", &[("DB_USER", "shop")]).await;
    stage.bindings().delete("stays", &DeleteParams::background()).await.unwrap();
    stage.team.run(&stage.team.ana, &["secret", "rm", "DB_USER", "-e", "dev"]).await.expect(0);
    let gone = async || match stage.secrets().get_opt("goes").await {
        Ok(None) => Ok(()),
        other => Err(format!("{:?}", other.map(|secret| secret.map(|secret| secret.name_any())))),
    };
    wait_for("the emptied Secret to be deleted", SOON, gone).await;
    stage.binding_is("goes", &["Ready=True(Ready)", "Delivered=True(SourceEmpty)"]).await;
    stage.secret_has("stays", &[("DB_USER", "shop")]).await;
    stage.team.set("dev", "DB_USER", "again").await;
    stage.secret_has("goes", &[("DB_USER", "again")]).await;
    let secret: Secret = stage.secrets().get("stays").await.unwrap();
    assert!(secret.data.is_some_and(|data| !data.is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn templates_of_a_labelled_config_map_are_followed_where_the_operator_may_read_them() {
    let stage = shop("config-maps").await;
    let items = json!([{"configMap": {"name": "files", "items": [{"key": "app.conf"}]}}]);
    stage.binding("app", "dev", json!({"target": {"template": {"templateFrom": items}}})).await;
    {
        let _off = stage.operator().await;
        let binding = stage.binding_is("app", &["Delivered=False(TemplateNotFound)"]).await;
        assert!(binding.status.unwrap().conditions[0].message.contains("are off"));
    }
    stage.may_read_config_maps().await;
    let _operator = stage.operator_with(&[("TIDELOCK_TEMPLATE_CONFIG_MAPS", "true")]).await;
    let config_maps: Api<ConfigMap> = stage.cluster.api();
    let manifest = json!({"metadata": {"name": "files"}, "data": {"app.conf": "user={{ DB_USER }}"}});
    config_maps.create(&PostParams::default(), &serde_json::from_value(manifest).unwrap()).await.unwrap();
    let told = async || {
        let status = stage.bindings().get("app").await.unwrap().status.unwrap_or_default();
        let said = status.conditions.iter().any(|said| said.message.contains("that has the label"));
        if said { Ok(()) } else { Err(format!("{:?}", status.conditions)) }
    };
    wait_for("an unlabelled ConfigMap to be passed over", SOON, told).await;
    let patch = async |patch: Value| {
        config_maps.patch("files", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    };
    patch(json!({"metadata": {"labels": {"tidelock.dev/template": "true"}}})).await;
    stage.secret_has("app", &[("app.conf", "user=shop")]).await;
    patch(json!({"data": {"app.conf": "user: {{ DB_USER }}"}})).await;
    stage.secret_has("app", &[("app.conf", "user: shop")]).await;
    config_maps.delete("files", &DeleteParams::default()).await.unwrap();
    stage.binding_is("app", &["Delivered=False(TemplateNotFound)"]).await;
    stage.secret_has("app", &[("app.conf", "user: shop")]).await;
}

impl Stage {
    /// What the chart adds where `templateConfigMaps.enabled` is set, for this test's operator.
    async fn may_read_config_maps(&self) {
        let (namespace, account) = self.account();
        let name = format!("config-maps-{namespace}");
        let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]);
        let api = "rbac.authorization.k8s.io/v1";
        let subjects = json!([{"kind": "ServiceAccount", "name": account, "namespace": namespace}]);
        let role_ref = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name});
        for manifest in [
            json!({"apiVersion": api, "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules}),
            json!({"apiVersion": api, "kind": "ClusterRoleBinding", "metadata": {"name": name}, "roleRef": role_ref, "subjects": subjects}),
        ] {
            let applied = self.kubectl(&["apply", "--filename", "-"], manifest.to_string().as_bytes()).await;
            applied.unwrap_or_else(|why| panic!("{why:#}"));
        }
    }
}
