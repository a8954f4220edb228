//! The operator's own HTTP endpoints: `/livez`, `/readyz`, `/metrics`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Heartbeat;

/// Age at which a heartbeat counts as stopped.
const SILENCE: Duration = Duration::from_mins(1);

/// What the endpoints report on.
pub(crate) trait HealthSource: Send + Sync + 'static {
    /// What the operator waits for before it can work; empty once it is ready. Neither the database nor being a leader
    /// counts: a roll-out must not hang on either.
    fn waits_for(&self) -> Vec<&'static str>;
    /// What somebody should know who asks whether it is ready, though it is no reason not to be: that the database has never
    /// answered, and why.
    fn remark(&self) -> Option<String>;
    /// The heartbeats of the tasks that must go round.
    fn heartbeats(&self) -> Vec<(&'static str, Heartbeat)>;
    /// All metrics, as text.
    fn metrics(&self) -> String;
}

/// The address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for /livez, /readyz and /metrics: {cause}")]
pub(crate) struct BindError {
    address: SocketAddr,
    cause: std::io::Error,
}

/// A socket that listens, and does not answer yet.
#[derive(Debug)]
pub(crate) struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens; port 0 takes a free one.
    pub(crate) async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let fail = |cause| BindError { address, cause };
        let listener = TcpListener::bind(address).await.map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        Ok(Self { listener, address })
    }

    /// The address with the port that was taken.
    #[must_use]
    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `stop`.
    pub(crate) async fn serve<V: HealthSource>(self, health: Arc<V>, stop: CancellationToken) -> std::io::Result<()> {
        axum::serve(self.listener, router(health)).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

fn router<V: HealthSource>(health: Arc<V>) -> Router {
    Router::new()
        .route("/livez", get(livez::<V>))
        .route("/readyz", get(readyz::<V>))
        .route("/metrics", get(metrics::<V>))
        .with_state(health)
}

async fn livez<V: HealthSource>(State(health): State<Arc<V>>) -> Response {
    let silent = health.heartbeats().into_iter().filter(|(_, heartbeat)| heartbeat.age() > SILENCE);
    answer("stopped: ", &silent.map(|(task, _)| task).collect::<Vec<_>>())
}

async fn readyz<V: HealthSource>(State(health): State<Arc<V>>) -> Response {
    let waits_for = health.waits_for();
    match health.remark().filter(|_| waits_for.is_empty()) {
        Some(remark) => format!("ok, but {remark}\n").into_response(),
        None => answer("not yet synced: ", &waits_for),
    }
}

async fn metrics<V: HealthSource>(State(health): State<Arc<V>>) -> Response {
    let form = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, form)], health.metrics()).into_response()
}

fn answer(complaint: &str, about: &[&str]) -> Response {
    if about.is_empty() {
        return "ok\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{complaint}{}\n", about.join(", "))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Fixture(Vec<&'static str>, Heartbeat, Option<String>);

    impl HealthSource for Fixture {
        fn waits_for(&self) -> Vec<&'static str> {
            self.0.clone()
        }

        fn remark(&self) -> Option<String> {
            self.2.clone()
        }

        fn heartbeats(&self) -> Vec<(&'static str, Heartbeat)> {
            vec![("poller", Heartbeat::default()), ("queue", self.1.clone())]
        }

        fn metrics(&self) -> String {
            "# EOF\n".to_owned()
        }
    }

    #[tokio::test]
    async fn ready_means_that_nothing_is_waited_for() {
        let ready = |waits: Vec<&'static str>| readyz(State(Arc::new(Fixture(waits, Heartbeat::default(), None))));
        assert_eq!(ready(vec![]).await.status(), StatusCode::OK);
        assert_eq!(ready(vec!["secretbindings"]).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            livez(State(Arc::new(Fixture(vec!["secrets"], Heartbeat::default(), None)))).await.status(),
            StatusCode::OK
        );
    }

    #[tokio::test]
    async fn a_remark_is_told_to_whoever_asks_and_keeps_nobody_from_being_ready() {
        let remark = Some("the registry has not answered".to_owned());
        let ready = readyz(State(Arc::new(Fixture(vec![], Heartbeat::default(), remark)))).await;
        assert_eq!(ready.status(), StatusCode::OK);
        let body = axum::body::to_bytes(ready.into_body(), 1_024).await.unwrap();
        assert_eq!(body, "ok, but the registry has not answered\n");
    }

    #[tokio::test(start_paused = true)]
    async fn alive_means_that_every_task_still_goes_round() {
        let fixture = Arc::new(Fixture::default());
        tokio::time::advance(SILENCE + Duration::from_secs(1)).await;
        assert_eq!(livez(State(Arc::clone(&fixture))).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        fixture.1.beat();
        assert_eq!(livez(State(fixture)).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_free_port_is_taken_and_told() {
        let server = Server::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        assert_ne!(server.address().port(), 0);
    }
}
