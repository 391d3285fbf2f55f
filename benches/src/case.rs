use std::{
    fmt,
    future::Future,
    hint::black_box,
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, header};
use http_body::Body;
use http_body_util::Full;
use tokio::runtime::{Builder, Runtime};
use tower::Service;

use crate::Inner;

/// A layer around the inner service, measured one call after the other.
pub struct Case {
    pub(crate) pattern: Pattern,
    pub(crate) provider: &'static str,
    pub(crate) workload: Workload,
    run: Box<dyn Fn(Inner, u64) -> usize>,
}

impl Case {
    /// The implementation of `pattern` by `provider`.
    ///
    /// `run` makes the given number of calls and returns the size of the response future in bytes.
    pub fn new(
        pattern: Pattern,
        provider: &'static str,
        workload: Workload,
        run: impl Fn(Inner, u64) -> usize + 'static,
    ) -> Self {
        Self { pattern, provider, workload, run: Box::new(run) }
    }

    /// Makes `calls` calls and returns the size of the response future in bytes.
    pub fn run(&self, inner: Inner, calls: u64) -> usize {
        (self.run)(inner, calls)
    }
}

/// The unique name of a case.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.pattern.as_str(), self.workload.as_str(), self.provider)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({self})")
    }
}

/// The purpose of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// No layer. Subtracted from all other cases.
    Bare,
    /// A deadline per call.
    Deadline,
    /// Retries with a budget.
    Retry,
    /// Deadline over retry over deadline.
    Stack,
    /// No layer, but one clock read: the least cost of a layer that depends on time.
    Clock,
    /// A concurrency limit.
    Concurrency,
    /// A rate limit.
    Rate,
    /// An adaptive concurrency limit.
    Adaptive,
    /// A concurrency limit per key. All calls have one key.
    KeyedConcurrency,
    /// A rate limit per key. All calls have one key.
    KeyedRate,
    /// A rate limit that is used up, and rejects all calls.
    DeniedRate,
    /// Deadline over retry over a limit over deadline.
    LimitedStack,
    /// The five layers of the ready-made client: deadline over retry over breaker over a limit over
    /// deadline.
    StandardStack,
    /// The ready-made client with all nine places filled.
    WholeStack,
    /// Request coalescing (single flight).
    Coalescing,
    /// A hit in a response cache with a TTL.
    CacheHit,
    /// A closed circuit breaker.
    Breaker,
    /// A circuit breaker per key. All calls have one key.
    KeyedBreaker,
    /// An open circuit breaker, which rejects all calls.
    OpenBreaker,
    /// Hedging with a delay that no call reaches.
    Hedge,
    /// A fallback that no call needs.
    Fallback,
    /// One call at a time per key. No call waits.
    Order,
    /// Duration and verdict of each call, for a sink that does nothing.
    Meter,
}

impl Pattern {
    /// Returns the name in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bare => "bare service",
            Self::Deadline => "deadline",
            Self::Retry => "retry + budget",
            Self::Stack => "deadline → retry → deadline",
            Self::Clock => "a clock read",
            Self::Concurrency => "concurrency",
            Self::Rate => "rate",
            Self::Adaptive => "adaptive",
            Self::KeyedConcurrency => "keyed concurrency",
            Self::KeyedRate => "keyed rate",
            Self::DeniedRate => "rate, used up",
            Self::LimitedStack => "deadline → retry → throttle → deadline",
            Self::StandardStack => "`client()`, five places",
            Self::WholeStack => "`client()`, nine places",
            Self::Coalescing => "dedup",
            Self::CacheHit => "dedup, a kept answer",
            Self::Breaker => "breaker",
            Self::KeyedBreaker => "keyed breaker",
            Self::OpenBreaker => "open breaker",
            Self::Hedge => "hedge",
            Self::Fallback => "fallback",
            Self::Order => "order",
            Self::Meter => "meter",
        }
    }
}

/// The kind of calls a case makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// The request and the response are a `u64`.
    Plain,
    /// The same with 64 concurrent callers and one key. If the inner service responds at once, no two
    /// calls overlap.
    Concurrent,
    /// An HTTP request with four headers. The response body is read to its end.
    Http,
}

impl Workload {
    /// Returns the name in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "u64",
            Self::Concurrent => "u64, 64 at a time",
            Self::Http => "HTTP",
        }
    }
}

/// Builds the runtime that provides the timers. No task is spawned on that runtime.
///
/// # Panics
///
/// If the system has no resources for a runtime.
#[expect(clippy::expect_used, reason = "without a runtime there is nothing to measure")]
pub fn enter_runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime can be built")
}

/// Calls `service` with numbers. Returns the size of the future.
pub fn drive_plain<S>(service: S, calls: u64) -> usize
where
    S: Service<u64, Response = u64>,
{
    drive(
        service,
        calls,
        || 7,
        |response| {
            black_box(response);
        },
    )
}

/// Calls `service` with HTTP requests and reads the response bodies. Returns the size of the future.
pub fn drive_http<S, B>(service: S, calls: u64) -> usize
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    B: Body,
{
    let request = request();
    drive(service, calls, || request.clone(), |response| read(response.into_body()))
}

/// Calls `service` sequentially and polls each call until it completes. Returns the size of the future.
pub fn drive<S, Req>(
    mut service: S,
    calls: u64,
    request: impl Fn() -> Req,
    finish: impl Fn(S::Response),
) -> usize
where
    S: Service<Req>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let mut size = 0;
    for _ in 0..calls {
        let service = black_box(&mut service);
        while service.poll_ready(&mut cx).is_pending() {}
        let future = service.call(black_box(request()));
        size = size_of_val(&future);
        let mut future = pin!(future);
        let outcome = loop {
            if let Poll::Ready(outcome) = black_box(future.as_mut()).poll(&mut cx) {
                break outcome;
            }
        };
        if let Ok(response) = outcome {
            finish(response);
        }
    }
    size
}

fn read(body: impl Body) {
    let mut cx = Context::from_waker(Waker::noop());
    let mut body = pin!(body);
    while let Poll::Ready(Some(Ok(frame))) = body.as_mut().poll_frame(&mut cx) {
        drop(black_box(frame));
        if body.is_end_stream() {
            break;
        }
    }
}

fn request() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from_static(b"question")));
    request.headers_mut().extend(HEADERS);
    request
}

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (header::HOST, HeaderValue::from_static("example.org")),
    (header::USER_AGENT, HeaderValue::from_static("buttress-benches")),
    (header::ACCEPT, HeaderValue::from_static("*/*")),
    (header::CONTENT_TYPE, HeaderValue::from_static("text/plain")),
];
