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

/// A layer over the service inside, to be called any number of times.
pub struct Case {
    pub(crate) pattern: Pattern,
    pub(crate) by: &'static str,
    pub(crate) base: Base,
    run: Box<dyn Fn(Inner, u64) -> usize>,
}

impl Case {
    /// What `by` offers for `pattern`. `run` makes that many calls, and returns the size of the
    /// response future.
    pub fn new(
        pattern: Pattern,
        by: &'static str,
        base: Base,
        run: impl Fn(Inner, u64) -> usize + 'static,
    ) -> Self {
        Self { pattern, by, base, run: Box::new(run) }
    }

    /// Makes `calls` calls, and returns the size of the response future.
    pub fn run(&self, inner: Inner, calls: u64) -> usize {
        (self.run)(inner, calls)
    }
}

/// The name by which a case is asked for.
impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}", self.pattern.as_str(), self.base.as_str(), self.by)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Case({self})")
    }
}

/// What a layer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// No layer: what all others are measured from.
    Bare,
    /// A time limit.
    Deadline,
    /// Retries with a budget.
    Retry,
    /// Deadline over retry over deadline.
    Stack,
    /// No layer, but one reading of a clock: what everything costs that goes by time.
    Clock,
    /// So many calls at a time.
    Concurrency,
    /// So many calls per second.
    Rate,
    /// So many calls at a time as a law finds bearable.
    Adaptive,
    /// So many calls at a time for each key. There is one.
    KeyedConcurrency,
    /// So many calls per second for each key. There is one.
    KeyedRate,
    /// Deadline over retry over a limit over deadline.
    LimitedStack,
    /// One call for all that ask for the same at the same time.
    Dedup,
    /// An answer that is kept for a while, and given out.
    Hit,
}

impl Pattern {
    /// Its name in the table.
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
            Self::LimitedStack => "deadline → retry → throttle → deadline",
            Self::Dedup => "dedup",
            Self::Hit => "dedup, a kept answer",
        }
    }
}

/// What the calls are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// A number for a number.
    Plain,
    /// The same, but 64 callers ask for one number at the same time. If the service inside answers at
    /// once, each of them is alone.
    Together,
    /// An HTTP request with four headers for a page, which is read to its end.
    Http,
}

impl Base {
    /// Its name in the table.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "u64",
            Self::Together => "u64, 64 at a time",
            Self::Http => "HTTP",
        }
    }
}

/// The runtime in whose context all cases run. Nothing is run on it.
///
/// # Panics
///
/// If the system has no resources for it.
#[expect(clippy::expect_used, reason = "without a runtime there is nothing to measure")]
pub fn enter_runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime can be built")
}

/// Calls `service` with numbers.
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

/// Calls `service` with HTTP requests and reads the responses to their end.
pub fn drive_http<S, B>(service: S, calls: u64) -> usize
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>>,
    B: Body,
{
    let request = request();
    drive(service, calls, || request.clone(), |response| read(response.into_body()))
}

/// Calls `service`, one call after the other, polling each until it has ended.
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
