//! The API server's audit log, as a test asks it: who did what to which objects.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use kube::Client;
use serde::Deserialize;

use super::api_request::http_get;
use super::wait::try_wait_for;

/// The log, from some point on.
#[derive(Clone)]
pub(crate) struct AuditLog {
    path: PathBuf,
    /// Where this part of the log begins in the file, in bytes.
    start: u64,
}

/// One request that was answered, or a watch that began (`stage` says which).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditEvent {
    pub(crate) stage: String,
    pub(crate) verb: String,
    #[serde(rename = "requestURI")]
    pub(crate) request_uri: String,
    #[serde(default)]
    pub(crate) user_agent: String,
    pub(crate) user: AuditUser,
    pub(crate) object_ref: Option<AuditObject>,
    pub(crate) response_status: Option<AuditStatus>,
    /// When it came, as `stage_timestamp`.
    pub(crate) request_received_timestamp: String,
    /// When it was answered, RFC 3339 with microseconds.
    pub(crate) stage_timestamp: String,
}

/// Who asked.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AuditUser {
    /// `system:serviceaccount:<namespace>:<name>` for a ServiceAccount.
    pub(crate) username: String,
}

/// What was asked for; what a request does not name is empty.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct AuditObject {
    /// Empty for the kinds of Kubernetes' core.
    pub(crate) api_group: String,
    /// In the plural, as in the URL: `secrets`.
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// What was answered.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct AuditStatus {
    pub(crate) code: u16,
}

impl AuditEvent {
    /// What was asked for, all empty for a path that is no object.
    pub(crate) fn object(&self) -> AuditObject {
        self.object_ref.clone().unwrap_or_default()
    }

    /// Whether it could have changed anything, whatever was answered. Asking for a token or a review is not a change.
    pub(crate) fn is_write(&self) -> bool {
        let object = self.object();
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
            && object.subresource != "token"
            && !object.resource.ends_with("reviews")
    }

    /// Whether the ServiceAccount `name` of `namespace` asked.
    pub(crate) fn is_by(&self, namespace: &str, name: &str) -> bool {
        self.user.username == format!("system:serviceaccount:{namespace}:{name}")
    }
}

impl AuditLog {
    /// All of the log in this file.
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, start: 0 }
    }

    /// The file, in which each line is one event in JSON.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same log, from the requests on that are made after this. `client` is anyone's.
    pub(crate) async fn starting_now(&self, client: &Client) -> Result<Self> {
        self.settle(client).await?;
        let start = self.path.metadata()?.len();
        Ok(Self { path: self.path.clone(), start })
    }

    /// The events of all requests that were answered before this was called.
    pub(crate) async fn events(&self, client: &Client) -> Result<Vec<AuditEvent>> {
        self.settle(client).await?;
        self.read()?.lines().map(|line| serde_json::from_str(line).with_context(|| format!("parsing {line}"))).collect()
    }

    /// The writes to objects of `namespace` (cluster-scoped ones are in none, "") by the ServiceAccount
    /// `account`, given as `(namespace, name)`.
    pub(crate) async fn writes_by(&self, client: &Client, account: (&str, &str)) -> Result<Vec<AuditEvent>> {
        let mut events = self.events(client).await?;
        events
            .retain(|event| event.stage == "ResponseComplete" && event.is_write() && event.is_by(account.0, account.1));
        Ok(events)
    }

    /// How many lines so far hold all of these; what is still on its way is not counted.
    pub(crate) fn count(&self, parts: &[&str]) -> Result<usize> {
        Ok(self.read()?.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count())
    }

    /// Makes a request that nobody else makes and waits for its line: all that were answered before are in the file then.
    async fn settle(&self, client: &Client) -> Result<()> {
        let mark = uuid::Uuid::new_v4().simple().to_string();
        client.request_text(http_get(&format!("/version?mark={mark}"))).await.context("marking the audit log")?;
        try_wait_for("the mark in the audit log", Duration::from_secs(10), async || {
            let text = self.read().map_err(|why| why.to_string())?;
            if text.contains(&mark) { Ok(()) } else { Err(format!("{} bytes without it", text.len())) }
        })
        .await
        .map_err(|why| anyhow!(why))
    }

    /// Whole lines only: the last one may be half written.
    fn read(&self) -> Result<String> {
        let mut file = File::open(&self.path).with_context(|| format!("opening {}", self.path.display()))?;
        file.seek(SeekFrom::Start(self.start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let end = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        bytes.truncate(end);
        Ok(String::from_utf8(bytes)?)
    }
}
