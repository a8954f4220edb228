//! What the chart makes of its values.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{EnvVar, PodSpec, Service};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::harness::tools;
use crate::stage::program;

#[tokio::test]
async fn each_url_is_a_file_from_the_key_that_is_named_and_is_left_out_where_none_is() {
    for (values, expected) in [
        ("minimal", &[("TIDELOCK_DATABASE_URL", "url", "url")][..]),
        (
            "pooler",
            &[
                ("TIDELOCK_DATABASE_URL", "pooled", "url"),
                ("TIDELOCK_LISTEN_URL", "direct", "listen-url"),
                ("TIDELOCK_PRIMARY_URL", "primary", "primary-url"),
            ],
        ),
    ] {
        let pod = pod(values).await;
        let volume = pod.volumes.iter().flatten().find(|volume| volume.name == "database").expect("a volume");
        let secret = volume.secret.as_ref().expect("of a Secret");
        assert_eq!(secret.secret_name.as_deref(), Some("tidelock-database"));
        let keys: Vec<_> = secret.items.iter().flatten().map(|item| (&*item.key, &*item.path)).collect();
        assert_eq!(keys, expected.iter().map(|(_, key, path)| (*key, *path)).collect::<Vec<_>>(), "{values}");
        let container = &pod.containers[0];
        let mounted = container.volume_mounts.iter().flatten().find(|mount| mount.name == "database").expect("a mount");
        assert_eq!((&*mounted.mount_path, &mounted.sub_path), ("/etc/tidelock/database", &None));
        let urls = container.env.iter().flatten().filter(|variable| variable.name.ends_with("_URL"));
        let urls: Vec<_> = urls.map(|variable| (variable.name.clone(), variable.value.clone())).collect();
        let at = |path: &str| Some(format!("file:{}/{path}", mounted.mount_path));
        let expected = expected.iter().map(|(name, _, path)| ((*name).to_owned(), at(path)));
        assert_eq!(urls, expected.collect::<Vec<_>>(), "{values}");
    }
}

#[tokio::test]
async fn every_variable_that_the_chart_sets_is_one_that_the_operator_reads() {
    let output = Command::new(program()).args(["controller", "--help"]).output().await.unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    // It is wrapped, so a name may stand on another line than what announces it.
    let read: Vec<&str> = help.split(|c: char| !(c.is_ascii_uppercase() || c == '_')).collect();
    for values in ["full", "pooler"] {
        let pod = pod(values).await;
        for EnvVar { name, .. } in pod.containers.into_iter().flat_map(|container| container.env.unwrap_or_default()) {
            assert!(
                name == "SSL_CERT_FILE" || name == "RUST_LOG" || read.contains(&&*name),
                "{values}: {name}\n{help}"
            );
        }
    }
}

#[tokio::test]
async fn a_service_monitor_collects_from_the_service_that_the_chart_makes() {
    let monitor: Value = serde_yaml::from_str(&rendered("full", "servicemonitor").await).unwrap();
    let service: Service = serde_yaml::from_str(&rendered("full", "service").await).unwrap();
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    assert_eq!(monitor["spec"]["endpoints"], json!([{"port": "metrics", "path": "/metrics", "interval": "15s"}]));
    let labels = service.metadata.labels.expect("labels");
    for (name, value) in monitor["spec"]["selector"]["matchLabels"].as_object().expect("labels") {
        assert_eq!(labels.get(name).map(String::as_str), value.as_str(), "{name}");
    }
    let ports = service.spec.expect("a spec").ports.expect("ports");
    assert!(ports.iter().any(|port| port.name.as_deref() == Some("metrics")), "{ports:?}");
}

/// The operator's, for the values in `ci/<values>-values.yaml`.
async fn pod(values: &str) -> PodSpec {
    let deployment: Deployment = serde_yaml::from_str(&rendered(values, "deployment").await).unwrap();
    deployment.spec.template.spec.expect("a pod")
}

/// What a template comes to, for these values.
async fn rendered(values: &str, template: &str) -> String {
    let chart = tools::repository().join("charts/tidelock");
    let output = Command::new(tools::tool("helm").unwrap())
        .args([
            "template",
            "tidelock",
            &chart.to_string_lossy(),
            "--show-only",
            &format!("templates/{template}.yaml"),
            "--values",
        ])
        .arg(chart.join(format!("ci/{values}-values.yaml")))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
