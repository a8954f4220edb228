//! The operator as a process: the real binary, with the rights that the chart gives it.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use std::{fs, io};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{SOON, Stage, program};
use crate::harness::ports::free_port;
use crate::harness::processes::{Server, Spec};
use crate::harness::{RunDir, wait_for};

/// An operator that runs. Dropping it ends it.
pub(crate) struct Operator {
    server: Server,
    name: String,
    port: u16,
}

impl Operator {
    /// Starts one and waits until it is ready.
    pub(super) async fn start(stage: &Stage, environment: &[(&str, &str)]) -> Self {
        let mut operator = Self::launch(stage, environment).await;
        operator.ready().await;
        operator
    }

    /// Starts one that may have to wait for something.
    pub(super) async fn launch(stage: &Stage, environment: &[(&str, &str)]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let (namespace, account) = stage.account();
        let name = format!("operator-{namespace}-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let token = stage.cluster.token(namespace, account).await;
        let kubeconfig = stage.cluster.kubeconfig(&name, &token);
        let port = free_port();
        let mut variables = vec![
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("TIDELOCK_DATABASE_URL", stage.team.operator.url.clone()),
            ("TIDELOCK_KEYRING", stage.team.keyring().display().to_string()),
            ("TIDELOCK_LISTEN", format!("127.0.0.1:{port}")),
            ("TIDELOCK_CLASS", namespace.to_owned()),
            ("RUST_LOG", "tidelock=debug".to_owned()),
        ];
        variables.extend(environment.iter().map(|&(variable, value)| (variable, value.to_owned())));
        let spec = Spec {
            name: &name,
            program: program(),
            arguments: vec!["controller".to_owned()],
            environment: variables.into_iter().map(|(variable, value)| (variable.to_owned(), value)).collect(),
            unprivileged: false,
            dies_by: "KILL",
        };
        let run = RunDir::shared().expect("the run has a folder");
        let server = spec.start(run).unwrap_or_else(|why| panic!("{why:#}"));
        Self { server, name, port }
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) {
        let port = self.port;
        self.server
            .wait_until("the operator to be ready", SOON, async || match get(port, "/readyz").await {
                Ok(answer) if answer.contains(" 200 ") => Ok(()),
                Ok(answer) => Err(answer),
                Err(why) => Err(why.to_string()),
            })
            .await
            .unwrap_or_else(|why| panic!("{why:#}"));
    }

    /// Asks it to stop, as the kubelet does, and insists that it ends well.
    pub(crate) fn stop(mut self) {
        let status = self.server.end("TERM", Duration::from_secs(15)).unwrap_or_else(|why| panic!("{why:#}"));
        assert!(status.success(), "the operator ended with {status}; its log:\n{}", self.log());
    }

    /// As [`Operator::http`], where it may not listen yet.
    pub(crate) async fn try_http(&self, path: &str) -> io::Result<String> {
        get(self.port, path).await
    }

    /// One of its metrics, by the line's beginning.
    pub(crate) async fn metric(&self, series: &str) -> Result<f64, String> {
        let metrics = get(self.port, "/metrics").await.map_err(|why| why.to_string())?;
        let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok());
        value.ok_or_else(|| format!("there is no {series}"))
    }

    /// Waits until it has ended by itself; its exit code.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        wait_for("the operator to end by itself", SOON, async || match self.server.exit_status() {
            Ok(Some(status)) => Ok(status.code()),
            Ok(None) => Err(format!("it runs; its log:\n{}", self.log())),
            Err(why) => Err(format!("{why:#}")),
        })
        .await
    }

    /// Ends it without asking.
    pub(crate) fn kill(mut self) {
        self.server.end("KILL", Duration::from_secs(5)).unwrap_or_else(|why| panic!("{why:#}"));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(crate) fn log(&self) -> String {
        let run = RunDir::shared().expect("the run has a folder");
        fs::read_to_string(run.path().join(format!("{}.log", self.name))).unwrap_or_default()
    }

    /// What it answers under a path of its own server, head and body.
    pub(crate) async fn http(&self, path: &str) -> String {
        self.try_http(path).await.unwrap_or_else(|why| panic!("asking the operator for {path}: {why:#}"))
    }
}

async fn get(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: operator\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
