//! The task that polls: one round trip for all watched environments, one snapshot for each that changed.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff};
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::deleted_environments::DeletedEnvironments;
use super::measured::Measured;
use super::newest_position::{Newest, NewestPosition};
use super::poll_state::{Next, PollState, pauses};
use super::registry::{Registry, in_time, within};
use super::revision_tokens::RevisionTokens;
use super::states::SourceStates;
use super::{Reach, SourceChange, SourceState, Sources};
use crate::core::Hint as _;
use crate::registry::{FromServer, PollResult, Refusal, RegistryError, Snapshot, SourceName};
use crate::telemetry::{Heartbeat, Metrics, ReconcileResult};

/// From one poll to the next, give or take a fifth, so that operators of one database do not poll in step.
const INTERVAL: Duration = Duration::from_millis(500);

/// Shortest time from one poll to the next, however many hints come.
const SPACING: Duration = Duration::from_millis(20);

/// First and longest pause while the registry does not answer, before jitter.
const OUTAGE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1_200));

/// First and longest pause before listening for hints again, before jitter.
const LISTEN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));

/// Most snapshots and values that are read at once: fewer than the pool has connections, so that a poll never waits for one.
const READS: usize = 4;

/// What the poller is tied to.
pub(crate) struct PollerDependencies {
    /// The names of all environments to watch, asked for at each poll.
    pub(crate) watched: Box<dyn Fn() -> BTreeSet<SourceName> + Send>,
    /// Gets each environment whose state is another one now.
    pub(crate) changes: mpsc::UnboundedSender<SourceChange>,
    /// Beats with each poll.
    pub(crate) heartbeat: Heartbeat,
    /// Counts polls and snapshots.
    pub(crate) metrics: Arc<Metrics>,
    /// Is told whether the registry has ever answered.
    pub(crate) reach: Reach,
}

/// The task that polls.
pub(crate) struct Poller {
    deleted: Arc<DeletedEnvironments>,
    registry: Arc<dyn Registry>,
    states: Arc<SourceStates>,
    revision_tokens: Arc<RevisionTokens>,
    dependencies: PollerDependencies,
    environments: HashMap<SourceName, PollState>,
    reading: JoinSet<Read>,
    width: Arc<Semaphore>,
    /// The place of those that took too long before.
    late_reads: Arc<Semaphore>,
    /// Whether the login was found fit since the registry last answered with an error.
    login_checked: bool,
    /// Whether it was found fit at all.
    login_was_fit: bool,
    /// How many polls in a row failed, and the pauses that are left.
    outage: Option<(u32, ExponentialBackoff)>,
    newest: Arc<Newest>,
}

/// A snapshot that was read, and the poll that asked for it.
struct Read {
    source: SourceName,
    poll: u64,
    /// Whether all of it was read, and not just what had changed.
    whole: bool,
    /// How far the database had come by then.
    newest: NewestPosition,
    took: Duration,
    answer: Result<FromServer<Result<Snapshot, Refusal>>, RegistryError>,
}

impl Sources {
    /// The sources, and the task that keeps them up to date.
    #[must_use]
    pub(crate) fn new(registry: Arc<dyn Registry>, dependencies: PollerDependencies) -> (Self, Poller) {
        let metrics = Arc::clone(&dependencies.metrics);
        let registry: Arc<dyn Registry> = Arc::new(Measured { registry, metrics });
        let (states, revision_tokens) = (Arc::new(SourceStates::default()), Arc::new(RevisionTokens::default()));
        let (width, newest) = (Arc::new(Semaphore::new(READS)), Arc::new(Newest::default()));
        let (values, grants, deleted) = (Arc::default(), Arc::default(), Arc::<DeletedEnvironments>::default());
        let poller = Poller {
            deleted: Arc::clone(&deleted),
            registry: Arc::clone(&registry),
            states: Arc::clone(&states),
            revision_tokens: Arc::clone(&revision_tokens),
            dependencies,
            environments: HashMap::new(),
            reading: JoinSet::new(),
            width: Arc::clone(&width),
            late_reads: Arc::new(Semaphore::new(1)),
            login_checked: false,
            login_was_fit: false,
            outage: None,
            newest: Arc::clone(&newest),
        };
        (Self { states, revision_tokens, values, width, newest, grants, deleted, registry }, poller)
    }
}

impl Poller {
    /// Polls until it is dropped. Ends by itself only where the operator may not run with this login: with the
    /// registry's refusal.
    pub(crate) async fn run(mut self) -> RegistryError {
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
                        // Which one it was is lost: the next poll reads every one that is not current again.
                        Err(error) => {
                            tracing::error!(%error, "reading an environment ended in a panic");
                            self.environments.values_mut().for_each(|poll_state| poll_state.reading = false);
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
            (next, earliest) = match &mut self.outage {
                None => (began + INTERVAL.mul_f64(rand::random_range(0.8..=1.2)), began + SPACING),
                // Whoever asks meanwhile gets the answer of the next attempt: a database that is coming back is not
                // helped by more questions.
                Some((_, pauses)) => {
                    let next = Instant::now() + pauses.next().unwrap_or(OUTAGE.1);
                    (next, next)
                }
            };
        }
    }

    /// One poll. An error only where the operator must not go on.
    async fn poll(&mut self) -> Result<(), RegistryError> {
        let (poll, names) = self.states.begin((self.dependencies.watched)());
        self.environments.retain(|name, _| names.binary_search(name).is_ok());
        let registry = Arc::clone(&self.registry);
        if !self.login_checked {
            let answer = in_time(&*registry, "checking the operator's login", registry.check_login());
            match self.dependencies.heartbeat.while_waiting(answer).await {
                Ok(()) => {
                    if !self.login_was_fit {
                        tracing::info!("the registry answers, and the login is one to operate with");
                    }
                    (self.login_checked, self.login_was_fit) = (true, true);
                    self.dependencies.reach.answered();
                }
                Err(refusal @ RegistryError::Refused { .. }) if !self.login_was_fit => return Err(refusal),
                Err(error) => {
                    self.nothing_answered(poll, names, &error);
                    return Ok(());
                }
            }
        }
        if names.is_empty() {
            return Ok(());
        }
        let mut rest = names.as_slice();
        while !rest.is_empty() {
            let width = registry.poll_width().clamp(1, rest.len());
            let (group, later) = rest.split_at(width);
            let then = self.newest.get();
            let answer = in_time(&*registry, "polling the watched environments", registry.poll(group));
            match self.dependencies.heartbeat.while_waiting(answer).await {
                // It knows less than was known already: another answer is waited for.
                Ok(FromServer { position, .. }) if self.newest.is_behind(position, then) => rest = later,
                Ok(FromServer { answer: found, .. }) => {
                    group.iter().zip(found).for_each(|(name, found)| self.take_poll_in(name, poll, found));
                    rest = later;
                    self.dependencies.heartbeat.beat();
                }
                Err(error) if registry.poll_width() < width => {
                    tracing::info!(%error, width, "too many environments for one poll; asking about fewer at once");
                }
                Err(error) => {
                    self.nothing_answered(poll, rest.to_vec(), &error);
                    return Ok(());
                }
            }
        }
        self.dependencies.metrics.polled(ReconcileResult::Ok);
        if let Some((failures, _)) = self.outage.take() {
            tracing::info!(failures, "the registry answers again");
        }
        Ok(())
    }

    fn take_poll_in(&mut self, name: &SourceName, poll: u64, found: PollResult) {
        let (awaited, whole) = (self.states.is_awaited(name), self.states.is_to_be_read(name));
        let poll_state = self.environments.entry(name.clone()).or_default();
        poll_state.distrusted |= whole;
        match poll_state.polled(poll, found, awaited) {
            Next::Publish(state) => self.publish(name, poll, state),
            Next::Read => self.read(name.clone(), poll, Duration::ZERO),
            Next::ReadLater(delay) => self.read(name.clone(), poll, delay),
            Next::Wait => {}
        }
    }

    /// The registry is away for everything.
    fn nothing_answered(&mut self, poll: u64, names: Vec<SourceName>, error: &RegistryError) {
        self.dependencies.metrics.polled(ReconcileResult::Error);
        self.dependencies.reach.failed(&error.with_hint());
        if self.outage.is_none() {
            tracing::warn!(%error, "the registry does not answer; Secrets stay as they are");
        }
        self.outage.get_or_insert_with(|| (0, pauses(OUTAGE).with_jitter().build())).0 += 1;
        // Whatever comes back may be another server.
        self.login_checked = false;
        let now = Timestamp::now();
        for name in names {
            let poll_state = self.environments.entry(name.clone()).or_default();
            (poll_state.poll, poll_state.answered) = (poll, poll);
            poll_state.failed(error, now, false);
            let state = poll_state.state();
            self.publish(&name, poll, state);
        }
    }

    /// Starts to read a snapshot, after a while or as soon as there is a hurry.
    fn read(&mut self, source: SourceName, poll: u64, delay: Duration) {
        let poll_state = self.environments.entry(source.clone()).or_default();
        let (known, patience, is_late) = (poll_state.begin_read(), poll_state.patience(), poll_state.is_late());
        // What was in a hurry before is over.
        poll_state.hurry = Arc::default();
        let hurry = Arc::clone(&poll_state.hurry);
        // What was too long before has one place of its own: it keeps nobody waiting who is quicker.
        let width = if is_late { &self.late_reads } else { &self.width };
        let (registry, width, newest) = (Arc::clone(&self.registry), Arc::clone(width), self.newest.get());
        self.reading.spawn(async move {
            // A time that is over at once would still be a turn.
            if !delay.is_zero() {
                let _ = timeout(delay, hurry.notified()).await;
            }
            let _place = width.acquire_owned().await;
            let began = Instant::now();
            let question = registry.snapshot(&source, known.as_deref(), patience);
            let answer = within(registry.patience() + patience, "reading an environment", question).await;
            Read { source, poll, whole: known.is_none(), newest, took: began.elapsed(), answer }
        });
    }

    /// Takes in what was read, unless nobody watches it any more.
    fn take_in(&mut self, Read { source, poll, whole, newest, took, answer }: Read) {
        let Some(poll_state) = self.environments.get_mut(&source) else { return };
        poll_state.reading = false;
        if poll < poll_state.answered {
            // Older than what was said meanwhile, so that it would be no answer; a poll that came after that needs one.
            let newest = poll_state.poll;
            if newest > poll_state.answered {
                self.read(source, newest, Duration::ZERO);
            }
            return;
        }
        let mut answers = poll;
        let mut again = false;
        if let Ok(FromServer { position, .. }) = &answer
            && self.newest.is_behind(*position, newest)
        {
            // The next poll reads it again.
            return;
        }
        let state = match answer.map(|read| read.answer) {
            Ok(Ok(snapshot)) => {
                self.dependencies.metrics.read(ReconcileResult::Ok);
                self.revision_tokens.saw(&snapshot);
                poll_state.read(Arc::new(snapshot), whole, took);
                if poll_state.is_current() && !poll_state.distrusted {
                    // A poll that came later found the same: it is its answer, too.
                    answers = poll_state.poll;
                }
                // It changed while it was read.
                again = answers < poll_state.poll;
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
        let newest = poll_state.poll;
        self.publish(&source, answers, state);
        if again {
            self.read(source, newest, Duration::ZERO);
        }
    }

    fn publish(&self, source: &SourceName, poll: u64, state: SourceState) {
        if let Some(change) = self.states.publish(source, poll, state) {
            self.deleted.forget();
            // Nobody listens any more only while the operator stops.
            let _ = self.dependencies.changes.send(change);
        }
    }
}

/// Listens for hints, for ever: they only make a poll come earlier.
async fn listen(registry: Arc<dyn Registry>, hints: mpsc::Sender<()>) {
    let start = || pauses(LISTEN).with_jitter().build();
    let mut left = start();
    loop {
        let began = Instant::now();
        let error = registry.listen(hints.clone()).await;
        if began.elapsed() > LISTEN.1 {
            left = start();
        }
        tracing::debug!(%error, "no hints from the registry for now; changes are found by polling");
        tokio::time::sleep(left.next().unwrap_or(LISTEN.1)).await;
    }
}
