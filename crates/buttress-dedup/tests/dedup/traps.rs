//! Faults that were found in other implementations of request coalescing.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use buttress_dedup::{DedupLayer, DedupSnapshot};
use buttress_testkit::counts;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, advance, sleep_until, timeout},
};
use tokio_test::{assert_pending, task::Spawn};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};
use tower_service::Service;

use crate::support::{Call, Failure, call, ms, outcome, settle, taking, waiting};

/// Makes 60 calls, one per 5 ms, of 50 ms each. Returns the numbers of inner calls and of served callers.
async fn sixty_callers(patience: Duration) -> (usize, usize) {
    let upstream = taking(ms(50));
    let service = DedupLayer::new().layer(upstream.clone());
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for n in 0..60 {
        let service = service.clone();
        callers.spawn(async move {
            sleep_until(start + n * ms(5)).await;
            timeout(patience, service.oneshot(1)).await.is_ok()
        });
    }
    let served = callers.join_all().await.into_iter().filter(|served| *served).count();
    (upstream.calls(), served)
}

/// The timeout is not an ambient deadline, so the flight does not learn of it. The number of calls is
/// the smallest possible.
#[tokio::test(start_paused = true)]
async fn impatient_callers_hand_the_flight_over_until_it_ends() {
    assert_eq!(sixty_callers(ms(30)).await, (6, 36));
}

#[tokio::test(start_paused = true)]
async fn patient_callers_are_all_served() {
    assert_eq!(sixty_callers(ms(300)).await, (6, 60));
}

#[tokio::test(start_paused = true)]
async fn sixty_patient_callers_share_one_long_call() {
    let upstream = taking(ms(500));
    let service = DedupLayer::new().layer(upstream.clone());
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for n in 0..60 {
        let service = service.clone();
        callers.spawn(async move {
            sleep_until(start + n * ms(5)).await;
            service.oneshot(1).await
        });
    }
    assert_eq!(callers.join_all().await, [1; 60].map(Ok));
    assert_eq!(upstream.calls(), 1);
    assert_eq!(start.elapsed(), ms(500));
}

#[tokio::test(start_paused = true)]
async fn flight_survives_a_thousand_aborted_drivers() {
    let (layer, upstream) = (DedupLayer::new(), taking(ms(5_000)));
    let service = layer.layer(upstream.clone());
    let mut leader = tokio::spawn(service.clone().oneshot(1));
    for _ in 0..1000 {
        tokio::time::sleep(ms(1)).await;
        let next = tokio::spawn(service.clone().oneshot(1));
        tokio::time::sleep(ms(1)).await;
        leader.abort();
        leader = next;
    }
    assert_eq!(leader.await.unwrap(), Ok(1));
    assert_eq!(upstream.calls(), 1);
    assert_eq!(layer.handle().handovers(), 1);
}

#[tokio::test(start_paused = true)]
async fn unpolled_leader_delays_no_follower() {
    let upstream = taking(ms(50));
    let mut service = DedupLayer::new().layer(upstream.clone());
    let leader = service.call(1);
    let start = Instant::now();
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    assert_eq!(start.elapsed(), ms(50));
    assert_eq!(leader.await, Ok(1), "the leader finds its response when polled");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn unpolled_driver_delays_no_follower() {
    let upstream = taking(ms(50));
    let mut service = DedupLayer::new().layer(upstream.clone());
    let (leader, driver) = (service.call(1), waiting(&service, 1));
    let start = Instant::now();
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    assert_eq!(start.elapsed(), ms(50));
    assert_eq!(leader.await, Ok(1));
    assert_eq!(outcome(driver), Ok(1));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn woken_driver_and_deputy_delay_no_follower_when_dropped() {
    let upstream = taking(ms(50));
    let service = DedupLayer::new().layer(upstream.clone());
    let mut calls: Vec<_> = (0..6).map(|_| Some(waiting(&service, 1))).collect();
    advance(ms(50)).await;
    let woken = |call: &&mut Option<Call<usize>>| call.as_ref().is_some_and(Spawn::is_woken);
    let woken: Vec<_> = calls.iter_mut().filter(woken).collect();
    assert_eq!(woken.len(), 2, "the driver and its deputy");
    for call in woken {
        *call = None;
    }
    assert_eq!(settle(&mut calls).1, [1; 4].map(Ok));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn waiters_are_woken_only_for_progress() {
    let steps = 20;
    let service = DedupLayer::new().layer(service_fn(move |_: u32| async move {
        for _ in 0..steps {
            tokio::time::sleep(ms(10)).await;
        }
        Ok::<_, Failure>(7)
    }));
    let mut calls: Vec<_> = (0..100).map(|_| Some(waiting(&service, 1))).collect();
    for step in 1..steps {
        advance(ms(10)).await;
        let (polls, outcomes) = settle(&mut calls);
        assert_eq!(outcomes, []);
        assert!((1..=2).contains(&polls), "{polls} polls for step {step}: a driver and a deputy");
        assert_eq!(settle(&mut calls).0, 0);
    }
    advance(ms(10)).await;
    let (polls, outcomes) = settle(&mut calls);
    assert_eq!(outcomes, vec![Ok(7); 100]);
    assert_eq!(polls, 100, "each is polled once for the answer");
}

#[tokio::test(start_paused = true)]
async fn spurious_polls_do_not_poll_the_inner_call() {
    let polled = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polled);
    let service = DedupLayer::new().layer(service_fn(move |_: u32| {
        let counter = Arc::clone(&counter);
        std::future::poll_fn(move |_| {
            counter.fetch_add(1, SeqCst);
            std::task::Poll::<Result<u32, Failure>>::Pending
        })
    }));
    let mut calls = [(); 4].map(|()| waiting(&service, 1));
    for _ in 0..100 {
        for call in &mut calls {
            assert_pending!(call.poll());
        }
    }
    assert_eq!(polled.load(SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn paused_time_advances_while_callers_wait() {
    let service = DedupLayer::new().layer(taking(ms(24 * 60 * 60 * 1000)));
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        callers.spawn(service.clone().oneshot(1));
    }
    assert_eq!(callers.join_all().await, [1; 10].map(Ok));
}

type Nested = BoxCloneService<u32, u32, Failure>;

/// A service that calls the layer again with the request `next(n)`, up to three times in all.
fn nested(layer: &DedupLayer, next: fn(u32) -> u32) -> Nested {
    let outside = Arc::<OnceLock<std::sync::Mutex<Nested>>>::default();
    let again = Arc::clone(&outside);
    let depth = Arc::new(AtomicUsize::new(0));
    let service = service_fn(move |n: u32| {
        let (again, deep) = (Arc::clone(&again), depth.fetch_add(1, SeqCst) >= 3);
        async move {
            tokio::time::sleep(ms(10)).await;
            if deep {
                return Ok(n);
            }
            let service = again.get().unwrap().lock().unwrap().clone();
            service.oneshot(next(n)).await.map(|answer| answer + 100)
        }
    });
    let service = layer.layer(service).boxed_clone();
    assert!(outside.set(std::sync::Mutex::new(service.clone())).is_ok());
    service
}

#[tokio::test(start_paused = true)]
async fn nested_call_of_the_same_key_bypasses_deduplication() {
    let layer = DedupLayer::new();
    let service = nested(&layer, |n| n);
    let outcome = timeout(ms(1000), service.oneshot(1)).await;
    assert_eq!(outcome.expect("the call waits for itself"), Ok(301));
    let handle = layer.handle();
    assert_eq!(handle.snapshot(), counts!(DedupSnapshot { calls: 4, leaders: 1, bypassed: 3 }));
}

#[tokio::test(start_paused = true)]
async fn nested_call_bypasses_deduplication_when_its_keys_form_a_cycle() {
    let layer = DedupLayer::new();
    let service = nested(&layer, |n| 3 - n);
    let outcome = timeout(ms(1000), service.oneshot(1)).await;
    assert_eq!(outcome.expect("the call waits for itself"), Ok(302));
    let handle = layer.handle();
    assert_eq!(handle.snapshot(), counts!(DedupSnapshot { calls: 4, leaders: 2, bypassed: 2 }));
}

#[tokio::test(start_paused = true)]
async fn nested_call_bypasses_deduplication_when_a_follower_drives() {
    let layer = DedupLayer::new();
    let service = nested(&layer, |n| n);
    let (leader, follower) = (waiting(&service, 1), waiting(&service, 1));
    drop(leader);
    let outcome = timeout(ms(1000), follower).await;
    assert_eq!(outcome.expect("the call waits for itself"), Ok(301));
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn early_response_reaches_all_waiters() {
    let answered = Arc::new(Notify::new());
    let notify = Arc::clone(&answered);
    let service = DedupLayer::new().layer(service_fn(move |_: u32| {
        let notify = Arc::clone(&notify);
        async move {
            notify.notified().await;
            Ok::<_, Failure>(7)
        }
    }));
    let (mut first, second, third) =
        (waiting(&service, 1), call(&service, 1), waiting(&service, 1));
    answered.notify_one();
    assert!(first.is_woken());
    assert!(first.poll().is_ready());
    assert!(third.is_woken());
    assert_eq!(outcome(third), Ok(7));
    // The second caller was never polled, so it starts the next flight.
    let mut second = second;
    assert_pending!(second.poll());
    answered.notify_one();
    assert_eq!(outcome(second), Ok(7));
}
