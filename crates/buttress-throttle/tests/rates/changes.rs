//! A rate that is changed while calls wait for it.

use std::time::Duration;

use buttress_core::Reason;
use buttress_throttle::{Rate, Rates};
use tokio::{
    runtime::Builder,
    time::{Instant, timeout},
};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::ServiceExt;

use super::support::{echo, limited, ms, reason, rejection};
use super::{advance, decided, of_rate, of_rates};

#[tokio::test(start_paused = true)]
async fn a_raised_rate_reaches_all_waiters_at_once() {
    let layer = of_rate(Rate::per_minute(1)).queue(10);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    let mut calls: Vec<_> = (0..10).map(|n| task::spawn(service.clone().oneshot(n))).collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    layer.handle().set_rate(Rate::per_second(1000));
    decided().await;
    assert_eq!(layer.handle().queued(), 0);
    for call in &mut calls {
        assert!(call.is_woken());
        assert_ready_ok!(call.poll());
    }
}

#[tokio::test(start_paused = true)]
async fn raised_rate_sets_the_pace_of_remaining_waiters() {
    let layer = of_rate(Rate::per_minute(1)).queue(11);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    let start = Instant::now();
    let calls: Vec<_> = (0..10).map(|n| tokio::task::spawn(service.clone().oneshot(n))).collect();
    tokio::task::yield_now().await;
    layer.handle().set_rate(Rate::per_second(1000).burst(1));
    let newcomer = tokio::task::spawn(service.clone().oneshot(10));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(start.elapsed(), ms(10));
    newcomer.await.unwrap().unwrap();
    assert_eq!(start.elapsed(), ms(11), "it waits behind them");
}

#[tokio::test(start_paused = true)]
async fn used_up_rate_has_a_cell_an_interval_after_it_was_lowered() {
    let layer = of_rate(Rate::per_second(1000));
    let (service, handle) = (echo(&layer), layer.handle());
    for n in 0..1000 {
        service.clone().oneshot(n).await.unwrap();
    }
    handle.set_rate(Rate::per_second(10));
    let refused = rejection(service.clone().oneshot(0).await);
    assert_eq!(refused.retry_after(), Some(ms(100)));
    advance(ms(100)).await;
    service.clone().oneshot(0).await.unwrap();
    // By way of 0 as well.
    handle.set_rate(Rate::per_second(1000));
    while service.clone().oneshot(0).await.is_ok() {}
    handle.set_rate(Rate::per_second(0));
    handle.set_rate(Rate::per_second(10));
    assert_eq!(rejection(service.oneshot(0).await).retry_after(), Some(ms(100)));
}

#[tokio::test(start_paused = true)]
async fn calls_wait_at_a_rate_of_zero_until_it_is_raised() {
    let layer = of_rate(Rate::per_second(0)).queue(2);
    let service = echo(&layer);
    let mut calls: Vec<_> = (0..2).map(|n| task::spawn(service.clone().oneshot(n))).collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    let refused = rejection(service.clone().oneshot(2).await);
    assert_eq!(refused.reason(), Reason::RateLimited);
    assert_eq!(refused.retry_after(), None);
    advance(Duration::from_secs(3600)).await;
    assert_eq!(layer.handle().queued(), 2);
    layer.handle().set_rate(Rate::per_second(1));
    decided().await;
    assert_ready_ok!(calls[0].poll());
    layer.handle().set_rate(Rate::per_second(0));
    advance(Duration::from_secs(3600)).await;
    assert!(!calls[1].is_woken());
    layer.handle().set_rate(Rate::per_second(1));
    decided().await;
    assert!(calls[1].is_woken());
    assert_ready_ok!(calls[1].poll());
}

#[tokio::test(start_paused = true)]
async fn waiter_costlier_than_a_lowered_burst_is_refused_and_blocks_no_other() {
    let layer = of_rate(Rate::per_second(10)).cost(|n: &u32| *n).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(10).await.unwrap();
    let mut heavy = task::spawn(service.clone().oneshot(6));
    let mut light = task::spawn(service.clone().oneshot(1));
    assert_pending!(heavy.poll());
    assert_pending!(light.poll());
    decided().await;
    layer.handle().set_rate(Rate::per_second(10).burst(5));
    decided().await;
    assert!(heavy.is_woken());
    assert_eq!(reason::<u32>(Err(assert_ready_err!(heavy.poll()))), Reason::NeverAdmissible);
    advance(ms(100)).await;
    assert_ready_ok!(light.poll());
}

#[tokio::test(start_paused = true)]
async fn waiters_run_when_the_last_of_several_rates_is_raised() {
    let rates = Rates::new(Rate::per_second(10).burst(1)).and(Rate::per_minute(1));
    let layer = of_rates(rates).queue(9);
    let service = echo(&layer);
    service.clone().oneshot(0).await.unwrap();
    let start = Instant::now();
    let calls: Vec<_> = (0..3).map(|n| tokio::task::spawn(service.clone().oneshot(n))).collect();
    tokio::task::yield_now().await;
    layer.handle().set_rate_at(1, Rate::per_minute(600));
    for (call, at) in calls.into_iter().zip([100, 200, 300]) {
        call.await.unwrap().unwrap();
        assert_eq!(start.elapsed(), ms(at));
    }
}

#[tokio::test(start_paused = true)]
async fn rate_set_for_all_keys_reaches_the_waiters_of_each() {
    let layer = of_rate(Rate::per_minute(1)).keyed(|key: &u64| Some(key % 2)).queue(2);
    let service = limited(&layer);
    for key in 0..2 {
        service.clone().oneshot(key).await.unwrap();
    }
    let calls: Vec<_> =
        (0..4).map(|key| tokio::task::spawn(service.clone().oneshot(key))).collect();
    tokio::task::yield_now().await;
    assert_eq!(layer.handle().queued(), 4);
    assert_eq!(layer.handle().for_key(&0).unwrap().queued(), 2);
    assert_eq!(reason(service.clone().oneshot(0).await), Reason::RateLimited);
    layer.handle().set_rate(Rate::per_second(10));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(layer.handle().queued(), 0);
}

/// In real time: other threads do not see time that is paused.
#[tokio::test]
async fn rate_raised_on_a_thread_without_timers_reaches_the_waiters() {
    let without_runtime = |raise: &dyn Fn()| raise();
    let in_one_without_timers = |raise: &dyn Fn()| {
        Builder::new_current_thread().build().unwrap().block_on(async { raise() });
    };
    let in_one_that_ends = |raise: &dyn Fn()| {
        Builder::new_current_thread().enable_time().build().unwrap().block_on(async { raise() });
    };
    let threads: [fn(&dyn Fn()); 3] = [without_runtime, in_one_without_timers, in_one_that_ends];
    for before in [Rate::per_hour(0), Rate::per_hour(1)] {
        for thread in threads {
            let layer = of_rate(before).queue(4);
            let service = echo(&layer);
            let calls: Vec<_> =
                (0..4).map(|n| tokio::task::spawn(service.clone().oneshot(n))).collect();
            tokio::task::yield_now().await;
            let handle = layer.handle();
            let raise = move || handle.set_rate(Rate::per_second(100).burst(1));
            std::thread::spawn(move || thread(&raise)).join().unwrap();
            for call in calls {
                timeout(Duration::from_secs(60), call).await.unwrap().unwrap().unwrap();
            }
        }
    }
}
