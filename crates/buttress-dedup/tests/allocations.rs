//! What a call costs in allocations, where answers are kept.

use std::{
    future::{Future, Ready, ready},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use buttress_core::{BoxError, Verdict};
use buttress_dedup::{DedupLayer, EarlyRefresh, Keep};
use tower::{Layer, Service, service_fn};

#[test]
fn a_hit_allocates_nothing() {
    let keep = Keep::new(Duration::from_secs(1_000));
    let layer = DedupLayer::new(|key: &u64| Some(*key)).keep(keep);
    let mut service = layer.layer(service_fn(found));
    assert_eq!(hits(&mut service), 0);
    assert_eq!(layer.handle().hits(), 101);
}

#[test]
fn a_hit_that_may_be_refreshed_early_allocates_nothing_either() {
    let keep = Keep::new(Duration::from_secs(1_000)).early_refresh(EarlyRefresh::OPTIMAL);
    let layer = DedupLayer::new(|key: &u64| Some(*key)).keep(keep);
    let mut service = layer.layer(service_fn(found));
    assert_eq!(hits(&mut service), 0);
}

#[test]
fn nor_does_a_stale_one_whose_refresh_is_in_flight() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let keep = Keep::new(Duration::ZERO).while_revalidate(Duration::from_secs(1_000));
    let layer = DedupLayer::new(|key: &u64| Some(*key)).keep(keep);
    let mut service = layer.layer(service_fn(found));
    // The first starts it, and the runtime never gets to run it.
    call(&mut service).unwrap();
    call(&mut service).unwrap();
    assert_eq!((layer.handle().refreshed(), layer.handle().flights()), (1, 1));
    assert_eq!(hits(&mut service), 0);
    assert_eq!((layer.handle().refreshed(), layer.handle().stale()), (1, 103));
}

#[test]
fn a_kept_error_costs_what_a_copy_of_it_costs() {
    let keep = Keep::new(Duration::ZERO)
        .negative(Duration::from_secs(1_000))
        .classify(|_: Result<&Arc<str>, &BoxError>| Verdict::Permanent);
    let share = |error: &BoxError| Some(BoxError::from(error.to_string()));
    let layer = DedupLayer::new(|key: &u64| Some(*key)).keep(keep).share_error(share);
    let lost = |_: u64| ready(Err::<Arc<str>, _>(BoxError::from("not found")));
    let mut service = layer.layer(service_fn(lost));
    let error = call(&mut service).unwrap_err();
    let copy = measure(|| drop(share(&error))).count_total;
    assert_eq!(hits(&mut service), 100 * copy);
}

fn found(key: u64) -> Ready<Result<Arc<str>, BoxError>> {
    ready(Ok(key.to_string().into()))
}

/// The allocations of a hundred calls after the first two.
fn hits<S>(service: &mut S) -> u64
where
    S: Service<u64, Response = Arc<str>, Error = BoxError>,
{
    drop(call(service));
    drop(call(service));
    measure(|| (0..100).for_each(|_| drop(call(service)))).count_total
}

/// One call, which is over at its first poll.
fn call<S>(service: &mut S) -> Result<Arc<str>, BoxError>
where
    S: Service<u64, Response = Arc<str>, Error = BoxError>,
{
    let mut context = Context::from_waker(Waker::noop());
    let future = pin!(service.call(7));
    match future.poll(&mut context) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err("it waits".into()),
    }
}
