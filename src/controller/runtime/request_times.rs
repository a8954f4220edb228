//! How long the API server takes to answer.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response};
use tower::{Layer, Service};

use crate::telemetry::Metrics;

/// Records each request, with what is done to it below: repetitions, time-outs.
#[derive(Clone)]
pub(super) struct RequestTimes(pub(super) Arc<Metrics>);

/// A service whose requests are recorded.
#[derive(Clone)]
pub(super) struct Timed<S> {
    inner: S,
    metrics: Arc<Metrics>,
}

impl<S> Layer<S> for RequestTimes {
    type Service = Timed<S>;

    fn layer(&self, inner: S) -> Timed<S> {
        Timed { inner, metrics: Arc::clone(&self.0) }
    }
}

impl<S, B, R> Service<Request<B>> for Timed<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<R>, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (method, began, metrics) = (name_of(request.method()), Instant::now(), Arc::clone(&self.metrics));
        let answer = self.inner.call(request);
        async move {
            let answer = answer.await;
            let code = answer.as_ref().ok().map(|answer| answer.status().as_u16());
            metrics.requested(method, code, began.elapsed());
            answer
        }
        .boxed()
    }
}

/// The methods that Kubernetes' API has.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}
