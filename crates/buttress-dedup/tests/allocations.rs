//! The allocations of a call.

use std::{
    future::{Future, Ready, ready},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use allocation_counter::measure;
use buttress_core::{BoxError, Verdict};
use buttress_dedup::{Cache, DedupLayer, DedupSnapshot, EarlyRefresh};
use buttress_testkit::counts;
use tower::{Layer, Service, service_fn};

#[test]
fn hit_does_not_allocate() {
    let keep = Cache::new(Duration::from_secs(1_000));
    let layer = DedupLayer::keyed(|key: &u64| Some(*key)).cache(keep);
    let mut service = layer.layer(service_fn(found));
    assert_eq!(hits(&mut service), 0);
    assert_eq!(layer.handle().cache_hits(), 101);
}

#[test]
fn hit_with_early_refresh_does_not_allocate() {
    let keep = Cache::new(Duration::from_secs(1_000)).early_refresh(EarlyRefresh::OPTIMAL);
    let layer = DedupLayer::keyed(|key: &u64| Some(*key)).cache(keep);
    let mut service = layer.layer(service_fn(found));
    assert_eq!(hits(&mut service), 0);
}

#[test]
fn stale_hit_does_not_allocate_while_a_refresh_is_in_flight() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let _entered = runtime.enter();
    let keep = Cache::new(Duration::ZERO).stale_while_revalidate(Duration::from_secs(1_000));
    let layer = DedupLayer::keyed(|key: &u64| Some(*key)).cache(keep);
    let mut service = layer.layer(service_fn(found));
    // The second call starts the refresh, and the runtime never runs it.
    call(&mut service).unwrap();
    call(&mut service).unwrap();
    let expected = counts!(DedupSnapshot {
        calls: 2,
        leaders: 2,
        cache_hits: 1,
        stale_hits: 1,
        refreshes: 1,
        in_flight: 1,
        waiters: 1,
        cache_entries: 1,
        cache_bytes: layer.handle().cache_bytes()
    });
    assert_eq!(layer.handle().snapshot(), expected);
    assert_eq!(hits(&mut service), 0);
    let expected =
        counts!(DedupSnapshot { calls: 104, cache_hits: 103, stale_hits: 103, ..expected });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[test]
fn cached_error_allocates_only_for_its_copy() {
    let keep = Cache::new(Duration::ZERO)
        .negative_ttl(Duration::from_secs(1_000))
        .classify(|_: Result<&Arc<str>, &BoxError>| Verdict::Permanent);
    let share = |error: &BoxError| Some(BoxError::from(error.to_string()));
    let layer = DedupLayer::keyed(|key: &u64| Some(*key)).cache(keep).share_errors_with(share);
    let lost = |_: u64| ready(Err::<Arc<str>, _>(BoxError::from("not found")));
    let mut service = layer.layer(service_fn(lost));
    let error = call(&mut service).unwrap_err();
    let copy = measure(|| drop(share(&error))).count_total;
    assert_eq!(hits(&mut service), 100 * copy);
}

#[test]
fn sequential_calls_do_not_allocate() {
    let layer = DedupLayer::keyed(|key: &u64| Some(*key));
    let mut service = layer.layer(service_fn(found_at_once));
    // These calls allocate once in each shard.
    (0..1_000).for_each(|key| drop(call_for(&mut service, key)));
    let calls = measure(|| (0..1_000).for_each(|key| drop(call_for(&mut service, key))));
    assert_eq!(calls.count_total, 0);
    assert_eq!(layer.handle().leaders(), 2_000);
}

#[test]
fn dropped_layer_frees_all_its_memory() {
    let calls = measure(|| {
        let layer = DedupLayer::keyed(|key: &u64| Some(*key));
        let mut service = layer.layer(service_fn(found_at_once));
        (0..1_000).for_each(|key| drop(call_for(&mut service, key)));
        drop((layer, service));
    });
    assert!(calls.count_total > 0);
    assert_eq!(calls.bytes_current, 0);
}

#[test]
fn dropped_layer_frees_all_its_memory_when_a_call_outlives_it() {
    let calls = measure(|| {
        let layer = DedupLayer::keyed(|key: &u64| Some(*key));
        let mut service = layer.layer(service_fn(found_at_once));
        (0..1_000).for_each(|key| drop(call_for(&mut service, key)));
        let call = service.call(7);
        drop((layer, service));
        let mut context = Context::from_waker(Waker::noop());
        assert!(matches!(pin!(call).poll(&mut context), Poll::Ready(Ok(7))));
    });
    assert_eq!(calls.bytes_current, 0);
}

fn found_at_once(key: u64) -> Ready<Result<u64, BoxError>> {
    ready(Ok(key))
}

fn found(key: u64) -> Ready<Result<Arc<str>, BoxError>> {
    ready(Ok(key.to_string().into()))
}

/// Returns the allocations of 100 calls after the first two.
fn hits<S>(service: &mut S) -> u64
where
    S: Service<u64, Response = Arc<str>, Error = BoxError>,
{
    drop(call(service));
    drop(call(service));
    measure(|| (0..100).for_each(|_| drop(call(service)))).count_total
}

fn call<S>(service: &mut S) -> Result<Arc<str>, BoxError>
where
    S: Service<u64, Response = Arc<str>, Error = BoxError>,
{
    call_for(service, 7)
}

/// Makes a call that ends at its first poll.
fn call_for<S: Service<u64, Error = BoxError>>(
    service: &mut S,
    key: u64,
) -> Result<S::Response, BoxError> {
    let mut context = Context::from_waker(Waker::noop());
    let future = pin!(service.call(key));
    match future.poll(&mut context) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => Err("the call waits".into()),
    }
}
