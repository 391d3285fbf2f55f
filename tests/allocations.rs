//! What a call through a layer allocates: nothing, on the way through.
//!
//! Counted are the allocations of this thread from a call to the last drop, after as many calls
//! that fill the buffers which later calls use again. Services and bodies here allocate nothing.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use buttress::{
    BoxError, Budget, DeadlineLayer, Http, HttpExt, OrderLayer, Rate, Rates, Ratio, RetryLayer,
    ThrottleLayer, breaker::BreakerLayer, hedge::HedgeLayer, throttle::Vegas,
};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use http_body::Body;
use http_body_util::Full;
use loopback::{AnyBody, chunks};
use tower::{Layer, Service, ServiceBuilder};

const CALLS: u64 = 100;
const MINUTE: Duration = Duration::from_secs(60);
const OFTEN: Rate = Rate::per_second(1_000_000);

#[test]
fn a_plain_deadline_allocates_nothing() {
    for polls in [1, 2] {
        let layers = ServiceBuilder::new().layer(DeadlineLayer::new(MINUTE));
        assert_eq!(plain(layers.service(After(polls))), 0, "ready at poll {polls}");
    }
}

#[test]
fn a_plain_retry_allocates_nothing() {
    for polls in [1, 2] {
        let layers = ServiceBuilder::new().layer(RetryLayer::new(3));
        assert_eq!(plain(layers.service(After(polls))), 0, "ready at poll {polls}");
    }
}

#[test]
fn a_plain_hedge_allocates_nothing_until_it_is_sent() {
    for polls in [1, 2] {
        let fixed = || HedgeLayer::after(MINUTE).budget(Budget::unlimited());
        let pays = HedgeLayer::after(MINUTE).share(Budget::default());
        let layers = [fixed(), fixed().after_failures(), pays, HedgeLayer::learned()];
        for layer in layers {
            let layers = ServiceBuilder::new().layer(layer);
            assert_eq!(plain(layers.service(After(polls))), 0, "ready at poll {polls}");
        }
    }
}

/// The state of the race, the list of its hedges, and the hedge.
#[test]
fn a_hedge_that_is_sent_costs_three_allocations() {
    let at_once = || HedgeLayer::after(Duration::ZERO).budget(Budget::unlimited());
    let layers = ServiceBuilder::new().layer(at_once());
    assert_eq!(plain(layers.service(After(2))), 3 * CALLS);
    let layers = ServiceBuilder::new().layer(at_once().share(Budget::default()));
    assert!(plain(layers.service(After(2))) <= 3 * CALLS);
    // Each further hedge costs its own.
    let layers = ServiceBuilder::new().layer(at_once().at_most(4));
    assert_eq!(plain(layers.service(After(2))), 6 * CALLS);
    let layers = ServiceBuilder::new().layer(at_once().http());
    assert_eq!(http(layers.service(After(2)), bare), 3 * CALLS);
}

#[test]
fn an_http_hedge_allocates_nothing_until_it_is_sent() {
    for (polls, request) in every(&[bare, with_headers, with_a_body]) {
        for layer in [HedgeLayer::after(MINUTE), HedgeLayer::learned()] {
            let layers = ServiceBuilder::new().layer(layer.http());
            assert_eq!(http(layers.service(After(polls)), request), 0, "ready at poll {polls}");
        }
    }
}

#[test]
fn a_plain_limit_allocates_nothing() {
    for polls in [1, 2] {
        let one = ServiceBuilder::new().layer(ThrottleLayer::concurrency(1).queue(9));
        assert_eq!(plain(one.service(After(polls))), 0, "ready at poll {polls}");
        let none = ServiceBuilder::new().layer(ThrottleLayer::concurrency(0).observe());
        assert_eq!(plain(none.service(After(polls))), 0, "ready at poll {polls}");
        let adaptive = ServiceBuilder::new().layer(ThrottleLayer::adaptive(Vegas::default()));
        assert_eq!(plain(adaptive.service(After(polls))), 0, "ready at poll {polls}");
    }
}

#[test]
fn a_plain_rate_allocates_nothing() {
    for polls in [1, 2] {
        let one = ServiceBuilder::new().layer(ThrottleLayer::rate(OFTEN));
        assert_eq!(plain(one.service(After(polls))), 0, "ready at poll {polls}");
        let two = ThrottleLayer::rates(Rates::new(OFTEN).and(Rate::per_hour(u32::MAX)));
        let two = ServiceBuilder::new().layer(two);
        assert_eq!(plain(two.service(After(polls))), 0, "ready at poll {polls}");
    }
}

#[test]
fn a_plain_order_allocates_nothing_unless_a_call_waits() {
    let key = |number: &u32| Some(number % 4);
    for polls in [1, 2] {
        let serial = ServiceBuilder::new().layer(OrderLayer::serial(key));
        assert_eq!(plain(serial.service(After(polls))), 0, "ready at poll {polls}");
        let latest = ServiceBuilder::new().layer(OrderLayer::latest(key));
        assert_eq!(plain(latest.service(After(polls))), 0, "ready at poll {polls}");
        let overlapping = ServiceBuilder::new().layer(OrderLayer::latest(key).overlapping());
        assert_eq!(plain(overlapping.service(After(polls))), 0, "ready at poll {polls}");
    }
}

#[test]
fn an_http_order_allocates_nothing_unless_a_call_waits() {
    let key = |request: &Request<Full<Bytes>>| Some(request.uri().path().len());
    for (polls, request) in every(&[bare, with_headers, of_grpc]) {
        let serial = ServiceBuilder::new().layer(OrderLayer::serial(key).http());
        assert_eq!(http(serial.service(After(polls)), request), 0, "ready at poll {polls}");
        let latest = ServiceBuilder::new().layer(OrderLayer::latest(key).http());
        assert_eq!(http(latest.service(After(polls)), request), 0, "ready at poll {polls}");
    }
}

#[test]
fn plain_call_through_a_closed_circuit_does_not_allocate() {
    for polls in [1, 2] {
        let one = ServiceBuilder::new().layer(BreakerLayer::new());
        assert_eq!(plain(one.service(After(polls))), 0, "ready at poll {polls}");
        let timed = BreakerLayer::new().slow(MINUTE, Ratio::percent(50)).patience(MINUTE);
        let timed = ServiceBuilder::new().layer(timed);
        assert_eq!(plain(timed.service(After(polls))), 0, "ready at poll {polls}");
        let keyed = BreakerLayer::new().keyed(|n: &u32| Some(*n));
        let keyed = ServiceBuilder::new().layer(keyed);
        assert_eq!(plain(keyed.service(After(polls))), 0, "ready at poll {polls}");
    }
}

#[test]
fn a_plain_stack_allocates_nothing() {
    for polls in [1, 2] {
        let layers = ServiceBuilder::new()
            .layer(DeadlineLayer::new(MINUTE))
            .layer(RetryLayer::new(3).skip_late_attempts())
            .layer(ThrottleLayer::concurrency(1).queue(9))
            .layer(DeadlineLayer::new(MINUTE).named("attempt"));
        assert_eq!(plain(layers.service(After(polls))), 0, "ready at poll {polls}");
    }
}

#[test]
fn an_http_deadline_allocates_nothing() {
    for (polls, request) in every(&[bare, with_headers]) {
        let layers = ServiceBuilder::new().layer(DeadlineLayer::new(MINUTE).http());
        assert_eq!(http(layers.service(After(polls)), request), 0, "ready at poll {polls}");
    }
}

#[test]
fn an_http_retry_allocates_nothing() {
    for (polls, request) in every(&[bare, with_headers, with_a_body]) {
        let layers = ServiceBuilder::new().layer(RetryLayer::new(3).http());
        assert_eq!(http(layers.service(After(polls)), request), 0, "ready at poll {polls}");
    }
}

#[test]
fn an_http_limit_allocates_nothing() {
    for (polls, request) in every(&[bare, with_headers, of_grpc, sheddable]) {
        let one = ServiceBuilder::new().layer(ThrottleLayer::concurrency(1).queue(9).http());
        assert_eq!(http(one.service(After(polls)), request), 0, "ready at poll {polls}");
        let law = ThrottleLayer::adaptive(Vegas::default()).http();
        let adaptive = ServiceBuilder::new().layer(law);
        assert_eq!(http(adaptive.service(After(polls)), request), 0, "ready at poll {polls}");
        let rate = ServiceBuilder::new().layer(ThrottleLayer::rate(OFTEN).http());
        assert_eq!(http(rate.service(After(polls)), request), 0, "ready at poll {polls}");
    }
}

#[test]
fn http_call_through_a_closed_circuit_does_not_allocate() {
    for (polls, request) in every(&[bare, with_headers, with_a_body]) {
        let layers = ServiceBuilder::new().layer(BreakerLayer::new().http());
        assert_eq!(http(layers.service(After(polls)), request), 0, "ready at poll {polls}");
    }
}

#[test]
fn an_http_stack_allocates_nothing() {
    for (polls, request) in every(&[bare, with_headers, with_a_body]) {
        let layers = ServiceBuilder::new()
            .layer(DeadlineLayer::new(MINUTE).http())
            .layer(RetryLayer::new(3).http())
            .layer(ThrottleLayer::concurrency(1).queue(9).http())
            .layer(DeadlineLayer::new(MINUTE).named("attempt").http());
        assert_eq!(http(layers.service(After(polls)), request), 0, "ready at poll {polls}");
    }
}

/// What watches the body, and the box around it. A body that is all there is not watched.
#[test]
fn only_a_sample_with_a_streamed_body_costs_two_allocations() {
    let at_the_limit = || ThrottleLayer::adaptive(Vegas::default().max(1)).http();
    let layers = ServiceBuilder::new().layer(at_the_limit());
    assert_eq!(http(layers.service(After(1)), with_a_body), 0);
    assert_eq!(streamed(at_the_limit().layer(After(1))), 2 * CALLS);
    assert_eq!(streamed(ThrottleLayer::adaptive(Vegas::default()).http().layer(After(1))), 0);
    assert_eq!(streamed(ThrottleLayer::concurrency(1).http().layer(After(1))), 0);
    assert_eq!(streamed(ThrottleLayer::rate(OFTEN).http().layer(After(1))), 0);
    assert_eq!(streamed(RetryLayer::new(1).http().layer(After(1))), 0);
}

/// Writing a number down is two, a `grpc-timeout` one, and the first header of a map its two tables.
#[test]
fn a_deadline_that_is_announced_costs_its_header() {
    let announced = |mode| {
        let layer = DeadlineLayer::new(MINUTE).http_with(mode);
        ServiceBuilder::new().layer(layer).service(After(1))
    };
    let chosen = || Http::new().timeout_header(HeaderName::from_static("x-request-timeout-ms"));
    assert_eq!(http(announced(chosen()), with_headers), 2 * CALLS);
    assert_eq!(http(announced(chosen()), bare), 4 * CALLS);
    assert_eq!(http(announced(Http::new()), of_grpc), CALLS);
}

/// What must be kept of a request is shared or written down in a buffer that is used again, but for
/// extensions: they are cloned.
#[test]
fn a_retry_of_a_request_with_extensions_costs_their_clone() {
    let layers = ServiceBuilder::new().layer(RetryLayer::new(3).http());
    assert_eq!(http(layers.service(After(1)), with_an_extension), 3 * CALLS);
}

/// The first clone of `Bytes` made from a vector is what makes them shared.
#[test]
fn a_retry_of_an_unshared_body_allocates_for_the_sharing() {
    let layers = ServiceBuilder::new().layer(RetryLayer::new(3).http());
    assert_eq!(http(layers.service(After(1)), with_a_body_of_its_own), CALLS);
}

/// A service that answers at the poll of this number.
#[derive(Clone, Copy)]
struct After(u32);

impl<Req: Answered> Service<Req> for After {
    type Response = Req::Answer;
    type Error = Req::Error;
    type Future = Answer<Req>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Req::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Answer<Req> {
        Answer { polls: self.0, request: Some(request) }
    }
}

struct Answer<Req> {
    polls: u32,
    request: Option<Req>,
}

impl<Req: Answered> Future for Answer<Req> {
    type Output = Result<Req::Answer, Req::Error>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        self.polls -= 1;
        if self.polls > 0 {
            return Poll::Pending;
        }
        Poll::Ready(Ok(self.request.take().unwrap().answer()))
    }
}

/// A request with an answer that costs nothing.
trait Answered: Unpin {
    type Answer;
    type Error;
    fn answer(self) -> Self::Answer;
}

impl Answered for u32 {
    type Answer = Self;
    type Error = BoxError;

    fn answer(self) -> Self {
        self
    }
}

impl Answered for Request<Full<Bytes>> {
    type Answer = Response<Full<Bytes>>;
    type Error = Infallible;

    fn answer(self) -> Self::Answer {
        Response::new(Full::new(Bytes::from_static(b"answer")))
    }
}

impl Answered for Request<AnyBody> {
    type Answer = Response<Full<Bytes>>;
    type Error = Infallible;

    fn answer(self) -> Self::Answer {
        Response::new(Full::new(Bytes::from_static(b"answer")))
    }
}

fn bare() -> Request<Full<Bytes>> {
    Request::default()
}

fn with_headers() -> Request<Full<Bytes>> {
    let mut request = bare();
    for name in ["accept", "accept-language", "authorization", "host", "user-agent"] {
        request.headers_mut().insert(name, HeaderValue::from_static("a value of some length"));
    }
    request
}

fn with_a_body() -> Request<Full<Bytes>> {
    let mut request = with_headers();
    *request.method_mut() = http::Method::PUT;
    *request.body_mut() = Full::new(Bytes::from_static(&[7; 1000]));
    request
}

fn with_a_body_of_its_own() -> Request<Full<Bytes>> {
    let mut request = with_a_body();
    *request.body_mut() = Full::new(Bytes::from(vec![7; 1000]));
    request
}

fn of_grpc() -> Request<Full<Bytes>> {
    let mut request = bare();
    let grpc = HeaderValue::from_static("application/grpc");
    request.headers_mut().insert("content-type", grpc);
    request
}

fn sheddable() -> Request<Full<Bytes>> {
    let mut request = bare();
    request.headers_mut().insert("x-criticality", HeaderValue::from_static("sheddable"));
    request
}

fn with_an_extension() -> Request<Full<Bytes>> {
    let mut request = bare();
    request.extensions_mut().insert(7_u32);
    request
}

/// Each of the requests, for a service that is ready at once and one that is pending first.
fn every<R: Copy>(requests: &[R]) -> Vec<(u32, R)> {
    requests.iter().flat_map(|request| [(1, *request), (2, *request)]).collect()
}

fn plain(service: impl Service<u32, Response = u32, Error = BoxError>) -> u64 {
    allocations(service, || 7, |_| {})
}

fn http<B: Body<Data = Bytes>>(
    service: impl Service<Request<Full<Bytes>>, Response = Response<B>, Error = Infallible>,
    request: fn() -> Request<Full<Bytes>>,
) -> u64 {
    allocations(service, request, |response| {
        let mut body = pin!(response.into_body());
        let mut cx = Context::from_waker(Waker::noop());
        while !body.is_end_stream() {
            assert!(body.as_mut().poll_frame(&mut cx).is_ready());
        }
    })
}

fn streamed<R>(service: impl Service<Request<AnyBody>, Response = R, Error = Infallible>) -> u64 {
    allocations(service, || Request::new(chunks(&["bit ", "by ", "bit"])), drop)
}

/// How many allocations [`CALLS`] calls of `service` make, each `end`ed in its way.
fn allocations<S: Service<Req>, Req>(
    mut service: S,
    request: impl Fn() -> Req,
    end: impl Fn(S::Response),
) -> u64 {
    let mut cx = Context::from_waker(Waker::noop());
    let mut call = |request| {
        assert!(service.poll_ready(&mut cx).is_ready());
        let mut future = pin!(service.call(request));
        loop {
            if let Poll::Ready(outcome) = future.as_mut().poll(&mut cx) {
                break end(outcome.ok().unwrap());
            }
        }
    };
    let requests = || (0..CALLS).map(|_| request()).collect::<Vec<Req>>();
    let (mut first, mut second) = (requests(), requests());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        first.drain(..).for_each(&mut call);
        measure(|| second.drain(..).for_each(&mut call)).count_total
    })
}
