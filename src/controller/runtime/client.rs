//! The clients: one for requests, where every answer has its time, and one for each watch, which is long by nature. Their
//! errors name the server.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, Uri};
use http_body_util::BodyExt;
use kube::client::{Client, ClientBuilder, DynBody, retry::RetryPolicy};
use kube::{Config, config::InferConfigError};
use tower::BoxError;
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer;
use tower::util::{MapErrLayer, MapResponseLayer};

use super::request_times::RequestTimes;
use super::watch_health::{WATCH_TIMEOUT, WatchHealth};
use crate::telemetry::{Metrics, RequestFailed, causes};

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
    #[error("no cluster was found: set KUBECONFIG, or run in a pod with a service account: {}", causes(&**.0))]
    Config(#[source] Box<InferConfigError>),
    /// What was found cannot be used.
    #[error("the cluster's configuration cannot be used: {}", causes(&**.0))]
    Build(#[source] Box<kube::Error>),
}

/// Clients of one cluster.
pub(crate) struct Clients {
    pub(crate) requests: Client,
    for_watches: Config,
    /// Where they lead, for messages.
    pub(crate) server: String,
    /// The namespace of the pod, or that of the kubeconfig's context.
    pub(crate) namespace: String,
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
        let naming = naming(self.server.clone());
        Ok(builder.with_layer(&MapResponseLayer::new(tell)).with_layer(&naming).build())
    }
}

/// Clients of the cluster that the environment names.
pub(crate) async fn connect(metrics: &Arc<Metrics>) -> Result<Clients, ClientError> {
    let config = Config::infer().await.map_err(|error| ClientError::Config(Box::new(error)))?;
    clients(config, REQUEST, WATCH_SILENCE, metrics).map_err(|error| ClientError::Build(Box::new(error)))
}

fn clients(
    mut config: Config,
    request: Duration,
    watch_silence: Duration,
    metrics: &Arc<Metrics>,
) -> Result<Clients, kube::Error> {
    config.connect_timeout = Some(CONNECT);
    // Otherwise a connection that sat idle has used up the time of the next answer on it.
    config.reset_reader_on_write = true;
    // kube's own policy repeats 15 times, up to hours: longer than any reconcile lasts.
    config.default_retry = false;

    let mut for_watches = config.clone();
    for_watches.read_timeout = Some(watch_silence);
    let (server, namespace) = (address(&config), config.default_namespace.clone());
    config.read_timeout = Some(request);
    let (shortest, longest, times) = REPEAT;
    let repeat = RetryPolicy::new(shortest, longest, times, true).expect("the shortest pause is not the longest");
    let requests = ClientBuilder::try_from(config)?
        // A request that is repeated needs a service that can be cloned.
        .with_layer(&BufferLayer::new(BUFFER))
        .with_layer(&RetryLayer::new(repeat))
        .with_layer(&TimeoutLayer::new(request))
        .with_layer(&naming(server.clone()))
        .with_layer(&RequestTimes(Arc::clone(metrics)))
        .build();
    Ok(Clients { requests, for_watches, server, namespace })
}

/// Names the API server in the error of a request that got no answer from it.
fn naming(server: String) -> MapErrLayer<impl Fn(BoxError) -> RequestFailed + Clone> {
    MapErrLayer::new(move |cause| RequestFailed { server: server.clone(), cause })
}

/// Where requests go, without what stands for a login in a URL.
pub(crate) fn address(config: &Config) -> String {
    let without_login = |uri: &Uri| {
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", uri.scheme_str().unwrap_or("https"), uri.host().unwrap_or_default())
    };
    let server = without_login(&config.cluster_url);
    match &config.proxy_url {
        Some(proxy) => format!("{server} (by the proxy {})", without_login(proxy)),
        None => server,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Namespace;
    use kube::Api;
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;
    use crate::telemetry::api_error_text;

    #[tokio::test]
    async fn a_request_that_nobody_answers_ends_in_time_and_a_watch_may_be_silent_for_longer() {
        // The kernel takes connections, and nobody ever reads from them.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
        let (limit, metrics) = (Duration::from_millis(100), Arc::default());
        let clients = clients(Config::new(url), limit, CONNECT, &metrics).unwrap();
        let watches = clients.for_watch("namespaces", &WatchHealth::of(&[])).ok().unwrap();
        let ask = async |client: Client| timeout(limit * 10, Api::<Namespace>::all(client).get("shop")).await;
        assert!(ask(clients.requests).await.expect("it ends").is_err());
        assert!(ask(watches).await.is_err(), "it goes on");
        let unanswered = "tidelock_api_request_duration_seconds_count{method=\"GET\",code=\"none\"} 1\n";
        assert!(metrics.to_text().contains(unanswered), "{}", metrics.to_text());
    }

    #[tokio::test]
    async fn a_request_without_an_answer_names_the_server_and_every_cause_and_no_login() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let direct = Config::new(format!("http://{closed}").parse().unwrap());
        let mut proxied = Config::new("https://api.example.com:6443".parse().unwrap());
        proxied.proxy_url = Some(format!("http://user:h4nter2@{closed}").parse().unwrap());
        let servers =
            [format!("http://{closed}"), format!("https://api.example.com:6443 (by the proxy http://{closed})")];
        for (config, server) in [direct, proxied].into_iter().zip(servers) {
            let clients = clients(config, CONNECT, CONNECT, &Arc::default()).unwrap();
            let watches = clients.for_watch("namespaces", &WatchHealth::of(&[])).ok().unwrap();
            for client in [clients.requests, watches] {
                let error = Api::<Namespace>::all(client).get("shop").await.unwrap_err();
                let told = api_error_text(&error);
                assert!(told.starts_with(&format!("the API server at {server} gave no answer: ")), "{told}");
                assert_eq!(told.matches("Connection refused").count(), 1, "{told}");
                assert!(!told.contains("h4nter2"), "{told}");
            }
        }
    }
}
