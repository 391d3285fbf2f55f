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

/// A service in memory that answers as the test says, and counts its calls.
#[derive(Clone)]
pub struct Origin {
    calls: Arc<AtomicUsize>,
    answer: Arc<Answer>,
}

/// Answers a request, which is the call with that number, from 1.
type Answer = dyn Fn(&Request<String>, usize) -> Outcome + Send + Sync;
type Outcome = Result<Response<AnyBody>, BoxError>;

impl Origin {
    /// An origin that answers with `answer`, which is told how often it has been asked.
    pub fn new(
        answer: impl Fn(&Request<String>, usize) -> Outcome + Send + Sync + 'static,
    ) -> Self {
        Self { calls: Arc::default(), answer: Arc::new(answer) }
    }

    /// How often it was asked.
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

/// An origin behind what is kept of it.
pub type Cached = Dedup<Origin, ByMode, Http, Cache>;

/// Sends a call to `cached` three times, and says how often the origin was asked.
///
/// # Panics
/// When the origin fails.
#[expect(clippy::expect_used, reason = "helpers of tests fail like tests")]
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

/// Names and values.
pub type Headers = &'static [(&'static str, &'static str)];

/// A request with these headers.
///
/// # Panics
/// When there is no such request.
#[expect(clippy::expect_used, reason = "helpers of tests fail like tests")]
pub fn ask(method: Method, uri: &str, headers: Headers) -> Request<String> {
    let request = Request::builder().method(method).uri(uri);
    let request =
        headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    request.body(String::new()).expect("a request")
}

/// A plain `GET`.
pub fn ask_for(uri: &str) -> Request<String> {
    ask(Method::GET, uri, &[])
}

/// A response with these headers.
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
