//! Who is shed first: the less critical, and those who waited too long.

use Criticality::{Critical, CriticalPlus, Sheddable, SheddablePlus};
use buttress_core::{BoxError, Criticality, Deadline, Reason};
use buttress_testkit::counts;
use buttress_throttle::{Codel, Queue, ThrottleLayer, ThrottleSnapshot};
use tokio::{
    task::JoinHandle,
    time::{Instant, advance},
};
use tower::ServiceExt;

use crate::support::{Worker, limited, ms, reason};

type Outcome = (Result<u64, BoxError>, Instant);

async fn call(service: &Worker, criticality: Criticality) -> JoinHandle<Outcome> {
    let call = criticality.around(service.clone().oneshot(10));
    let running = tokio::task::spawn(async move { (call.await, Instant::now()) });
    tokio::task::yield_now().await;
    running
}

#[tokio::test(start_paused = true)]
async fn higher_criticality_goes_first_and_equals_in_order() {
    let layer = ThrottleLayer::concurrency(1).queue(9);
    let service = limited(&layer);
    let start = Instant::now();
    let running = call(&service, Sheddable).await;
    let order = [Sheddable, Critical, SheddablePlus, CriticalPlus, Critical];
    let mut calls = Vec::new();
    for criticality in order {
        calls.push(call(&service, criticality).await);
    }
    running.await.unwrap().0.unwrap();
    let mut ended = Vec::new();
    for call in calls {
        ended.push((call.await.unwrap().1 - start).as_millis());
    }
    assert_eq!(ended, [60, 30, 50, 20, 40]);
}

#[tokio::test(start_paused = true)]
async fn full_queue_displaces_the_latest_of_the_lowest_criticality() {
    let layer = ThrottleLayer::concurrency(1).queue(3);
    let service = limited(&layer);
    let _running = call(&service, Critical).await;
    let first = call(&service, Sheddable).await;
    let last = call(&service, Sheddable).await;
    let plus = call(&service, SheddablePlus).await;
    let critical = call(&service, Critical).await;
    assert_eq!(reason(last.await.unwrap().0), Reason::Overloaded);
    assert_eq!(reason(call(&service, Sheddable).await.await.unwrap().0), Reason::Overloaded);
    let handle = layer.handle();
    assert_eq!(handle.queued(), 3);
    for (call, served) in [(first, true), (plus, true), (critical, true)] {
        assert_eq!(call.await.unwrap().0.is_ok(), served);
    }
    assert_eq!(Criticality::ALL.map(|criticality| handle.rejected_at(criticality)), [2, 0, 0, 0]);
    assert_eq!(Criticality::ALL.map(|criticality| handle.admitted_at(criticality)), [1, 1, 2, 0]);
}

#[tokio::test(start_paused = true)]
async fn call_past_its_deadline_displaces_no_waiter() {
    let layer = ThrottleLayer::concurrency(0).queue(1);
    let service = limited(&layer);
    let waiting = call(&service, Sheddable).await;
    let late = Deadline::after(ms(0)).around(service.clone().oneshot(10));
    assert_eq!(reason(late.await), Reason::DeadlineExceeded);
    layer.handle().set_limit(1);
    assert!(waiting.await.unwrap().0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn most_critical_call_is_shed_only_without_lower_ones() {
    let layer = ThrottleLayer::concurrency(1).queue(2);
    let service = limited(&layer);
    let _running = call(&service, Critical).await;
    let waiting = [call(&service, CriticalPlus).await, call(&service, CriticalPlus).await];
    assert_eq!(reason(call(&service, CriticalPlus).await.await.unwrap().0), Reason::Overloaded);
    for call in waiting {
        call.await.unwrap().0.unwrap();
    }
}

/// One call every 5 ms, while the service takes 10: the queue stands.
async fn overload(layer: &ThrottleLayer) -> Vec<Option<u128>> {
    let service = limited(layer);
    let mut calls = Vec::new();
    for _ in 0..120 {
        let start = Instant::now();
        calls.push((start, call(&service, Critical).await));
        advance(ms(5)).await;
    }
    let mut waited = Vec::new();
    for (start, call) in calls {
        let (outcome, ended) = call.await.unwrap();
        waited.push(outcome.ok().map(|millis| (ended - start).as_millis() - u128::from(millis)));
    }
    waited
}

#[tokio::test(start_paused = true)]
async fn plain_queue_makes_waits_grow_under_overload() {
    let waited = overload(&ThrottleLayer::concurrency(1).queue(1000)).await;
    assert!(waited.iter().all(Option::is_some));
    assert!(waited[119] >= Some(580), "{:?}", waited[119]);
}

#[tokio::test(start_paused = true)]
async fn codel_keeps_the_wait_near_its_target_at_any_queue_length() {
    let layer = ThrottleLayer::concurrency(1).queue(Queue::new(1000).codel(Codel::default()));
    let waited = overload(&layer).await;
    let late: Vec<_> = waited[60..].iter().flatten().collect();
    assert!(late.len() >= 20, "the service is kept busy: {} served", late.len());
    let over = late.iter().filter(|waited| ***waited > 10).count();
    assert!(
        over <= 4,
        "over twice the target but the first of each interval and the last: {late:?}"
    );
    assert!(layer.handle().rejected() > 20);
}

#[tokio::test(start_paused = true)]
async fn last_waiter_gets_the_permit_however_long_its_wait() {
    let layer = ThrottleLayer::concurrency(0).queue(Queue::new(4).codel(Codel::new(ms(5), ms(50))));
    let (service, handle) = (limited(&layer), layer.handle());
    let mut calls = Vec::new();
    for _ in 0..4 {
        calls.push(call(&service, Critical).await);
    }
    // The first of an interval is served, however long it waited.
    for _ in 0..2 {
        advance(ms(60)).await;
        handle.set_limit(1);
        handle.set_limit(0);
        assert!(calls.remove(0).await.unwrap().0.is_ok());
    }
    handle.set_limit(1);
    let last = calls.pop().unwrap();
    assert_eq!(reason(calls.remove(0).await.unwrap().0), Reason::Overloaded);
    assert!(last.await.unwrap().0.is_ok(), "otherwise no call would use the permit");
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 3, 0],
        rejected: [0, 0, 1, 0],
        in_flight: Some(0),
        limit: Some(1)
    });
    assert_eq!(handle.snapshot(), expected);
    assert!(call(&service, Critical).await.await.unwrap().0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn queue_that_ran_empty_sheds_no_call() {
    let layer = ThrottleLayer::concurrency(0).queue(Queue::new(2).codel(Codel::new(ms(5), ms(50))));
    let (service, handle) = (limited(&layer), layer.handle());
    for _ in 0..2 {
        let calls = [call(&service, Critical).await, call(&service, Critical).await];
        advance(ms(60)).await;
        handle.set_limit(1);
        for call in calls {
            assert!(call.await.unwrap().0.is_ok());
        }
        handle.set_limit(0);
    }
}

#[tokio::test(start_paused = true)]
async fn codel_sheds_in_the_queue_of_each_service_too() {
    let layer =
        ThrottleLayer::concurrency(1).queue(Queue::new(1000).codel(Codel::default())).per_service();
    assert!(overload(&layer).await.iter().any(Option::is_none));
}

#[tokio::test(start_paused = true)]
async fn lifo_serves_the_latest_first_until_the_queue_runs_empty() {
    let layer = ThrottleLayer::concurrency(1).queue(Queue::new(1000).adaptive_lifo());
    let waited = overload(&layer).await;
    let quick = waited[60..].iter().flatten().filter(|waited| **waited <= 10).count();
    assert!(quick >= 25, "{quick} of the last 60 are served at once");
    let service = limited(&layer);
    let start = Instant::now();
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(call(&service, Critical).await);
    }
    for (call, at) in calls.into_iter().zip([10, 20, 30]) {
        assert_eq!(call.await.unwrap().1 - start, ms(at));
    }
}

#[tokio::test(start_paused = true)]
async fn full_lifo_queue_drops_the_oldest_waiter() {
    let layer = ThrottleLayer::concurrency(0).queue(Queue::new(2).adaptive_lifo());
    let service = limited(&layer);
    let oldest = call(&service, Critical).await;
    let older = call(&service, Critical).await;
    assert_eq!(reason(call(&service, Critical).await.await.unwrap().0), Reason::Overloaded);
    advance(ms(100)).await;
    let newest = call(&service, Critical).await;
    assert_eq!(reason(oldest.await.unwrap().0), Reason::Overloaded);
    layer.handle().set_limit(1);
    assert!(newest.await.unwrap().0.is_ok());
    assert!(older.await.unwrap().0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn lifo_queue_of_one_stands_while_its_place_changes_hands() {
    let layer = ThrottleLayer::concurrency(0).queue(Queue::new(1).adaptive_lifo());
    let service = limited(&layer);
    let oldest = call(&service, Critical).await;
    advance(ms(100)).await;
    let older = call(&service, Critical).await;
    let newest = call(&service, Critical).await;
    layer.handle().set_limit(1);
    for (call, served) in [(oldest, false), (older, false), (newest, true)] {
        assert_eq!(call.await.unwrap().0.is_ok(), served);
    }
}
