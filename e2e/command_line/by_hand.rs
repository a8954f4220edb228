//! What people do by hand in a cluster: plan, sync, why, and the same by kubectl; beside an operator that runs, or does not.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::tools;
use crate::snapshot::assert_reads;
use crate::stage::{Finished, Running, Stage, data, program};

/// `tidelock` as ana, who is the cluster's admin besides.
async fn by_hand(stage: &Stage, line: &str) -> Finished {
    by_hand_with(stage, line, "").await
}

/// As [`by_hand`], with this on its standard input.
async fn by_hand_with(stage: &Stage, line: &str, input: &str) -> Finished {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut command = stage.team.command(&stage.team.ana, &words);
    command.env("KUBECONFIG", stage.cluster.plane().admin_kubeconfig().expect("the admin's kubeconfig"));
    Running::start(command).end(input.as_bytes()).await
}

/// `kubectl tidelock`: kubectl finds the same file under the name of a plugin. Nothing else of ours is in its environment.
async fn by_kubectl(stage: &Stage, kubeconfig: PathBuf, line: &str, input: &str) -> Finished {
    let plugins = stage.team.home().join("plugins");
    if std::fs::create_dir(&plugins).is_ok() {
        symlink(program(), plugins.join("kubectl-tidelock")).expect("a link can be made");
    }
    let mut command = Command::new(tools::tool("kubectl").expect("kubectl was built"));
    command
        .arg("tidelock")
        .args(line.split_whitespace())
        .env_clear()
        .env("PATH", &plugins)
        .env("HOME", stage.team.home())
        .env("KUBECONFIG", kubeconfig)
        .current_dir(stage.team.home())
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true);
    Running::start(command).end(input.as_bytes()).await
}

async fn foreign(stage: &Stage, name: &str) {
    let secret = json!({"metadata": {"name": name}, "stringData": {"theirs": "canary-theirs"}});
    stage.cluster.create::<Secret>(&serde_json::from_value(secret).expect("a Secret")).await;
}

/// A manifest with these objects.
fn manifest(objects: &[&Value]) -> String {
    json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_does_not_pass_on_an_old_answer_and_says_what_the_new_one_is() {
    let stage = Stage::with_shop("by-hand-sync").await;
    let namespace = stage.cluster.namespace.clone();
    stage.team.set("dev", "A", "canary-1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    // No notification arrives: what is known without a question is up to half a second old.
    let operator = stage.operator_with(&[("TIDELOCK_LISTEN_URL", "postgresql://nobody@127.0.0.1:1/nowhere")]).await;
    stage.binding_is("app", &["Ready=True", "InSync=True"]).await;
    let ask = |rest: &str| format!("sync sb/app -n {namespace} {rest}");
    for round in 0..5 {
        let value = format!("canary-round-{round}");
        stage.team.set("dev", "A", &value).await;
        by_hand(&stage, &ask("")).await.expect(0);
        let secret = stage.secrets().get("app").await.expect("the Secret");
        assert_eq!(crate::stage::text(&secret)["A"], value, "the answer knows of every change before the question");
    }

    stage.team.set("staging", "A", "canary-newer").await;
    let behind = by_hand(&stage, &ask("--for InSync")).await.expect(3);
    assert_reads!("sync-that-is-behind", behind.stdout + &behind.stderr);
    let source = format!("sync penv/{} --for insync -o json", stage.source_name("dev"));
    let source = by_hand(&stage, &source).await.expect(3).json();
    let conditions = source["conditions"].as_array().expect("conditions");
    assert!(conditions.iter().any(|said| said["type"] == "InSync" && said["status"] == "False"), "{source}");
    by_hand(&stage, &ask("--for Delivered")).await.expect(0);

    let nothing = by_hand(&stage, &format!("sync sb/nobody -n {namespace}")).await.expect(5);
    assert!(nothing.stderr.contains("nobody"), "{}", nothing.stderr);
    stage.patch_binding("app", json!({"spec": {"suspend": true}})).await;
    let suspended = by_hand(&stage, &ask("")).await.expect(4);
    assert!(suspended.stderr.contains("remove its spec.suspend"), "{}", suspended.stderr);
    stage.patch_binding("app", json!({"spec": {"suspend": null}})).await;
    by_hand(&stage, &ask("")).await.expect(0);

    // Everything that there is to see says Ready still.
    operator.stop();
    let silent = by_hand(&stage, &ask("--timeout 1s")).await.expect(1);
    assert_reads!("sync-without-an-operator", silent.stdout + &silent.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn why_says_what_is_wrong_and_what_to_do() {
    let stage = Stage::with_shop("by-hand-why").await;
    let namespace = stage.cluster.namespace.clone();
    stage.team.set("dev", "A", "canary-1").await;
    stage.source("dev").await;
    foreign(&stage, "app").await;
    stage.binding("app", "dev", json!({})).await;
    let why = format!("why sb/app -n {namespace}");
    let new = by_hand(&stage, &why).await.expect(3);
    assert!(new.stdout.contains("no operator has looked at it yet"), "{}", new.stdout);

    let _operator = stage.operator().await;
    stage.binding_is("app", &["Delivered=False(TargetForeign)"]).await;
    assert_reads!("why-of-a-foreign-secret", by_hand(&stage, &why).await.expect(3).stdout);
    let adopt = json!({"metadata": {"annotations": {"tidelock.dev/adopt": "app"}}});
    stage.secrets().patch("app", &PatchParams::default(), &Patch::Merge(adopt)).await.expect("an annotation");
    stage.binding_is("app", &["ResolvedRefs=False(RemovalUnproven)"]).await;
    let told = by_hand(&stage, &format!("{why} -o json")).await.expect(3);
    let first = told.json()["findings"][0].clone();
    assert_eq!((&first["about"], &first["reason"]), (&json!("Ready"), &json!("RemovalUnproven")));
    assert!(first["says"].as_str().is_some_and(|says| says.contains("tidelock.dev/release-removal=")), "{first}");
    stage.secrets().delete("app", &DeleteParams::default()).await.expect("it can be deleted");
    stage.binding_is("app", &["Ready=True"]).await;
    assert_reads!("why-of-what-is-well", by_hand(&stage, &why).await.expect(0).stdout);

    stage.patch_source("dev", json!({"spec": {"suspend": true}})).await;
    stage.binding_is("app", &["Ready=True(Suspended)"]).await;
    let suspended = by_hand(&stage, &why).await.expect(3).stdout;
    assert!(suspended.contains("it is suspended, and with it everything that is bound to it."), "{suspended}");
    let source = by_hand(&stage, &format!("why penv/{}", stage.source_name("dev"))).await.expect(3).stdout;
    assert!(source.contains("Remove `spec.suspend` to go on."), "{source}");
    stage.patch_source("dev", json!({"spec": {"suspend": null}})).await;

    let other_class = json!({"metadata": {"labels": {"tidelock.dev/class": "blue"}}});
    stage.patch_binding("app", other_class).await;
    let lost = by_hand(&stage, &why).await.expect(3).stdout;
    assert!(lost.contains("the binding has class blue: no operator looks at both."), "{lost}");
    by_hand(&stage, &format!("why sb/nobody -n {namespace}")).await.expect(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_what_the_operator_then_writes() {
    let stage = Stage::with_shop("by-hand-plan").await;
    let namespace = stage.cluster.namespace.clone();
    for (key, value) in [("A", "canary-a"), ("B", "canary-bb"), ("C", r#"{"user": "canary-user"}"#)] {
        stage.team.set("dev", key, value).await;
    }
    let user = json!({"secretKey": "user", "remoteRef": {"key": "C", "property": "user"}});
    let template = json!({"metadata": {"labels": {"team": "shop"}}});
    let spec = json!({
        "data": [{"secretKey": "A", "remoteRef": {"key": "A"}}, user], "target": {"template": template},
    });
    let binding = stage.binding_manifest("app", "dev", spec.clone());
    let source = json!({
        "apiVersion": "tidelock.dev/v1alpha1", "kind": "ProjectEnvironment",
        "metadata": {"name": stage.source_name("dev"), "labels": {"tidelock.dev/class": namespace}},
        "spec": {"project": "shop", "environment": "dev", "grants": [{"namespaces": {"names": [namespace]}}]},
    });

    // Nobody has heard of either yet, and no cluster is asked.
    let both = manifest(&[&binding, &source]);
    let alone = by_hand_with(&stage, "plan -f - -o json", &both).await.expect(0).json();
    let alone = alone[0].clone();
    assert_eq!((&alone["action"], &alone["ready"]), (&json!("create"), &json!(true)), "{alone}");
    let without_source = by_hand_with(&stage, "plan -f -", &manifest(&[&binding])).await.expect(3);
    assert!(without_source.stdout.contains("SourceNotFound"), "{}", without_source.stdout);

    stage.source("dev").await;
    let compared = by_hand_with(&stage, "plan -f - --cluster", &manifest(&[&binding])).await.expect(3);
    assert_reads!("plan-of-a-new-secret", compared.stdout);
    assert!(stage.secrets().get_opt("app").await.expect("a look").is_none(), "a plan writes nothing");

    let operator = stage.operator().await;
    stage.binding("app", "dev", spec).await;
    stage.binding_is("app", &["Ready=True"]).await;
    let written = stage.secrets().get("app").await.expect("the Secret");
    let sizes = |keys: &Value| -> BTreeMap<String, u64> {
        let keys = keys.as_array().expect("keys").iter();
        keys.map(|key| (key["key"].as_str().expect("a name").to_owned(), key["bytes"].as_u64().expect("a size")))
            .collect()
    };
    let has: BTreeMap<String, u64> = data(&written).into_iter().map(|(key, value)| (key, value.len() as u64)).collect();
    assert_eq!(sizes(&alone["keys"]), has);
    assert_eq!(alone["type"].as_str(), written.type_.as_deref());
    let same = by_hand_with(&stage, "plan -f - --cluster -o json", &manifest(&[&binding])).await.expect(0).json();
    assert_eq!((&same[0]["action"], sizes(&same[0]["keys"])), (&json!("keep"), has));

    // Another value, another key, and one that goes.
    operator.stop();
    stage.team.set("dev", "A", "canary-a-longer").await;
    let mut edited = stage.binding_manifest("app", "dev", json!({}));
    edited["spec"]["target"] = json!({"name": "app"});
    let differs = by_hand_with(&stage, "plan -f - --cluster", &manifest(&[&edited])).await.expect(3);
    assert_reads!("plan-of-changes", differs.stdout);
    edited["spec"]["target"]["name"] = json!("renamed");
    let renamed = by_hand_with(&stage, "plan -f - --cluster", &manifest(&[&edited])).await.expect(3).stdout;
    assert!(renamed.contains("would create Secret renamed") && renamed.contains("renamed: Secret app"), "{renamed}");
    let unchanged = stage.secrets().get("app").await.expect("the Secret");
    assert_eq!(unchanged.metadata.resource_version, written.metadata.resource_version, "a plan writes nothing");
    let _operator = stage.operator().await;
    let value = |secret: &Secret| data(secret).get("A").map(Vec::len);
    stage.secret("app", |secret| if value(secret) == Some(15) { Ok(()) } else { Err("not yet".to_owned()) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_would_not_be_delivered_says_why_and_quotes_nothing() {
    let stage = Stage::with_shop("by-hand-refused").await;
    stage.team.set("dev", "A", "canary-a").await;
    stage.source("dev").await;
    foreign(&stage, "app").await;
    let binding = stage.binding_manifest("app", "dev", json!({}));
    let foreign = by_hand_with(&stage, "plan -f - --cluster", &manifest(&[&binding])).await.expect(3);
    assert_reads!("plan-over-a-foreign-secret", foreign.stdout);
    let missing = json!({"data": [{"secretKey": "B", "remoteRef": {"key": "B"}}], "target": {"name": "other"}});
    let missing = stage.binding_manifest("other", "dev", missing);
    let missing = by_hand_with(&stage, "plan -f - --cluster", &manifest(&[&missing])).await.expect(3).stdout;
    assert!(missing.contains("KeyMissing") && missing.contains("tidelock secret set"), "{missing}");
    let mut blue = stage.binding_manifest("blue", "dev", json!({}));
    blue["metadata"]["labels"]["tidelock.dev/class"] = json!("blue");
    let blue = by_hand_with(&stage, "plan -f - --cluster", &manifest(&[&blue])).await.expect(3).stdout;
    assert!(blue.contains("SourceNotFound"), "an operator sees the objects of its own class: {blue}");
    for (text, code, expected) in [
        (binding.to_string().replace("sourceRef", "canary"), 2, "cannot be read at spec"),
        (r#"{"kind": "Secret", "stringData": {"A": "canary"}}"#.to_owned(), 2, "has no SecretBinding"),
    ] {
        let refused = by_hand_with(&stage, "plan -f -", &text).await.expect(code);
        assert!(refused.stderr.contains(expected) && !refused.stderr.contains("canary"), "{}", refused.stderr);
    }
    let mut nowhere = stage.team.command(&stage.team.ana, &["plan", "-f", "-", "--cluster"]);
    nowhere.env("KUBECONFIG", stage.cluster.plane().admin_kubeconfig().expect("the admin's kubeconfig"));
    nowhere.env("TIDELOCK_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/nowhere");
    let nowhere = Running::start(nowhere).end(manifest(&[&binding]).as_bytes()).await.expect(1);
    assert!(nowhere.stderr.contains("shop/dev cannot be read"), "{}", nowhere.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_gives_status_plan_sync_and_why_with_rights_in_the_cluster_alone() {
    let stage = Stage::with_shop("by-hand-kubectl").await;
    let namespace = stage.cluster.namespace.clone();
    stage.team.set("dev", "A", "canary-a").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;
    stage.binding_is("app", &["Ready=True", "InSync=True"]).await;

    // Somebody with one namespace, who may not read a Secret in it, nor sources.
    let token = stage.cluster.service_account("dee").await;
    let rights = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "dee"}, "rules": [
        {"apiGroups": ["tidelock.dev"], "resources": ["secretbindings"], "verbs": ["get", "list", "watch", "patch"]},
    ]});
    let bound = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "dee"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "dee"},
        "subjects": [{"kind": "ServiceAccount", "name": "dee", "namespace": namespace}],
    });
    let given = manifest(&[&rights, &bound]);
    stage.kubectl(&["apply", "-n", &namespace, "-f", "-"], given.as_bytes()).await.expect("rights");
    let dee = stage.cluster.kubeconfig("dee", &token);
    let admin = stage.cluster.plane().admin_kubeconfig().expect("the admin's kubeconfig");

    let status = by_kubectl(&stage, dee.clone(), &format!("status -n {namespace}"), "").await.expect(0);
    assert!(status.stdout.contains("sb/app") && status.stderr.contains("are not shown"), "{status:?}");
    by_kubectl(&stage, dee.clone(), &format!("sync sb/app -n {namespace}"), "").await.expect(0);
    let why = by_kubectl(&stage, dee.clone(), &format!("why sb/app -n {namespace}"), "").await.expect(0);
    assert!(why.stdout.contains("Secret app: it cannot be looked at: "), "{}", why.stdout);
    let refused = by_kubectl(&stage, dee.clone(), "sync sb/app -n default", "").await.expect(4);
    assert!(refused.stderr.contains("forbidden"), "{}", refused.stderr);

    let binding = stage.binding_manifest("app", "dev", json!({}));
    let plan = by_kubectl(&stage, admin.clone(), "plan -f -", &manifest(&[&binding])).await.expect(0);
    assert!(plan.stdout.contains("nothing is in its way; Secret app is its own to write"), "{}", plan.stdout);
    foreign(&stage, "theirs").await;
    let theirs = stage.binding_manifest("new", "dev", json!({"target": {"name": "theirs"}}));
    let nowhere = stage.binding_manifest("lost", "nowhere", json!({}));
    let plan = by_kubectl(&stage, admin.clone(), "plan -f -", &manifest(&[&theirs, &nowhere])).await.expect(3);
    assert_reads!("kubectl-plan", plan.stdout);

    let json = by_kubectl(&stage, admin.clone(), &format!("status -n {namespace} -o json"), "").await.json();
    let ours =
        |object: &&Value| object["name"].as_str().is_some_and(|name| name.starts_with(&*namespace) || name == "app");
    let kinds = json.as_array().expect("a list").iter().filter(ours).map(|object| object["kind"].clone());
    assert_eq!(kinds.collect::<Vec<_>>(), ["ProjectEnvironment", "SecretBinding"]);
    stage.team.set("staging", "A", "canary-newer").await;
    stage.binding_is("app", &["InSync=False(KeysStale)"]).await;
    let behind = by_kubectl(&stage, dee.clone(), &format!("status -n {namespace}"), "").await.expect(3);
    assert!(
        behind.stdout.lines().any(|line| line.contains("sb/app") && line.contains("KeysStale")),
        "{}",
        behind.stdout
    );
    let help = by_kubectl(&stage, admin, "--help", "").await.expect(0).stdout;
    assert!(help.contains("Usage: kubectl tidelock"), "{help}");
}
