//! Does to Secrets what the plan says, each time with a precondition.

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::{Client, Error, ResourceExt};

use super::driver::Applied;
use super::plan::ownership::{Ownership, ownership};
use super::plan::{DeletePreconditions, ObjectVersion, Plan, SecretWrite, WriteFailure, WriteFailureKind};
use crate::api::SecretBinding;
use crate::api::names::FIELD_MANAGER;
use crate::telemetry::api_error_text;
use crate::telemetry::{Metrics, Verb};

/// Writes the Secret, and then deletes those under earlier names.
pub(super) async fn apply(binding: &SecretBinding, client: &Client, metrics: &Metrics, plan: &Plan) -> Applied {
    let namespace = binding.namespace().unwrap_or_default();
    let secrets = Secrets { api: Api::namespaced(client.clone(), &namespace), metrics };
    let name = binding.target_name();
    let written = match secrets.write(&name, &plan.write).await {
        Ok(written) => written,
        Err(error) => return what_became(error),
    };
    if !matches!(plan.write, SecretWrite::Keep) {
        let (binding, action) = (binding.name_any(), plan.write.as_str());
        tracing::info!(%namespace, %binding, secret = %name, action, "wrote");
    }
    for orphan in &plan.orphans {
        if let Err(error) = secrets.delete_orphan(binding, &orphan.name).await {
            return what_became(error);
        }
    }
    Applied::Done(written)
}

/// The Secrets of one namespace.
struct Secrets<'a> {
    api: Api<Secret>,
    metrics: &'a Metrics,
}

impl Secrets<'_> {
    async fn write(&self, name: &str, write: &SecretWrite) -> Result<Option<ObjectVersion>, Error> {
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let written = match write {
            SecretWrite::Keep => return Ok(None),
            SecretWrite::Create(secret) => {
                self.metrics.wrote("secrets", Verb::Create);
                self.api.create(&parameters, &secret.0).await?
            }
            SecretWrite::Replace(secret) => {
                self.metrics.wrote("secrets", Verb::Update);
                self.api.replace(name, &parameters, &secret.0).await?
            }
            SecretWrite::Delete(preconditions) => return self.delete(preconditions).await.map(|()| None),
        };
        Ok(Some(ObjectVersion::from(&written.metadata)))
    }

    async fn delete(&self, DeletePreconditions { name, version }: &DeletePreconditions) -> Result<(), Error> {
        let preconditions =
            Preconditions { uid: version.uid.clone(), resource_version: version.resource_version.clone() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        self.metrics.wrote("secrets", Verb::Delete);
        match self.api.delete(name, &parameters).await {
            Ok(_) => Ok(()),
            Err(Error::Api(answer)) if answer.is_not_found() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The cache may be behind: only what is this binding's at this moment goes.
    async fn delete_orphan(&self, binding: &SecretBinding, name: &str) -> Result<(), Error> {
        match self.api.get_metadata_opt(name).await? {
            Some(found) if ownership(binding, &found.metadata, None) == Ownership::Ours => {
                self.delete(&DeletePreconditions::from(&found.metadata)).await
            }
            _ => Ok(()),
        }
    }
}

/// Cause of a refusal of everything that is created in a namespace that is being deleted.
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// Fields of a Secret that Kubernetes does not let change: the type never, the data once it is immutable.
const FROZEN_FIELDS: [&str; 3] = ["type", "data", "immutable"];

/// What an error means to us, by the API server's reasons.
fn what_became(error: Error) -> Applied {
    let failed = |kind, message| Applied::Failed(WriteFailure { kind, message });
    let Error::Api(answer) = error else { return failed(WriteFailureKind::Transient, api_error_text(&error)) };
    let causes = || answer.details.iter().flat_map(|details| &details.causes);
    if causes().any(|cause| cause.reason == NAMESPACE_TERMINATING) {
        return Applied::NamespaceTerminating;
    }
    let is_frozen = || {
        causes().any(|cause| match cause.reason.as_str() {
            // An immutable Secret's data, and its mark.
            "FieldValueForbidden" => FROZEN_FIELDS.contains(&cause.field.as_str()),
            "FieldValueInvalid" => cause.field == "type",
            _ => false,
        })
    };
    let is_too_long = || causes().any(|cause| cause.reason == "FieldValueTooLong");
    if answer.is_already_exists() || answer.is_conflict() || answer.is_not_found() {
        return Applied::Conflict;
    }
    let kind = match answer.code {
        413 => WriteFailureKind::TooLarge,
        422 if is_frozen() => WriteFailureKind::Immutable,
        422 if is_too_long() => WriteFailureKind::TooLarge,
        429 | 500.. => WriteFailureKind::Transient,
        _ => WriteFailureKind::Refused,
    };
    failed(kind, answer.message.clone())
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use kube::core::response::{StatusCause, StatusDetails};

    use super::*;

    /// What becomes of an answer with that code and reason, and a cause: its reason and field.
    fn answer(code: u16, reason: &str, cause: Option<(&str, &str)>) -> Applied {
        let causes = cause.into_iter().map(|(reason, field)| StatusCause {
            reason: reason.into(),
            message: String::new(),
            field: field.into(),
        });
        let details = StatusDetails {
            name: "app".into(),
            group: String::new(),
            kind: "secrets".into(),
            uid: String::new(),
            causes: causes.collect(),
            retry_after_seconds: 0,
        };
        what_became(Error::Api(Box::new(Status::failure("why", reason).with_code(code).with_details(details))))
    }

    #[test]
    fn what_the_api_server_answers_is_told_apart_by_what_to_do_about_it() {
        use WriteFailureKind::{Immutable, Refused, TooLarge, Transient};
        assert_eq!(answer(409, "AlreadyExists", None), Applied::Conflict);
        assert_eq!(answer(409, "Conflict", None), Applied::Conflict);
        assert_eq!(answer(404, "NotFound", None), Applied::Conflict);
        let frozen = |field| Some(("FieldValueForbidden", field));
        for (code, reason, cause, kind) in [
            (422, "Invalid", Some(("FieldValueInvalid", "type")), Immutable),
            (422, "Invalid", frozen("data"), Immutable),
            (422, "Invalid", frozen("immutable"), Immutable),
            (422, "Invalid", frozen("metadata.name"), Refused),
            (422, "Invalid", Some(("FieldValueTooLong", "data")), TooLarge),
            (422, "Invalid", Some(("FieldValueRequired", "data[tls.crt]")), Refused),
            (422, "Invalid", Some(("FieldValueInvalid", "data[.dockerconfigjson]")), Refused),
            (413, "RequestEntityTooLarge", None, TooLarge),
            (403, "Forbidden", None, Refused),
            (500, "InternalError", None, Transient),
            (429, "TooManyRequests", None, Transient),
        ] {
            let message = "why".to_owned();
            assert_eq!(
                answer(code, reason, cause),
                Applied::Failed(WriteFailure { kind, message }),
                "{code} {cause:?}"
            );
        }
    }

    #[test]
    fn a_namespace_that_is_going_is_no_failure() {
        let cause = Some(("NamespaceTerminating", "metadata.namespace"));
        assert_eq!(answer(403, "Forbidden", cause), Applied::NamespaceTerminating);
    }
}
