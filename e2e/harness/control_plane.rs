//! A Kubernetes control plane: etcd, kube-apiserver with RBAC, real ServiceAccount tokens and an audit log, and the
//! controllers that tests meet (garbage collection, namespaces, ServiceAccounts, workloads). There is no node, so no pod
//! ever runs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tempfile::NamedTempFile;

use super::api_request::http_get;
use super::audit::AuditLog;
use super::processes::Server;
use super::{RunDir, control_plane_servers, custom_resources, ports};

/// The user with every right; for arranging and looking, never for what is tested.
pub(crate) const ADMIN: &str = "e2e-admin";

/// A running control plane. All of it ends when this is dropped, or with the process.
pub(crate) struct ControlPlane {
    folder: PathBuf,
    url: String,
    certificate: Vec<u8>,
    admin_token: String,
    /// In the order in which they have to end.
    servers: Mutex<Vec<Server>>,
}

impl ControlPlane {
    /// The one that all tests of this process share, started by the first that asks.
    ///
    /// # Panics
    ///
    /// Where it cannot be started; every test that asks is told the same reason.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
        // Starting blocks for seconds, and must not stop when the test that was first gives up.
        let started = tokio::task::spawn_blocking(|| {
            SHARED
                .get_or_init(|| {
                    let run = RunDir::shared()?;
                    Self::start(run, "kubernetes").map_err(|why| format!("{why:#}"))
                })
                .as_ref()
        });
        match started.await {
            Ok(Ok(plane)) => plane,
            Ok(Err(why)) => panic!("the control plane did not start: {why}"),
            Err(why) => panic!("the control plane did not start: {why}"),
        }
    }

    /// Starts one, with its files in the folder `name` of the run. Blocks until it serves and knows our custom resources.
    pub(crate) fn start(run: &RunDir, name: &str) -> Result<Self> {
        // A runtime of its own, since the caller's may end before the servers do.
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build()?
                        .block_on(Self::start_all(run, name))
                })
                .join()
                .map_err(|_| anyhow!("the thread that starts the control plane panicked"))?
        })
    }

    async fn start_all(run: &RunDir, name: &str) -> Result<Self> {
        let folder = run.private(name)?;
        let admin_token = uuid::Uuid::new_v4().simple().to_string();
        let manager_token = uuid::Uuid::new_v4().simple().to_string();
        let (etcd_port, port) = (ports::free_port(), ports::free_port());

        let etcd = control_plane_servers::etcd(&folder, etcd_port)?.start(run)?;
        let tokens = [(ADMIN, &*admin_token), ("system:kube-controller-manager", &*manager_token)];
        let mut apiserver = control_plane_servers::apiserver(&folder, port, etcd_port, &tokens)?.start(run)?;
        let plane = Self {
            certificate: wait_for_certificate(&folder, &mut apiserver).await?,
            url: format!("https://127.0.0.1:{port}"),
            admin_token,
            folder,
            servers: Mutex::default(),
        };
        plane.wait_until_ready(&mut apiserver).await?;
        // Before the garbage collector looks for what kinds there are, which it does every 30 seconds.
        custom_resources::install(&plane.admin()?).await?;
        let kubeconfig = plane.kubeconfig("controller-manager", &manager_token)?;
        let manager = control_plane_servers::controller_manager(&kubeconfig)?.start(run)?;
        plane.servers.lock().unwrap_or_else(PoisonError::into_inner).extend([manager, apiserver, etcd]);
        Ok(plane)
    }

    async fn wait_until_ready(&self, apiserver: &mut Server) -> Result<()> {
        let client = self.admin()?;
        let look = async || {
            let answer = client.request_text(http_get("/readyz")).await;
            answer.map_err(|why| why.to_string())
        };
        apiserver.wait_until("its readiness", Duration::from_secs(90), look).await?;
        Ok(())
    }

    /// Where the API server listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A client with every right, for the runtime that it is made in.
    pub(crate) fn admin(&self) -> Result<Client> {
        self.client(&self.admin_token)
    }

    /// A client for whoever holds this token, for the runtime that it is made in.
    pub(crate) fn client(&self, token: &str) -> Result<Client> {
        Ok(Client::try_from(self.config(token)?)?)
    }

    fn config(&self, token: &str) -> Result<Config> {
        let kubeconfig: Kubeconfig = serde_yaml::from_str(&self.kubeconfig_text(token))?;
        // Everything in it is inline, so nothing is read or waited for.
        let options = KubeConfigOptions::default();
        Ok(futures::executor::block_on(Config::from_custom_kubeconfig(kubeconfig, &options))?)
    }

    /// A client without a login, for requests that bring their own, for the runtime that it is made in.
    pub(crate) fn anonymous(&self) -> Result<Client> {
        let mut config = self.config("")?;
        config.auth_info = kube::config::AuthInfo::default();
        // Watches are long.
        config.read_timeout = None;
        Ok(Client::try_from(config)?)
    }

    /// Writes a kubeconfig for the holder of every right, and says where.
    pub(crate) fn admin_kubeconfig(&self) -> Result<PathBuf> {
        self.kubeconfig(ADMIN, &self.admin_token)
    }

    /// Writes a kubeconfig for whoever holds this token, which only this user may read, and says where.
    pub(crate) fn kubeconfig(&self, name: &str, token: &str) -> Result<PathBuf> {
        let path = self.folder.join(format!("{name}.kubeconfig"));
        // Put in place whole: other tests may be reading the one that was there.
        let write = || -> Result<()> {
            let mut whole = NamedTempFile::new_in(&self.folder)?;
            whole.write_all(self.kubeconfig_text(token).as_bytes())?;
            whole.persist(&path)?;
            Ok(())
        };
        write().with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }

    fn kubeconfig_text(&self, token: &str) -> String {
        let (url, certificate) = (&self.url, STANDARD.encode(&self.certificate));
        format!(
            "\
apiVersion: v1
kind: Config
current-context: tidelock
contexts:
- name: tidelock
  context: {{cluster: tidelock, user: tidelock}}
clusters:
- name: tidelock
  cluster: {{server: \"{url}\", certificate-authority-data: {certificate}}}
users:
- name: tidelock
  user: {{token: \"{token}\"}}
"
        )
    }

    /// What was asked of the API server, and by whom.
    pub(crate) fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.folder.join("audit.log"))
    }
}

/// The certificate that the API server makes for itself at its first start is its own authority.
async fn wait_for_certificate(folder: &Path, apiserver: &mut Server) -> Result<Vec<u8>> {
    let path = folder.join("apiserver.crt");
    let look = async || match fs::read(&path) {
        Ok(pem) if pem.trim_ascii_end().ends_with(b"-----END CERTIFICATE-----") => Ok(pem),
        Ok(_) => Err("written in part".to_owned()),
        Err(why) => Err(why.to_string()),
    };
    apiserver.wait_until("its certificate", Duration::from_mins(1), look).await
}
