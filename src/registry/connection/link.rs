//! A session that is driven and watched over.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{AsyncMessage, Client};

use super::activity::Activity;
use super::dial::Connected;
use crate::core::causes;
use crate::registry::RegistryError;

/// How long a session that is done with may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// When a server that owes an answer is given up on.
pub(super) enum Patience {
    /// After so much silence: it has been told to give up on statements before that.
    Silence(Duration),
    /// When, after each so much silence, a second session says that the server is not working for this one, or there is no
    /// second session either. A statement may take as long as it does, and a server that is gone is noticed all the same.
    WhileItWorks {
        quiet: Duration,
        probe: Probe,
        /// Longest silence where the server does not know who is served, as behind a pooler.
        longest: Option<Duration>,
    },
}

/// Asks a server, in a session of its own, what one of its processes does; the error is why it could not be asked.
pub(super) type Probe = Box<dyn Fn(i32) -> BoxFuture<'static, Result<Work, String>> + Send + Sync>;

/// What a server does for a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    /// It works on an answer.
    Working,
    /// It has answered, or cannot get rid of its answer.
    Done,
    /// It has no such process.
    Unknown,
}

/// A session with a server. It ends when this is dropped.
pub(in crate::registry) struct Link {
    client: Client,
    ended: Ended,
    task: JoinHandle<()>,
    host: usize,
}

/// Why a session ended: what its calls are told by the driver is only that it did.
#[derive(Debug, Clone, Default)]
pub(in crate::registry) struct Ended(Arc<OnceLock<String>>);

impl Ended {
    /// Tells a driver's error apart, with the cause where a session ended.
    pub(in crate::registry) fn explain(
        &self,
        attempt: impl Into<String>,
        error: tokio_postgres::Error,
    ) -> RegistryError {
        match (error.as_db_error(), self.0.get()) {
            (None, Some(why)) => RegistryError::Unavailable { attempt: attempt.into(), cause: why.clone().into() },
            _ => RegistryError::from_driver(attempt, error),
        }
    }

    /// Adds the cause to an error that was told apart without it.
    pub(in crate::registry) fn add_to(&self, error: RegistryError) -> RegistryError {
        match (error, self.0.get()) {
            (RegistryError::Unavailable { attempt, cause }, Some(why)) if is_closed(&*cause) => {
                RegistryError::Unavailable { attempt, cause: why.clone().into() }
            }
            (error, _) => error,
        }
    }
}

fn is_closed(cause: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    cause.downcast_ref::<tokio_postgres::Error>().is_some_and(tokio_postgres::Error::is_closed)
}

impl Link {
    /// Drives a session from now on. Each notification is a hint, where somebody wants them; a full channel drops it.
    pub(super) fn start(connected: Connected, patience: Patience, hints: Option<mpsc::Sender<()>>) -> Self {
        let Connected { client, mut connection, activity, host, told } = connected;
        let ended = Ended::default();
        let ending = ended.clone();
        let task = tokio::spawn(async move {
            let driving = async {
                loop {
                    match std::future::poll_fn(|context| connection.poll_message(context)).await {
                        Some(Ok(AsyncMessage::Notification(_))) => {
                            if let Some(hints) = &hints {
                                let _ = hints.try_send(());
                            }
                        }
                        Some(Ok(_)) => {}
                        Some(Err(error)) => return Some(format!("{told}: {}", causes(&error))),
                        None => return None,
                    }
                }
            };
            let why = tokio::select! {
                ended = driving => ended,
                why = silence(&activity, patience) => Some(format!("{told}: {why}")),
            };
            // Before the driver's part goes, and calls that wait are told.
            if let Some(why) = why {
                let _ = ending.0.set(why);
            }
            drop(connection);
        });
        Self { client, ended, task, host }
    }

    /// Why it ended, for whoever asks later.
    pub(in crate::registry) fn ended(&self) -> Ended {
        self.ended.clone()
    }

    /// As [`Ended::explain`].
    pub(in crate::registry) fn explain(
        &self,
        attempt: impl Into<String>,
        error: tokio_postgres::Error,
    ) -> RegistryError {
        self.ended.explain(attempt, error)
    }

    /// Which of the hosts it is with, by its place in their list.
    pub(in crate::registry) const fn host(&self) -> usize {
        self.host
    }

    /// Takes leave of the server, which has a second to hear it.
    pub(in crate::registry) async fn close(self) {
        let Self { client, task, .. } = self;
        drop(client);
        let _ = timeout(GOODBYE, task).await;
    }

    /// Closes it at once, whatever the server still owes.
    pub(super) fn abandon(self) {
        self.task.abort();
    }
}

/// Comes back when the server is given up on, with why.
async fn silence(activity: &Activity, patience: Patience) -> String {
    match patience {
        Patience::Silence(longest) => {
            activity.silence(longest).await;
            format!("no answer for {:.1} s, so it was given up on", longest.as_secs_f64())
        }
        Patience::WhileItWorks { quiet, probe, longest } => {
            let mut looked_at = quiet;
            loop {
                activity.silence(looked_at).await;
                let found = probe(activity.process()).await;
                let silent = activity.silent_for();
                if silent < quiet {
                    // An answer came meanwhile.
                    looked_at = quiet;
                    continue;
                }
                let silence = format!("no answer for {:.1} s", silent.as_secs_f64());
                match found {
                    Ok(Work::Done) => {
                        return format!("{silence}, while the server has none to give: it got lost on the way");
                    }
                    Ok(Work::Unknown) if longest.is_some_and(|longest| silent >= longest) => return silence,
                    Ok(Work::Working | Work::Unknown) => looked_at = silent + quiet,
                    Err(why) => return format!("{silence}, and none to a second connection either: {why}"),
                }
            }
        }
    }
}

impl Deref for Link {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Link {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
