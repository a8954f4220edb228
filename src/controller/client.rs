//! Two clients: one for requests, where every answer has its time, and one for watches, which are long by nature.

use std::time::Duration;

use kube::client::{Client, ClientBuilder, retry::RetryPolicy};
use kube::{Config, config::InferConfigError};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;

/// Longest that a request may take, repetitions included.
const REQUEST: Duration = Duration::from_secs(15);

/// Longest that a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);

/// Longest silence on a watch's connection: more than a watch itself lasts, so that it ends first.
const WATCH_SILENCE: Duration = Duration::from_secs(330);

/// Shortest and longest pause before a request that the API server put off (429, 503, 504) is repeated, and how often
/// it is. The reconcile itself is repeated after that, with longer pauses.
const REPEAT: (Duration, Duration, u32) = (Duration::from_millis(50), Duration::from_secs(2), 4);

/// Most requests that wait for the client's turn; the lanes let far fewer through.
const BUFFER: usize = 1_024;

/// No client could be made.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Neither a kubeconfig nor a service account was found.
    #[error("no cluster was found: set KUBECONFIG, or run in a pod with a service account: {0}")]
    Config(#[source] Box<InferConfigError>),
    /// What was found cannot be used.
    #[error("the cluster's configuration cannot be used: {0}")]
    Build(#[source] Box<kube::Error>),
}

/// Clients of one cluster.
pub(super) struct Clients {
    pub(super) requests: Client,
    pub(super) watches: Client,
}

/// Clients of the cluster that the environment names.
pub(super) async fn connect() -> Result<Clients, ClientError> {
    let mut config = Config::infer().await.map_err(|error| ClientError::Config(Box::new(error)))?;
    config.connect_timeout = Some(CONNECT);
    // Otherwise a connection that sat idle has used up the time of the next answer on it.
    config.reset_reader_on_write = true;
    // kube's own policy repeats 15 times, up to hours: longer than any reconcile lasts.
    config.default_retry = false;

    let build = |error| ClientError::Build(Box::new(error));
    config.read_timeout = Some(WATCH_SILENCE);
    let watches = Client::try_from(config.clone()).map_err(build)?;
    config.read_timeout = Some(REQUEST);
    let (shortest, longest, times) = REPEAT;
    let repeat = RetryPolicy::new(shortest, longest, times, true).expect("the shortest pause is not the longest");
    let requests = ClientBuilder::try_from(config)
        .map_err(build)?
        // A request that is repeated needs a service that can be cloned.
        .with_layer(&BufferLayer::new(BUFFER))
        .with_layer(&RetryLayer::new(repeat))
        .with_layer(&TimeoutLayer::new(REQUEST))
        .build();
    Ok(Clients { requests, watches })
}
