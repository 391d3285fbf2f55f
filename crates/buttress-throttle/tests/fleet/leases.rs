//! Cells that a replica holds ahead, and calls that the store decides.

use std::{task::Poll, time::Duration};

use buttress_control::Ratio;
use buttress_core::{Attempt, Criticality, Deadline, Reason};
use buttress_testkit::FakeStore;
use buttress_throttle::{Fleet, Queue, Rate, ThrottleLayer};
use tokio::time::{Instant, advance, sleep};
use tokio_test::task::spawn;
use tower::{Service, ServiceExt};

use crate::support::{call, load, millis, replica, throttled};

/// A4, A6, A7: calls that find no cells share a request, and the store decides them.
#[tokio::test(start_paused = true)]
async fn calls_that_find_no_cells_wait_for_the_store_together() {
    let store = FakeStore::new();
    store.set_delay(millis(10));
    let layer = replica(&store, Rate::per_second(100).burst(10), 2);
    let mut first = spawn(throttled(&layer).oneshot(1));
    assert!(first.poll().is_pending());
    let mut others: Vec<_> = (0..9).map(|_| spawn(throttled(&layer).oneshot(1))).collect();
    for other in &mut others {
        assert!(other.poll().is_pending());
    }
    sleep(millis(30)).await;
    assert!(first.await.is_ok());
    let mut admitted = 1;
    for other in others {
        admitted += u32::from(other.await.is_ok());
    }
    let asks = store.asks();
    let wants: Vec<_> = asks.iter().map(|ask| (ask.want, ask.granted)).collect();
    assert_eq!(wants[0], (1, 1));
    assert_eq!((wants[1].0, wants.len()), (9, 2), "the calls since share a request");
    assert_eq!(admitted, 10);
}

/// A4: the calls that wait for the store hold no more cells than the burst.
#[tokio::test(start_paused = true)]
async fn undecided_calls_hold_no_more_cells_than_the_burst() {
    let store = FakeStore::new();
    store.set_delay(millis(10));
    let layer = replica(&store, Rate::per_second(100).burst(5), 2);
    let mut waiting: Vec<_> = (0..5).map(|_| spawn(throttled(&layer).oneshot(1))).collect();
    for call in &mut waiting {
        assert!(call.poll().is_pending());
    }
    assert_eq!(call(&layer).await, Err((Reason::RateLimited, Some(millis(25)))));
}

/// Chapter 1: below the rate no call is denied, and most calls make no request.
#[tokio::test(start_paused = true)]
async fn busy_replicas_ask_seldom_and_deny_no_call_below_the_rate() {
    let store = FakeStore::new();
    store.set_delay(millis(2));
    let rate = Rate::per_second(8000);
    let layers: Vec<_> = (0..4).map(|_| replica(&store, rate, 4)).collect();
    let admitted = load(&layers, 1, Duration::from_secs(2)).await;
    assert!(admitted >= 4000, "{admitted}");
    for layer in &layers {
        let handle = layer.handle();
        assert_eq!(handle.rejected(), 0);
        let fleet = handle.fleet();
        assert!(fleet.trips * 10 <= handle.admitted(), "{fleet:?} {}", handle.admitted());
        assert_eq!((fleet.errors, fleet.keys_away, fleet.debt), ([0; 4], 0, 0));
    }
}

/// A12, A14: a short grant denies for the pace, without a request.
#[tokio::test(start_paused = true)]
async fn short_grant_denies_the_next_calls_without_a_request() {
    let store = FakeStore::new();
    let layer = replica(&store, Rate::per_second(100).burst(2), 1);
    for _ in 0..2 {
        assert_eq!(call(&layer).await, Ok(()));
    }
    let denied = Err((Reason::RateLimited, Some(millis(25))));
    assert_eq!(call(&layer).await, denied);
    let asked = store.asks().len();
    assert_eq!(call(&layer).await, denied);
    assert_eq!(store.asks().len(), asked);
    advance(millis(25)).await;
    assert_eq!(call(&layer).await, Ok(()));
    assert_eq!(store.asks().len(), asked + 1);
}

/// 4.4: what several replicas admit stays within the rate, in overload and from a rest.
#[tokio::test(start_paused = true)]
async fn overloaded_replicas_admit_the_rate_together() {
    let store = FakeStore::new();
    store.set_delay(millis(2));
    let rate = Rate::per_second(500);
    let layers: Vec<_> = (0..3).map(|_| replica(&store, rate, 3)).collect();
    let start = Instant::now();
    let admitted = load(&layers, 1, Duration::from_secs(3)).await;
    let allowed = 500 + 500 * u64::try_from(start.elapsed().as_millis()).unwrap() / 1000;
    assert!(admitted <= allowed, "{admitted} of {allowed}");
    assert!(admitted * 100 >= allowed * 90, "{admitted} of {allowed}");
}

/// A13: with a queue, calls wait for the rate, across several requests.
#[tokio::test(start_paused = true)]
async fn queued_calls_wait_for_the_rate_of_the_fleet() {
    let store = FakeStore::new();
    let layer = replica(&store, Rate::per_second(100).burst(1), 1).queue(10);
    let start = Instant::now();
    let calls: Vec<_> = (0..5).map(|_| throttled(&layer).oneshot(1)).collect();
    for call in calls {
        assert!(call.await.is_ok());
    }
    // One cell in 10 ms, but a request only every 25 ms.
    assert!((millis(40)..=millis(150)).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(layer.handle().queued(), 0);
}

/// A13: `max_wait` counts for calls that wait for the rate.
#[tokio::test(start_paused = true)]
async fn queued_call_waits_no_longer_than_max_wait() {
    let store = FakeStore::new();
    let queue = Queue::new(10).max_wait(millis(70));
    let layer = replica(&store, Rate::per_second(1).burst(1), 1).queue(queue);
    assert_eq!(call(&layer).await, Ok(()));
    let start = Instant::now();
    assert_eq!(call(&layer).await.unwrap_err().0, Reason::RateLimited);
    assert!(start.elapsed() <= millis(71), "{:?}", start.elapsed());
}

/// A5: the caller's deadline ends the wait for the store.
#[tokio::test(start_paused = true)]
async fn undecided_call_waits_no_longer_than_its_deadline() {
    let store = FakeStore::new();
    store.set_delay(millis(20));
    let layer = replica(&store, Rate::per_second(100), 1);
    let start = Instant::now();
    let deadline = Deadline::after(millis(5));
    let end = Deadline::with(Some(deadline), || Deadline::scope(call(&layer))).await;
    assert_eq!(end.unwrap_err().0, Reason::DeadlineExceeded);
    assert!(start.elapsed() <= millis(6), "{:?}", start.elapsed());
    sleep(millis(30)).await;
    assert_eq!(layer.handle().fleet().trips, 1);
}

/// A5: the cells of a call that leaves go to the next.
#[tokio::test(start_paused = true)]
async fn cells_of_a_call_that_leaves_go_to_the_next_call() {
    let store = FakeStore::new();
    store.set_delay(millis(10));
    let layer = replica(&store, Rate::per_second(1000).burst(100), 1);
    let mut leaving = spawn(throttled(&layer).oneshot(1));
    assert!(leaving.poll().is_pending());
    drop(leaving);
    sleep(millis(12)).await;
    assert_eq!(layer.handle().tokens(), 1, "the request went on");
    assert_eq!(call(&layer).await, Ok(()));
    assert_eq!(store.asks().len(), 1);
    assert_eq!(layer.handle().abandoned(), 1);
}

/// A2: held cells end after the lease, and are counted.
#[tokio::test(start_paused = true)]
async fn held_cells_end_after_the_lease() {
    let store = FakeStore::new();
    store.set_delay(millis(10));
    let layer = replica(&store, Rate::per_second(1000).burst(100), 1);
    let mut leaving = spawn(throttled(&layer).oneshot(1));
    assert!(leaving.poll().is_pending());
    drop(leaving);
    sleep(millis(12)).await;
    assert_eq!(layer.handle().tokens(), 1);
    advance(millis(200)).await;
    assert_eq!(layer.handle().tokens(), 0);
    assert_eq!(call(&layer).await, Ok(()));
    assert_eq!(layer.handle().fleet().expired, 1);
}

/// A9: a call that costs more than a lease asks for its own cells, and above the burst never.
#[tokio::test(start_paused = true)]
async fn costly_call_asks_for_its_own_cells_and_never_passes_above_the_burst() {
    let store = FakeStore::new();
    let costs = |cost: u32| {
        ThrottleLayer::rate(Rate::per_second(100))
            .fleet(Fleet::new(store.clone(), 4))
            .cost(move |_: &u32| cost)
    };
    // 20 cells may be held, and the store has 80.
    assert_eq!(call(&costs(60)).await, Ok(()));
    assert_eq!(store.asks()[0].min, 60);
    assert_eq!(call(&costs(81)).await, Err((Reason::NeverAdmissible, None)));
    assert_eq!(store.asks().len(), 1);
    assert_eq!(call(&costs(0)).await, Ok(()));
    assert_eq!(store.asks().len(), 1);
}

/// A15.
#[tokio::test(start_paused = true)]
async fn exact_fleet_asks_for_each_call() {
    let store = FakeStore::new();
    let rate = Rate::per_second(1000);
    let exact = [
        ThrottleLayer::rate(rate).fleet(Fleet::new(store.clone(), 2).exact()),
        ThrottleLayer::rate(rate).fleet(Fleet::new(store.clone(), 2).reserve(Ratio::ZERO)),
        ThrottleLayer::rate(rate).fleet(Fleet::new(store.clone(), 2).lease(millis(19))),
    ];
    for layer in exact {
        for _ in 0..50 {
            assert_eq!(call(&layer).await, Ok(()));
        }
        assert_eq!(layer.handle().fleet().trips, 50);
    }
}

/// A16: a spare call starts no request.
#[tokio::test(start_paused = true)]
async fn spare_call_takes_held_cells_or_is_refused() {
    let store = FakeStore::new();
    let layer = replica(&store, Rate::per_second(100), 1);
    let spare = Attempt::current().spare();
    let mut call = spawn(throttled(&layer).oneshot(1));
    let Poll::Ready(end) = spare.with(|| call.poll()) else { panic!("a spare call waits") };
    assert_eq!(end.unwrap_err().reason(), Reason::RateLimited);
    assert_eq!((store.asks().len(), layer.handle().spare_refused()), (0, 1));
}

/// A17.
#[tokio::test(start_paused = true)]
async fn observing_fleet_asks_and_counts_and_lets_every_call_pass() {
    let store = FakeStore::new();
    store.set_delay(millis(5));
    let layer = replica(&store, Rate::per_second(10).burst(4), 1).observe();
    let start = Instant::now();
    for _ in 0..7 {
        assert_eq!(call(&layer).await, Ok(()));
    }
    assert_eq!(start.elapsed(), Duration::ZERO, "no call waits");
    sleep(millis(30)).await;
    let handle = layer.handle();
    assert_eq!((handle.admitted(), handle.rejected()), (4, 3));
    assert_eq!(store.asks().iter().map(|ask| ask.granted).sum::<u32>(), 4);
}

/// A10: a grant serves the calls by criticality.
#[tokio::test(start_paused = true)]
async fn grant_serves_the_most_critical_call_first() {
    let store = FakeStore::new();
    store.set_delay(millis(10));
    let layer = replica(&store, Rate::per_second(10).burst(2), 1);
    let mut first = spawn(throttled(&layer).oneshot(1));
    assert!(first.poll().is_pending());
    let mut low = spawn(throttled(&layer).oneshot(1));
    let mut high = spawn(throttled(&layer).oneshot(1));
    assert!(Criticality::Sheddable.with(|| low.poll()).is_pending());
    assert!(Criticality::CriticalPlus.with(|| high.poll()).is_pending());
    sleep(millis(30)).await;
    assert!(first.await.is_ok());
    assert!(high.await.is_ok());
    assert_eq!(low.await.unwrap_err().reason(), Reason::RateLimited);
}

/// A service that is polled ready is the one that is called, also after a wait.
#[tokio::test(start_paused = true)]
async fn waiting_call_uses_the_service_that_was_ready() {
    let store = FakeStore::new();
    store.set_delay(millis(3));
    let mut service = throttled(&replica(&store, Rate::per_second(10), 1));
    let ready = service.ready().await.unwrap();
    assert_eq!(ready.call(7).await.unwrap(), 7);
}
