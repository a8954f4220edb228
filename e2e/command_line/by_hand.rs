//! What people do by hand in a cluster: sync, why, and the same by kubectl; beside an operator that runs, or does not.

use std::os::unix::fs::symlink;
use std::path::PathBuf;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::tools;
use crate::snapshot::assert_reads;
use crate::stage::{Finished, Running, Stage, program};

/// `tidelock` as ana, who is the cluster's admin besides.
async fn by_hand(stage: &Stage, line: &str) -> Finished {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut command = stage.team.command(&stage.team.ana, &words);
    command.env("KUBECONFIG", stage.cluster.plane().admin_kubeconfig().expect("the admin's kubeconfig"));
    Running::start(command).end(b"").await
}

/// `kubectl tidelock`: kubectl finds the same file under the name of a plugin. Nothing else of ours is in its environment.
async fn by_kubectl(stage: &Stage, kubeconfig: PathBuf, line: &str) -> Finished {
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
    Running::start(command).end(b"").await
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
async fn kubectl_gives_status_sync_and_why_with_rights_in_the_cluster_alone() {
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

    let status = by_kubectl(&stage, dee.clone(), &format!("status -n {namespace}")).await.expect(0);
    assert!(status.stdout.contains("sb/app") && status.stderr.contains("are not shown"), "{status:?}");
    by_kubectl(&stage, dee.clone(), &format!("sync sb/app -n {namespace}")).await.expect(0);
    let why = by_kubectl(&stage, dee.clone(), &format!("why sb/app -n {namespace}")).await.expect(0);
    assert!(why.stdout.contains("Secret app: it cannot be looked at: "), "{}", why.stdout);
    let refused = by_kubectl(&stage, dee.clone(), "sync sb/app -n default").await.expect(4);
    assert!(refused.stderr.contains("forbidden"), "{}", refused.stderr);

    let json = by_kubectl(&stage, admin.clone(), &format!("status -n {namespace} -o json")).await.json();
    let ours =
        |object: &&Value| object["name"].as_str().is_some_and(|name| name.starts_with(&*namespace) || name == "app");
    let kinds = json.as_array().expect("a list").iter().filter(ours).map(|object| object["kind"].clone());
    assert_eq!(kinds.collect::<Vec<_>>(), ["ProjectEnvironment", "SecretBinding"]);
    stage.team.set("staging", "A", "canary-newer").await;
    stage.binding_is("app", &["InSync=False(KeysStale)"]).await;
    let behind = by_kubectl(&stage, dee.clone(), &format!("status -n {namespace}")).await.expect(3);
    assert!(
        behind.stdout.lines().any(|line| line.contains("sb/app") && line.contains("KeysStale")),
        "{}",
        behind.stdout
    );
    let help = by_kubectl(&stage, admin, "--help").await.expect(0).stdout;
    assert!(help.contains("Usage: kubectl tidelock"), "{help}");
}
