//! The operator's metrics. A label is never a secret or a key, and an object's name only where somebody asked for that.

mod labels;
mod register;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

pub(crate) use labels::{ReconcileResult, Verb};

use labels::{
    Answered, Asked, Ended, InState, Named, NamedInState, OfKind, OfResource, Queued, Synced, WithReason, Written,
};

/// A family of histograms, each made with the same buckets.
type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The operator's metrics: what each means is beside its name, in [`register`].
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    syncs: Family<Synced, Counter>,
    sync_errors: Family<WithReason, Counter>,
    sync_durations: Histograms<OfKind>,
    delivery_lag: Histogram,
    writes: Family<Written, Counter>,
    requests: Histograms<Answered>,
    questions: Histograms<Asked>,
    polls: Family<Ended, Counter>,
    snapshots: Family<Ended, Counter>,
    notify_connected: Gauge,
    sources: Family<InState, Gauge>,
    objects: Family<WithReason, Gauge>,
    out_of_sync_keys: Family<InState, Gauge>,
    out_of_sync_bindings: Gauge,
    queue: Family<Queued, Gauge>,
    watch_silence: Family<OfResource, Gauge<f64, AtomicU64>>,
    unreadable_objects: Family<OfResource, Gauge>,
    crowded_namespaces: Family<OfResource, Gauge>,
    leading: Gauge,
    events_dropped: Counter,
    of_objects: OfObjects,
}

/// Series for each object, where somebody asked for them.
#[derive(Debug, Default)]
struct OfObjects {
    binding_ready: Family<Named, Gauge>,
    binding_in_sync: Family<Named, Gauge>,
    environment_keys: Family<NamedInState, Gauge>,
}

/// A SecretBinding, for a series of its own.
pub(crate) struct BindingFacts {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) is_ready: bool,
    pub(crate) is_in_sync: bool,
}

/// A `ProjectEnvironment`, for a series of its own: how many keys stand in which state.
pub(crate) struct EnvironmentFacts {
    pub(crate) name: String,
    pub(crate) keys: [(&'static str, i64); 3],
}

fn gauge(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Metrics {
    /// Counts a reconcile of an object of that kind.
    pub(crate) fn reconciled(&self, kind: &str, result: ReconcileResult, took: Duration) {
        self.syncs.get_or_create(&Synced { kind: kind.into(), result }).inc();
        self.sync_durations.get_or_create(&OfKind { kind: kind.into() }).observe(took.as_secs_f64());
        match result {
            ReconcileResult::Ok => {}
            ReconcileResult::Error => self.sync_failed(kind, "NotFinished"),
            ReconcileResult::Timeout => self.sync_failed(kind, "DeadlineExceeded"),
        }
    }

    /// Counts a reconcile that left an object not ready, by the reason that its condition gives.
    pub(crate) fn sync_failed(&self, kind: &str, reason: &str) {
        self.sync_errors.get_or_create(&WithReason { kind: kind.into(), reason: reason.into() }).inc();
    }

    /// Counts a write that was sent. `resource` is the plural, as in a path: `secrets`, `secretbindings/status`.
    pub(crate) fn wrote(&self, resource: &'static str, verb: Verb) {
        self.writes.get_or_create(&Written { resource, verb }).inc();
    }

    /// Records a request to the API server, repetitions included; `code` is that of the last answer, if any came.
    pub(crate) fn requested(&self, method: &'static str, code: Option<u16>, took: Duration) {
        let code = code.map_or_else(|| "none".to_owned(), |code| code.to_string());
        self.requests.get_or_create(&Answered { method, code }).observe(took.as_secs_f64());
    }

    /// Records a question to the registry.
    pub(crate) fn asked(&self, question: &'static str, result: ReconcileResult, took: Duration) {
        self.questions.get_or_create(&Asked { question, result }).observe(took.as_secs_f64());
    }

    /// Counts a poll of the registry.
    pub(crate) fn polled(&self, result: ReconcileResult) {
        self.polls.get_or_create(&Ended { result }).inc();
    }

    /// Counts an attempt to read a snapshot.
    pub(crate) fn read(&self, result: ReconcileResult) {
        self.snapshots.get_or_create(&Ended { result }).inc();
    }

    /// Sets whether the registry's hints are heard.
    pub(crate) fn set_notify_connected(&self, connected: bool) {
        self.notify_connected.set(i64::from(connected));
    }

    /// Records how long after the change in the registry its Secret was written.
    pub(crate) fn delivered(&self, lag: Duration) {
        self.delivery_lag.observe(lag.as_secs_f64());
    }

    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }

    /// Sets how many sources are in each state. Counted when the metrics are asked for, not as they change.
    pub(crate) fn set_sources(&self, counts: impl IntoIterator<Item = (&'static str, usize)>) {
        self.sources.clear();
        for (state, count) in counts {
            self.sources.get_or_create(&InState { state: state.into() }).set(gauge(count));
        }
    }

    /// Sets how many objects have which kind and reason of `Ready`. Counted when the metrics are asked for.
    pub(crate) fn set_objects(&self, counts: impl IntoIterator<Item = ((&'static str, String), usize)>) {
        self.objects.clear();
        for ((kind, reason), count) in counts {
            self.objects.get_or_create(&WithReason { kind: kind.into(), reason: (&*reason).into() }).set(gauge(count));
        }
    }

    /// Sets how many keys of all sources are in each state that is not in sync, and how many bindings say that they are
    /// not. Counted when the metrics are asked for.
    pub(crate) fn set_out_of_sync(&self, keys: [(&'static str, i64); 3], bindings: usize) {
        for (state, count) in keys {
            self.out_of_sync_keys.get_or_create(&InState { state: state.into() }).set(count);
        }
        self.out_of_sync_bindings.set(gauge(bindings));
    }

    /// Sets the series of single objects. Those of objects that are gone go with them.
    pub(crate) fn set_of_objects(&self, bindings: &[BindingFacts], environments: &[EnvironmentFacts]) {
        let OfObjects { binding_ready, binding_in_sync, environment_keys } = &self.of_objects;
        binding_ready.clear();
        binding_in_sync.clear();
        environment_keys.clear();
        for BindingFacts { namespace, name, is_ready, is_in_sync } in bindings {
            let named = Named { namespace: namespace.clone(), name: name.clone() };
            binding_ready.get_or_create(&named).set(i64::from(*is_ready));
            binding_in_sync.get_or_create(&named).set(i64::from(*is_in_sync));
        }
        for EnvironmentFacts { name, keys } in environments {
            for (state, count) in keys {
                environment_keys.get_or_create(&NamedInState { name: name.clone(), state }).set(*count);
            }
        }
    }

    /// Sets how many objects of a kind wait for a reconcile, and how many are in one.
    pub(crate) fn queued(&self, kind: &str, waiting: usize, running: usize) {
        for (state, count) in [("waiting", waiting), ("running", running)] {
            self.queue.get_or_create(&Queued { kind: kind.into(), state }).set(gauge(count));
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
        for (family, count) in [(&self.unreadable_objects, unreadable), (&self.crowded_namespaces, crowded)] {
            family.get_or_create(&of).set(gauge(count));
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
