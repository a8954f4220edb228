//! The cluster, as kubectl would reach it: verbs that need no database ask here.

mod object_name;
mod standing;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, Error};

use crate::core::causes;
use crate::telemetry::api_error_text;

use super::error::CliError;

pub(super) use object_name::{ObjectKind, ObjectName};
pub(super) use standing::{Reported, Standing, conditions_json};

/// Who changes an object where a person uses the command, for `metadata.managedFields`.
pub(super) const FIELD_MANAGER: &str = "tidelock-cli";

/// Longest that a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Which cluster, and which namespace.
#[derive(Args)]
#[command(next_help_heading = "Cluster options")]
pub(super) struct ClusterOptions {
    /// The namespace; else that of the kubeconfig's context
    #[arg(long, short, value_name = "NAME")]
    pub(super) namespace: Option<String>,

    /// The context of the kubeconfig; else its current one
    #[arg(long, value_name = "NAME")]
    pub(super) context: Option<String>,

    /// The kubeconfig; else what KUBECONFIG says, ~/.kube/config, or the service account of a pod
    #[arg(long, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
}

/// A cluster that can be asked.
pub(super) struct Cluster {
    pub(super) client: Client,
    /// The namespace that is meant where an object has one.
    pub(super) namespace: String,
}

impl ClusterOptions {
    /// A client for it. Nothing is asked yet.
    pub(super) async fn connect(&self) -> Result<Cluster, CliError> {
        let mut config = self.config().await?;
        config.connect_timeout = Some(CONNECT);
        // kube's own policy repeats for hours; a person asks again.
        config.default_retry = false;
        let namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config)
            .map_err(|error| CliError::Failed { attempt: UNUSABLE.to_owned(), source: causes(&error).into() })?;
        Ok(Cluster { client, namespace })
    }

    async fn config(&self) -> Result<Config, CliError> {
        let failed = |error: String| CliError::Failed { attempt: UNUSABLE.to_owned(), source: error.into() };
        let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
        if let Some(file) = &self.kubeconfig {
            let kubeconfig = Kubeconfig::read_from(file).map_err(|error| failed(causes(&error)))?;
            return Config::from_custom_kubeconfig(kubeconfig, &options).await.map_err(|error| failed(causes(&error)));
        }
        if self.context.is_some() {
            return Config::from_kubeconfig(&options).await.map_err(|error| failed(causes(&error)));
        }
        Config::infer().await.map_err(|error| failed(causes(&error)))
    }
}

const UNUSABLE: &str = "no cluster can be asked (set KUBECONFIG, or say --kubeconfig FILE)";

/// Why the API server did not do what was asked: not there, not allowed, or it failed.
pub(super) fn of_api_server(attempt: impl Into<String>, error: &Error) -> CliError {
    let (attempt, text) = (attempt.into(), api_error_text(error));
    match error {
        Error::Api(answer) if answer.is_not_found() => CliError::NotFound(format!("{attempt}: {text}")),
        Error::Api(answer) if answer.is_forbidden() || answer.code == 401 => {
            CliError::Refused(format!("{attempt}: {text}"))
        }
        _ => CliError::Failed { attempt, source: text.into() },
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn what_the_api_server_answers_has_an_exit_code_by_its_reason() {
        let answer = |reason: &str, code| Error::Api(Box::new(Status::failure("no", reason).with_code(code)));
        for (error, code) in [
            (answer("NotFound", 404), 5),
            (answer("Forbidden", 403), 4),
            (answer("Unauthorized", 401), 4),
            (answer("InternalError", 500), 1),
        ] {
            assert_eq!(of_api_server("reading", &error).exit_code(), code, "{error}");
        }
    }
}
