//! The clients: one for requests, where every answer has its time, and one for each watch, which is long by nature; and an
//! error of theirs in words.

use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use kube::client::{Client, ClientBuilder, DynBody, retry::RetryPolicy};
use kube::{Config, config::InferConfigError};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower::util::MapResponseLayer;

use super::watch_health::{WATCH_TIMEOUT, WatchHealth};

/// Longest that a request may take, repetitions included.
const REQUEST: Duration = Duration::from_secs(15);

/// Longest that a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest silence on a watch's connection: more than a watch itself lasts, so that it ends first.
const WATCH_SILENCE: Duration = WATCH_TIMEOUT.saturating_add(Duration::from_secs(5));

/// Shortest and longest pause before a request that the API server put off (429, 503, 504) is repeated, and how often
/// it is. The reconcile itself is repeated after that, with longer pauses.
const REPEAT: (Duration, Duration, u32) = (Duration::from_millis(50), Duration::from_secs(2), 4);

/// Most requests that wait for the client's turn; the permits let far fewer through.
const BUFFER: usize = 1_024;

/// No client could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// Neither a kubeconfig nor a service account was found.
    #[error("no cluster was found: set KUBECONFIG, or run in a pod with a service account: {0}")]
    Config(#[source] Box<InferConfigError>),
    /// What was found cannot be used.
    #[error("the cluster's configuration cannot be used: {0}")]
    Build(#[source] Box<kube::Error>),
}

/// Clients of one cluster.
pub(crate) struct Clients {
    pub(crate) requests: Client,
    for_watches: Config,
}

impl Clients {
    /// A client for the watch of one resource, on connections of its own. Whatever is heard on them is told.
    pub(crate) fn for_watch(&self, resource: &'static str, health: &WatchHealth) -> Result<Client, ClientError> {
        let health = health.clone();
        let tell = move |response: Response<Box<DynBody>>| {
            if response.status().is_success() {
                health.heard(resource);
            }
            let health = health.clone();
            response.map(|body| {
                body.map_frame(move |frame| {
                    health.heard(resource);
                    frame
                })
            })
        };
        let builder = ClientBuilder::try_from(self.for_watches.clone());
        let builder = builder.map_err(|error| ClientError::Build(Box::new(error)))?;
        Ok(builder.with_layer(&MapResponseLayer::new(tell)).build())
    }
}

/// Clients of the cluster that the environment names.
pub(crate) async fn connect() -> Result<Clients, ClientError> {
    let config = Config::infer().await.map_err(|error| ClientError::Config(Box::new(error)))?;
    clients(config, REQUEST, WATCH_SILENCE).map_err(|error| ClientError::Build(Box::new(error)))
}

fn clients(mut config: Config, request: Duration, watch_silence: Duration) -> Result<Clients, kube::Error> {
    config.connect_timeout = Some(CONNECT);
    // Otherwise a connection that sat idle has used up the time of the next answer on it.
    config.reset_reader_on_write = true;
    // kube's own policy repeats 15 times, up to hours: longer than any reconcile lasts.
    config.default_retry = false;

    let mut for_watches = config.clone();
    for_watches.read_timeout = Some(watch_silence);
    config.read_timeout = Some(request);
    let (shortest, longest, times) = REPEAT;
    let repeat = RetryPolicy::new(shortest, longest, times, true).expect("the shortest pause is not the longest");
    let requests = ClientBuilder::try_from(config)?
        // A request that is repeated needs a service that can be cloned.
        .with_layer(&BufferLayer::new(BUFFER))
        .with_layer(&RetryLayer::new(repeat))
        .with_layer(&TimeoutLayer::new(request))
        .build();
    Ok(Clients { requests, for_watches })
}

/// An error in words that cannot repeat a body, as a parser's might. The API server's own words redact values.
pub(crate) fn api_error_text(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(answer) => answer.message.clone(),
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => "the API server's answer could not be read".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;
    use kube::Api;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_request_that_nobody_answers_ends_in_time_and_a_watch_may_be_silent_for_longer() {
        // The kernel takes connections, and nobody ever reads from them.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
        let limit = Duration::from_millis(100);
        let clients = clients(Config::new(url), limit, CONNECT).unwrap();
        let watches = clients.for_watch("namespaces", &WatchHealth::of(&[])).ok().unwrap();
        let ask = async |client: Client| timeout(limit * 10, Api::<Namespace>::all(client).get("shop")).await;
        assert!(ask(clients.requests).await.expect("it ends").is_err());
        assert!(ask(watches).await.is_err(), "it goes on");
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_not_repeated() {
        let error = serde_json::from_str::<u8>("\"c4n4ry-value\"").expect_err("not a number");
        assert!(!api_error_text(&kube::Error::SerdeError(error)).contains("c4n4ry"));
    }
}
