use buttress::{
    breaker::{BreakerLayer, Ratio},
    fallback::FallbackLayer,
    http_grpc::HttpExt,
    order::OrderLayer,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::Layer;

use crate::{
    Case, Echo, Pattern, Workload,
    cases::{
        limits::request_as_key,
        settings::{BUTTRESS, TIMEOUT},
    },
    drive_http, drive_plain,
};

/// Circuit breakers, fallbacks and orders. No call fails, and no call waits for another.
pub(crate) fn plain() -> [Case; 6] {
    [
        Case::new(Pattern::Breaker, BUTTRESS, Workload::Plain, |inner, calls| {
            drive_plain(BreakerLayer::new().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Breaker, "buttress, `.slow(..)`", Workload::Plain, |inner, calls| {
            let layer = BreakerLayer::new().slow(TIMEOUT, Ratio::percent(50));
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::OpenBreaker, BUTTRESS, Workload::Plain, |inner, calls| {
            let layer = BreakerLayer::new();
            let _isolation = layer.handle().isolate();
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Fallback, BUTTRESS, Workload::Plain, |inner, calls| {
            drive_plain(FallbackLayer::value(0).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Order, "buttress, `serial`", Workload::Plain, |inner, calls| {
            drive_plain(OrderLayer::serial(request_as_key).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Order, "buttress, `latest`", Workload::Plain, |inner, calls| {
            drive_plain(OrderLayer::latest(request_as_key).layer(Echo(inner)), calls)
        }),
    ]
}

/// The same over HTTP.
pub(crate) fn http() -> [Case; 4] {
    [
        Case::new(Pattern::Breaker, BUTTRESS, Workload::Http, |inner, calls| {
            drive_http(BreakerLayer::new().http().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Fallback, BUTTRESS, Workload::Http, |inner, calls| {
            let sorry = Response::new(Full::new(Bytes::from_static(b"sorry")));
            drive_http(FallbackLayer::value(sorry).http().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Order, "buttress, `serial`", Workload::Http, |inner, calls| {
            drive_http(OrderLayer::serial(one_key).http().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Order, "buttress, `latest`", Workload::Http, |inner, calls| {
            drive_http(OrderLayer::latest(one_key).http().layer(Echo(inner)), calls)
        }),
    ]
}

#[expect(clippy::unnecessary_wraps, reason = "a request may have no key")]
fn one_key(_: &Request<Full<Bytes>>) -> Option<u64> {
    Some(7)
}
