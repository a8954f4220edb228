//! The bare loop that the operator's start is held against: the same two writes on the same objects, with the same
//! concurrency, and nothing else.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, PostParams};
use kube::{Resource, ResourceExt};
use tidelock::api::{SecretBinding, SecretBindingStatus};

use crate::stage::Stage;

/// For each binding: create its Secret, with the data, labels and annotations of one that the operator wrote; put this
/// status.
pub(crate) async fn run(
    stage: &Stage,
    bindings: Vec<SecretBinding>,
    written: &Secret,
    status: &SecretBindingStatus,
    concurrency: usize,
) -> Duration {
    let (secrets, statuses): (Api<Secret>, Api<SecretBinding>) = (stage.secrets(), stage.bindings());
    let started = Instant::now();
    stream::iter(bindings)
        .for_each_concurrent(concurrency, |mut binding| {
            let (secrets, statuses) = (&secrets, &statuses);
            async move {
                let mut secret = Secret { data: written.data.clone(), ..Secret::default() };
                secret.metadata.labels.clone_from(&written.metadata.labels);
                secret.metadata.annotations.clone_from(&written.metadata.annotations);
                secret.metadata.name = Some(binding.name_any());
                secret.metadata.owner_references = binding.controller_owner_ref(&()).map(|owner| vec![owner]);
                secrets.create(&PostParams::default(), &secret).await.expect("the Secret is new");
                binding.status = Some(status.clone());
                let name = binding.name_any();
                statuses.replace_status(&name, &PostParams::default(), &binding).await.expect("nobody else writes it");
            }
        })
        .await;
    started.elapsed()
}
