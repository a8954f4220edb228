//! The operator's metrics. A label is never a secret, a key or an object's name: each comes from a closed list, so that a
//! large cluster has as many series as a small one.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// Upper bounds of the buckets, in seconds.
const LATENCY: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0];

/// Upper bounds of the buckets, in seconds.
const DURATION: [f64; 10] = [0.000_1, 0.001, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];

/// How a reconcile, a poll or the reading of a snapshot ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum ReconcileResult {
    Ok,
    Error,
    /// It passed its deadline.
    Timeout,
}

/// The verb of a request to the API server, as Kubernetes names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub(crate) enum Verb {
    Create,
    /// Replaces the whole object.
    Update,
    Patch,
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reconciled {
    kind: String,
    result: ReconcileResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Written {
    resource: &'static str,
    verb: Verb,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResource {
    resource: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queued {
    kind: String,
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    result: ReconcileResult,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WithReason {
    kind: &'static str,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

/// The operator's metrics.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    reconciles: Family<Reconciled, Counter>,
    durations: Family<OfKind, Histogram>,
    writes: Family<Written, Counter>,
    polls: Family<Asked, Counter>,
    snapshots: Family<Asked, Counter>,
    sources: Family<InState, Gauge>,
    latency: Histogram,
    objects: Family<WithReason, Gauge>,
    out_of_sync_keys: Family<InState, Gauge>,
    out_of_sync_bindings: Gauge,
    queue: Family<Queued, Gauge>,
    watch_silence: Family<OfResource, Gauge<f64, AtomicU64>>,
    unreadable_objects: Family<OfResource, Gauge>,
    crowded_namespaces: Family<OfResource, Gauge>,
    leading: Gauge,
    events_dropped: Counter,
}

/// What is reconciled, by kind.
const KINDS: [&str; 2] = ["SecretBinding", "ProjectEnvironment"];

/// What is written to the API server.
const WRITES: [(&str, Verb); 6] = [
    ("secrets", Verb::Create),
    ("secrets", Verb::Update),
    ("secrets", Verb::Delete),
    ("secretbindings/status", Verb::Patch),
    ("projectenvironments/status", Verb::Patch),
    ("events", Verb::Create),
];

impl Metrics {
    /// A counter is there from the start: what rises from nothing to one within a scrape is no increase to an alert.
    fn begin(self) -> Self {
        let results = [ReconcileResult::Ok, ReconcileResult::Error, ReconcileResult::Timeout];
        for result in results {
            for kind in KINDS {
                drop(self.reconciles.get_or_create(&Reconciled { kind: kind.to_owned(), result }));
            }
            drop(self.polls.get_or_create(&Asked { result }));
            drop(self.snapshots.get_or_create(&Asked { result }));
        }
        for (resource, verb) in WRITES {
            drop(self.writes.get_or_create(&Written { resource, verb }));
        }
        self
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut all = Registry::default();
        #[cfg(target_os = "linux")]
        all.register_collector(Box::new(super::process::ProcessCollector));
        let registry = all.sub_registry_with_prefix("tidelock");
        let durations = Family::<OfKind, Histogram>::new_with_constructor(|| Histogram::new(DURATION));
        let metrics = Self {
            registry: Registry::default(),
            reconciles: Family::default(),
            durations,
            writes: Family::default(),
            polls: Family::default(),
            snapshots: Family::default(),
            sources: Family::default(),
            latency: Histogram::new(LATENCY),
            objects: Family::default(),
            out_of_sync_keys: Family::default(),
            out_of_sync_bindings: Gauge::default(),
            queue: Family::default(),
            watch_silence: Family::default(),
            unreadable_objects: Family::default(),
            crowded_namespaces: Family::default(),
            leading: Gauge::default(),
            events_dropped: Counter::default(),
        };
        registry.register("build", "The running build", Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("reconciles", "Reconciles by kind and how they ended", metrics.reconciles.clone());
        registry.register(
            "reconcile_duration_seconds",
            "From the start of a reconcile to its end, waiting included",
            metrics.durations.clone(),
        );
        registry.register("api_writes", "Requests that write to the API server", metrics.writes.clone());
        registry.register("polls", "Polls of the registry for all watched environments", metrics.polls.clone());
        registry.register("snapshots", "Environments read whole from the registry", metrics.snapshots.clone());
        registry.register("sources", "Watched environments by state", metrics.sources.clone());
        registry.register(
            "sync_latency_seconds",
            "From a change in the registry to the Secret that has it",
            metrics.latency.clone(),
        );
        registry.register("objects", "Objects by kind and reason of their condition Ready", metrics.objects.clone());
        registry.register(
            "out_of_sync_keys",
            "Keys of the watched environments that are not in sync, by state",
            metrics.out_of_sync_keys.clone(),
        );
        registry.register(
            "out_of_sync_bindings",
            "SecretBindings whose condition InSync is False",
            metrics.out_of_sync_bindings.clone(),
        );
        registry.register("queue_depth", "Objects that wait for a reconcile, or are in one", metrics.queue.clone());
        registry.register(
            "watch_silence_seconds",
            "How long ago a watch heard anything; some 30 s are healthy",
            metrics.watch_silence.clone(),
        );
        registry.register(
            "unreadable_objects",
            "Objects that are passed over, since they cannot be read",
            metrics.unreadable_objects.clone(),
        );
        registry.register(
            "crowded_namespaces",
            "Namespaces of which not every object is cached, since they have too many or too large ones",
            metrics.crowded_namespaces.clone(),
        );
        registry.register(
            "leading",
            "1 where this replica works, 0 where it waits for another one",
            metrics.leading.clone(),
        );
        registry.register("events_dropped", "Events that were not sent", metrics.events_dropped.clone());
        Self { registry: all, ..metrics }.begin()
    }
}

impl Metrics {
    /// Counts a reconcile of an object of that kind.
    pub(crate) fn reconciled(&self, kind: &str, result: ReconcileResult, took: Duration) {
        self.reconciles.get_or_create(&Reconciled { kind: kind.to_owned(), result }).inc();
        self.durations.get_or_create(&OfKind { kind: kind.to_owned() }).observe(took.as_secs_f64());
    }

    /// Counts a write that was sent. `resource` is the plural, as in a path: `secrets`, `secretbindings/status`.
    pub(crate) fn wrote(&self, resource: &'static str, verb: Verb) {
        self.writes.get_or_create(&Written { resource, verb }).inc();
    }

    /// Counts a poll of the registry.
    pub(crate) fn polled(&self, result: ReconcileResult) {
        self.polls.get_or_create(&Asked { result }).inc();
    }

    /// Counts an attempt to read a snapshot.
    pub(crate) fn read(&self, result: ReconcileResult) {
        self.snapshots.get_or_create(&Asked { result }).inc();
    }

    /// Records how long after the change in the registry its Secret was written.
    pub(crate) fn synced(&self, latency: Duration) {
        self.latency.observe(latency.as_secs_f64());
    }

    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Sets how many sources are in each state. Counted when the metrics are asked for, not as they change.
    pub(crate) fn set_sources(&self, counts: impl IntoIterator<Item = (&'static str, usize)>) {
        self.sources.clear();
        for (state, count) in counts {
            self.sources.get_or_create(&InState { state }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Sets how many objects have which kind and reason of `Ready`. Counted when the metrics are asked for.
    pub(crate) fn set_objects(&self, counts: impl IntoIterator<Item = ((&'static str, String), usize)>) {
        self.objects.clear();
        for ((kind, reason), count) in counts {
            let labels = WithReason { kind, reason };
            self.objects.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Sets how many keys of all sources are in each state that is not in sync, and how many bindings say that they are
    /// not. Counted when the metrics are asked for.
    pub(crate) fn set_out_of_sync(&self, keys: [(&'static str, i64); 3], bindings: usize) {
        for (state, count) in keys {
            self.out_of_sync_keys.get_or_create(&InState { state }).set(count);
        }
        self.out_of_sync_bindings.set(i64::try_from(bindings).unwrap_or(i64::MAX));
    }

    /// Sets how many objects of a kind wait for a reconcile, and how many are in one.
    pub(crate) fn queued(&self, kind: &str, waiting: usize, running: usize) {
        for (state, count) in [("waiting", waiting), ("running", running)] {
            let labels = Queued { kind: kind.to_owned(), state };
            self.queue.get_or_create(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Sets whether this replica is the one that works.
    pub(crate) fn set_leading(&self, leading: bool) {
        self.leading.set(i64::from(leading));
    }

    /// Sets how a watch is: how long ago it heard anything, how many objects it has to pass over, and how many namespaces
    /// have more than is cached of them.
    pub(crate) fn set_watch(&self, resource: &'static str, silence: Duration, unreadable: usize, crowded: usize) {
        let of = OfResource { resource };
        self.watch_silence.get_or_create(&of).set(silence.as_secs_f64());
        for (gauge, count) in [(&self.unreadable_objects, unreadable), (&self.crowded_namespaces, crowded)] {
            gauge.get_or_create(&of).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub(crate) fn to_text(&self) -> String {
        let mut out = String::new();
        match text::encode(&mut out, &self.registry) {
            Ok(()) => out,
            Err(error) => format!("# metrics could not be written: {error}\n# EOF\n"),
        }
    }
}

#[cfg(test)]
mod tests;
