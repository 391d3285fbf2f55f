use std::task::{Context, Poll};

use buttress::{
    BreakerLayer, Client, DeadlineLayer, DedupLayer, FallbackLayer, HedgeLayer, OrderLayer,
    RetryLayer, ThrottleLayer, client, http_grpc::HttpExt,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service};

use crate::{
    Case, Echo, Pattern, Workload,
    cases::{
        limits::request_as_key,
        settings::{ATTEMPT, ATTEMPTS, BUTTRESS, IN_FLIGHT, TIMEOUT},
    },
    drive_http, drive_plain,
};

const BY_HAND: &str = "buttress, by hand";

/// The ready-made client, beside the same layers by hand.
pub(crate) fn plain() -> [Case; 4] {
    [
        Case::new(Pattern::StandardStack, BUTTRESS, Workload::Plain, |inner, calls| {
            drive_plain(five().service(Own::<1>(Echo(inner))), calls)
        }),
        Case::new(Pattern::StandardStack, BY_HAND, Workload::Plain, |inner, calls| {
            let attempt = DeadlineLayer::new(ATTEMPT).layer(Own::<2>(Echo(inner)));
            let limit = ThrottleLayer::concurrency(IN_FLIGHT).layer(attempt);
            let retry = RetryLayer::new(ATTEMPTS).layer(BreakerLayer::new().layer(limit));
            drive_plain(DeadlineLayer::new(TIMEOUT).layer(retry), calls)
        }),
        Case::new(
            Pattern::StandardStack,
            "buttress, cloned for each call",
            Workload::Plain,
            |inner, calls| drive_plain(Cloned(five().service(Own::<3>(Echo(inner)))), calls),
        ),
        Case::new(Pattern::WholeStack, BUTTRESS, Workload::Plain, |inner, calls| {
            let client = five()
                .fallback(FallbackLayer::value(0))
                .dedup(DedupLayer::new())
                .order(OrderLayer::serial(request_as_key))
                .hedge(HedgeLayer::after(TIMEOUT));
            drive_plain(client.service(Own::<4>(Echo(inner))), calls)
        }),
    ]
}

/// The same over HTTP.
pub(crate) fn http() -> [Case; 3] {
    [
        Case::new(Pattern::StandardStack, BUTTRESS, Workload::Http, |inner, calls| {
            drive_http(five().http().service(Own::<5>(Echo(inner))), calls)
        }),
        Case::new(Pattern::StandardStack, BY_HAND, Workload::Http, |inner, calls| {
            let attempt = DeadlineLayer::new(ATTEMPT).http().layer(Own::<6>(Echo(inner)));
            let limit = ThrottleLayer::concurrency(IN_FLIGHT).http().layer(attempt);
            let breaker = BreakerLayer::new().http().layer(limit);
            let retry = RetryLayer::new(ATTEMPTS).http().layer(breaker);
            drive_http(DeadlineLayer::new(TIMEOUT).http().layer(retry), calls)
        }),
        Case::new(Pattern::WholeStack, BUTTRESS, Workload::Http, |inner, calls| {
            let sorry = Response::new(Full::new(Bytes::from_static(b"sorry")));
            let client = five()
                .fallback(FallbackLayer::value(sorry))
                .dedup(DedupLayer::new())
                .order(OrderLayer::serial(one_key))
                .hedge(HedgeLayer::after(TIMEOUT))
                .http();
            drive_http(client.service(Own::<7>(Echo(inner))), calls)
        }),
    ]
}

/// Five places are filled, and four are empty.
fn five() -> Client {
    client()
        .deadline(DeadlineLayer::new(TIMEOUT))
        .attempt(DeadlineLayer::new(ATTEMPT))
        .breaker(BreakerLayer::new().window(2 * ATTEMPT))
        .throttle(ThrottleLayer::concurrency(IN_FLIGHT))
}

#[expect(clippy::unnecessary_wraps, reason = "a request may have no key")]
fn one_key(_: &Request<Full<Bytes>>) -> Option<u64> {
    Some(7)
}

/// The inner service of a single case.
///
/// With the type of another case, the two would share functions, and the compiler would inline less
/// in both.
#[derive(Clone)]
struct Own<const CASE: usize>(Echo);

impl<const CASE: usize, Req> Service<Req> for Own<CASE>
where
    Echo: Service<Req>,
{
    type Response = <Echo as Service<Req>>::Response;
    type Error = <Echo as Service<Req>>::Error;
    type Future = <Echo as Service<Req>>::Future;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Req) -> Self::Future {
        self.0.call(request)
    }
}

/// Makes each call on a clone, as a shared client does.
#[derive(Clone)]
struct Cloned<S>(S);

impl<S: Service<u64> + Clone> Service<u64> for Cloned<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u64) -> S::Future {
        self.0.clone().call(request)
    }
}
