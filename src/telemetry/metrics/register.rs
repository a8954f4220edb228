//! What there is to be scraped: each metric with its name, labels and meaning, from which `docs/metrics.md` is generated.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

use super::labels::{Ended, Synced, Written};
use super::{Histograms, Metrics, OfObjects, ReconcileResult, Verb};

/// Upper bounds of the buckets, in seconds: from a change to its delivery.
const LAG: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0];

/// Upper bounds of the buckets, in seconds: of what happens within a reconcile.
const DURATION: [f64; 10] = [0.000_1, 0.001, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];

/// What is reconciled, by kind.
const KINDS: [&str; 2] = ["SecretBinding", "ProjectEnvironment"];

/// What is written to the API server.
const WRITES: [(&str, Verb); 10] = [
    ("secrets", Verb::Create),
    ("secrets", Verb::Update),
    ("secrets", Verb::Delete),
    ("secretbindings/status", Verb::Patch),
    ("projectenvironments/status", Verb::Patch),
    ("events", Verb::Create),
    ("deployments", Verb::Patch),
    ("statefulsets", Verb::Patch),
    ("daemonsets", Verb::Patch),
    ("rollouts", Verb::Patch),
];

/// A metric, for the documentation.
#[cfg_attr(not(test), allow(dead_code, reason = "a test writes the documentation"))]
pub(super) struct Described {
    /// As it is scraped, without the suffixes of a histogram.
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) labels: &'static str,
    pub(super) meaning: &'static str,
}

/// A registry that takes note of what is registered.
struct Registering<'r> {
    registry: &'r mut Registry,
    described: Vec<Described>,
}

impl Registering<'_> {
    fn add(
        &mut self,
        kind: &'static str,
        name: &'static str,
        labels: &'static str,
        meaning: &'static str,
        metric: impl Metric,
    ) {
        self.registry.register(name, meaning, metric);
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        self.described.push(Described { name: format!("tidelock_{name}{suffix}"), kind, labels, meaning });
    }

    fn counter(&mut self, name: &'static str, labels: &'static str, meaning: &'static str, metric: impl Metric) {
        self.add("counter", name, labels, meaning, metric);
    }

    fn gauge(&mut self, name: &'static str, labels: &'static str, meaning: &'static str, metric: impl Metric) {
        self.add("gauge", name, labels, meaning, metric);
    }

    fn histogram(&mut self, name: &'static str, labels: &'static str, meaning: &'static str, metric: impl Metric) {
        self.add("histogram", name, labels, meaning, metric);
    }
}

fn durations<L: Clone + std::hash::Hash + Eq>() -> Histograms<L> {
    Family::new_with_constructor(|| Histogram::new(DURATION))
}

impl Default for Metrics {
    fn default() -> Self {
        Self::described().0
    }
}

impl Metrics {
    /// The metrics, and what there is to say of each.
    pub(super) fn described() -> (Self, Vec<Described>) {
        let mut all = Registry::default();
        #[cfg(target_os = "linux")]
        all.register_collector(Box::new(super::super::process::ProcessCollector));
        let metrics = Self {
            registry: Registry::default(),
            syncs: Family::default(),
            sync_errors: Family::default(),
            sync_durations: durations(),
            delivery_lag: Histogram::new(LAG),
            writes: Family::default(),
            requests: durations(),
            questions: durations(),
            polls: Family::default(),
            snapshots: Family::default(),
            notify_connected: Gauge::default(),
            sources: Family::default(),
            objects: Family::default(),
            out_of_sync_keys: Family::default(),
            out_of_sync_bindings: Gauge::default(),
            queue: Family::default(),
            watch_silence: Family::default(),
            unreadable_objects: Family::default(),
            crowded_namespaces: Family::default(),
            leading: Gauge::default(),
            events_dropped: Counter::default(),
            of_objects: OfObjects::default(),
        };
        let registry = all.sub_registry_with_prefix("tidelock");
        let mut to = Registering { registry, described: Vec::new() };
        metrics.register_work(&mut to);
        metrics.register_state(&mut to);
        let described = to.described;
        (Self { registry: all, ..metrics }.begin(), described)
    }

    /// What is done.
    fn register_work(&self, to: &mut Registering<'_>) {
        to.add(
            "info",
            "build",
            "version",
            "The running build",
            Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]),
        );
        to.counter("sync", "kind, result", "Reconciles by kind and how they ended", self.syncs.clone());
        to.counter(
            "sync_errors",
            "kind, reason",
            "Reconciles that left an object not ready, by the reason of its condition Ready; not_finished and deadline_exceeded where they came to no end",
            self.sync_errors.clone(),
        );
        to.histogram(
            "sync_duration_seconds",
            "kind",
            "From the start of a reconcile to its end, waiting included",
            self.sync_durations.clone(),
        );
        to.histogram(
            "delivery_lag_seconds",
            "",
            "From a change in the registry to the Secret that has it, by both clocks",
            self.delivery_lag.clone(),
        );
        to.counter("api_writes", "resource, verb", "Requests that write to the API server", self.writes.clone());
        to.histogram(
            "api_request_duration_seconds",
            "method, code",
            "Requests to the API server but watches, repetitions included; code none where no answer came",
            self.requests.clone(),
        );
        to.histogram(
            "registry_request_duration_seconds",
            "question, result",
            "Questions to the registry",
            self.questions.clone(),
        );
        to.counter("polls", "result", "Polls of the registry for all watched environments", self.polls.clone());
        to.counter("snapshots", "result", "Environments read from the registry", self.snapshots.clone());
        to.counter("events_dropped", "", "Events that were not sent", self.events_dropped.clone());
    }

    /// How things stand.
    fn register_state(&self, to: &mut Registering<'_>) {
        to.gauge(
            "notify_connected",
            "",
            "1 while the registry's hints are heard; without them a change is found by the next poll",
            self.notify_connected.clone(),
        );
        to.gauge("sources", "state", "Watched environments by state", self.sources.clone());
        to.gauge(
            "objects",
            "kind, reason",
            "Objects by kind and reason of their condition Ready",
            self.objects.clone(),
        );
        to.gauge(
            "out_of_sync_keys",
            "state",
            "Keys of the watched environments that are not in sync, by state",
            self.out_of_sync_keys.clone(),
        );
        to.gauge(
            "out_of_sync_bindings",
            "",
            "SecretBindings whose condition InSync is False",
            self.out_of_sync_bindings.clone(),
        );
        to.gauge("queue_depth", "kind, state", "Objects that wait for a reconcile, or are in one", self.queue.clone());
        to.gauge(
            "watch_silence_seconds",
            "resource",
            "How long ago a watch heard anything; some 30 s are healthy",
            self.watch_silence.clone(),
        );
        to.gauge(
            "unreadable_objects",
            "resource",
            "Objects that are passed over, since they cannot be read",
            self.unreadable_objects.clone(),
        );
        to.gauge(
            "crowded_namespaces",
            "resource",
            "Namespaces of which not every object is cached, since they have too many or too large ones",
            self.crowded_namespaces.clone(),
        );
        to.gauge("leading", "", "1 where this replica works, 0 where it waits for another one", self.leading.clone());
        let OfObjects { binding_ready, binding_in_sync, environment_keys } = &self.of_objects;
        let ready = "For each SecretBinding, where TIDELOCK_METRICS_PER_OBJECT asks for it: 1 while it is Ready";
        to.gauge("binding_ready", "namespace, name", ready, binding_ready.clone());
        let in_sync = "Likewise: 0 while its condition InSync is False";
        to.gauge("binding_in_sync", "namespace, name", in_sync, binding_in_sync.clone());
        let keys = "Likewise, for each ProjectEnvironment: keys that are not in sync";
        to.gauge("environment_out_of_sync_keys", "name, state", keys, environment_keys.clone());
    }

    /// A counter is there from the start: what rises from nothing to one within a scrape is no increase to an alert.
    fn begin(self) -> Self {
        for result in [ReconcileResult::Ok, ReconcileResult::Error, ReconcileResult::Timeout] {
            for kind in KINDS {
                drop(self.syncs.get_or_create(&Synced { kind: kind.into(), result }));
            }
            drop(self.polls.get_or_create(&Ended { result }));
            drop(self.snapshots.get_or_create(&Ended { result }));
        }
        for (resource, verb) in WRITES {
            drop(self.writes.get_or_create(&Written { resource, verb }));
        }
        self
    }
}
