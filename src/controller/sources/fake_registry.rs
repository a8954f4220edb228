//! A registry that answers what a test says, and counts the questions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Notify, mpsc};
use uuid::Uuid;

use super::registry::{Answer, Registry};
use super::{Poller, PollerDependencies, Reach, SourceChange, Sources};
use crate::core::{EnvironmentId, ProjectId, ShortDigest};
use crate::registry::{
    FromServer, LoggedToken, PollResult, Refusal, RegistryError, Revision, SealedValue, ServerPosition, Snapshot,
    SnapshotVersion, SourceName, Tombstone, ValueId,
};
use crate::telemetry::{Heartbeat, Metrics};

/// What the registry answers, and what it was asked.
#[derive(Default)]
pub(super) struct Script {
    pub(super) away: bool,
    pub(super) login_refused: bool,
    pub(super) unreadable: BTreeSet<SourceName>,
    pub(super) refused: BTreeMap<SourceName, Refusal>,
    /// The project's log.
    pub(super) log: Vec<Uuid>,
    /// How many of its last entries touched no environment that is watched.
    changed_elsewhere: usize,
    pub(super) polls: usize,
    pub(super) snapshots: usize,
    /// How many of these began with nothing known.
    pub(super) whole_snapshots: usize,
    pub(super) value_questions: usize,
    /// How many sources one poll may ask about, where that is limited; and the sizes of those that were asked.
    pub(super) poll_width: Option<usize>,
    pub(super) poll_sizes: Vec<usize>,
    /// More than this many at once come to nothing, and the width is set to it.
    pub(super) too_many: Option<usize>,
    /// How many rows the environment has that snapshots do not show.
    pub(super) hidden_rows: i64,
    pub(super) token_questions: usize,
    /// How many questions about tokens are under way, and how many were at most.
    pub(super) asking: (usize, usize),
    /// Polls wait here while it is set.
    pub(super) hold: Option<Arc<Notify>>,
    /// Snapshots of these wait here: what they found is what was there when they began.
    pub(super) slow: BTreeMap<SourceName, Arc<Notify>>,
    /// How long the reading of these takes.
    pub(super) takes: BTreeMap<SourceName, Duration>,
    pub(super) listens: usize,
    pub(super) production: bool,
    /// Where the server stands that answers.
    pub(super) position: Option<ServerPosition>,
}

/// A registry by script.
#[derive(Default)]
pub(super) struct FakeRegistry {
    pub(super) script: Mutex<Script>,
    pub(super) hints: Mutex<Option<mpsc::Sender<()>>>,
    /// Breaks the connection that hints come over.
    pub(super) hang_up: Notify,
}

impl FakeRegistry {
    /// A registry whose project is at revision 1.
    pub(super) fn new() -> Arc<Self> {
        let registry = Self::default();
        registry.change();
        Arc::new(registry)
    }

    /// One more revision.
    pub(super) fn change(&self) {
        self.with(|script| {
            script.log.push(Uuid::new_v4());
            script.changed_elsewhere = 0;
        });
    }

    /// One more revision, which touches no environment that is watched.
    pub(super) fn change_elsewhere(&self) {
        self.with(|script| {
            script.log.push(Uuid::new_v4());
            script.changed_elsewhere += 1;
        });
    }

    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Script) -> T) -> T {
        f(&mut self.script.lock().unwrap())
    }

    /// Starts a poller over these environments of the project `shop`; it runs until the test ends.
    pub(super) fn start(self: &Arc<Self>, environments: &[&str]) -> (Sources, mpsc::UnboundedReceiver<SourceChange>) {
        let (sources, poller, changes) = self.poller(environments);
        tokio::spawn(poller.run());
        (sources, changes)
    }

    pub(super) fn poller(
        self: &Arc<Self>,
        environments: &[&str],
    ) -> (Sources, Poller, mpsc::UnboundedReceiver<SourceChange>) {
        let watched: BTreeSet<SourceName> = environments.iter().map(|environment| source(environment)).collect();
        let (changes, told) = mpsc::unbounded_channel();
        let dependencies = PollerDependencies {
            watched: Box::new(move || watched.clone()),
            changes,
            heartbeat: Heartbeat::default(),
            metrics: Arc::new(Metrics::default()),
            reach: Reach::default(),
        };
        let (sources, poller) = Sources::new(Arc::clone(self) as Arc<dyn Registry>, dependencies);
        (sources, poller, told)
    }
}

/// An environment of the project `shop`.
pub(super) fn source(environment: &str) -> SourceName {
    SourceName { project: "shop".into(), environment: environment.into() }
}

fn version(script: &Script) -> SnapshotVersion {
    let step = |number: usize| Revision { number: i64::try_from(number).unwrap(), token: script.log[number - 1] };
    let (project, environment) = (step(script.log.len()), step(script.log.len() - script.changed_elsewhere));
    SnapshotVersion::Revisions { epoch: 0, project, environment }
}

fn unavailable() -> RegistryError {
    RegistryError::Unavailable { attempt: "asking".into(), cause: "connection refused".into() }
}

impl Registry for FakeRegistry {
    fn check_login(&self) -> Answer<'_, ()> {
        let answer = self.with(|script| match (script.away, script.login_refused) {
            (true, _) => Err(unavailable()),
            (_, true) => Err(RegistryError::Refused("the login is a superuser".into())),
            _ => Ok(()),
        });
        async { answer }.boxed()
    }

    fn poll<'a>(&'a self, sources: &'a [SourceName]) -> Answer<'a, FromServer<Vec<PollResult>>> {
        let (hold, answer) = self.with(|script| {
            script.polls += 1;
            script.poll_sizes.push(sources.len());
            let is_too_many = script.too_many.is_some_and(|most| sources.len() > most);
            if is_too_many {
                script.poll_width = script.too_many;
            }
            let found = |source: &SourceName| match script.refused.get(source) {
                Some(refusal) => PollResult::Refused(*refusal),
                None => PollResult::Found {
                    environment: EnvironmentId(Uuid::nil()),
                    version: version(script),
                    production: script.production,
                },
            };
            let answer = || FromServer { answer: sources.iter().map(found).collect(), position: script.position };
            let answer = if script.away || is_too_many { Err(unavailable()) } else { Ok(answer()) };
            (script.hold.clone(), answer)
        });
        async move {
            if let Some(hold) = hold {
                hold.notified().await;
            }
            answer
        }
        .boxed()
    }

    fn poll_width(&self) -> usize {
        self.with(|script| script.poll_width.unwrap_or(usize::MAX))
    }

    fn sealed_values<'a>(
        &'a self,
        _project: ProjectId,
        _environment: EnvironmentId,
        values: &'a [ValueId],
    ) -> Answer<'a, Vec<SealedValue>> {
        self.with(|script| script.value_questions += 1);
        let sealed = |id: &ValueId| SealedValue { id: id.clone(), text: "sealed".into() };
        async move {
            tokio::task::yield_now().await;
            Ok(values.iter().map(sealed).collect())
        }
        .boxed()
    }

    fn tombstones<'a>(
        &'a self,
        _project: ProjectId,
        _environment: EnvironmentId,
        _rows: &'a [ShortDigest],
    ) -> Answer<'a, FromServer<Vec<Tombstone>>> {
        let position = self.with(|script| script.position);
        async move { Ok(FromServer { answer: Vec::new(), position }) }.boxed()
    }

    fn snapshot<'a>(
        &'a self,
        source: &'a SourceName,
        known: Option<&'a Snapshot>,
        patience: Duration,
    ) -> Answer<'a, FromServer<Result<Snapshot, Refusal>>> {
        let takes = self.with(|script| script.takes.get(source).copied());
        let slow = self.with(|script| script.slow.get(source).cloned());
        let answer = self.with(|script| {
            script.snapshots += 1;
            script.whole_snapshots += usize::from(known.is_none());
            if script.away {
                return Err(unavailable());
            }
            if script.unreadable.contains(source) {
                return Err(RegistryError::Inconsistent {
                    table: "secrets",
                    column: "key".into(),
                    row: "7".into(),
                    cause: "NULL".into(),
                });
            }
            let (project, environment) = (ProjectId(Uuid::nil()), EnvironmentId(Uuid::nil()));
            let snapshot = Snapshot::empty(project, environment, version(script), script.production);
            let snapshot = Snapshot { live_secrets: Some(script.hidden_rows), ..snapshot };
            Ok(FromServer { answer: Ok(snapshot), position: script.position })
        });
        async move {
            if let Some(slow) = slow {
                slow.notified().await;
            }
            if let Some(takes) = takes {
                tokio::time::sleep(takes.min(patience)).await;
                if takes > patience {
                    return Err(unavailable());
                }
            }
            answer
        }
        .boxed()
    }

    fn token_of(&self, _project: ProjectId, revision: i64) -> Answer<'_, LoggedToken> {
        let answer = self.with(|script| {
            script.token_questions += 1;
            script.asking.0 += 1;
            script.asking.1 = script.asking.1.max(script.asking.0);
            let logged = usize::try_from(revision - 1).ok().and_then(|place| script.log.get(place).copied());
            logged.map_or(LoggedToken::Absent, LoggedToken::Token)
        });
        async move {
            tokio::task::yield_now().await;
            self.with(|script| script.asking.0 -= 1);
            Ok(answer)
        }
        .boxed()
    }

    fn environment_was_deleted(&self, _id: EnvironmentId) -> Answer<'_, bool> {
        async { Ok(false) }.boxed()
    }

    fn listen(&self, hints: mpsc::Sender<()>) -> BoxFuture<'_, RegistryError> {
        *self.hints.lock().unwrap() = Some(hints);
        self.with(|script| script.listens += 1);
        async {
            self.hang_up.notified().await;
            unavailable()
        }
        .boxed()
    }
}
