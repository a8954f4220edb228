//! Whether an environment was deleted: one question for all who ask at the same time.
//!
//! Ten thousand bindings can lose one environment at once, and each of them would ask.

use std::collections::HashMap;
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::core::EnvironmentId;
use crate::registry::RegistryError;

/// How long an answer counts, an error too: who was refused comes again by then, and a deletion is nothing that is in a hurry.
const GOOD_FOR: Duration = Duration::from_secs(5);

/// Answers, by environment.
#[derive(Debug, Default)]
pub(super) struct DeletedEnvironments(SyncMutex<HashMap<EnvironmentId, Arc<Mutex<Option<Answer>>>>>);

#[derive(Debug, Clone)]
struct Answer {
    at: Instant,
    was_deleted: Result<bool, Failure>,
}

/// An error that several are told.
#[derive(Debug, Clone)]
struct Failure {
    attempt: String,
    cause: String,
    is_transient: bool,
}

impl DeletedEnvironments {
    /// What the question is answered with now, or was a moment ago.
    pub(super) async fn was_deleted(
        &self,
        id: EnvironmentId,
        ask: impl Future<Output = Result<bool, RegistryError>>,
    ) -> Result<bool, RegistryError> {
        let place = {
            let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever is asked about just now is held by those who wait.
            answers.retain(|_, place| {
                Arc::strong_count(place) > 1 || place.try_lock().is_ok_and(|answer| is_good(answer.as_ref()))
            });
            Arc::clone(answers.entry(id).or_default())
        };
        let mut known = place.lock().await;
        if !is_good(known.as_ref()) {
            let was_deleted = ask.await.map_err(|error| Failure {
                attempt: "asking whether an environment was deleted".to_owned(),
                cause: error.to_string(),
                is_transient: error.is_transient(),
            });
            *known = Some(Answer { at: Instant::now(), was_deleted });
        }
        match known.as_ref().map(|answer| answer.was_deleted.clone()) {
            Some(Ok(was_deleted)) => Ok(was_deleted),
            Some(Err(failure)) => Err(failure.into()),
            None => Ok(false),
        }
    }
}

impl DeletedEnvironments {
    /// Something was committed: what was not deleted a moment ago may be now.
    pub(super) fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

fn is_good(answer: Option<&Answer>) -> bool {
    answer.is_some_and(|answer| answer.at.elapsed() < GOOD_FOR)
}

impl From<Failure> for RegistryError {
    fn from(Failure { attempt, cause, is_transient }: Failure) -> Self {
        if is_transient { Self::Unavailable { attempt, cause: cause.into() } } else { Self::Refused(cause.into()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{advance, sleep};
    use uuid::Uuid;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_who_ask_at_once_ask_once_and_later_ones_anew() {
        let (answers, asked) = (Arc::new(DeletedEnvironments::default()), Arc::new(AtomicUsize::new(0)));
        let all = |count: usize, id: u128| {
            let waiting: Vec<_> = (0..count)
                .map(|_| {
                    let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                    tokio::spawn(async move {
                        let ask = async {
                            sleep(Duration::from_secs(1)).await;
                            asked.fetch_add(1, Ordering::Relaxed);
                            Ok(true)
                        };
                        answers.was_deleted(EnvironmentId(Uuid::from_u128(id)), ask).await
                    })
                })
                .collect();
            async move {
                for one in waiting {
                    assert!(one.await.unwrap().unwrap());
                }
            }
        };
        tokio::join!(all(10_000, 1), all(10, 2));
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        advance(GOOD_FOR).await;
        all(5, 3).await;
        assert_eq!((asked.load(Ordering::Relaxed), answers.0.lock().unwrap().len()), (3, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_change_it_is_asked_anew() {
        let answers = DeletedEnvironments::default();
        let id = EnvironmentId(Uuid::from_u128(1));
        assert!(!answers.was_deleted(id, async { Ok(false) }).await.unwrap());
        assert!(!answers.was_deleted(id, async { Ok(true) }).await.unwrap(), "a moment later it is not asked again");
        answers.forget();
        assert!(answers.was_deleted(id, async { Ok(true) }).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn an_error_is_told_to_all_who_asked() {
        let answers = DeletedEnvironments::default();
        let id = EnvironmentId(Uuid::from_u128(1));
        let away = || RegistryError::Unavailable { attempt: "asking".to_owned(), cause: "away".into() };
        for _ in 0..2 {
            let error = answers.was_deleted(id, async { Err(away()) }).await.unwrap_err();
            assert!(error.is_transient() && error.to_string().contains("away"), "{error}");
        }
    }
}
