use std::{
    fmt,
    future::{Ready, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use buttress::{BoxError, Cache, Http, dedup::Dedup, layer_api::ByMode};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tower::{Service, ServiceExt};

use crate::{AnyBody, read};

/// An in-memory service whose responses the test defines, and which counts its calls.
#[derive(Clone)]
pub struct Origin {
    calls: Arc<AtomicUsize>,
    answer: Arc<Answer>,
}

/// Responds to a request. The number of the call counts from 1.
type Answer = dyn Fn(&Request<String>, usize) -> Outcome + Send + Sync;
type Outcome = Result<Response<AnyBody>, BoxError>;

impl Origin {
    /// Creates an origin that responds with `answer`, which gets the request and the number of the call.
    pub fn new(
        answer: impl Fn(&Request<String>, usize) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        Self { calls: Arc::default(), answer: Arc::new(answer) }
    }

    /// Returns the number of calls.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service<Request<String>> for Origin {
    type Response = Response<AnyBody>;
    type Error = BoxError;
    type Future = Ready<Outcome>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        ready((self.answer)(&request, call))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

/// An origin behind a dedup layer with a cache.
pub type Cached = Dedup<Origin, Http, ByMode, Cache>;

/// Sends three sequential requests to `cached`. Returns the number of calls that reached the origin.
///
/// # Panics
/// If the origin fails.
#[expect(clippy::expect_used, reason = "fixtures of tests may panic")]
pub async fn three(
    cached: &Cached,
    origin: &Origin,
    request: impl Fn() -> Request<String>,
) -> usize {
    let before = origin.calls();
    for _ in 0..3 {
        read(cached.clone().oneshot(request()).await.expect("a response")).await;
    }
    origin.calls() - before
}

/// Header names and values.
pub type Headers = &'static [(&'static str, &'static str)];

/// Creates a request with these headers.
///
/// # Panics
/// If a part of the request is invalid.
#[expect(clippy::expect_used, reason = "fixtures of tests may panic")]
pub fn ask(method: Method, uri: &str, headers: Headers) -> Request<String> {
    let request = Request::builder().method(method).uri(uri);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(String::new()).expect("a request")
}

/// Creates a `GET` request without headers.
pub fn ask_for(uri: &str) -> Request<String> {
    ask(Method::GET, uri, &[])
}

/// Creates a response with these headers.
pub fn answer(
    status: StatusCode,
    headers: &[(&'static str, &'static str)],
    body: impl Into<Bytes>,
) -> Response<AnyBody> {
    let body = Full::new(body.into()).map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().append(*name, HeaderValue::from_static(value));
    }
    response
}
