//! The operator from start to stop.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use kube::Resource;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::config::{Config, ControllerError, LeaseOptions};
use super::context::{Context, Mutations, count_gauges};
use super::event_handlers::EventHandlers;
use super::held_keyring::KeyringFile;
use super::index::{BindingIndex, ControlledSecrets};
use super::project_environment;
use super::runtime::{
    Cache, CacheSync, Clients, Election, HEARTBEAT_INTERVAL, Leadership, LeaseSettings, OperatorHealth, PermitLimits,
    Queue, Request, Requeue, WatchHealth, connect,
};
use super::secret_binding::{self, RestartTurns};
use super::sources::{PollerDependencies, Reach, SourceChange, SourceReference, Sources, registry_name};
use super::watches::Watches;
use crate::api::ProjectEnvironment;
use crate::registry::{Reader, RegistryError, SourceName};
use crate::server::Server;
use crate::telemetry::{Events, Heartbeat, Metrics, Tally};

/// How long what runs may go on after a stop.
const GRACE: Duration = Duration::from_secs(10);

fn reader(config: &Config) -> Result<Reader, RegistryError> {
    let reader = Reader::new(config.database.clone(), config.listen_url.clone())?;
    match &config.primary_url {
        Some(url) => reader.with_primary(url.clone()),
        None => Ok(reader),
    }
}

/// How long an answer of the HTTP endpoints may take after that.
const SERVER_GRACE: Duration = Duration::from_secs(1);

/// Runs the operator until it is asked to stop by SIGTERM or SIGINT; what runs then is finished within 10 s.
///
/// A database that is away is no reason not to run; a login that the operator must not have is.
pub(crate) async fn run(config: Config) -> Result<(), ControllerError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(ControllerError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ControllerError::Signals)?;
    let keyring = KeyringFile::open(config.keyring.clone())?;
    let reader = reader(&config).map_err(ControllerError::Database)?;
    let metrics = Arc::new(Metrics::default());
    let clients = connect(&metrics).await?;
    let server = Server::bind(config.http).await?;
    tracing::info!(address = %server.address(), version = env!("CARGO_PKG_VERSION"), "listening");

    let mut operator = Operator::start(&config, reader, &clients, keyring, server, metrics)?;
    let end = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        end = operator.broken() => Err(end),
    };
    match &end {
        Ok(()) => tracing::info!("asked to stop; finishing what runs"),
        Err(error) => tracing::error!(%error, "the operator stops"),
    }
    operator.stop().await;
    end
}

/// The Lease as this replica holds it: under the name of its pod, and of no other process in it.
fn lease_of(options: &LeaseOptions, namespace: &str) -> LeaseSettings {
    let host = std::env::var("HOSTNAME").ok().filter(|host| !host.is_empty()).unwrap_or_else(|| "tidelock".to_owned());
    LeaseSettings {
        namespace: options.namespace.clone().unwrap_or_else(|| namespace.to_owned()),
        name: options.name.clone(),
        identity: format!("{host}_{}", Uuid::new_v4()),
        duration: options.duration,
    }
}

struct Operator {
    /// They never end by themselves; with why, if one does.
    essential: JoinSet<ControllerError>,
    /// They end after a stop, when what runs is finished.
    workers: JoinSet<()>,
    server: JoinHandle<std::io::Result<()>>,
    /// Sends what is left of the Events once everything else has ended.
    events: JoinHandle<()>,
    /// What was written last.
    tally: Tally,
    /// Where one of several replicas works.
    election: Option<Arc<Mutex<Election>>>,
    /// Ends the taking of work.
    stop: CancellationToken,
    /// Ends everything else.
    end: CancellationToken,
}

impl Operator {
    fn start(
        config: &Config,
        reader: Reader,
        clients: &Clients,
        keyring: KeyringFile,
        server: Server,
        metrics: Arc<Metrics>,
    ) -> Result<Self, ControllerError> {
        let (events, sending) = Events::new(clients.requests.clone(), Arc::clone(&metrics));
        let watches = Watches::new(config.template_config_maps);
        let tally = Tally::default();
        let mut essential = JoinSet::new();

        let (changes, turned) = mpsc::unbounded_channel();
        let (polling, reach) = (Heartbeat::default(), Reach::default());
        let dependencies = PollerDependencies {
            watched: Box::new(names_of(watches.stores.environments.clone())),
            changes,
            heartbeat: polling.clone(),
            metrics: Arc::clone(&metrics),
            reach: reach.clone(),
        };
        let (sources, poller) = Sources::new(Arc::new(reader), dependencies);
        essential.spawn(poller.run().map(ControllerError::Login));

        let context = Arc::new(Context {
            client: clients.requests.clone(),
            sources,
            keyring: keyring.held(),
            stores: watches.stores.clone(),
            index: BindingIndex::default(),
            controlled: ControlledSecrets::default(),
            mutations: Mutations::default(),
            restarts_workloads: config.rollout_restarts,
            restart_turns: RestartTurns::default(),
            events,
            metrics,
            tally: tally.clone(),
        });
        let (to_bindings, bindings) = mpsc::unbounded_channel();
        let (to_environments, environments) = mpsc::unbounded_channel();
        let event_handlers = EventHandlers {
            mutations: context.mutations.clone(),
            index: context.index.clone(),
            controlled: context.controlled.clone(),
            stored_bindings: context.stores.bindings.clone(),
            bindings: to_bindings,
            environments: to_environments,
        };
        let (stores, caches, watch_health) = (watches.stores.clone(), watches.caches.clone(), watches.health.clone());
        watches.start(&mut essential, clients, config.class.as_deref(), &event_handlers, &context.sources)?;
        let woken = event_handlers.clone();
        essential.spawn(keyring.follow(move || woken.keyring()));
        essential.spawn(wake(turned, event_handlers, context.stores.environments.clone()));

        let mut leadership = Leadership::always();
        let mut election = None;
        if let Some(lease) = &config.lease {
            let (candidate, of_lease) = Election::new(clients.requests.clone(), lease_of(lease, &clients.namespace));
            let candidate = Arc::new(Mutex::new(candidate));
            let campaign = Arc::clone(&candidate);
            // Who cannot work yet, for want of a right for example, keeps nobody else from it.
            let filled = caches.clone();
            essential.spawn(async move {
                filled.all().await;
                campaign.lock().await.run().await.into()
            });
            (leadership, election) = (of_lease, Some(candidate));
        }
        let (stop, end) = (CancellationToken::new(), CancellationToken::new());
        let mut queues = Queues {
            workers: JoinSet::new(),
            heartbeats: vec![("poller", polling)],
            limits: PermitLimits::new(config.concurrency, config.low_priority_concurrency),
            caches: caches.clone(),
            watches: watch_health.clone(),
            leadership: leadership.clone(),
            metrics: Arc::clone(&context.metrics),
            stop: stop.clone(),
        };
        let reconciler = Arc::new(secret_binding::Reconciler::new(Arc::clone(&context)));
        let reconcile = move |binding| Arc::clone(&reconciler).reconcile(binding).boxed();
        queues.start("secretbindings", bindings, stores.bindings.clone(), reconcile);
        let reconciler = Arc::new(project_environment::Reconciler::new(Arc::clone(&context)));
        let reconcile = move |object| Arc::clone(&reconciler).reconcile(object).boxed();
        queues.start("projectenvironments", environments, stores.environments.clone(), reconcile);

        let health = OperatorHealth {
            caches,
            heartbeats: queues.heartbeats,
            metrics: Arc::clone(&context.metrics),
            count_gauges: count_gauges(
                stores,
                context.sources.clone(),
                watch_health,
                leadership,
                config.metrics_per_object,
            ),
            remark: Box::new(move || reach.remark()),
        };
        let server = tokio::spawn(server.serve(Arc::new(health), end.clone()));
        let (workers, events) = (queues.workers, tokio::spawn(sending));
        Ok(Self { essential, workers, server, events, tally, election, stop, end })
    }

    /// Comes back when a task ended that should not have, with why.
    async fn broken(&mut self) -> ControllerError {
        tokio::select! {
            Some(ended) = self.essential.join_next() => {
                ended.unwrap_or(ControllerError::Task { task: "a watch or the poller" })
            }
            Some(_) = self.workers.join_next() => ControllerError::Task { task: "a queue" },
            _ = &mut self.server => ControllerError::Task { task: "the HTTP server" },
        }
    }

    /// Takes no more work, lets finish what runs, and sends the last Events: 10 s at most.
    async fn stop(mut self) {
        let deadline = Instant::now() + GRACE;
        self.stop.cancel();
        let finished = timeout_at(deadline, async { while self.workers.join_next().await.is_some() {} }).await;
        if finished.is_err() {
            tracing::warn!("some reconciles did not finish in {} s and are broken off", GRACE.as_secs());
        }
        self.workers.shutdown().await;
        self.tally.tell();
        self.essential.shutdown().await;
        // Once nothing of this replica's is under way any more.
        if let Some(election) = &self.election {
            let _ = timeout_at(deadline, async { election.lock().await.release().await }).await;
        }
        self.end.cancel();
        if !self.server.is_finished() {
            // Whoever asks just now is answered; half a request is not waited for.
            let _ = timeout(SERVER_GRACE, &mut self.server).await;
        }
        self.server.abort();
        let _ = timeout_at(deadline, &mut self.events).await;
        self.events.abort();
    }
}

/// The queues, and what they have in common.
struct Queues {
    workers: JoinSet<()>,
    heartbeats: Vec<(&'static str, Heartbeat)>,
    limits: PermitLimits,
    caches: CacheSync,
    watches: WatchHealth,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

impl Queues {
    /// Starts one, whose permits are counted by source.
    fn start<O, E>(
        &mut self,
        name: &'static str,
        requests: UnboundedReceiver<Request<O>>,
        cache: Cache<O>,
        reconcile: impl Fn(Arc<O>) -> BoxFuture<'static, Result<Requeue, E>> + Send + Sync + 'static,
    ) where
        O: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
        E: std::error::Error + Send + Sync + 'static,
        SourceReference: for<'o> From<&'o O>,
    {
        let heartbeat = Heartbeat::default();
        let queue = Queue {
            requests,
            cache,
            limits: self.limits,
            permit_key: |object: &O| SourceReference::from(object),
            metrics: Arc::clone(&self.metrics),
            heartbeat: heartbeat.clone(),
            watches: self.watches.clone(),
            leadership: self.leadership.clone(),
            stop: self.stop.clone(),
        };
        let work = async move { queue.work(reconcile).await };
        self.workers.spawn(once_synced(self.caches.clone(), self.stop.clone(), heartbeat.clone(), work));
        self.heartbeats.push((name, heartbeat));
    }
}

/// The environments to poll: those that an object names which is neither suspended nor being deleted.
fn names_of(environments: Cache<ProjectEnvironment>) -> impl Fn() -> BTreeSet<SourceName> {
    move || {
        let all: Vec<_> = environments.objects().collect();
        let looked_at =
            all.iter().filter(|object| !object.spec.is_suspended() && object.metadata.deletion_timestamp.is_none());
        looked_at.map(|object| registry_name(object)).collect()
    }
}

/// Wakes whoever is concerned when an environment stands otherwise.
async fn wake(
    mut changed: UnboundedReceiver<SourceChange>,
    event_handlers: EventHandlers,
    environments: Cache<ProjectEnvironment>,
) -> ControllerError {
    while let Some(change) = changed.recv().await {
        tracing::debug!(source = %change.source, kind = ?change.kind, "an environment stands otherwise");
        event_handlers.source(&change, &environments.objects().collect::<Vec<_>>());
    }
    ControllerError::Task { task: "the poller" }
}

/// Works once every cache has everything: a decision on half of a cache would be a wrong one. Until then it is alive: an
/// API server that is away, or a definition that is not installed yet, is no reason to be started anew.
async fn once_synced(caches: CacheSync, stop: CancellationToken, heartbeat: Heartbeat, work: impl Future<Output = ()>) {
    let mut beats = interval(HEARTBEAT_INTERVAL);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = caches.all() => break,
            _ = beats.tick() => heartbeat.beat(),
        }
    }
    work.await;
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_the_caches_is_alive() {
        let heartbeat = Heartbeat::default();
        let waiting = once_synced(CacheSync::of(&["secrets"]), CancellationToken::new(), heartbeat.clone(), async {});
        let waiting = tokio::spawn(waiting);
        for _ in 0..10 {
            sleep(Duration::from_mins(1)).await;
            assert!(heartbeat.age() <= HEARTBEAT_INTERVAL, "{:?}", heartbeat.age());
        }
        assert!(!waiting.is_finished());
    }
}
