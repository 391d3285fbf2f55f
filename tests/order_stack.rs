//! Keyed order among other layers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress::{
    Backoff, BoxError, DeadlineLayer, DedupLayer, HttpExt, OrderLayer, OrderSnapshot, Reason,
    Rejection, RetryLayer, ThrottleLayer,
};
use buttress_testkit::{Probe, counts, sweep};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::Instant;
use tower::{ServiceBuilder, ServiceExt, limit::ConcurrencyLimitLayer, service_fn};

#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    reason = "the shape of a key"
)]
fn all(_: &u32) -> Option<()> {
    Some(())
}

fn retry() -> RetryLayer {
    RetryLayer::new(2)
        .backoff(Backoff::exponential(Duration::from_millis(1), Duration::from_millis(1)))
}

/// A service whose first call fails.
async fn fails_once(calls: Arc<AtomicUsize>, number: u32) -> Result<u32, BoxError> {
    tokio::time::sleep(Duration::from_millis(10)).await;
    match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Err("once".into()),
        _ => Ok(number),
    }
}

fn failing()
-> impl tower::Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone + Send {
    let calls = Arc::default();
    service_fn(move |number: u32| fails_once(Arc::clone(&calls), number))
}

/// One turn covers the attempts of a call. The waiter reserves nothing, so its permit is there for
/// the second attempt of the running call. With a reservation the two would wait for each other.
#[tokio::test(start_paused = true)]
async fn waiter_holds_no_permit_that_a_retry_of_the_running_call_needs() {
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(5)))
        .layer(OrderLayer::serial(all))
        .layer(retry())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(failing());
    let start = Instant::now();
    let first = service.clone().oneshot(1);
    let second = async {
        // It finds the permit free between the two attempts of the first call.
        tokio::time::sleep(Duration::from_millis(5)).await;
        service.clone().oneshot(2).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
}

/// A retry around the layer does not repeat a superseded call: that would supersede the newer one.
#[tokio::test(start_paused = true)]
async fn retry_outside_never_repeats_a_superseded_call() {
    let layer = OrderLayer::latest(all);
    let handle = layer.handle();
    let retries = retry();
    let stopped = retries.handle();
    let service = ServiceBuilder::new().layer(retries).layer(layer).service(service_fn(
        |number: u32| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, BoxError>(number)
        },
    ));
    let (older, newest) = tokio::join!(service.clone().oneshot(1), service.clone().oneshot(2));
    let error = older.unwrap_err();
    assert_eq!(Rejection::find(&error).unwrap().reason(), Reason::Superseded);
    assert_eq!(newest.unwrap(), 2);
    assert_eq!(stopped.retries(), 0);
    let expected = counts!(OrderSnapshot { calls: 2, rejected: 1, superseded: 1 });
    assert_eq!(handle.snapshot(), expected);
}

/// The documented position on a server: outside the throttle, so that waiters hold no permits.
#[tokio::test(start_paused = true)]
async fn waiters_hold_no_permits_of_a_throttle_inside() {
    let (order, throttle) =
        (OrderLayer::serial(|n: &u32| Some(n % 2)), ThrottleLayer::concurrency(2));
    let (turns, permits) = (order.handle(), throttle.handle());
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(5)))
        .layer(order)
        .layer(throttle)
        .service(service_fn(|number: u32| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, BoxError>(number)
        }));
    let calls = (0..10).map(|number| service.clone().oneshot(number));
    let calls: Vec<_> = calls.map(polled_once).collect();
    assert_eq!((turns.queued(), permits.in_flight(), permits.rejected()), (8, 2, 0));
    for (number, call) in (0..).zip(calls) {
        assert_eq!(call.await.unwrap(), number);
    }
    assert_eq!((turns.keys(), permits.rejected()), (0, 0));
}

/// Polls a call once.
fn polled_once<F: Future>(call: F) -> std::pin::Pin<Box<F>> {
    let mut call = Box::pin(call);
    let polled = call.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert!(polled.is_pending());
    call
}

/// A call in the standard order of a client, dropped at each await while another call of its key
/// has the turn or waits for it.
#[tokio::test(start_paused = true)]
async fn call_in_a_whole_stack_leaves_nothing_behind_at_any_await() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(2).pausing(2);
    for latest in [false, true] {
        let (serials, latests) = (OrderLayer::serial(all), OrderLayer::latest(all));
        let keys = (serials.handle(), latests.handle());
        let inside = ServiceBuilder::new()
            .layer(retry())
            .layer(ThrottleLayer::concurrency(2).queue(2))
            .service(probe.clone());
        let ordered = if latest {
            tower::Layer::layer(&latests, inside).boxed_clone()
        } else {
            tower::Layer::layer(&serials, inside).boxed_clone()
        };
        let stack = ServiceBuilder::new()
            .layer(DeadlineLayer::new(Duration::from_secs(5)))
            .service(ordered);
        let pair = || {
            let (first, second) = (stack.clone().oneshot(1), stack.clone().oneshot(2));
            async move {
                let (first, second) = tokio::join!(first, second);
                assert_eq!((first.is_err(), second.unwrap()), (latest, 2));
            }
        };
        let drops = sweep(pair)
            .over(&probe)
            .also(|at| assert_eq!((keys.0.keys(), keys.1.keys()), (0, 0), "{at}"))
            .await;
        assert!(drops > 3);
    }
}

/// On a client the layer stands inside dedup: followers of a flight need no turn of their own.
#[tokio::test(start_paused = true)]
async fn followers_of_a_flight_share_one_turn() {
    let order = OrderLayer::serial(all);
    let handle = order.handle();
    let service = ServiceBuilder::new().layer(DedupLayer::new()).layer(order).service(service_fn(
        |number: u32| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, BoxError>(number)
        },
    ));
    let (a, b) = tokio::join!(service.clone().oneshot(7), service.clone().oneshot(7));
    assert_eq!((a.unwrap(), b.unwrap()), (7, 7));
    assert_eq!(handle.snapshot(), counts!(OrderSnapshot { calls: 1 }));
}

/// The followers of a superseded flight must not call again: that would supersede the newer call.
#[tokio::test(start_paused = true)]
async fn followers_of_a_superseded_flight_end_with_it() {
    let order = OrderLayer::latest(all);
    let handle = order.handle();
    let service = ServiceBuilder::new().layer(DedupLayer::new()).layer(order).service(service_fn(
        |number: u32| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, BoxError>(number)
        },
    ));
    let call = |number| service.clone().oneshot(number);
    let (leader, follower, newest) = tokio::join!(call(1), call(1), call(2));
    for outcome in [leader, follower] {
        let error = outcome.unwrap_err();
        assert_eq!(Rejection::find(&error).unwrap().reason(), Reason::Superseded);
    }
    assert_eq!(newest.unwrap(), 2);
    let expected = counts!(OrderSnapshot { calls: 2, rejected: 1, superseded: 1 });
    assert_eq!(handle.snapshot(), expected);
}

/// As above. In `Http` mode the rejection is a response, which dedup shares.
#[tokio::test(start_paused = true)]
async fn followers_of_a_superseded_flight_end_with_it_over_http() {
    let order = OrderLayer::latest(|_: &Request<Full<Bytes>>| Some(()));
    let handle = order.handle();
    let service = ServiceBuilder::new()
        .layer(DedupLayer::new().http())
        .layer(order.http())
        .service(service_fn(|_: Request<Full<Bytes>>| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok::<_, BoxError>(Response::new(Full::new(Bytes::from_static(b"found"))))
        }));
    let call = |path| {
        let request = Request::get(path).body(Full::default()).unwrap();
        let call = service.clone().oneshot(request);
        async move { call.await.unwrap().status() }
    };
    let statuses = tokio::join!(call("/a"), call("/a"), call("/ab"));
    assert_eq!(statuses, (StatusCode::CONFLICT, StatusCode::CONFLICT, StatusCode::OK));
    let expected = counts!(OrderSnapshot { calls: 2, rejected: 1, superseded: 1 });
    assert_eq!(handle.snapshot(), expected);
}
