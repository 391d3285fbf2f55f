//! What went wrong elsewhere: each trap as it was seen in a peer.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use buttress_dedup::DedupLayer;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, advance, sleep_until, timeout},
};
use tokio_test::{assert_pending, task::Spawn};
use tower::{Layer, ServiceExt, service_fn, util::BoxCloneService};
use tower_service::Service;

use crate::support::{Call, Failure, call, ms, outcome, settle, taking, waiting};

/// 60 callers, one per 5 ms, for work of 50 ms: how many calls there were, and how many were served.
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

/// Their patience is no ambient deadline, so a flight is not told that it has let one of them down: the
/// number of calls is the least there can be.
#[tokio::test(start_paused = true)]
async fn impatient_callers_pass_the_work_on_until_it_is_done() {
    assert_eq!(sixty_callers(ms(30)).await, (6, 36));
}

#[tokio::test(start_paused = true)]
async fn patient_callers_are_all_served() {
    assert_eq!(sixty_callers(ms(300)).await, (6, 60));
}

#[tokio::test(start_paused = true)]
async fn sixty_patient_callers_within_one_call_are_one_call() {
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
    assert_eq!((upstream.calls(), start.elapsed()), (1, ms(500)));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_leaders_in_a_row_are_aborted_and_the_work_goes_on() {
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
    assert_eq!((upstream.calls(), layer.handle().handovers()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_never_polled_delays_nobody() {
    let upstream = taking(ms(50));
    let mut service = DedupLayer::new().layer(upstream.clone());
    let leader = service.call(1);
    let start = Instant::now();
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    assert_eq!(start.elapsed(), ms(50));
    assert_eq!(leader.await, Ok(1), "it finds its answer when it looks");
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_driver_that_is_alive_and_polled_no_more_delays_nobody() {
    let upstream = taking(ms(50));
    let mut service = DedupLayer::new().layer(upstream.clone());
    let (leader, driver) = (service.call(1), waiting(&service, 1));
    let start = Instant::now();
    assert_eq!(service.clone().oneshot(1).await, Ok(1));
    assert_eq!(start.elapsed(), ms(50));
    assert_eq!((leader.await, outcome(driver)), (Ok(1), Ok(1)));
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_driver_and_a_deputy_that_are_dropped_when_they_were_woken_delay_nobody() {
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
async fn whoever_waits_is_polled_when_there_is_something_to_do_and_not_else() {
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
async fn callers_who_are_polled_without_need_do_not_poll_the_work() {
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
async fn paused_time_goes_on_while_somebody_waits() {
    let service = DedupLayer::new().layer(taking(ms(24 * 60 * 60 * 1000)));
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        callers.spawn(service.clone().oneshot(1));
    }
    assert_eq!(callers.join_all().await, [1; 10].map(Ok));
}

type Nested = BoxCloneService<u32, u32, Failure>;

/// A service whose work calls the layer again, for each request but 0 with what `next` says.
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
async fn a_layer_inside_itself_with_the_same_key_goes_alone() {
    let layer = DedupLayer::new();
    let service = nested(&layer, |n| n);
    let outcome = timeout(ms(1000), service.oneshot(1)).await;
    assert_eq!(outcome.expect("it waits for itself"), Ok(301));
    let handle = layer.handle();
    assert_eq!(
        (handle.leaders(), handle.bypassed(), handle.followers(), handle.in_flight()),
        (1, 3, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_layer_inside_itself_in_a_ring_of_keys_goes_alone_where_the_ring_closes() {
    let layer = DedupLayer::new();
    let service = nested(&layer, |n| 3 - n);
    let outcome = timeout(ms(1000), service.oneshot(1)).await;
    assert_eq!(outcome.expect("it waits for itself"), Ok(302));
    let handle = layer.handle();
    assert_eq!((handle.leaders(), handle.in_flight()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_layer_inside_itself_goes_alone_whoever_drives() {
    let layer = DedupLayer::new();
    let service = nested(&layer, |n| n);
    let (leader, follower) = (waiting(&service, 1), waiting(&service, 1));
    drop(leader);
    let outcome = timeout(ms(1000), follower).await;
    assert_eq!(outcome.expect("it waits for itself"), Ok(301));
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_before_anybody_waits_for_it_is_seen_by_all() {
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
    // It has not called yet, and so is the next flight's.
    let mut second = second;
    assert_pending!(second.poll());
    answered.notify_one();
    assert_eq!(outcome(second), Ok(7));
}
