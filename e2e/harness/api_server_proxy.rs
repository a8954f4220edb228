//! An HTTP proxy before the API server, which speaks HTTP without TLS to who comes through it: a test can hold a request
//! back between the operator's read and its write, and read what was answered. See [`super::tcp_proxy`] for connections.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::response::Response;
use futures::StreamExt;
use http::{Method, Request, StatusCode, header};
use kube::Client;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::Cluster;

/// How long a request is waited for.
const DEADLINE: Duration = Duration::from_secs(20);

/// Most bytes of a request's body: more than the API server takes.
const BODY_MAX: usize = 8 << 20;

/// A proxy that runs for as long as the runtime of the test lives.
pub(crate) struct ApiServerProxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    /// Without a login of its own: whoever comes through brings one.
    server: Client,
    next_hold: Mutex<Option<Hold>>,
    /// The path whose watches tell nothing for now.
    silenced: watch::Sender<Option<String>>,
    exchanges: Mutex<Vec<Exchange>>,
}

struct Hold {
    method: Method,
    path: String,
    arrived: oneshot::Sender<()>,
    release: oneshot::Receiver<()>,
}

/// A request, and what was answered so far.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) answer: Vec<u8>,
}

/// A request that will be held back.
pub(crate) struct HeldRequest {
    arrived: oneshot::Receiver<()>,
    release: oneshot::Sender<()>,
}

impl HeldRequest {
    /// Waits until the request is on its way, lets something happen, and only then lets the request through.
    pub(crate) async fn meanwhile<T>(self, happens: impl Future<Output = T>) -> T {
        timeout(DEADLINE, self.arrived).await.expect("the request comes in time").expect("the proxy runs");
        let outcome = happens.await;
        let _ = self.release.send(());
        outcome
    }
}

impl ApiServerProxy {
    /// A proxy before a test's cluster.
    pub(crate) async fn before(cluster: &Cluster) -> Self {
        let server = cluster.plane().anonymous().expect("the control plane's certificate is valid");
        let (next_hold, exchanges) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { server, next_hold, silenced: watch::Sender::new(None), exchanges });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("there is a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let router = Router::new().fallback(pass_on).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { port, shared }
    }

    /// A kubeconfig for whoever holds this token, which leads through the proxy.
    pub(crate) fn kubeconfig(&self, cluster: &Cluster, token: &str) -> PathBuf {
        let direct = cluster.kubeconfig("direct", token);
        let text = std::fs::read_to_string(&direct).expect("it was just written");
        let through = text.replace(cluster.plane().url(), &format!("http://127.0.0.1:{}", self.port));
        assert_ne!(through, text, "the kubeconfig names the API server");
        let path = direct.with_extension("proxied");
        std::fs::write(&path, through).expect("the run's folder can be written");
        path
    }

    /// Holds back the next request of this method for this path.
    pub(crate) fn hold(&self, method: Method, path: String) -> HeldRequest {
        let ((arrival, arrived), (release, released)) = (oneshot::channel(), oneshot::channel());
        *locked(&self.shared.next_hold) = Some(Hold { method, path, arrived: arrival, release: released });
        HeldRequest { arrived, release }
    }

    /// Holds back what the watches of this path tell, as a network does that lost a connection without a word.
    pub(crate) fn silence_watches(&self, path: &str) {
        self.shared.silenced.send_replace(Some(path.to_owned()));
    }

    /// Lets watches tell what was held back.
    pub(crate) fn end_silence(&self) {
        self.shared.silenced.send_replace(None);
    }

    /// What came through so far, in the order in which it came.
    pub(crate) fn exchanges(&self) -> Vec<Exchange> {
        locked(&self.shared.exchanges).clone()
    }
}

async fn pass_on(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Result<Response, StatusCode> {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let hold = locked(&shared.next_hold).take_if(|hold| hold.method == method && hold.path == path);
    if let Some(hold) = hold {
        let _ = hold.arrived.send(());
        let _ = hold.release.await;
    }
    let target = request.uri().to_string();
    let is_watch = request.uri().query().is_some_and(|query| query.split('&').any(|part| part == "watch=true"));
    let silenced = shared.silenced.subscribe();
    let place = {
        let mut exchanges = locked(&shared.exchanges);
        exchanges.push(Exchange { method, target, answer: Vec::new() });
        exchanges.len() - 1
    };
    let (mut head, body) = request.into_parts();
    head.headers.remove(header::HOST);
    let body = to_bytes(body, BODY_MAX).await.map_err(|_| StatusCode::PAYLOAD_TOO_LARGE)?;
    let answered = shared.server.send(Request::from_parts(head, body.into())).await;
    let answer = answered.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(answer.map(|body| {
        let bytes = Body::new(body).into_data_stream().inspect(move |part| {
            if let Ok(part) = part {
                locked(&shared.exchanges)[place].answer.extend_from_slice(part);
            }
        });
        let told = bytes.then(move |part| {
            let (mut silenced, path) = (silenced.clone(), path.clone());
            async move {
                if is_watch {
                    let _ = silenced.wait_for(|silent| silent.as_ref() != Some(&path)).await;
                }
                part
            }
        });
        Body::from_stream(told)
    }))
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
