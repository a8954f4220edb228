//! The demo's surroundings: servers, people, the cluster, and commands that show themselves.

use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use kube::api::Api;
use kube::runtime::watcher;
use kube::{Client, Config};
use tidelock::api::ProjectEnvironment;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::database::Login;
use crate::harness::processes::{Server, Spec};
use crate::harness::wait::try_wait_for;
use crate::harness::{ControlPlane, Postgres, RunDir, TestDatabase, tools};
use crate::screen::{command, note, output};
use crate::stage::program;

const DEADLINE: Duration = Duration::from_mins(1);
/// Everything that is applied, so that it can be taken away again from somebody's own cluster.
const NAMESPACES: [&str; 3] = ["shop-dev", "shop-staging", "shop-production"];

/// All of it.
pub(crate) struct Scene {
    client: Client,
    kubeconfig: PathBuf,
    own_cluster: bool,
    keep: bool,
    database: TestDatabase,
    people: HashMap<&'static str, Login>,
    home: PathBuf,
    run: &'static RunDir,
}

impl Scene {
    /// Starts the servers, or finds the cluster of the kubeconfig with `CLUSTER=current`.
    pub(crate) async fn set() -> Result<Self> {
        let run = RunDir::shared().map_err(|why| anyhow!(why))?;
        let own_cluster = match std::env::var("TIDELOCK_DEMO_CLUSTER").unwrap_or_default().as_str() {
            "" => true,
            "current" => false,
            other => bail!("CLUSTER={other} is not known; leave it out, or say CLUSTER=current"),
        };
        let started = Instant::now();
        let (client, kubeconfig) = if own_cluster {
            let plane = ControlPlane::shared().await;
            (plane.admin()?, plane.admin_kubeconfig()?)
        } else {
            let config = Config::infer().await.context("reading the kubeconfig")?;
            note(&format!("using the cluster at {}", config.cluster_url));
            let kubeconfig = std::env::var_os("KUBECONFIG")
                .map(PathBuf::from)
                .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".kube/config")))
                .context("neither KUBECONFIG nor HOME is set")?;
            (Client::try_from(config)?, kubeconfig)
        };
        let postgres = tokio::task::spawn_blocking(|| Postgres::start("demo")).await??;
        let database = TestDatabase::named(postgres, "shop").await;
        let mut people = HashMap::from([("owner", database.owner.clone())]);
        for who in ["ana", "operator"] {
            people.insert(who, database.login(who).await);
        }
        let home = run.private("home")?;
        note(&format!("both run ({} ms)", started.elapsed().as_millis()));
        let keep = !std::env::var("TIDELOCK_DEMO_KEEP").unwrap_or_default().is_empty();
        Ok(Self { client, kubeconfig, own_cluster, keep, database, people, home, run })
    }

    /// Migrates and adds the people.
    pub(crate) async fn registry(&self) -> Result<()> {
        self.type_in("owner", &["migrate"], "").await?;
        self.type_in("owner", &["user", "add", "ana", "--db-role", "ana"], "").await?;
        self.type_in("owner", &["user", "add", "tidelock", "--db-role", "operator", "--service"], "").await?;
        self.type_in("ana", &["keyring", "init"], "").await
    }

    /// Shows and runs a `tidelock` command as one of the people.
    pub(crate) async fn type_in(&self, who: &str, arguments: &[&str], input: &str) -> Result<()> {
        self.type_in_and_expect(who, arguments, input, 0).await
    }

    /// As [`Scene::type_in`], for a command whose answer is an exit code.
    pub(crate) async fn type_in_and_expect(&self, who: &str, arguments: &[&str], input: &str, code: i32) -> Result<()> {
        let typed = arguments.join(" ");
        // Values come from standard input, and are not shown here either.
        let pipe = if input.is_empty() { "" } else { " < value" };
        command(&format!("tidelock {typed}{pipe}    # {who}"));
        // Both outputs into one pipe, so that they come in the order in which a person would see them.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 2>&1"#])
            .arg(program())
            .args(arguments)
            .env("HOME", &self.home)
            .env("TIDELOCK_DATABASE_URL", &self.people[who].url)
            .env("TIDELOCK_KEYRING", self.home.join("keyring"))
            .env("TIDELOCK_PROJECT", "shop")
            .current_dir(&self.home)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", program().display()))?;
        if let Some(mut stdin) = child.stdin.take() {
            let _ = stdin.write_all(input.as_bytes()).await;
        }
        let finished = child.wait_with_output().await?;
        output(&String::from_utf8_lossy(&finished.stdout));
        ensure!(finished.status.code() == Some(code), "tidelock {typed} ended with {}", finished.status);
        Ok(())
    }

    /// Shows and runs a kubectl command.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> Result<()> {
        let quoted = arguments.iter().map(|argument| {
            if argument.contains([' ', '{', '"']) { format!("'{argument}'") } else { (*argument).to_owned() }
        });
        command(&format!("kubectl {}", quoted.collect::<Vec<_>>().join(" ")));
        output(&self.run_kubectl(arguments).await?);
        Ok(())
    }

    async fn run_kubectl(&self, arguments: &[&str]) -> Result<String> {
        let finished = Command::new(tools::kubectl()?)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(arguments)
            .current_dir(tools::repository())
            .output()
            .await
            .context("running kubectl")?;
        ensure!(
            finished.status.success(),
            "kubectl {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&finished.stderr)
        );
        Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
    }

    /// Applies the definitions and the examples.
    pub(crate) async fn apply_resources(&self) -> Result<()> {
        self.kubectl(&["apply", "--server-side", "-f", "crds/"]).await?;
        self.kubectl(&["apply", "-f", "examples/namespaces.yaml", "-f", "examples/project-environments.yaml"]).await?;
        self.kubectl(&["apply", "-f", "examples/every-key.yaml"]).await
    }

    /// Starts the operator with its own login.
    pub(crate) fn operator(&self) -> Result<Server> {
        command("tidelock controller    # as the login operator");
        let environment = [
            ("KUBECONFIG", self.kubeconfig.display().to_string()),
            ("TIDELOCK_DATABASE_URL", self.people["operator"].url.clone()),
            ("TIDELOCK_KEYRING", self.home.join("keyring").display().to_string()),
            ("TIDELOCK_ROLLOUT_RESTARTS", "true".to_owned()),
            ("TIDELOCK_LISTEN", format!("127.0.0.1:{}", crate::harness::ports::free_port())),
        ];
        let spec = Spec {
            name: "operator",
            program: program(),
            arguments: vec!["controller".to_owned()],
            environment: environment.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            unprivileged: false,
            dies_by: "TERM",
        };
        spec.start(self.run)
    }

    /// Waits for the Secret of the binding.
    pub(crate) async fn secret_appears(&self) -> Result<()> {
        let started = Instant::now();
        let api: Api<Secret> = Api::namespaced(self.client.clone(), "shop-dev");
        let keys = try_wait_for("the Secret shop in shop-dev", DEADLINE, async || {
            let secret = api.get_opt("shop").await.map_err(|why| why.to_string())?;
            secret.and_then(|secret| secret.data).map(|data| data.len()).ok_or_else(|| "not there yet".to_owned())
        })
        .await
        .map_err(|why| anyhow!(why))?;
        note(&format!(
            "the Secret shop has {keys} keys, {} ms after the operator's start",
            started.elapsed().as_millis()
        ));
        Ok(())
    }

    /// Sets a value and says how long it took from the registry's time of the change to the Secret in the cluster.
    pub(crate) async fn change_arrives(&self) -> Result<()> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), "shop-dev");
        let config = watcher::Config::default().fields("metadata.name=shop");
        let mut changes = Box::pin(watcher(api, config));
        let mut seen = None;
        // The watch has begun once it has shown the Secret as it is.
        while seen.is_none() {
            if let Some(watcher::Event::InitApply(secret) | watcher::Event::Apply(secret)) =
                changes.next().await.transpose()?
            {
                seen = Some(secret.data);
            }
        }
        let arrival = async {
            loop {
                match changes.next().await.context("the watch ended")?? {
                    watcher::Event::Apply(secret) if Some(&secret.data) != seen.as_ref() => {
                        return anyhow::Ok(jiff::Timestamp::now());
                    }
                    _ => {}
                }
            }
        };
        let value = "postgres://shop:n3w@db/shop\n";
        let setting = self.type_in("ana", &["secret", "set", "DATABASE_URL", "-e", "dev"], value);
        let (arrived, set) = tokio::join!(tokio::time::timeout(DEADLINE, arrival), setting);
        set?;
        let arrived = arrived.context("the change did not arrive")??;
        let query =
            "SELECT (extract(epoch FROM max(last_updated_at)) * 1000000)::int8 FROM tidelock.project_secret_registry";
        let changed_at: i64 = self.database.superuser().await.query_one(query, &[]).await?.get(0);
        let micros = arrived.as_microsecond() - changed_at;
        note(&format!(
            "the Secret in the cluster had it {}.{} ms after the change in PostgreSQL",
            micros / 1000,
            micros % 1000 / 100
        ));
        Ok(())
    }

    /// A workload of the application team's, and the binding that has it restarted.
    pub(crate) async fn apply_workload(&self) -> Result<()> {
        let deployment = ["create", "deployment", "web", "--image=example.com/web", "--replicas=0"];
        self.kubectl(&[&deployment[..], &["--namespace", "shop-dev"]].concat()).await?;
        self.kubectl(&["apply", "-f", "examples/restarts.yaml"]).await
    }

    /// Waits until the workload was restarted, and shows by what.
    pub(crate) async fn restart_comes(&self) -> Result<()> {
        let reason = r#"--for=jsonpath={.status.conditions[?(@.type=="RolloutRestarted")].reason}=Restarted"#;
        let wait = ["wait", reason, "--timeout=60s", "secretbinding", "shop-web", "--namespace", "shop-dev"];
        self.kubectl(&wait).await?;
        let annotations = r#"jsonpath={.spec.template.metadata.annotations}{"\n"}"#;
        self.kubectl(&["get", "deployment", "web", "--namespace", "shop-dev", "-o", annotations]).await?;
        self.kubectl(&["get", "replicasets", "--namespace", "shop-dev"]).await
    }

    /// Waits until the source of an environment says so.
    pub(crate) async fn wait_in_sync(&self, environment: &str, expected: &str) -> Result<()> {
        let api: Api<ProjectEnvironment> = Api::all(self.client.clone());
        let name = format!("shop-{environment}");
        try_wait_for(&format!("{name} to be InSync={expected}"), DEADLINE, async || {
            let source = api.get(&name).await.map_err(|why| why.to_string())?;
            let conditions = source.status.unwrap_or_default().conditions;
            let found = conditions.iter().find(|condition| condition.type_ == "InSync");
            if found.is_some_and(|condition| condition.status == expected) {
                return Ok(());
            }
            Err(format!("{conditions:?}"))
        })
        .await
        .map_err(|why| anyhow!(why))
    }

    /// The part of a status that names the keys.
    pub(crate) async fn show_out_of_sync(&self, environment: &str) -> Result<()> {
        let name = format!("shop-{environment}");
        let path = r#"jsonpath={range .status.outOfSync[*]}{.key}{"  "}{.state}{"  last changed "}{.lastUpdatedAt}{"\n"}{end}"#;
        self.kubectl(&["get", "projectenvironment", &name, "-o", path]).await
    }

    /// Whether `KEEP=1` was said.
    pub(crate) fn keeps_running(&self) -> bool {
        self.keep
    }

    /// What to export to go on by hand.
    pub(crate) fn print_how_to_go_on(&self) -> Result<()> {
        note("everything goes on until Ctrl-C; in another terminal:");
        let program = program();
        let folder = program.parent().context("the program is in a folder")?;
        output(&format!(
            "export KUBECONFIG='{}'\nexport TIDELOCK_DATABASE_URL='{}'\nexport TIDELOCK_KEYRING='{}'\nexport TIDELOCK_PROJECT=shop\nexport PATH='{}':\"$PATH\"",
            self.kubeconfig.display(),
            self.people["ana"].url,
            self.home.join("keyring").display(),
            folder.display(),
        ));
        Ok(())
    }

    /// Takes from somebody's own cluster what was put there; one that was made for the demo ends with it.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        if self.own_cluster {
            return Ok(());
        }
        self.kubectl(&[
            "delete",
            "--ignore-not-found",
            "-f",
            "examples/every-key.yaml",
            "-f",
            "examples/project-environments.yaml",
        ])
        .await?;
        let mut delete = vec!["delete", "namespace", "--ignore-not-found"];
        delete.extend(NAMESPACES);
        self.kubectl(&delete).await?;
        note("the custom resource definitions stay; to remove them: kubectl delete -f crds/");
        Ok(())
    }
}
