//! Waiting for a permit: who goes next, who is woken, and who leaves.

use std::time::Duration;

use buttress_core::{BoxError, Criticality, Deadline, Reason};
use buttress_testkit::{Probe, counts};
use buttress_throttle::{Queue, ThrottleLayer, ThrottleSnapshot};
use tokio::{
    task::JoinHandle,
    time::{Instant, advance},
};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, ServiceExt};

use crate::support::{Worker, limited, ms, reason, rejection};

/// Makes a call in a task of its own, which has been polled once when this returns.
async fn call(service: &Worker, millis: u64) -> JoinHandle<(Result<u64, BoxError>, Instant)> {
    let call = service.clone().oneshot(millis);
    let running = tokio::task::spawn(async move { (call.await, Instant::now()) });
    tokio::task::yield_now().await;
    running
}

#[tokio::test(start_paused = true)]
async fn oldest_waiter_goes_first_and_new_calls_do_not_overtake() {
    let layer = ThrottleLayer::concurrency(1).queue(3);
    let service = limited(&layer);
    let start = Instant::now();
    let mut calls = Vec::new();
    for _ in 0..4 {
        calls.push(call(&service, 10).await);
    }
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 1, 0],
        queued: 3,
        in_flight: Some(1),
        limit: Some(1)
    });
    assert_eq!(layer.handle().snapshot(), expected);
    for (call, at) in calls.into_iter().zip([10, 20, 30, 40]) {
        let (outcome, ended) = call.await.unwrap();
        assert_eq!(outcome.unwrap(), 10);
        assert_eq!(ended - start, ms(at));
    }
    let expected =
        counts!(ThrottleSnapshot { admitted: [0, 0, 4, 0], in_flight: Some(0), limit: Some(1) });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn new_call_takes_no_permit_that_is_due_to_a_waiter() {
    let layer = ThrottleLayer::concurrency(1).queue(1);
    let service = limited(&layer);
    let mut running = task::spawn(service.clone().oneshot(10));
    assert_pending!(running.poll());
    let mut waiting = task::spawn(service.clone().oneshot(10));
    assert_pending!(waiting.poll());
    drop(running);
    // It has been granted, and its task has not run yet.
    assert!(waiting.is_woken());
    let expected =
        counts!(ThrottleSnapshot { admitted: [0, 0, 1, 0], in_flight: Some(1), limit: Some(1) });
    assert_eq!(layer.handle().snapshot(), expected);
    let mut newcomer = task::spawn(service.clone().oneshot(10));
    assert_pending!(newcomer.poll());
    assert_eq!(layer.handle().queued(), 1);
    waiting.await.unwrap();
    newcomer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn full_queue_rejects_at_once_as_overloaded() {
    let layer = ThrottleLayer::concurrency(1).queue(2);
    let service = limited(&layer);
    let _running = call(&service, 10).await;
    let _waiting = (call(&service, 10).await, call(&service, 10).await);
    let mut refused = task::spawn(service.clone().oneshot(10));
    assert_eq!(reason::<u64>(Err(assert_ready_err!(refused.poll()))), Reason::Overloaded);
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 1, 0],
        rejected: [0, 0, 1, 0],
        queued: 2,
        in_flight: Some(1),
        limit: Some(1)
    });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn returned_permit_wakes_a_single_waiter() {
    let layer = ThrottleLayer::concurrency(2).queue(10);
    let service = limited(&layer);
    let mut running: Vec<_> = (0..2).map(|_| task::spawn(service.clone().oneshot(10))).collect();
    for call in &mut running {
        assert_pending!(call.poll());
    }
    let mut waiting: Vec<_> = (0..10).map(|_| task::spawn(service.clone().oneshot(10))).collect();
    for call in &mut waiting {
        assert_pending!(call.poll());
    }
    drop(running.pop());
    let woken: Vec<_> = waiting.iter().map(task::Spawn::is_woken).collect();
    assert_eq!(woken.iter().filter(|woken| **woken).count(), 1);
    assert!(woken[0]);
}

#[tokio::test(start_paused = true)]
async fn waker_of_the_last_poll_is_woken() {
    let layer = ThrottleLayer::concurrency(1).queue(1);
    let service = limited(&layer);
    let mut running = task::spawn(service.clone().oneshot(10));
    assert_pending!(running.poll());
    let mut first = task::spawn(());
    let mut waiting = Box::pin(service.clone().oneshot(10));
    first.enter(|cx, _| assert!(waiting.as_mut().poll(cx).is_pending()));
    let mut second = task::spawn(waiting);
    assert_pending!(second.poll());
    drop(running);
    assert!(second.is_woken() && !first.is_woken());
}

#[tokio::test(start_paused = true)]
async fn leaving_waiter_frees_its_place_and_the_next_runs() {
    let layer = ThrottleLayer::concurrency(1).queue(3);
    let service = limited(&layer);
    let running = call(&service, 10).await;
    let (one, two, three) =
        (call(&service, 10).await, call(&service, 10).await, call(&service, 10).await);
    one.abort();
    two.abort();
    tokio::task::yield_now().await;
    assert_eq!(layer.handle().queued(), 1);
    running.await.unwrap().0.unwrap();
    three.await.unwrap().0.unwrap();
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn granted_permit_of_a_dropped_waiter_goes_to_the_next() {
    let layer = ThrottleLayer::concurrency(1).queue(2);
    let service = limited(&layer);
    let mut running = task::spawn(service.clone().oneshot(10));
    let mut first = task::spawn(service.clone().oneshot(10));
    let mut second = task::spawn(service.clone().oneshot(10));
    assert_pending!(running.poll());
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    drop(running);
    assert!(first.is_woken() && !second.is_woken());
    drop(first);
    assert!(second.is_woken());
    second.await.unwrap();
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 2, 0],
        abandoned: 1,
        in_flight: Some(0),
        limit: Some(1)
    });
    assert_eq!(layer.handle().snapshot(), expected);
}

/// A timer of tokio's is `Pending`, too, for a task that has used up its budget.
#[tokio::test(start_paused = true)]
async fn task_without_coop_budget_takes_its_granted_permit() {
    let layer = ThrottleLayer::concurrency(1).queue(Queue::new(1).max_wait(ms(50)));
    let service = layer.layer(tower::service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
    let mut holding = service.clone();
    let held = tower_service::Service::call(&mut holding, 0);
    let mut waiting = task::spawn(service.oneshot(1));
    assert_pending!(waiting.poll());
    drop(held);
    let spent = tokio::task::spawn(async move {
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }
        assert_ready_ok!(waiting.poll())
    });
    assert_eq!(spent.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn raised_limit_admits_waiters_at_once() {
    let layer = ThrottleLayer::concurrency(0).queue(3);
    let service = limited(&layer);
    let mut waiting: Vec<_> = (0..3).map(|_| task::spawn(service.clone().oneshot(10))).collect();
    for call in &mut waiting {
        assert_pending!(call.poll());
    }
    layer.handle().set_limit(2);
    let woken: Vec<_> = waiting.iter().map(task::Spawn::is_woken).collect();
    assert_eq!(woken, [true, true, false]);
    for call in waiting {
        call.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_leaves_at_its_deadline_and_frees_its_place() {
    let layer = ThrottleLayer::concurrency(1).queue(1);
    let service = limited(&layer);
    let _running = call(&service, 1000).await;
    let deadline = Deadline::after(ms(50));
    let start = Instant::now();
    let rejection = rejection(deadline.around(service.clone().oneshot(10)).await);
    assert_eq!(start.elapsed(), ms(50));
    assert_eq!(
        (rejection.reason(), rejection.deadline()),
        (Reason::DeadlineExceeded, Some(deadline))
    );
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 1, 0],
        rejected: [0, 0, 1, 0],
        in_flight: Some(1),
        limit: Some(1)
    });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn call_past_its_deadline_does_not_enqueue() {
    let layer = ThrottleLayer::concurrency(0).queue(1);
    let call = Deadline::after(Duration::ZERO).around(limited(&layer).oneshot(10));
    let mut call = task::spawn(call);
    let error = assert_ready_err!(call.poll());
    assert_eq!(reason::<u64>(Err(error)), Reason::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn max_wait_ends_a_wait_as_overloaded() {
    let layer = ThrottleLayer::concurrency(1).queue(Queue::new(1).max_wait(ms(30)));
    let service = limited(&layer);
    let _running = call(&service, 1000).await;
    let start = Instant::now();
    assert_eq!(reason(service.clone().oneshot(10).await), Reason::Overloaded);
    assert_eq!(start.elapsed(), ms(30));
    let patient = Deadline::after(ms(10)).around(service.clone().oneshot(10));
    assert_eq!(reason(patient.await), Reason::DeadlineExceeded);
}

#[tokio::test(start_paused = true)]
async fn queued_call_runs_on_the_ready_instance_with_its_own_request() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(2).pausing(1);
    let layer = ThrottleLayer::concurrency(1).queue(1);
    let service = layer.layer(probe.clone());
    let mut running = task::spawn(service.clone().oneshot(1));
    assert_pending!(running.poll());
    let deadline = Deadline::after(ms(500));
    let sheddable = Criticality::Sheddable.around(service.clone().oneshot(2));
    let mut waiting = task::spawn(deadline.around(sheddable));
    assert_pending!(waiting.poll());
    assert_eq!(probe.reserved(), 1, "it waits with the instance that was ready");
    drop(running);
    assert_eq!(waiting.await.unwrap(), 2);
    assert!(probe.violations().is_empty());
    assert_eq!(probe.ambient().last().unwrap().0, Some(deadline));
    assert_eq!(probe.criticalities(), [Criticality::Critical, Criticality::Sheddable]);
    assert!(probe.at_rest());
}

#[tokio::test(start_paused = true)]
async fn refused_waiter_gives_back_readiness_before_its_response() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1);
    let layer = ThrottleLayer::concurrency(0).queue(Queue::new(1).max_wait(ms(5)));
    let mut waiting = task::spawn(layer.layer(probe.clone()).oneshot(2));
    assert_pending!(waiting.poll());
    assert_eq!(probe.reserved(), 1);
    advance(ms(6)).await;
    assert_ready_err!(waiting.poll());
    assert_eq!(probe.reserved(), 0);
}

#[tokio::test(start_paused = true)]
async fn observing_layer_makes_no_call_wait() {
    let layer = ThrottleLayer::concurrency(1).queue(1).observe();
    let service = limited(&layer);
    let start = Instant::now();
    let calls = [call(&service, 10).await, call(&service, 10).await, call(&service, 10).await];
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 2, 0],
        rejected: [0, 0, 1, 0],
        in_flight: Some(2),
        limit: Some(1)
    });
    assert_eq!(layer.handle().snapshot(), expected);
    for call in calls {
        let (outcome, ended) = call.await.unwrap();
        assert_eq!(outcome.unwrap(), 10);
        assert_eq!(ended - start, ms(10));
    }
}
