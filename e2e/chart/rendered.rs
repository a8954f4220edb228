//! What the chart makes of its values.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::EnvVar;
use tokio::process::Command;

use crate::harness::tools;
use crate::stage::program;

#[tokio::test]
async fn the_url_to_listen_on_is_read_from_the_key_that_is_named_and_left_out_where_none_is() {
    let listens =
        |variables: &[EnvVar]| variables.iter().find(|variable| variable.name == "TIDELOCK_LISTEN_URL").cloned();
    assert_eq!(listens(&variables("minimal").await), None);
    let variable = listens(&variables("pooler").await).expect("a variable for the URL");
    assert_eq!(variable.value, None, "its value is in the Secret alone");
    let key = variable.value_from.and_then(|from| from.secret_key_ref).expect("a key of a Secret");
    assert_eq!((&*key.name, &*key.key, key.optional), ("tidelock-database", "direct", None));
}

#[tokio::test]
async fn every_variable_that_the_chart_sets_is_one_that_the_operator_reads() {
    let output = Command::new(program()).args(["controller", "--help"]).output().await.unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    // It is wrapped, so a name may stand on another line than what announces it.
    let read: Vec<&str> = help.split(|c: char| !(c.is_ascii_uppercase() || c == '_')).collect();
    for values in ["full", "pooler"] {
        for EnvVar { name, .. } in variables(values).await {
            assert!(
                name == "SSL_CERT_FILE" || name == "RUST_LOG" || read.contains(&&*name),
                "{values}: {name}\n{help}"
            );
        }
    }
}

/// The container's, for the values in `ci/<values>-values.yaml`.
async fn variables(values: &str) -> Vec<EnvVar> {
    let chart = tools::repository().join("charts/tidelock");
    let output = Command::new(tools::tool("helm").unwrap())
        .args([
            "template",
            "tidelock",
            &chart.to_string_lossy(),
            "--show-only",
            "templates/deployment.yaml",
            "--values",
        ])
        .arg(chart.join(format!("ci/{values}-values.yaml")))
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let deployment: Deployment = serde_yaml::from_slice(&output.stdout).unwrap();
    let pod = deployment.spec.template.spec.expect("a pod");
    pod.containers.into_iter().flat_map(|container| container.env.unwrap_or_default()).collect()
}
