//! The size of the future, in bytes over that of the inner service.

use std::future::{Ready, ready};

use buttress_core::{BoxError, Verdict};
use buttress_fallback::FallbackLayer;
use tower::{Layer, Service, service_fn, util::ServiceFn};

/// Returns the bytes of a call's future over those of the bare service.
fn over_bare<R>(layer: impl Layer<Bare<R>, Service: Service<u32>>, bare: Bare<R>) -> usize {
    let (mut bare, mut service) = (bare, layer.layer(bare));
    size_of_val(&service.call(1)).saturating_sub(size_of_val(&bare.call(1)))
}

type Bare<R> = ServiceFn<fn(u32) -> Ready<Result<R, BoxError>>>;

fn small() -> Bare<u32> {
    service_fn(|number| ready(Ok(number)))
}

/// Its response is larger than its future may grow by.
fn large() -> Bare<[u32; 100]> {
    service_fn(|number| ready(Ok([number; 100])))
}

#[test]
fn future_is_at_most_40_bytes_larger_than_that_of_the_service() {
    let value = over_bare(FallbackLayer::value(7), small());
    assert!(value <= 40, "{value}");
    let page = |_: Verdict, _: Result<&u32, &BoxError>| 7;
    let answer = over_bare(FallbackLayer::answer(page), small());
    assert!(answer <= 40, "{answer}");
    let large = over_bare(FallbackLayer::value([7; 100]).when(|_| false), large());
    assert!(large <= 40, "{large}");
}

/// The kept request and the clone of the alternative are inline.
#[test]
fn future_with_an_alternative_is_larger_by_what_it_keeps() {
    let kept = size_of::<Option<(Bare<u32>, u32)>>();
    let service = over_bare(FallbackLayer::service(small()), small());
    assert!(service <= 40 + kept, "{service}");
}
