//! Who is refused at once, because it would wait for longer than it can.

use Criticality::{CriticalPlus, Sheddable};
use buttress_core::{Criticality, Deadline, Reason};
use buttress_throttle::{Queue, ThrottleLayer};
use tokio_test::{assert_pending, assert_ready_err, task};
use tower::ServiceExt;

use crate::support::{Worker, limited, ms, reason, rejection};

/// Calls end every 100 ms, and two of them wait still.
async fn busy(layer: &ThrottleLayer) -> Worker {
    let service = limited(layer);
    for _ in 0..5 {
        let call = service.clone().oneshot(100);
        tokio::task::spawn(call);
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(ms(250)).await;
    tokio::task::yield_now().await;
    assert_eq!(layer.handle().queued(), 2);
    service
}

#[tokio::test(start_paused = true)]
async fn call_is_rejected_at_once_when_the_expected_wait_exceeds_its_time() {
    let service = busy(&ThrottleLayer::concurrency(1).queue(9)).await;
    let call = |left| task::spawn(Deadline::after(ms(left)).around(service.clone().oneshot(100)));
    let rejection = rejection::<u64>(Err(assert_ready_err!(call(299).poll())));
    assert_eq!(rejection.reason(), Reason::Overloaded);
    assert_eq!(rejection.retry_after(), None);
    let mut hopeful = call(300);
    assert_pending!(hopeful.poll());
    assert_eq!(hopeful.await.unwrap(), 100);
}

#[tokio::test(start_paused = true)]
async fn expected_wait_counts_only_the_waiters_ahead() {
    let service = busy(&ThrottleLayer::concurrency(1).queue(9)).await;
    let call = |criticality: Criticality, deadline| {
        let call = criticality.around(service.clone().oneshot(10));
        task::spawn(Deadline::after(ms(deadline)).around(call))
    };
    let hopeless = assert_ready_err!(call(Sheddable, 299).poll());
    assert_eq!(reason::<u64>(Err(hopeless)), Reason::Overloaded);
    let (mut patient, mut critical) = (call(Sheddable, 300), call(CriticalPlus, 100));
    assert_pending!(patient.poll());
    assert_pending!(critical.poll());
    assert_eq!(critical.await.unwrap() + patient.await.unwrap(), 20);
}

#[tokio::test(start_paused = true)]
async fn latest_call_in_a_standing_lifo_queue_expects_no_wait_behind_others() {
    let service = busy(&ThrottleLayer::concurrency(1).queue(Queue::new(9).adaptive_lifo())).await;
    let mut call = task::spawn(Deadline::after(ms(100)).around(service.oneshot(10)));
    assert_pending!(call.poll());
    assert_eq!(call.await.unwrap(), 10);
}

#[tokio::test(start_paused = true)]
async fn slow_call_counts_for_an_eighth_of_the_mean() {
    let service = limited(&ThrottleLayer::concurrency(1).queue(9));
    for millis in [100, 100, 100, 900, 100, 100] {
        tokio::task::spawn(service.clone().oneshot(millis));
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(ms(1210)).await;
    // One waits still, and the mean is an eighth of 900 ms and seven eighths of 100.
    let call = |left| task::spawn(Deadline::after(ms(left)).around(service.clone().oneshot(10)));
    let hopeless = assert_ready_err!(call(399).poll());
    assert_eq!(reason::<u64>(Err(hopeless)), Reason::Overloaded);
    assert_pending!(call(400).poll());
}

#[tokio::test(start_paused = true)]
async fn wait_estimate_is_reset_when_the_queue_runs_empty() {
    let layer = ThrottleLayer::concurrency(1).queue(9);
    let service = limited(&layer);
    let mut calls = Vec::new();
    for _ in 0..4 {
        calls.push(tokio::task::spawn(service.clone().oneshot(1000)));
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let mut running = task::spawn(service.clone().oneshot(10));
    assert_pending!(running.poll());
    let mut soon = task::spawn(Deadline::after(ms(50)).around(service.clone().oneshot(10)));
    assert_pending!(soon.poll(), "it is not turned away for what was slow before");
    running.await.unwrap();
    assert_eq!(soon.await.unwrap(), 10);
}
