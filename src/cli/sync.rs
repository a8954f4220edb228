//! `tidelock sync`: a gate that cannot pass on an old answer.

use std::time::Duration;

use clap::Args;
use futures::{StreamExt as _, pin_mut};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Api, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Error, Resource};
use serde_json::json;
use tokio::time::timeout;
use uuid::Uuid;

use crate::api::names::SYNC;
use crate::api::{ConditionType, ProjectEnvironment, SecretBinding, TABLE};
use crate::telemetry::watch_error_text;

use super::cluster::{
    Cluster, ClusterOptions, FIELD_MANAGER, ObjectKind, ObjectName, Reported, Standing, of_api_server,
};
use super::error::{Answer, CliError};
use super::output::Output;
use super::program::Program;

/// Ask the operator to look now, and wait for its answer: exit code 3 unless the condition asked for is true then
#[derive(Args)]
#[command(after_help = "Example: tidelock sync sb/app -n shop --for InSync --timeout 2m")]
pub(super) struct Sync {
    /// sb/NAME, a SecretBinding, or penv/NAME, a ProjectEnvironment
    #[arg(value_name = "OBJECT")]
    object: ObjectName,
    /// The condition that has to be true
    #[arg(long = "for", value_name = "CONDITION", default_value = "Ready", value_parser = condition)]
    condition: ConditionType,
    /// How long to wait for the answer, such as 90s or 5m
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// A condition that some reason can stand on, however its letters are written.
fn condition(text: &str) -> Result<ConditionType, String> {
    let mut known: Vec<ConditionType> = TABLE.iter().flat_map(|entry| entry.places).map(|(on, _)| *on).collect();
    known.sort_unstable();
    known.dedup();
    known.iter().copied().find(|known| known.as_str().eq_ignore_ascii_case(text)).ok_or_else(|| {
        let known: Vec<&str> = known.iter().map(|known| known.as_str()).collect();
        format!("the conditions are {}", super::output::all_of(&known))
    })
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    let given = text.parse::<kube::core::Duration>().ok().filter(|given| !given.is_negative());
    given.map(Duration::from).ok_or("a time is given as 30s, 5m or 1h30m")
}

impl Sync {
    pub(super) async fn run(self, program: Program, output: &Output) -> Result<Answer, CliError> {
        let Cluster { client, namespace } = self.cluster.connect().await?;
        let sources: Api<ProjectEnvironment> = Api::all(client.clone());
        let answer = match self.object.kind {
            ObjectKind::SecretBinding => {
                let bindings: Api<SecretBinding> = Api::namespaced(client, &namespace);
                let binding = read(&bindings, &self.object).await?;
                refuse_if_suspended(&binding.standing())?;
                // Who may not read sources waits in vain, and is told what the binding says.
                if let Ok(Some(source)) = sources.get_opt(&binding.spec.source_ref.name).await {
                    refuse_if_suspended(&source.standing())?;
                }
                self.answer(&bindings, program).await?
            }
            ObjectKind::ProjectEnvironment => {
                refuse_if_suspended(&read(&sources, &self.object).await?.standing())?;
                self.answer(&sources, program).await?
            }
        };
        if output.is_json() {
            output.json(&answer.json())?;
        } else {
            output.list(&["CONDITION", "STATUS", "REASON", "MESSAGE"], answer.lines())?;
        }
        let said = answer.condition(self.condition);
        if is_true(said) {
            return Ok(Answer::Done);
        }
        let said = said.map_or("not there".to_owned(), |said| format!("{} ({})", said.status, said.reason));
        let more = program.about("why", &answer);
        output.note(&format!("{} is {said}; what to do: {more}", self.condition));
        Ok(Answer::Differs)
    }

    /// What the object says once its sync was answered.
    async fn answer<K: Reported>(&self, api: &Api<K>, program: Program) -> Result<Standing, CliError> {
        let mut seen = None;
        let mut trouble = None;
        if let Ok(answer) = timeout(self.timeout, self.wait(api, &mut seen, &mut trouble)).await {
            return answer;
        }
        let Some(seen): Option<Standing> = seen else {
            let why = trouble.unwrap_or_else(|| "the API server does not answer".to_owned());
            return Err(CliError::Unanswered(format!("nothing was seen of {} in time: {why}", self.object.name)));
        };
        Err(CliError::Unanswered(format!(
            "no operator answered a sync of {} within {} s; last seen: {}; what to do: {}",
            seen.in_words(),
            self.timeout.as_secs(),
            seen.in_short(),
            program.about("why", &seen),
        )))
    }

    /// Asks, and waits as long as it takes.
    async fn wait<K: Reported>(
        &self,
        api: &Api<K>,
        seen: &mut Option<Standing>,
        trouble: &mut Option<String>,
    ) -> Result<Standing, CliError> {
        let mut questions = vec![self.ask(api).await?];
        let changes = watcher::watch_object(api.clone(), &self.object.name).default_backoff();
        pin_mut!(changes);
        loop {
            match changes.next().await {
                Some(Ok(Some(object))) => {
                    let standing = object.standing();
                    match look(&standing, &questions) {
                        Look::Answered => return Ok(standing),
                        Look::Waiting => {}
                        Look::Overwritten => questions.push(self.ask(api).await?),
                    }
                    *seen = Some(standing);
                }
                Some(Ok(None)) => return Err(self.not_there::<K>()),
                Some(Err(error)) => {
                    if let watcher::Error::InitialListFailed(source) | watcher::Error::WatchStartFailed(source) = &error
                        && let Error::Api(answer) = source
                        && answer.is_forbidden()
                    {
                        return Err(of_api_server(format!("watching {}", self.object.name), source));
                    }
                    *trouble = Some(watch_error_text(&error));
                }
                None => return Err(CliError::Unanswered(format!("the watch of {} ended", self.object.name))),
            }
        }
    }

    /// Asks with a new nonce; gives it.
    async fn ask<K: Reported>(&self, api: &Api<K>) -> Result<String, CliError> {
        let nonce = Uuid::new_v4().to_string();
        let patch = Patch::Merge(json!({"metadata": {"annotations": {SYNC: nonce}}}));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let attempt = || format!("asking for a sync of {} {}", K::kind(&()), self.object.name);
        api.patch_metadata(&self.object.name, &parameters, &patch)
            .await
            .map_err(|error| of_api_server(attempt(), &error))?;
        Ok(nonce)
    }

    fn not_there<K: Resource<DynamicType = ()>>(&self) -> CliError {
        CliError::NotFound(format!("{} {} is not there any more", K::kind(&()), self.object.name))
    }
}

async fn read<K: Reported>(api: &Api<K>, object: &ObjectName) -> Result<K, CliError> {
    let attempt = || format!("reading {} {}", object.kind, object.name);
    api.get(&object.name).await.map_err(|error| of_api_server(attempt(), &error))
}

/// Nobody looks at what is suspended, so that nobody would answer.
fn refuse_if_suspended(standing: &Standing) -> Result<(), CliError> {
    if !standing.is_suspended {
        return Ok(());
    }
    let what = standing.in_words();
    Err(CliError::Refused(format!("{what} is suspended, so no operator looks: remove its spec.suspend first")))
}

/// What there is to see of an answer.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Answered,
    Waiting,
    /// Somebody put another nonce in the place of ours: an operator may never see ours.
    Overwritten,
}

/// Only a nonce of ours counts: another one may have been asked before, and answered before.
fn look(standing: &Standing, questions: &[String]) -> Look {
    let is_ours = |nonce: Option<&str>| nonce.is_some_and(|nonce| questions.iter().any(|ours| ours == nonce));
    if is_ours(standing.last_handled_sync.as_deref()) {
        Look::Answered
    } else if is_ours(standing.asked_sync()) {
        Look::Waiting
    } else {
        Look::Overwritten
    }
}

fn is_true(condition: Option<&Condition>) -> bool {
    condition.is_some_and(|condition| condition.status == "True")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(asked: &str, handled: &str) -> Standing {
        let binding: SecretBinding = serde_json::from_value(json!({
            "metadata": {"name": "app", "annotations": {SYNC: asked}},
            "spec": {"sourceRef": {"name": "dev"}}, "status": {"lastHandledSync": handled},
        }))
        .expect("a binding");
        binding.standing()
    }

    #[test]
    fn only_the_answer_to_a_question_of_ours_is_an_answer() {
        let ours = ["first".to_owned(), "second".to_owned()];
        for (asked, handled, expected) in [
            ("second", "old", Look::Waiting),
            ("second", "second", Look::Answered),
            // Somebody asked after us, and it was answered in between.
            ("theirs", "first", Look::Answered),
            // It may be one that was answered long ago, and that a tool put back.
            ("theirs", "theirs", Look::Overwritten),
            ("theirs", "old", Look::Overwritten),
            ("first", "theirs", Look::Waiting),
        ] {
            assert_eq!(look(&binding(asked, handled), &ours), expected, "{asked} {handled}");
        }
    }

    #[test]
    fn conditions_and_times_are_taken_as_people_write_them() {
        assert_eq!(condition("insync"), Ok(ConditionType::InSync));
        assert!(condition("Synced").unwrap_err().contains("Ready, ResolvedRefs"));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert!(duration("-1s").is_err() && duration("soon").is_err());
    }
}
