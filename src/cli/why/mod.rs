//! `tidelock why`: what an object waits for or what is wrong with it, in sentences.

mod explain;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::Error;
use kube::api::Api;
use serde_json::{Value, json};

use crate::api::{ProjectEnvironment, SecretBinding};
use crate::telemetry::api_error_text;

use self::explain::{Finding, Looked, References, Seen, explain};
use super::cluster::{Cluster, ClusterOptions, ObjectKind, ObjectName, Reported as _, of_api_server};
use super::error::{Answer, CliError};
use super::output::Output;
use super::program::Program;

/// Say what an object waits for or what is wrong with it, and what to do: exit code 3 where anything is
#[derive(Args)]
#[command(
    after_help = "Reads the object, the source that it names, and of its Secret the metadata alone. What it may not read \
                  it says.\n\n\
                  Example: tidelock why sb/app -n shop"
)]
pub(super) struct Why {
    /// sb/NAME, a SecretBinding, or penv/NAME, a ProjectEnvironment
    #[arg(value_name = "OBJECT")]
    object: ObjectName,
    #[command(flatten)]
    cluster: ClusterOptions,
}

impl Why {
    pub(super) async fn run(self, program: Program, output: &Output) -> Result<Answer, CliError> {
        let cluster = self.cluster.connect().await?;
        let seen = self.look(&cluster).await?;
        let findings = explain(&seen, program);
        let is_wrong = findings.iter().any(|finding| finding.is_wrong);
        if output.is_json() {
            output.json(&json!({
                "kind": seen.object.kind.as_str(), "namespace": seen.object.metadata.namespace,
                "name": seen.object.name(), "asItShouldBe": !is_wrong,
                "findings": findings.iter().map(finding_json).collect::<Vec<_>>(),
            }))?;
        } else {
            output.text(&in_words(&seen.object.in_words(), is_wrong, &findings))?;
        }
        Ok(Answer::differs_if(is_wrong))
    }

    async fn look(&self, cluster: &Cluster) -> Result<Seen, CliError> {
        let name = &self.object.name;
        let failed = |error: Error| of_api_server(format!("reading {} {name}", self.object.kind), &error);
        let sources: Api<ProjectEnvironment> = Api::all(cluster.client.clone());
        let now = Timestamp::now();
        if self.object.kind == ObjectKind::ProjectEnvironment {
            let object = sources.get(name).await.map_err(failed)?.standing();
            return Ok(Seen { object, references: None, now });
        }
        let bindings: Api<SecretBinding> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let binding = bindings.get(name).await.map_err(failed)?;
        let secrets: Api<Secret> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
        let (source_name, target_name) = (binding.spec.source_ref.name.clone(), binding.target_name());
        let source = looked(sources.get_opt(&source_name).await).map(|source| source.standing());
        let target = looked(secrets.get_metadata_opt(&target_name).await).map(|secret| secret.metadata);
        let written = binding.status.as_ref().and_then(|status| status.target.clone());
        let references = References { source_name, source, target_name, target, written };
        Ok(Seen { object: binding.standing(), references: Some(references), now })
    }
}

fn looked<T>(answer: Result<Option<T>, Error>) -> Looked<T> {
    match answer {
        Ok(Some(found)) => Looked::Found(found),
        Ok(None) => Looked::Absent,
        Err(error) => Looked::Unreadable(api_error_text(&error)),
    }
}

fn in_words(object: &str, is_wrong: bool, findings: &[Finding]) -> String {
    let mut text = format!("{object} {}\n", if is_wrong { "is not as it should be." } else { "is as it should be." });
    for Finding { about, says, remedy, .. } in findings {
        let _ = write!(text, "\n{about}: {says}\n");
        if let Some(remedy) = remedy {
            let _ = writeln!(text, "  What to do: {remedy}");
        }
    }
    text
}

fn finding_json(Finding { about, reason, says, remedy, is_wrong }: &Finding) -> Value {
    json!({"about": about, "reason": reason, "says": says, "remedy": remedy, "wrong": is_wrong})
}
