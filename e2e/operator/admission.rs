//! What stands between a write and the store: policies that alter a Secret or refuse it, and the rules of its type.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};

use crate::harness::wait_for;
use crate::stage::{SOON, Stage, text};

/// What the altering policy makes of `A`, in base64 and in clear.
const ALTERED: (&str, &str) = ("YWx0ZXJlZC1vbi1pdHMtd2F5", "altered-on-its-way");

impl Stage {
    /// An admission policy for the Secrets of the test's namespace, and its binding, in force.
    async fn policy(&self, kind: &str, mut spec: Value, is_in_force: impl AsyncFn() -> bool) {
        let (namespace, name) = (&self.cluster.namespace, self.policy_name());
        spec["matchConstraints"] = json!({
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"]}
            ],
        });
        spec["failurePolicy"] = json!("Fail");
        let mut bound = json!({"policyName": name});
        if kind == "ValidatingAdmissionPolicy" {
            bound["validationActions"] = json!(["Deny"]);
        }
        let api_version = "admissionregistration.k8s.io/v1";
        for (kind, spec) in [(kind.to_owned(), spec), (format!("{kind}Binding"), bound)] {
            let manifest = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}, "spec": spec});
            let applied = self.kubectl(&["apply", "--filename", "-"], manifest.to_string().as_bytes()).await;
            applied.unwrap_or_else(|why| panic!("{why:#}"));
        }
        wait_for("the policy to be in force", SOON, async || {
            if is_in_force().await { Ok(()) } else { Err("it lets a Secret through as it was sent".to_owned()) }
        })
        .await;
    }

    async fn end_policy(&self, kind: &str) {
        let name = self.policy_name();
        for kind in [format!("{kind}Binding"), kind.to_owned()] {
            self.kubectl(&["delete", &kind, &name], &[]).await.unwrap_or_else(|why| panic!("{why:#}"));
        }
    }

    fn policy_name(&self) -> String {
        format!("policy-{}", self.cluster.namespace)
    }

    /// What the API server makes of a Secret that somebody sends, without storing it.
    async fn dry_run(&self) -> kube::Result<Secret> {
        let secret = json!({"metadata": {"name": "probe"}, "stringData": {"A": "probe"}});
        let parameters = PostParams { dry_run: true, ..PostParams::default() };
        self.secrets().create(&parameters, &serde_json::from_value(secret).unwrap()).await
    }

    /// Asks for a sync and waits for the answer, as a gate does; answers whether Ready is true then.
    async fn gate_passes(&self, binding: &str) -> bool {
        let nonce = uuid::Uuid::new_v4().to_string();
        self.patch_binding(binding, json!({"metadata": {"annotations": {"tidelock.dev/sync": nonce}}})).await;
        wait_for("an answer to the request for a sync", SOON, async || {
            let status = self.bindings().get(binding).await.map_err(|why| why.to_string())?.status.unwrap_or_default();
            if status.last_handled_sync.as_ref() != Some(&nonce) {
                return Err(format!("{:?}", status.last_handled_sync));
            }
            Ok(status.conditions.iter().any(|one| one.type_ == "Ready" && one.status == "True"))
        })
        .await
    }

    /// All that people can read of the test's bindings: their status and Events.
    async fn said(&self) -> String {
        let all = ListParams::default();
        let bindings = self.bindings().list(&all).await.unwrap().items;
        let events: Api<Event> = self.cluster.api();
        let events = events.list(&all).await.unwrap().items;
        format!("{}\n{}", serde_json::to_string(&bindings).unwrap(), serde_json::to_string(&events).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_a_policy_alters_on_its_way_is_not_delivered_until_the_policy_is_gone() {
    let stage = Stage::with_shop("altered").await;
    let value = uuid::Uuid::new_v4().to_string();
    stage.team.set("dev", "A", &value).await;
    stage.source("dev").await;
    let expression = format!(r#"[JSONPatch{{op: "add", path: "/data/A", value: "{}"}}]"#, ALTERED.0);
    let alter = json!({
        "reinvocationPolicy": "Never",
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": expression}}],
    });
    let alters = async || {
        stage.dry_run().await.is_ok_and(|stored| text(&stored).get("A").is_some_and(|value| value == ALTERED.1))
    };
    stage.policy("MutatingAdmissionPolicy", alter, alters).await;
    let log = stage.cluster.audit_from_now().await;
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator().await;

    let binding = stage.binding_is("app", &["Ready=False(TargetAltered)", "Delivered=False(TargetAltered)"]).await;
    let message = &binding.status.unwrap().conditions[0].message;
    assert!(message.contains("changed keys A") && message.contains("MutatingAdmissionPolicies"), "{message}");
    assert!(!stage.gate_passes("app").await, "the answer to a request for a sync is not Ready");
    let first = operator.log();
    operator.stop();
    let operator = stage.operator().await;
    assert!(!stage.gate_passes("app").await, "nor is it after a restart");
    let said = stage.said().await;
    assert!(said.contains("TargetAltered") && first.contains("TargetAltered"));
    for text in [said, first, operator.log()] {
        assert!(!text.contains(&value) && !text.contains(ALTERED.1));
    }

    stage.end_policy("MutatingAdmissionPolicy").await;
    let gone = Instant::now();
    stage.secret_has("app", &[("A", &value)]).await;
    stage.binding_is("app", &["Ready=True", "Delivered=True"]).await;
    assert!(gone.elapsed() < Duration::from_mins(1), "{:?}", gone.elapsed());
    assert!(stage.gate_passes("app").await);
    // A request for a sync and a start are one attempt each; all others have growing pauses between them.
    let writes = stage.operator_writes(&log).await;
    let attempts = writes.iter().filter(|write| write.object().resource == "secrets").count();
    assert!((4..=14).contains(&attempts), "{attempts} attempts");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_type_asks_of_a_value_is_said_without_a_character_of_the_value() {
    let stage = Stage::with_shop("types").await;
    let canary = format!("hunter2-{}", uuid::Uuid::new_v4().simple());
    stage.team.set("dev", "A", &canary).await;
    stage.source("dev").await;
    let types = [
        ("kubernetes.io/dockerconfigjson", ".dockerconfigjson", ".dockerconfigjson"),
        ("kubernetes.io/dockercfg", ".dockercfg", ".dockercfg"),
        ("kubernetes.io/tls", "tls.crt", "tls.key"),
        ("kubernetes.io/basic-auth", "other", "username"),
        ("kubernetes.io/ssh-auth", "other", "ssh-privatekey"),
    ];
    for (place, (type_, key, _)) in types.iter().enumerate() {
        let spec = json!({
            "target": {"template": {"type": type_}},
            "data": [{"secretKey": key, "remoteRef": {"key": "A"}}],
        });
        stage.binding(&format!("app-{place}"), "dev", spec).await;
    }
    let operator = stage.operator_with(&[("RUST_LOG", "trace")]).await;
    for (place, (type_, _, field)) in types.iter().enumerate() {
        let binding = stage.binding_is(&format!("app-{place}"), &["Delivered=False(SecretTypeInvalid)"]).await;
        let conditions = binding.status.unwrap().conditions;
        let message = &conditions.iter().find(|one| one.type_ == "Delivered").unwrap().message;
        assert!(message.contains(type_) && message.contains(field), "{message}");
    }
    let event = async || {
        let said = stage.said().await;
        if said.contains("\"note\":\"a Secret of type kubernetes.io/dockerconfigjson needs") {
            Ok(said)
        } else {
            Err(said)
        }
    };
    let said = wait_for("an Event", SOON, event).await;
    for (place, text) in [("conditions and Events", said), ("the log", operator.log())] {
        for found in ["hunter2", "invalid character", "'h'", "looking for beginning of value"] {
            assert!(!text.contains(found), "{found} stands in {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_refuses_a_secret_is_named_and_what_it_quotes_is_not_repeated() {
    let stage = Stage::with_shop("quoting").await;
    let canary = format!("hunter2-{}", uuid::Uuid::new_v4().simple());
    stage.team.set("dev", "A", &canary).await;
    stage.source("dev").await;
    let refuse = json!({"validations": [{
        "expression": "!has(object.data) || !('A' in object.data)",
        "messageExpression": "'refused because of ' + string(object.data['A'])",
    }]});
    let refuses = async || stage.dry_run().await.is_err_and(|why| why.to_string().contains("refused because of "));
    stage.policy("ValidatingAdmissionPolicy", refuse, refuses).await;
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator_with(&[("RUST_LOG", "trace")]).await;
    let binding = stage.binding_is("app", &["Delivered=False(WriteRefused)"]).await;
    let message = &binding.status.unwrap().conditions[0].message;
    assert!(
        message.contains(&format!("the ValidatingAdmissionPolicy {} refused it", stage.policy_name())),
        "{message}"
    );
    for text in [stage.said().await, operator.log()] {
        for found in ["hunter2", "refused because of", &STANDARD.encode(&canary)[..20]] {
            assert!(!text.contains(found), "{found}");
        }
    }
    stage.end_policy("ValidatingAdmissionPolicy").await;
}
