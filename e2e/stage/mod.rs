//! What a test of the main job starts from: a team with a registry, a cluster with the chart's rights, and an operator.
//!
//! ```ignore
//! let stage = Stage::with_shop("delivers-a-value").await;
//! stage.team.set("dev", "DATABASE_URL", "postgres://…").await;
//! stage.source("dev").await;
//! stage.binding("app", "dev", json!({})).await;
//! let operator = stage.operator().await;
//! stage.secret("app", |secret| …).await;
//! ```

#![allow(dead_code, reason = "three programs are built with this module, and none of them uses all of it")]
#![allow(unused_imports, reason = "as above")]

mod command;
mod operator;
mod replicas;
mod resources;
mod restored;
mod team;
mod team_builder;

pub(crate) use command::{Finished, Running, program};
pub(crate) use operator::Operator;
pub(crate) use resources::{Answer, data, text};
pub(crate) use restored::{Restored, succeed};
pub(crate) use team::Team;
pub(crate) use team_builder::TeamBuilder;

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::audit::{AuditEvent, AuditLog};
use crate::harness::{Cluster, tools};

/// How long a test waits for something that takes a second on a machine with nothing else to do.
pub(crate) const SOON: Duration = Duration::from_mins(1);

/// A team and its corner of the cluster.
pub(crate) struct Stage {
    /// People, their logins, their registry.
    pub(crate) team: Team,
    /// A namespace, and the admin's client.
    pub(crate) cluster: Cluster,
}

impl Stage {
    /// A project `shop` with `dev`, `staging` and `production`, nothing in it; and in the test's namespace what the chart
    /// installs, for an operator of class `<namespace>`.
    pub(crate) async fn with_shop(what: &str) -> Self {
        Self::of(Team::with_shop(what), what).await
    }

    /// As [`Stage::with_shop`], with another team.
    pub(crate) async fn of(team: impl Future<Output = Team>, what: &str) -> Self {
        let (team, cluster) = tokio::join!(team, Cluster::for_test(what));
        let stage = Self { team, cluster };
        stage.install_chart().await.unwrap_or_else(|why| panic!("installing the chart: {why:#}"));
        stage
    }

    /// Starts an operator with the rights of the chart's ServiceAccount, and waits until it is ready.
    pub(crate) async fn operator(&self) -> Operator {
        Operator::start(self, &[]).await
    }

    /// As [`Stage::operator`], with environment variables of its own.
    pub(crate) async fn operator_with(&self, environment: &[(&str, &str)]) -> Operator {
        Operator::start(self, environment).await
    }

    /// As [`Stage::operator_with`], without waiting for anything: for one that cannot be ready yet.
    pub(crate) async fn operator_launched(&self, environment: &[(&str, &str)]) -> Operator {
        Operator::launch(self, environment).await
    }

    /// The name of the ServiceAccount that the chart made for the operator.
    pub(crate) fn account(&self) -> (&str, &str) {
        (&self.cluster.namespace, &self.cluster.namespace)
    }

    /// What the operator wrote to the API server while this log was kept, refused attempts with it.
    pub(crate) async fn operator_writes(&self, log: &AuditLog) -> Vec<AuditEvent> {
        let writes = log.writes_by(&self.cluster.admin, self.account()).await;
        writes.unwrap_or_else(|why| panic!("reading the audit log: {why:#}"))
    }

    /// Installs the chart once more, with these values set beside those of every stage.
    pub(crate) async fn upgrade_chart(&self, values: &str) {
        self.apply_chart(values).await.unwrap_or_else(|why| panic!("upgrading the chart: {why:#}"));
    }

    async fn install_chart(&self) -> Result<()> {
        self.apply_chart("").await
    }

    /// Everything that the chart renders but the definitions, which the run's control plane has from the start.
    async fn apply_chart(&self, values: &str) -> Result<()> {
        let namespace = &self.cluster.namespace;
        let chart = tools::repository().join("charts/tidelock");
        let rendered = Command::new(tools::tool("helm")?)
            .args(["template", namespace, &chart.to_string_lossy(), "--namespace", namespace])
            .args(["--set", &format!("serviceAccount.name={namespace},crds.install=false,replicas=0")])
            .args(["--set", "database.existingSecret=tidelock-database,keyring.existingSecret=tidelock-keyring"])
            .args(["--set", values])
            .output()
            .await
            .context("running helm")?;
        ensure!(rendered.status.success(), "helm template: {}", String::from_utf8_lossy(&rendered.stderr));
        self.kubectl(&["apply", "--namespace", namespace, "--filename", "-"], &rendered.stdout).await.map(|_| ())
    }

    /// Runs kubectl as admin and gives what it prints.
    pub(crate) async fn kubectl(&self, arguments: &[&str], input: &[u8]) -> Result<String> {
        let mut child = Command::new(tools::tool("kubectl")?)
            .arg("--kubeconfig")
            .arg(self.cluster.plane().admin_kubeconfig()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("running kubectl")?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input).await?;
        }
        let output = child.wait_with_output().await?;
        ensure!(output.status.success(), "kubectl {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}
