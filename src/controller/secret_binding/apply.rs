//! Does to Secrets what the plan says, each time with a precondition.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::{Client, Error, ResourceExt};

use super::plan::ownership::{Ownership, ownership};
use super::plan::{Action, DeletePreconditions, Plan};
use crate::api::SecretBinding;
use crate::api::names::FIELD_MANAGER;
use crate::telemetry::{Metrics, Verb};

/// A Secret as the API server has it after the write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ObjectVersion {
    uid: Option<String>,
    resource_version: Option<String>,
}

impl From<&Secret> for ObjectVersion {
    fn from(secret: &Secret) -> Self {
        Self { uid: secret.uid(), resource_version: secret.resource_version() }
    }
}

impl ObjectVersion {
    /// Its uid and resourceVersion.
    #[must_use]
    pub(super) fn identity(&self) -> (Option<String>, Option<String>) {
        (self.uid.clone(), self.resource_version.clone())
    }
}

/// Why a Secret was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum ApplyError {
    /// It is not, or no longer, as it was observed: look again.
    #[error("Secret {name} is no longer as it was observed")]
    Raced {
        /// Its name.
        name: String,
    },
    /// Kubernetes does not let it change that way.
    #[error("{cause}")]
    Immutable {
        /// The API server's answer.
        cause: String,
    },
    /// It is larger than the API server takes.
    #[error("{cause}")]
    TooLarge {
        /// The API server's answer.
        cause: String,
    },
    /// The API server refused: a right, a quota, an admission policy, a rule of the Secret's type.
    #[error("{cause}")]
    Refused {
        /// The API server's answer.
        cause: String,
    },
    /// The namespace is being deleted.
    #[error("the namespace is being deleted")]
    Terminating,
    /// The API server could not be reached, or did not answer as it should.
    #[error("{cause}")]
    Failed {
        /// What happened.
        cause: String,
    },
}

/// Writes the Secret, and then deletes those under earlier names.
pub(super) async fn apply(
    binding: &SecretBinding,
    client: &Client,
    metrics: &Metrics,
    plan: &mut Plan,
) -> Result<Option<ObjectVersion>, ApplyError> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &binding.namespace().unwrap_or_default());
    let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    let name = binding.target_name();
    let written = match &plan.action {
        Action::Keep => None,
        Action::Create(whole) => {
            metrics.wrote("secrets", Verb::Create);
            Some(secrets.create(&parameters, &whole.0).await.map_err(|error| tell_apart(&name, error))?)
        }
        Action::Replace(whole) => {
            metrics.wrote("secrets", Verb::Update);
            Some(secrets.replace(&name, &parameters, &whole.0).await.map_err(|error| tell_apart(&name, error))?)
        }
        Action::Delete(doomed) => {
            delete(&secrets, metrics, doomed).await?;
            None
        }
    };
    if written.is_some() || matches!(plan.action, Action::Delete(_)) {
        tracing::info!(
            namespace = %binding.namespace().unwrap_or_default(),
            binding = %binding.name_any(),
            secret = %name,
            action = plan.action.as_str(),
            "wrote"
        );
    }
    for orphan in std::mem::take(&mut plan.orphans) {
        delete_orphan(binding, &secrets, metrics, &orphan).await?;
    }
    Ok(written.as_ref().map(ObjectVersion::from))
}

async fn delete(secrets: &Api<Secret>, metrics: &Metrics, doomed: &DeletePreconditions) -> Result<(), ApplyError> {
    let preconditions = Preconditions { uid: doomed.uid.clone(), resource_version: doomed.resource_version.clone() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    metrics.wrote("secrets", Verb::Delete);
    match secrets.delete(&doomed.name, &parameters).await {
        Ok(_) => Ok(()),
        Err(Error::Api(answer)) if answer.code == 404 => Ok(()),
        Err(error) => Err(tell_apart(&doomed.name, error)),
    }
}

/// The cache may be behind: only what is this binding's at this moment goes.
async fn delete_orphan(
    binding: &SecretBinding,
    secrets: &Api<Secret>,
    metrics: &Metrics,
    orphan: &DeletePreconditions,
) -> Result<(), ApplyError> {
    let found = secrets.get_metadata_opt(&orphan.name).await.map_err(|error| tell_apart(&orphan.name, error))?;
    match found {
        Some(found) if ownership(binding, &found.metadata, None) == Ownership::Ours => {
            delete(secrets, metrics, &DeletePreconditions::from(&found.metadata)).await
        }
        _ => Ok(()),
    }
}

/// What an error means to us. Only the API server's own words are repeated, which redact values.
fn tell_apart(name: &str, error: Error) -> ApplyError {
    let Error::Api(answer) = error else { return ApplyError::Failed { cause: words_of(&error) } };
    let causes = answer.details.iter().flat_map(|details| &details.causes);
    if causes.clone().any(|cause| cause.reason == "NamespaceTerminating") {
        return ApplyError::Terminating;
    }
    let cause = answer.message.clone();
    match answer.code {
        404 | 409 if !cause.contains("exceeded quota") => ApplyError::Raced { name: name.to_owned() },
        413 => ApplyError::TooLarge { cause },
        422 if cause.contains("immutable") => ApplyError::Immutable { cause },
        422 if cause.contains("Too long") => ApplyError::TooLarge { cause },
        429 | 500.. => ApplyError::Failed { cause },
        _ => ApplyError::Refused { cause },
    }
}

/// An error in words that cannot repeat a body, as a parser's might.
pub(super) fn words_of(error: &Error) -> String {
    match error {
        Error::Api(answer) => answer.message.clone(),
        Error::SerdeError(_) | Error::FromUtf8(_) => "the API server's answer could not be read".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    fn answer(code: u16, message: &str) -> ApplyError {
        tell_apart("app", Error::Api(Box::new(Status::failure(message, "Whatever").with_code(code))))
    }

    #[test]
    fn what_the_api_server_answers_is_told_apart_by_what_to_do_about_it() {
        assert!(matches!(answer(409, "secrets \"app\" already exists"), ApplyError::Raced { .. }));
        assert!(matches!(answer(404, "secrets \"app\" not found"), ApplyError::Raced { .. }));
        assert!(matches!(answer(422, "type: Invalid value: field is immutable"), ApplyError::Immutable { .. }));
        assert!(matches!(
            answer(422, "data: Too long: may not be more than 1048576 bytes"),
            ApplyError::TooLarge { .. }
        ));
        assert!(matches!(answer(422, "data[tls.crt]: Required value"), ApplyError::Refused { .. }));
        assert!(matches!(answer(413, "etcdserver: request is too large"), ApplyError::TooLarge { .. }));
        assert!(matches!(answer(403, "exceeded quota: few, requested: secrets=1"), ApplyError::Refused { .. }));
        assert!(matches!(answer(500, "etcdserver: request timed out"), ApplyError::Failed { .. }));
        assert!(matches!(answer(429, "too many requests"), ApplyError::Failed { .. }));
    }

    #[test]
    fn a_namespace_that_is_going_is_no_failure() {
        let cause = StatusCause {
            reason: "NamespaceTerminating".into(),
            message: String::new(),
            field: "metadata.namespace".into(),
        };
        let details = StatusDetails {
            name: "app".into(),
            group: String::new(),
            kind: "secrets".into(),
            uid: String::new(),
            causes: vec![cause],
            retry_after_seconds: 0,
        };
        let status = Status::failure("forbidden", "Forbidden").with_code(403).with_details(details);
        assert!(matches!(tell_apart("app", Error::Api(Box::new(status))), ApplyError::Terminating));
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_repeated() {
        let error = serde_json::from_str::<u8>("\"c4n4ry-value\"").expect_err("not a number");
        assert!(!words_of(&Error::SerdeError(error)).contains("c4n4ry"));
    }
}
