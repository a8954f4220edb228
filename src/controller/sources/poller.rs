//! The task that looks: one round trip for all watched environments, one snapshot for each that changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::board::Board;
use super::history::History;
use super::registry::{Registry, in_time};
use super::tracked::{Next, Tracked, backoff};
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
pub struct Wiring {
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
    board: Arc<Board>,
    history: Arc<History>,
    wiring: Wiring,
    tracked: HashMap<SourceName, Tracked>,
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
    pub fn new(registry: Arc<dyn Registry>, wiring: Wiring) -> (Self, Poller) {
        let (board, history) = (Arc::new(Board::default()), Arc::new(History::default()));
        let poller = Poller {
            registry: Arc::clone(&registry),
            board: Arc::clone(&board),
            history: Arc::clone(&history),
            wiring,
            tracked: HashMap::new(),
            reading: JoinSet::new(),
            width: Arc::new(Semaphore::new(SNAPSHOTS)),
            login_checked: false,
            login_was_fit: false,
            failures: 0,
        };
        (Self { board, history, registry }, poller)
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
            let board = Arc::clone(&self.board);
            tokio::select! {
                biased;
                Some(read) = self.reading.join_next() => {
                    match read {
                        Ok(read) => self.take_in(read),
                        // Which one it was is lost: the next look reads every one that is not current again.
                        Err(error) => {
                            tracing::error!(%error, "reading an environment ended in a panic");
                            self.tracked.values_mut().for_each(|tracked| tracked.reading = false);
                        }
                    }
                    continue;
                }
                () = sleep_until(next) => {}
                () = board.wanted() => next = next.min(earliest),
                Some(()) = hints.recv() => next = next.min(earliest),
            }
            if next > Instant::now() {
                continue;
            }
            let began = Instant::now();
            if let Err(refusal) = self.look().await {
                return refusal;
            }
            self.wiring.heartbeat.beat();
            (next, earliest) = match self.failures {
                0 => (began + jittered(INTERVAL), began + SPACING),
                // Whoever asks meanwhile gets the answer of the next attempt: a database that is coming back is not
                // helped by more questions.
                failures => (Instant::now() + jittered(backoff(OUTAGE, failures)), Instant::now() + OUTAGE.1),
            };
        }
    }

    /// One look. An error only where the operator must not go on.
    async fn look(&mut self) -> Result<(), RegistryError> {
        let (look, names) = self.board.begin((self.wiring.watched)());
        self.tracked.retain(|name, _| names.binary_search(name).is_ok());
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
        match in_time("looking at the watched environments", registry.look(&names)).await {
            Ok(found) => {
                self.wiring.metrics.looked(ReconcileResult::Ok);
                if self.failures > 0 {
                    tracing::info!(failures = self.failures, "the registry answers again");
                }
                self.failures = 0;
                for (name, found) in names.into_iter().zip(found) {
                    let awaited = self.board.is_awaited(&name);
                    match self.tracked.entry(name.clone()).or_default().looked(look, found, awaited) {
                        Next::Say(state) => self.say(&name, look, state),
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
        self.wiring.metrics.looked(ReconcileResult::Error);
        if self.failures == 0 {
            tracing::warn!(%error, "the registry does not answer; Secrets stay as they are");
        }
        self.failures = self.failures.saturating_add(1);
        // Whatever comes back may be another server.
        self.login_checked = false;
        let now = Timestamp::now();
        for name in names {
            let tracked = self.tracked.entry(name.clone()).or_default();
            (tracked.look, tracked.answered) = (look, look);
            tracked.failed(error, now, false);
            let state = tracked.state();
            self.say(&name, look, state);
        }
    }

    /// Starts to read a snapshot.
    fn read(&mut self, source: SourceName, look: u64) {
        self.tracked.entry(source.clone()).or_default().reading = true;
        let (registry, width) = (Arc::clone(&self.registry), Arc::clone(&self.width));
        self.reading.spawn(async move {
            let _place = width.acquire_owned().await;
            let answer = in_time("reading an environment", registry.snapshot(&source)).await;
            Read { source, look, answer }
        });
    }

    /// Takes in what was read, unless nobody watches it any more.
    fn take_in(&mut self, Read { source, look, answer }: Read) {
        let Some(tracked) = self.tracked.get_mut(&source) else { return };
        tracked.reading = false;
        if look < tracked.answered {
            // Older than what was said meanwhile, so that it would be no answer; a look that came after that needs one.
            let newest = tracked.look;
            if newest > tracked.answered {
                self.read(source, newest);
            }
            return;
        }
        let mut answers = look;
        let mut again = false;
        let state = match answer {
            Ok(Ok(snapshot)) => {
                self.wiring.metrics.read(ReconcileResult::Ok);
                self.history.saw(&snapshot);
                tracked.read(Arc::new(snapshot));
                if tracked.is_current() {
                    // A look that came later found the same: it is its answer, too.
                    answers = tracked.look;
                }
                // It changed while it was read.
                again = answers < tracked.look;
                tracked.state()
            }
            Ok(Err(refusal)) => {
                self.wiring.metrics.read(ReconcileResult::Ok);
                tracked.snapshot = None;
                SourceState::Refused { refusal }
            }
            Err(error) => {
                self.wiring.metrics.read(ReconcileResult::Error);
                if !tracked.is_troubled() {
                    tracing::warn!(%source, %error, "an environment could not be read");
                }
                tracked.failed(&error, Timestamp::now(), true);
                tracked.state()
            }
        };
        let newest = tracked.look;
        self.say(&source, answers, state);
        if again {
            self.read(source, newest);
        }
    }

    fn say(&self, source: &SourceName, look: u64, state: SourceState) {
        if self.board.say(source, look, state) {
            // Nobody listens any more only while the operator stops.
            let _ = self.wiring.changes.send(source.clone());
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
