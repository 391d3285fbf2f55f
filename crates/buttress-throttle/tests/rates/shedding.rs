//! Which of the calls that wait for a rate go first, and which are shed: as for permits.

use Criticality::{Critical, CriticalPlus, Sheddable, SheddablePlus};
use buttress_core::{Criticality, Deadline, Reason};
use buttress_throttle::{Codel, Queue, Rate};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tower::ServiceExt;

use super::support::{Echo, echo, ms, reason, rejection};
use super::{Layered, PACE, advance, of_rate};

/// Ten a second, one at a time, the first of them taken.
async fn busy(layer: &Layered) -> Echo {
    let service = echo(layer);
    service.clone().oneshot(0).await.unwrap();
    service
}

fn ten() -> Layered {
    of_rate(Rate::per_second(10).burst(1))
}

type Outcome = (Result<u32, buttress_core::BoxError>, Instant);

async fn call(service: &Echo, criticality: Criticality) -> JoinHandle<Outcome> {
    let call = criticality.around(service.clone().oneshot(1));
    let call = tokio::task::spawn(async move { (call.await, Instant::now()) });
    tokio::task::yield_now().await;
    call
}

#[tokio::test(start_paused = true)]
async fn higher_criticality_goes_first_and_equals_in_order() {
    let service = busy(&ten().queue(9)).await;
    let start = Instant::now();
    let mut calls = Vec::new();
    for criticality in [Sheddable, Critical, SheddablePlus, CriticalPlus, Critical] {
        calls.push(call(&service, criticality).await);
    }
    for (call, at) in calls.into_iter().zip([500, 200, 400, 100, 300]) {
        let (outcome, ended) = call.await.unwrap();
        assert_eq!(outcome.unwrap(), 1);
        assert_eq!(ended - start, ms(at));
    }
}

#[tokio::test(start_paused = true)]
async fn full_queue_displaces_the_latest_of_the_lowest_criticality() {
    let layer = ten().queue(2);
    let service = busy(&layer).await;
    let (first, last) = (call(&service, Sheddable).await, call(&service, Sheddable).await);
    let critical = call(&service, CriticalPlus).await;
    let displaced = rejection(last.await.unwrap().0);
    assert_eq!(displaced.reason(), Reason::RateLimited);
    assert_eq!(displaced.retry_after(), Some(ms(300)), "behind both that wait");
    assert_eq!(reason(call(&service, Sheddable).await.await.unwrap().0), Reason::RateLimited);
    assert!(critical.await.unwrap().0.is_ok());
    assert!(first.await.unwrap().0.is_ok());
    assert_eq!(layer.handle().rejected_at(Sheddable), 2);
}

#[tokio::test(start_paused = true)]
async fn expected_wait_counts_only_the_waiters_ahead() {
    let service = busy(&ten().queue(9)).await;
    let _waiting = [call(&service, Sheddable).await, call(&service, Sheddable).await];
    let within = |left, criticality: Criticality| {
        let call = criticality.around(service.clone().oneshot(1));
        Deadline::after(ms(left)).around(call)
    };
    let hopeless = rejection(within(299, Sheddable).await);
    assert_eq!(hopeless.reason(), Reason::RateLimited);
    assert_eq!(hopeless.retry_after(), Some(ms(300)));
    assert_eq!(within(100 + PACE, CriticalPlus).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn overtaken_waiter_leaves_at_its_deadline_or_max_wait() {
    let layer = ten().queue(Queue::new(9).max_wait(ms(150)));
    let service = busy(&layer).await;
    let start = Instant::now();
    let overtaken = call(&service, Sheddable).await;
    let timed_out = Deadline::after(ms(140)).around(call(&service, Critical)).await;
    let deadline = Deadline::after(ms(120));
    let late = tokio::task::spawn(deadline.around(service.clone().oneshot(1)));
    tokio::task::yield_now().await;
    assert!(late.await.unwrap().is_err(), "it would have to wait for 200 ms");
    timed_out.await.unwrap().0.unwrap();
    let (outcome, ended) = overtaken.await.unwrap();
    let refused = rejection(outcome);
    assert_eq!(refused.reason(), Reason::RateLimited);
    assert_eq!(ended - start, ms(150));
    assert_eq!(refused.retry_after(), Some(ms(50)));
    assert_eq!(layer.handle().queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn waiter_times_out_when_its_deadline_passes_in_the_queue() {
    let service = busy(&ten().queue(9)).await;
    let deadline = Deadline::after(ms(120));
    let overtaken = Sheddable.around(service.clone().oneshot(1));
    let overtaken = tokio::task::spawn(deadline.around(overtaken));
    tokio::task::yield_now().await;
    let critical = call(&service, CriticalPlus).await;
    let refused = rejection(overtaken.await.unwrap());
    assert_eq!(refused.reason(), Reason::DeadlineExceeded);
    assert_eq!(refused.deadline(), Some(deadline));
    critical.await.unwrap().0.unwrap();
}

/// Twenty calls a second for six seconds, at ten.
async fn overload(layer: &Layered) -> Vec<Option<u128>> {
    let service = busy(layer).await;
    let mut calls = Vec::new();
    for _ in 0..120 {
        calls.push((Instant::now(), call(&service, Critical).await));
        sleep(ms(50)).await;
    }
    let mut waited = Vec::new();
    for (start, call) in calls {
        let (outcome, ended) = call.await.unwrap();
        waited.push(outcome.ok().map(|_| (ended - start).as_millis()));
    }
    waited
}

#[tokio::test(start_paused = true)]
async fn codel_keeps_the_wait_near_its_target_at_any_queue_length() {
    let patient = overload(&ten().queue(1000)).await;
    assert!(patient[119] >= Some(5900), "without it, {:?} ms", patient[119]);
    let layer = ten().queue(Queue::new(1000).codel(Codel::new(ms(100), ms(1000))));
    let waited = overload(&layer).await;
    let late: Vec<_> = waited[60..].iter().flatten().collect();
    assert!(late.len() >= 28, "the rate is used up: {} served", late.len());
    let over = late.iter().filter(|waited| ***waited > 200).count();
    assert!(over <= 4, "the first of each interval may wait longer: {late:?}");
    assert!(layer.handle().rejected() > 20);
}

#[tokio::test(start_paused = true)]
async fn lifo_serves_the_latest_first_under_overload() {
    let waited = overload(&ten().queue(Queue::new(1000).adaptive_lifo())).await;
    let quick = waited[60..].iter().flatten().filter(|waited| **waited <= 100).count();
    assert!(quick >= 28, "{quick} of the last 60 go at once");
}

#[tokio::test(start_paused = true)]
async fn full_lifo_queue_drops_the_oldest_waiter() {
    let layer = of_rate(Rate::per_second(0)).queue(Queue::new(2).adaptive_lifo());
    let service = echo(&layer);
    let (oldest, older) = (call(&service, Critical).await, call(&service, Critical).await);
    advance(ms(100)).await;
    let newest = call(&service, Critical).await;
    assert_eq!(reason(oldest.await.unwrap().0), Reason::RateLimited);
    layer.handle().set_rate(Rate::per_second(1));
    assert!(newest.await.unwrap().0.is_ok());
    assert!(older.await.unwrap().0.is_ok());
}
