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
        let name = definition.name_any();
        api.patch(&name, &PatchParams::apply("tidelock-e2e").force(), &Patch::Apply(definition))
            .await
            .with_context(|| format!("applying the definition {name}"))?;
    }
    for definition in &definitions {
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
        .map_err(|why| anyhow!(why))?;
    }
    Ok(())
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
