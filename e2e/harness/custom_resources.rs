//! The custom resource definitions as they are checked in, applied to a cluster.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};

use super::tools::repository;
use super::wait::try_wait_for;

/// Applies every file in `crds/` and waits until the API server serves what they define.
pub(crate) async fn install(client: &Client) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definitions = checked_in()?;
    for definition in &definitions {
        apply(&api, definition).await?;
    }
    for definition in &definitions {
        is_served(&api, definition).await?;
    }
    Ok(())
}

/// Applies one definition, of somebody else's kind, and waits until the API server serves it.
pub(crate) async fn install_one(client: &Client, definition: &CustomResourceDefinition) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    apply(&api, definition).await?;
    is_served(&api, definition).await
}

async fn apply(api: &Api<CustomResourceDefinition>, definition: &CustomResourceDefinition) -> Result<()> {
    let name = definition.name_any();
    let applied = api.patch(&name, &PatchParams::apply("tidelock-e2e").force(), &Patch::Apply(definition)).await;
    applied.map(drop).with_context(|| format!("applying the definition {name}"))
}

async fn is_served(api: &Api<CustomResourceDefinition>, definition: &CustomResourceDefinition) -> Result<()> {
    let name = definition.name_any();
    try_wait_for(&name, Duration::from_secs(30), async || {
        let found = api.get(&name).await.map_err(|why| why.to_string())?;
        let conditions = found.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|c| c.type_ == "Established" && c.status == "True") {
            return Ok(());
        }
        Err(format!("{conditions:?}"))
    })
    .await
    .map_err(|why| anyhow!(why))
}

/// The definitions in `crds/`, in the order of their file names.
pub(crate) fn checked_in() -> Result<Vec<CustomResourceDefinition>> {
    let folder = repository().join("crds");
    let mut paths = fs::read_dir(&folder)
        .with_context(|| format!("reading {}; `make crds` writes it", folder.display()))?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path)?;
            serde_yaml::from_str(&text).with_context(|| format!("parsing {}", path.display()))
        })
        .collect()
}
