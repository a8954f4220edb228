//! What RBAC lets the operator's account do: what the operator calls for, and nothing beside it.

use std::collections::BTreeSet;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule};
use kube::api::{Api, ListParams};
use serde_json::json;

use super::delete_without_dependents;
use crate::harness::audit::{AuditEvent, AuditLog};
use crate::harness::wait_for;
use crate::stage::{SOON, Stage};

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_account_may_do_its_work_and_nothing_beside_it() {
    let stage = Stage::with_shop("rights").await;
    let (namespace, account) = stage.account();
    let user = format!("system:serviceaccount:{namespace}:{account}");
    let allowed = [
        "get secrets",
        "list secrets",
        "watch secrets",
        "create secrets",
        "update secrets",
        "delete secrets",
        "list namespaces",
        "watch namespaces",
        "get secretbindings.tidelock.dev",
        "watch secretbindings.tidelock.dev",
        "watch projectenvironments.tidelock.dev",
        "patch secretbindings.tidelock.dev/status",
        "patch projectenvironments.tidelock.dev/status",
        "create events.events.k8s.io",
        "patch events.events.k8s.io",
    ];
    let refused = [
        "create secretbindings.tidelock.dev",
        "update secretbindings.tidelock.dev",
        "patch secretbindings.tidelock.dev",
        "delete secretbindings.tidelock.dev",
        "update secretbindings.tidelock.dev/status",
        "get projectenvironments.tidelock.dev",
        "update projectenvironments.tidelock.dev",
        "update projectenvironments.tidelock.dev/status",
        "get configmaps",
        "get deployments.apps",
        "patch deployments.apps",
        "patch statefulsets.apps",
        "patch daemonsets.apps",
        "list pods",
        "create pods",
        "create serviceaccounts/token",
        "impersonate users",
        "patch secrets",
        "deletecollection secrets",
        "get namespaces",
        "update namespaces",
        "get events.events.k8s.io",
        "get leases.coordination.k8s.io",
        "bind clusterroles.rbac.authorization.k8s.io",
        "escalate clusterroles.rbac.authorization.k8s.io",
    ];
    for (asked, expected) in allowed.map(|asked| (asked, "yes")).into_iter().chain(refused.map(|asked| (asked, "no"))) {
        let (verb, resource) = asked.split_once(' ').unwrap();
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let subresource = format!("--subresource={subresource}");
        let arguments = ["auth", "can-i", verb, resource, &subresource, "--as", &user, "--all-namespaces"];
        // `can-i` ends with 1 for no, and says it on standard output.
        let answer = match stage.kubectl(&arguments, b"").await {
            Ok(answer) => answer,
            Err(_) => "no".to_owned(),
        };
        assert_eq!(answer.trim(), expected, "{asked}");
    }
}

/// The audit log is the witness of what was called for, over all that the operator does to the API server.
#[tokio::test(flavor = "multi_thread")]
async fn every_right_that_is_granted_is_used_and_nothing_is_refused() {
    let stage = Stage::with_shop("used-rights").await;
    let log = stage.cluster.audit_from_now().await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let _operator = stage.operator().await;
    stage.secret_has("app", &[("A", "1")]).await;
    stage.team.set("dev", "A", "2").await;
    stage.secret_has("app", &[("A", "2")]).await;
    stage.binding_is("app", &["Ready=True"]).await;
    repaired_twice(&stage).await;
    taken_over(&stage).await;
    stage.patch_binding("app", json!({"spec": {"target": {"name": "renamed"}}})).await;
    stage.secret_has("renamed", &[("A", "2")]).await;

    let granted = granted(&stage).await;
    let asked = wait_for("every right to be used", SOON, async || {
        let asked = asked(&stage, &log).await;
        let needed: BTreeSet<String> = asked.iter().flat_map(needed_for).collect();
        let idle: Vec<&String> = granted.difference(&needed).collect();
        if idle.is_empty() { Ok(asked) } else { Err(format!("nobody used {idle:?}")) }
    })
    .await;
    let needed: BTreeSet<String> = asked.iter().flat_map(needed_for).collect();
    assert_eq!(needed.difference(&granted).collect::<Vec<_>>(), Vec::<&String>::new(), "needed and not granted");
    let code = |event: &AuditEvent| event.response_status.as_ref().map(|status| status.code);
    let refused: Vec<&AuditEvent> = asked.iter().filter(|event| code(event) == Some(403)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// One Event, and then the same one counted.
async fn repaired_twice(stage: &Stage) {
    for _ in 0..2 {
        let before = stage.secrets().get("app").await.unwrap().metadata.uid;
        stage.delete_secret("app").await;
        let made_anew = stage.secret("app", |secret| {
            if secret.metadata.uid == before { Err("it is still the old one".to_owned()) } else { Ok(()) }
        });
        made_anew.await;
        stage.binding_is("app", &["Ready=True"]).await;
    }
}

/// A binding that is deleted without its dependents and made again asks whether it is still the one of its name.
async fn taken_over(stage: &Stage) {
    delete_without_dependents(stage, "app").await;
    let uid = stage.binding("app", "dev", json!({})).await.metadata.uid;
    let has_it = stage.secret("app", |secret| {
        let owners = secret.metadata.owner_references.clone().unwrap_or_default();
        if owners.iter().any(|owner| Some(&owner.uid) == uid.as_ref()) { Ok(()) } else { Err(format!("{owners:?}")) }
    });
    has_it.await;
}

/// What the operator's account asked for. It asks for objects and nothing else.
async fn asked(stage: &Stage, log: &AuditLog) -> Vec<AuditEvent> {
    let (namespace, account) = stage.account();
    let mut events = log.events(&stage.cluster.admin).await.unwrap();
    events.retain(|event| event.is_by(namespace, account));
    events
}

/// The rights that a request takes. A watch that begins with what is there becomes a list and a watch where the API
/// server does not stream, as those of Kubernetes 1.33 do not by default, and this one does: so `list` is granted without
/// being used here.
fn needed_for(event: &AuditEvent) -> Vec<String> {
    let object = event.object();
    let slash = if object.subresource.is_empty() { "" } else { "/" };
    let asked = right(&event.verb, &object.api_group, &[&*object.resource, slash, &*object.subresource].concat());
    let streams = event.verb == "watch" && event.request_uri.contains("sendInitialEvents=true");
    let fallback = streams.then(|| right("list", &object.api_group, &object.resource));
    [Some(asked), fallback].into_iter().flatten().collect()
}

fn right(verb: &str, group: &str, resource: &str) -> String {
    format!("{verb} {resource} of {group:?}")
}

/// Everything that some ClusterRole allows the operator's account in particular.
async fn granted(stage: &Stage) -> BTreeSet<String> {
    let (namespace, account) = stage.account();
    let roles: Api<ClusterRole> = Api::all(stage.cluster.admin.clone());
    let bindings: Api<ClusterRoleBinding> = Api::all(stage.cluster.admin.clone());
    let mut granted = BTreeSet::new();
    for binding in bindings.list(&ListParams::default()).await.unwrap() {
        let mut subjects = binding.subjects.iter().flatten();
        if subjects.any(|subject| subject.name == account && subject.namespace.as_deref() == Some(namespace)) {
            let role = roles.get(&binding.role_ref.name).await.unwrap();
            granted.extend(role.rules.iter().flatten().flat_map(rights_of));
        }
    }
    assert!(!granted.is_empty(), "the chart binds a role to the account");
    granted
}

fn rights_of(rule: &PolicyRule) -> Vec<String> {
    assert!(rule.non_resource_urls.is_none(), "{rule:?}");
    let mut rights = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            rights.extend(rule.verbs.iter().map(|verb| right(verb, group, resource)));
        }
    }
    rights
}
