//! `kubectl tidelock status`: sources and bindings with what they say about themselves.

use clap::Args;
use kube::api::{Api, ListParams};

use crate::api::{ConditionType, ProjectEnvironment, Reason, SecretBinding};
use crate::telemetry::api_error_text;

use super::cluster::{Cluster, ClusterOptions, Reported, Standing, of_api_server};
use super::error::{Answer, CliError};
use super::output::{Line, Output, plain};

/// Show ProjectEnvironments and the SecretBindings of a namespace: exit code 3 unless all are ready and in sync
#[derive(Args)]
#[command(after_help = "Example: tidelock status -n shop")]
pub(super) struct Status {
    /// The bindings of every namespace
    #[arg(long, short = 'A', conflicts_with = "namespace")]
    all_namespaces: bool,
    #[command(flatten)]
    cluster: ClusterOptions,
}

impl Status {
    pub(super) async fn run(self, output: &Output) -> Result<Answer, CliError> {
        let Cluster { client, namespace } = self.cluster.connect().await?;
        let bindings: Api<SecretBinding> =
            if self.all_namespaces { Api::all(client.clone()) } else { Api::namespaced(client.clone(), &namespace) };
        let all = ListParams::default();
        let bindings = bindings.list(&all).await.map_err(|error| of_api_server("listing SecretBindings", &error))?;
        let mut shown: Vec<Standing> = Vec::new();
        match Api::<ProjectEnvironment>::all(client).list(&all).await {
            Ok(sources) => shown.extend(sources.iter().map(Reported::standing)),
            // Those who only have a namespace see what is theirs.
            Err(error) => output.note(&format!("ProjectEnvironments are not shown: {}", api_error_text(&error))),
        }
        shown.extend(bindings.iter().map(Reported::standing));
        if shown.is_empty() {
            output.note("nothing is there yet");
        }
        let header = ["OBJECT", "READY", "INSYNC", "REASON", "REVISION"];
        output.list(&header, shown.iter().map(line))?;
        Ok(Answer::differs_if(!shown.iter().all(is_well)))
    }
}

/// Whether it is ready and in sync, of the spec that it has, and nobody told it to rest.
fn is_well(standing: &Standing) -> bool {
    let is_true = |condition| standing.condition(condition).is_some_and(|said| said.status == "True");
    let is_suspended = standing.conditions.iter().any(|said| said.reason == Reason::Suspended.as_str());
    is_true(ConditionType::Ready) && is_true(ConditionType::InSync) && standing.is_looked_at() && !is_suspended
}

fn line(standing: &Standing) -> Line {
    let status = |condition| standing.condition(condition).map_or("-", |said| &said.status);
    let ready = standing.condition(ConditionType::Ready);
    let reason = match ready {
        _ if !standing.is_looked_at() => "not looked at yet",
        Some(ready) if ready.status == "True" => {
            let in_sync = standing.condition(ConditionType::InSync).filter(|in_sync| in_sync.status != "True");
            in_sync.map_or(&*ready.reason, |in_sync| &in_sync.reason)
        }
        Some(ready) => &ready.reason,
        None => "-",
    };
    let object = match &standing.metadata.namespace {
        Some(namespace) => format!("{namespace} {}/{}", standing.kind.short(), standing.name()),
        None => format!("{}/{}", standing.kind.short(), standing.name()),
    };
    let revision = standing.revision.map_or("-".to_owned(), |revision| revision.to_string());
    let cells = [&*object, status(ConditionType::Ready), status(ConditionType::InSync), reason, &revision].map(plain);
    Line { cells: cells.into(), json: standing.json() }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn standing(generation: i64, ready: &str, in_sync: &str, reason: &str) -> Standing {
        let condition = |type_: &str, status: &str| -> Value {
            json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
        };
        let binding: SecretBinding = serde_json::from_value(json!({
            "metadata": {"name": "app", "namespace": "shop", "generation": generation},
            "spec": {"sourceRef": {"name": "dev"}},
            "status": {"observedGeneration": 2, "conditions": [condition("Ready", ready), condition("InSync", in_sync)]},
        }))
        .expect("a binding");
        binding.standing()
    }

    #[test]
    fn well_is_what_is_ready_and_in_sync_as_it_is_now_and_not_at_rest() {
        for (generation, ready, in_sync, reason, expected) in [
            (2, "True", "True", "Ready", true),
            (3, "True", "True", "Ready", false),
            (2, "False", "True", "TargetForeign", false),
            (2, "True", "False", "KeysStale", false),
            (2, "True", "Unknown", "RowsMayBeHidden", false),
            (2, "True", "True", "Suspended", false),
        ] {
            assert_eq!(
                is_well(&standing(generation, ready, in_sync, reason)),
                expected,
                "{generation} {ready} {reason}"
            );
        }
    }
}
