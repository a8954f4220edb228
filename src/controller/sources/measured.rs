//! A registry whose answers are measured.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::registry::{Answer, Registry};
use crate::core::{EnvironmentId, ProjectId, ShortDigest};
use crate::registry::{
    FromServer, LoggedToken, PollResult, Refusal, RegistryError, SealedValue, Snapshot, SourceName, Tombstone, ValueId,
};
use crate::telemetry::{Metrics, ReconcileResult};

/// Asks the other one, and records how long each answer took and whether its hints are heard.
pub(super) struct Measured {
    pub(super) registry: Arc<dyn Registry>,
    pub(super) metrics: Arc<Metrics>,
}

impl Measured {
    fn measure<'a, T: 'a>(&'a self, question: &'static str, answer: Answer<'a, T>) -> Answer<'a, T> {
        let asked = Asked { metrics: &self.metrics, question, began: Instant::now(), result: ReconcileResult::Timeout };
        async move {
            let answer = answer.await;
            asked.ended(if answer.is_ok() { ReconcileResult::Ok } else { ReconcileResult::Error });
            answer
        }
        .boxed()
    }
}

/// A question that is recorded at its end: who waited for it may have given up before it was answered.
struct Asked<'a> {
    metrics: &'a Metrics,
    question: &'static str,
    began: Instant,
    result: ReconcileResult,
}

impl Asked<'_> {
    fn ended(mut self, result: ReconcileResult) {
        self.result = result;
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.metrics.asked(self.question, self.result, self.began.elapsed());
    }
}

impl Registry for Measured {
    fn check_login(&self) -> Answer<'_, ()> {
        self.measure("check_login", self.registry.check_login())
    }

    fn poll<'a>(&'a self, sources: &'a [SourceName]) -> Answer<'a, FromServer<Vec<PollResult>>> {
        self.measure("poll", self.registry.poll(sources))
    }

    fn patience(&self) -> Duration {
        self.registry.patience()
    }

    fn poll_width(&self) -> usize {
        self.registry.poll_width()
    }

    fn snapshot<'a>(
        &'a self,
        source: &'a SourceName,
        known: Option<&'a Snapshot>,
        patience: Duration,
    ) -> Answer<'a, FromServer<Result<Snapshot, Refusal>>> {
        self.measure("snapshot", self.registry.snapshot(source, known, patience))
    }

    fn sealed_values<'a>(
        &'a self,
        project: ProjectId,
        environment: EnvironmentId,
        values: &'a [ValueId],
    ) -> Answer<'a, Vec<SealedValue>> {
        self.measure("sealed_values", self.registry.sealed_values(project, environment, values))
    }

    fn tombstones<'a>(
        &'a self,
        project: ProjectId,
        environment: EnvironmentId,
        rows: &'a [ShortDigest],
    ) -> Answer<'a, FromServer<Vec<Tombstone>>> {
        self.measure("tombstones", self.registry.tombstones(project, environment, rows))
    }

    fn token_of(&self, project: ProjectId, revision: i64) -> Answer<'_, LoggedToken> {
        self.measure("token_of", self.registry.token_of(project, revision))
    }

    fn environment_was_deleted(&self, id: EnvironmentId) -> Answer<'_, bool> {
        self.measure("environment_was_deleted", self.registry.environment_was_deleted(id))
    }

    fn listen(&self, hints: mpsc::Sender<()>) -> BoxFuture<'_, RegistryError> {
        let (told, mut heard) = mpsc::channel(1);
        async move {
            // The first one says that it listens.
            let pass_on = async {
                while heard.recv().await.is_some() {
                    self.metrics.set_notify_connected(true);
                    let _ = hints.try_send(());
                }
                futures::future::pending().await
            };
            let ended = tokio::select! {
                ended = self.registry.listen(told) => ended,
                never = pass_on => never,
            };
            self.metrics.set_notify_connected(false);
            ended
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::error::TryRecvError;

    use super::super::fake_registry::FakeRegistry;
    use super::*;

    fn says(metrics: &Metrics, line: &str) -> bool {
        metrics.to_text().lines().any(|said| said == line)
    }

    #[tokio::test(start_paused = true)]
    async fn answers_errors_and_what_nobody_waited_for_are_counted_apart() {
        let metrics = Arc::new(Metrics::default());
        let fake = FakeRegistry::new();
        let measured = Measured { registry: Arc::clone(&fake) as Arc<dyn Registry>, metrics: Arc::clone(&metrics) };
        let count = |result: &str, count: u32| {
            let series = "tidelock_registry_request_duration_seconds_count{question=\"poll\",result=\"";
            says(&metrics, &format!("{series}{result}\"}} {count}"))
        };
        let names = [SourceName { project: "shop".to_owned(), environment: "dev".to_owned() }];
        let _ = measured.poll(&names).await;
        assert!(count("ok", 1) || count("error", 1), "{}", metrics.to_text());
        drop(measured.poll(&names));
        assert!(count("timeout", 1), "{}", metrics.to_text());
    }

    #[tokio::test]
    async fn that_hints_are_heard_is_said_from_the_first_one_to_the_end() {
        let (metrics, fake) = (Arc::new(Metrics::default()), FakeRegistry::new());
        let measured = Measured { registry: Arc::clone(&fake) as Arc<dyn Registry>, metrics: Arc::clone(&metrics) };
        assert!(says(&metrics, "tidelock_notify_connected 0"));
        let (sender, mut hints) = mpsc::channel(1);
        let task = tokio::spawn(async move { measured.listen(sender).await });
        while fake.with(|script| script.listens) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(says(&metrics, "tidelock_notify_connected 0"), "it has not said that it listens");
        let listener = fake.hints.lock().unwrap().take().expect("it listens");
        listener.send(()).await.expect("somebody hears");
        assert_eq!(hints.recv().await, Some(()));
        assert!(says(&metrics, "tidelock_notify_connected 1"));
        fake.hang_up.notify_one();
        task.await.expect("it ends");
        assert!(says(&metrics, "tidelock_notify_connected 0"));
        assert_eq!(hints.try_recv(), Err(TryRecvError::Disconnected));
    }
}
