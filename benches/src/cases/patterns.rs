use std::{
    pin::pin,
    task::{Context, Waker},
    time::Duration,
};

use buttress::{
    BoxError, MeterLayer, Registry,
    breaker::{Backoff, BreakerLayer, Ratio},
    fallback::FallbackLayer,
    hedge::HedgeLayer,
    http_grpc::HttpExt,
    order::OrderLayer,
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, ServiceExt};

use crate::{
    Case, Echo, Pattern, Workload,
    cases::{
        limits::request_as_key,
        settings::{BUTTRESS, TIMEOUT},
    },
    drive_http, drive_plain,
};

/// Circuit breakers, hedges, fallbacks, orders and meters. No call fails, none is slow, and none waits for
/// another.
pub(crate) fn plain() -> [Case; 11] {
    [
        Case::new(Pattern::Breaker, BUTTRESS, Workload::Plain, |inner, calls| {
            drive_plain(BreakerLayer::new().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Breaker, "buttress, `.slow(..)`", Workload::Plain, |inner, calls| {
            let layer = BreakerLayer::new().slow(TIMEOUT, Ratio::percent(50));
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::KeyedBreaker, BUTTRESS, Workload::Plain, |inner, calls| {
            drive_plain(BreakerLayer::new().keyed(request_as_key).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::OpenBreaker, BUTTRESS, Workload::Plain, |inner, calls| {
            let layer = BreakerLayer::new().open_for(Backoff::constant(TIMEOUT));
            layer.handle().open();
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Hedge, BUTTRESS, Workload::Plain, |inner, calls| {
            drive_plain(HedgeLayer::after(TIMEOUT).layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Hedge, "buttress, `learned`", Workload::Plain, |inner, calls| {
            let layer = HedgeLayer::learned();
            learn(&layer);
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
        Case::new(Pattern::Meter, BUTTRESS, Workload::Plain, |inner, calls| {
            drive_plain(MeterLayer::call(()).layer(Echo(inner)), calls)
        }),
        // The same as without a registry, which reads the handle only when it is scraped.
        Case::new(Pattern::Fallback, "buttress, in a registry", Workload::Plain, |inner, calls| {
            let layer = FallbackLayer::value(0);
            let registry = Registry::new().add(layer.handle());
            let size = drive_plain(layer.layer(Echo(inner)), calls);
            drop(registry);
            size
        }),
    ]
}

/// The same over HTTP.
pub(crate) fn http() -> [Case; 6] {
    [
        Case::new(Pattern::Breaker, BUTTRESS, Workload::Http, |inner, calls| {
            drive_http(BreakerLayer::new().http().layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::Hedge, BUTTRESS, Workload::Http, |inner, calls| {
            drive_http(HedgeLayer::after(TIMEOUT).http().layer(Echo(inner)), calls)
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
        Case::new(Pattern::Meter, BUTTRESS, Workload::Http, |inner, calls| {
            drive_http(MeterLayer::call(()).http().layer(Echo(inner)), calls)
        }),
    ]
}

#[expect(clippy::unnecessary_wraps, reason = "a request may have no key")]
fn one_key(_: &Request<Full<Bytes>>) -> Option<u64> {
    Some(7)
}

/// Makes calls until the layer knows its quantile: 50, over 3 s.
#[expect(clippy::disallowed_methods, reason = "the clock of the layer is that of the machine")]
fn learn(layer: &HedgeLayer) {
    let service = layer.layer(tower::service_fn(async |call: u64| Ok::<_, BoxError>(call)));
    let call = || {
        let mut call = pin!(service.clone().oneshot(7));
        let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    };
    (0..50).for_each(|_| call());
    std::thread::sleep(Duration::from_millis(3100));
    call();
    assert!(layer.handle().delay().is_some(), "the layer has not learned");
}
