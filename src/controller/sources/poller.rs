//! The task that looks: one round trip for all watched environments, one snapshot for each that changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::poll_state::{Next, PollState, backoff};
use super::registry::{Registry, in_time};
use super::revision_tokens::RevisionTokens;
use super::states::SourceStates;
use super::{SourceState, Sources};
use crate::registry::{Refusal, RegistryError, Snapshot, SourceName};
use crate::telemetry::{Heartbeat, Metrics, ReconcileResult};

/// From one look to the next, give or take a fifth, so that operators of one database do not look in step.
const INTERVAL: Duration = Duration::from_millis(500);

/// Shortest time from one look to the next, however many hints come.
const SPACING: Duration = Duration::from_millis(20);

/// First and longest pause while the registry does not answer.
const OUTAGE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(2));

/// First and longest pause before listening for hints again.
const LISTEN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Most snapshots that are read at once: fewer than the pool has connections, so that a look never waits for one.
const SNAPSHOTS: usize = 4;

/// What the poller is tied to.
pub struct PollerDependencies {
    /// The names of all environments to watch, asked for at each look.
    pub watched: Box<dyn Fn() -> BTreeSet<SourceName> + Send>,
    /// Gets the name of each environment whose state is another one now.
    pub changes: mpsc::UnboundedSender<SourceName>,
    /// Beats with each look.
    pub heartbeat: Heartbeat,
    /// Counts looks and snapshots.
    pub metrics: Arc<Metrics>,
}

/// The task that looks.
pub struct Poller {
    registry: Arc<dyn Registry>,
    states: Arc<SourceStates>,
    revision_tokens: Arc<RevisionTokens>,
    dependencies: PollerDependencies,
    poll_state: HashMap<SourceName, PollState>,
    reading: JoinSet<Read>,
    width: Arc<Semaphore>,
    /// Whether the login was found fit since the registry last answered with an error.
    login_checked: bool,
    /// Whether it was found fit at all.
    login_was_fit: bool,
    /// How many looks in a row failed.
    failures: u32,
}

/// A snapshot that was read, and the look that asked for it.
struct Read {
    source: SourceName,
    look: u64,
    answer: Result<Result<Snapshot, Refusal>, RegistryError>,
}

impl Sources {
    /// The sources, and the task that keeps them up to date.
    #[must_use]
    pub fn new(registry: Arc<dyn Registry>, dependencies: PollerDependencies) -> (Self, Poller) {
        let (states, revision_tokens) = (Arc::new(SourceStates::default()), Arc::new(RevisionTokens::default()));
        let poller = Poller {
            registry: Arc::clone(&registry),
            states: Arc::clone(&states),
            revision_tokens: Arc::clone(&revision_tokens),
            dependencies,
            poll_state: HashMap::new(),
            reading: JoinSet::new(),
            width: Arc::new(Semaphore::new(SNAPSHOTS)),
            login_checked: false,
            login_was_fit: false,
            failures: 0,
        };
        (Self { states, revision_tokens, registry }, poller)
    }
}

impl Poller {
    /// Looks until it is dropped. Ends by itself only where the operator may not run with this login: with the
    /// registry's refusal.
    pub async fn run(mut self) -> RegistryError {
        let (hint, mut hints) = mpsc::channel(1);
        let mut listening = JoinSet::new();
        listening.spawn(listen(Arc::clone(&self.registry), hint));
        let mut next = Instant::now();
        let mut earliest = next;
        loop {
            let states = Arc::clone(&self.states);
            tokio::select! {
                biased;
                Some(read) = self.reading.join_next() => {
                    match read {
                        Ok(read) => self.take_in(read),
                        // Which one it was is lost: the next look reads every one that is not current again.
                        Err(error) => {
                            tracing::error!(%error, "reading an environment ended in a panic");
                            self.poll_state.values_mut().for_each(|poll_state| poll_state.reading = false);
                        }
                    }
                    continue;
                }
                () = sleep_until(next) => {}
                () = states.wanted() => next = next.min(earliest),
                Some(()) = hints.recv() => next = next.min(earliest),
            }
            if next > Instant::now() {
                continue;
            }
            let began = Instant::now();
            if let Err(refusal) = self.poll().await {
                return refusal;
            }
            self.dependencies.heartbeat.beat();
            (next, earliest) = match self.failures {
                0 => (began + jittered(INTERVAL), began + SPACING),
                // Whoever asks meanwhile gets the answer of the next attempt: a database that is coming back is not
                // helped by more questions.
                failures => (Instant::now() + jittered(backoff(OUTAGE, failures)), Instant::now() + OUTAGE.1),
            };
        }
    }

    /// One look. An error only where the operator must not go on.
    async fn poll(&mut self) -> Result<(), RegistryError> {
        let (look, names) = self.states.begin((self.dependencies.watched)());
        self.poll_state.retain(|name, _| names.binary_search(name).is_ok());
        let registry = Arc::clone(&self.registry);
        if !self.login_checked {
            match in_time("checking the operator's login", registry.check_login()).await {
                Ok(()) => {
                    if !self.login_was_fit {
                        tracing::info!("the registry answers, and the login is one to operate with");
                    }
                    (self.login_checked, self.login_was_fit) = (true, true);
                }
                Err(refusal @ RegistryError::Refused { .. }) if !self.login_was_fit => return Err(refusal),
                Err(error) => {
                    self.nothing_answered(look, names, &error);
                    return Ok(());
                }
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        match in_time("looking at the watched environments", registry.poll(&names)).await {
            Ok(found) => {
                self.dependencies.metrics.polled(ReconcileResult::Ok);
                if self.failures > 0 {
                    tracing::info!(failures = self.failures, "the registry answers again");
                }
                self.failures = 0;
                for (name, found) in names.into_iter().zip(found) {
                    let awaited = self.states.is_awaited(&name);
                    match self.poll_state.entry(name.clone()).or_default().polled(look, found, awaited) {
                        Next::Publish(state) => self.publish(&name, look, state),
                        Next::Read => self.read(name, look),
                        Next::Wait => {}
                    }
                }
            }
            Err(error) => self.nothing_answered(look, names, &error),
        }
        Ok(())
    }

    /// The registry is away for everything.
    fn nothing_answered(&mut self, look: u64, names: Vec<SourceName>, error: &RegistryError) {
        self.dependencies.metrics.polled(ReconcileResult::Error);
        if self.failures == 0 {
            tracing::warn!(%error, "the registry does not answer; Secrets stay as they are");
        }
        self.failures = self.failures.saturating_add(1);
        // Whatever comes back may be another server.
        self.login_checked = false;
        let now = Timestamp::now();
        for name in names {
            let poll_state = self.poll_state.entry(name.clone()).or_default();
            (poll_state.look, poll_state.answered) = (look, look);
            poll_state.failed(error, now, false);
            let state = poll_state.state();
            self.publish(&name, look, state);
        }
    }

    /// Starts to read a snapshot.
    fn read(&mut self, source: SourceName, look: u64) {
        self.poll_state.entry(source.clone()).or_default().reading = true;
        let (registry, width) = (Arc::clone(&self.registry), Arc::clone(&self.width));
        self.reading.spawn(async move {
            let _place = width.acquire_owned().await;
            let answer = in_time("reading an environment", registry.snapshot(&source)).await;
            Read { source, look, answer }
        });
    }

    /// Takes in what was read, unless nobody watches it any more.
    fn take_in(&mut self, Read { source, look, answer }: Read) {
        let Some(poll_state) = self.poll_state.get_mut(&source) else { return };
        poll_state.reading = false;
        if look < poll_state.answered {
            // Older than what was said meanwhile, so that it would be no answer; a look that came after that needs one.
            let newest = poll_state.look;
            if newest > poll_state.answered {
                self.read(source, newest);
            }
            return;
        }
        let mut answers = look;
        let mut again = false;
        let state = match answer {
            Ok(Ok(snapshot)) => {
                self.dependencies.metrics.read(ReconcileResult::Ok);
                self.revision_tokens.saw(&snapshot);
                poll_state.read(Arc::new(snapshot));
                if poll_state.is_current() {
                    // A look that came later found the same: it is its answer, too.
                    answers = poll_state.look;
                }
                // It changed while it was read.
                again = answers < poll_state.look;
                poll_state.state()
            }
            Ok(Err(refusal)) => {
                self.dependencies.metrics.read(ReconcileResult::Ok);
                poll_state.snapshot = None;
                SourceState::Refused { refusal }
            }
            Err(error) => {
                self.dependencies.metrics.read(ReconcileResult::Error);
                if !poll_state.is_failing() {
                    tracing::warn!(%source, %error, "an environment could not be read");
                }
                poll_state.failed(&error, Timestamp::now(), true);
                poll_state.state()
            }
        };
        let newest = poll_state.look;
        self.publish(&source, answers, state);
        if again {
            self.read(source, newest);
        }
    }

    fn publish(&self, source: &SourceName, look: u64, state: SourceState) {
        if self.states.publish(source, look, state) {
            // Nobody listens any more only while the operator stops.
            let _ = self.dependencies.changes.send(source.clone());
        }
    }
}

/// Listens for hints, for ever: they only make a look come earlier.
async fn listen(registry: Arc<dyn Registry>, hints: mpsc::Sender<()>) {
    let mut failures = 0_u32;
    loop {
        let began = Instant::now();
        let error = registry.listen(hints.clone()).await;
        failures = if began.elapsed() > LISTEN.1 { 1 } else { failures.saturating_add(1) };
        tracing::debug!(%error, "no hints from the registry for now; changes are found by looking");
        tokio::time::sleep(jittered(backoff(LISTEN, failures))).await;
    }
}

/// Give or take a fifth.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.8..=1.2))
}
