//! So many calls per unit of time: at once, in turn, by weight, by several rates.

use std::time::Duration;

use buttress_core::{BoxError, Reason};
use buttress_testkit::{Probe, counts};
use buttress_throttle::{Rate, Rates, ThrottleSnapshot};
use tokio::time::Instant;
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt};
use tower_service::Service;

use super::support::{echo, ms, reason, rejection};
use super::{PACE, advance, assert_tokens, of_rate, of_rates};

#[tokio::test(start_paused = true)]
async fn call_over_the_rate_is_rejected_with_the_exact_retry_delay() {
    let layer = of_rate(Rate::per_second(2));
    let service = echo(&layer);
    assert_eq!(service.clone().oneshot(1).await.unwrap(), 1);
    assert_eq!(service.clone().oneshot(2).await.unwrap(), 2);
    advance(ms(1)).await;
    let rejection = rejection(service.clone().oneshot(3).await);
    assert_eq!(rejection.reason(), Reason::RateLimited);
    assert_eq!(rejection.retry_after(), Some(ms(499)));
    advance(ms(498)).await;
    assert_eq!(reason(service.clone().oneshot(3).await), Reason::RateLimited);
    advance(ms(1)).await;
    assert_eq!(service.clone().oneshot(3).await.unwrap(), 3);
    let expected = counts!(ThrottleSnapshot { admitted: [0, 0, 3, 0], rejected: [0, 0, 2, 0] });
    assert_eq!(layer.handle().snapshot(), expected);
}

/// A fixed window lets 198 calls of 100 a second through inside 100 ms.
#[tokio::test(start_paused = true)]
async fn any_window_of_a_second_admits_at_most_rate_plus_burst() {
    let service = echo(&of_rate(Rate::per_second(100).burst(1)));
    let mut served = Vec::new();
    for _ in 0..2000 {
        if service.clone().oneshot(1).await.is_ok() {
            served.push(Instant::now());
        }
        advance(ms(1)).await;
    }
    for (first, last) in served.iter().zip(&served[100..]) {
        assert!(*last - *first >= Duration::from_secs(1));
    }
    assert!(served.len() >= 199);
}

#[tokio::test(start_paused = true)]
async fn clones_and_services_share_a_rate() {
    let layer = of_rate(Rate::per_second(5));
    let mut served = 0;
    for _ in 0..1500 {
        served += u32::from(echo(&layer.clone()).oneshot(1).await.is_ok());
    }
    assert_eq!(served, 5);
    assert_tokens(layer.handle().tokens(), 0);
}

#[tokio::test(start_paused = true)]
async fn idle_ready_handle_takes_no_cell() {
    let layer = of_rate(Rate::per_second(1));
    for _ in 0..100 {
        echo(&layer).ready().await.unwrap();
    }
    assert_eq!(echo(&layer).oneshot(1).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn queued_calls_run_in_order_at_the_rate() {
    let layer = of_rate(Rate::per_second(10).burst(1)).queue(3);
    let service = echo(&layer);
    let start = Instant::now();
    let calls = (0..5).map(|n| {
        let service = service.clone();
        tokio::task::spawn(async move { (service.oneshot(n).await.ok(), start.elapsed()) })
    });
    let mut ended = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        ended.push(call.await.unwrap());
    }
    let at = |n: u32| (Some(n), n * ms(100));
    assert_eq!(ended[..4], [at(0), at(1), at(2), at(3)]);
    assert_eq!(ended[4], (None, ms(0)), "the queue was full");
    assert_eq!(layer.handle().queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn leaving_waiter_gives_its_cells_to_later_calls() {
    let layer = of_rate(Rate::per_second(10).burst(1)).queue(9);
    let service = echo(&layer);
    let start = Instant::now();
    service.clone().oneshot(0).await.unwrap();
    let mut leaving = task::spawn(service.clone().oneshot(1));
    assert_pending!(leaving.poll());
    assert_eq!(layer.handle().queued(), 1);
    drop(leaving);
    assert_eq!(layer.handle().queued(), 0);
    service.clone().oneshot(2).await.unwrap();
    assert_eq!(start.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn call_takes_all_its_cells_or_none() {
    let layer = of_rate(Rate::per_second(5)).cost(|n: &u32| *n);
    let service = echo(&layer);
    service.clone().oneshot(3).await.unwrap();
    let rejection = rejection(service.clone().oneshot(3).await);
    assert_eq!(rejection.retry_after(), Some(ms(200)));
    assert_tokens(layer.handle().tokens(), 2);
    advance(ms(PACE)).await;
    service.clone().oneshot(2).await.unwrap();
    service.clone().oneshot(0).await.unwrap();
    assert_tokens(layer.handle().tokens(), 0);
}

#[tokio::test(start_paused = true)]
async fn cost_above_the_burst_is_never_admissible_even_with_a_queue() {
    let layer = of_rate(Rate::per_second(5)).cost(|n: &u32| *n).queue(9);
    let rejection = rejection(echo(&layer).oneshot(6).await);
    assert_eq!(rejection.reason(), Reason::NeverAdmissible);
    assert_eq!(rejection.retry_after(), None);
    assert_tokens(layer.handle().tokens(), 5);
    assert_eq!(layer.handle().queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn tightest_of_several_rates_applies_and_a_refusal_takes_no_cells() {
    let rates = Rates::new(Rate::per_second(3)).and(Rate::per_minute(5));
    let layer = of_rates(rates);
    let service = echo(&layer);
    for _ in 0..3 {
        service.clone().oneshot(1).await.unwrap();
    }
    assert_eq!(reason(service.clone().oneshot(1).await), Reason::RateLimited);
    advance(Duration::from_secs(1)).await;
    assert_tokens(layer.handle().tokens(), 2);
    service.clone().oneshot(1).await.unwrap();
    service.clone().oneshot(1).await.unwrap();
    let rejection = rejection(service.clone().oneshot(1).await);
    assert_eq!(rejection.retry_after(), Some(Duration::from_secs(11)));
}

#[tokio::test(start_paused = true)]
async fn the_rate_can_be_changed_while_calls_come() {
    let layer = of_rate(Rate::per_second(1));
    let (service, handle) = (echo(&layer), layer.handle());
    service.clone().oneshot(1).await.unwrap();
    assert_eq!(reason(service.clone().oneshot(1).await), Reason::RateLimited);
    handle.set_rate(Rate::per_second(100));
    assert_eq!(handle.rates(), [Rate::per_second(100)]);
    advance(ms(10)).await;
    service.clone().oneshot(1).await.unwrap();
    handle.set_rate(Rate::per_second(0));
    let rejection = rejection(service.oneshot(1).await);
    assert_eq!(rejection.reason(), Reason::RateLimited);
    assert_eq!(rejection.retry_after(), None);
}

#[tokio::test(start_paused = true)]
async fn set_rate_at_changes_only_an_index_in_range() {
    let (one, other) = (Rate::per_second(3), Rate::per_minute(5));
    let handle = of_rates(Rates::new(one).and(other)).handle();
    handle.set_rate_at(1, Rate::per_minute(7));
    handle.set_rate_at(2, Rate::per_minute(9));
    assert_eq!(handle.rates(), [one, Rate::per_minute(7)]);
}

#[tokio::test(start_paused = true)]
async fn rejected_call_gives_back_the_inner_reservation() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1);
    let mut service = of_rate(Rate::per_second(0)).layer(probe.clone());
    service.ready().await.unwrap();
    assert_eq!(reason(service.call(1).await), Reason::RateLimited);
    assert_eq!(probe.reserved(), 0);
    assert_eq!(probe.calls(), 0);
}
