//! Does to Secrets what the plan says, each time with a precondition.

mod answer;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, PostParams, Preconditions};
use kube::{Error, ResourceExt};

use self::answer::Attempt;
use super::driver::Applied;
use super::plan::differences::Differences;
use super::plan::ownership::{Ownership, ownership};
use super::plan::target::FullSecret;
use super::plan::{DeletePreconditions, ObjectVersion, Plan, SecretWrite, stored};
use crate::api::SecretBinding;
use crate::api::names::FIELD_MANAGER;
use crate::controller::Context;
use crate::telemetry::{Metrics, Verb};

/// Writes the Secret, and then deletes those under earlier names.
pub(super) async fn apply(binding: &SecretBinding, context: &Context, plan: &Plan) -> Applied {
    let namespace = binding.namespace().unwrap_or_default();
    let secrets = Secrets { api: Api::namespaced(context.client.clone(), &namespace), metrics: &context.metrics };
    let name = binding.target_name();
    let stored = match secrets.write(&name, &plan.write).await {
        Ok(stored) => stored,
        Err(error) => return Attempt::to_write(&name, &plan.write).failed(&error),
    };
    if !matches!(plan.write, SecretWrite::Keep) {
        let action = plan.write.as_str();
        context.tally.count(&binding.spec.source_ref.name, action);
        tracing::debug!(%namespace, binding = %binding.name_any(), secret = %name, action, "wrote a Secret");
    }
    let written = match stored {
        None => None,
        Some(Ok(version)) => Some(version),
        // What is under an earlier name stays: it is the last that was delivered.
        Some(Err(differences)) => return Applied::Altered(differences),
    };
    for orphan in &plan.orphans {
        if let Err(error) = secrets.delete_orphan(binding, &orphan.name).await {
            return Attempt::to_delete(&orphan.name).failed(&error);
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
    /// What was stored, or how that differs from what was sent. The answer, which has values, does not leave here.
    async fn write(
        &self,
        name: &str,
        write: &SecretWrite,
    ) -> Result<Option<Result<ObjectVersion, Differences>>, Error> {
        let parameters = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
        let (sent, stored) = match write {
            SecretWrite::Keep => return Ok(None),
            SecretWrite::Create(secret) => {
                self.metrics.wrote("secrets", Verb::Create);
                (secret, self.api.create(&parameters, &secret.0).await?)
            }
            SecretWrite::Replace(secret) => {
                self.metrics.wrote("secrets", Verb::Update);
                (secret, self.api.replace(name, &parameters, &secret.0).await?)
            }
            SecretWrite::Delete(preconditions) => return self.delete(preconditions).await.map(|()| None),
        };
        Ok(Some(stored::compare(sent, &FullSecret(stored))))
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
