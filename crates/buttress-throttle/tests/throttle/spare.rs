//! Spare calls: admitted only if there is room now, and counted apart.

use std::{
    future::{Future, poll_fn},
    pin::pin,
};

use buttress_core::{Attempt, BoxError, Criticality, Reason, Verdict};
use buttress_testkit::counts;
use buttress_throttle::{Queue, Rate, Rates, ThrottleLayer, ThrottleSnapshot};
use tokio::time::advance;
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use tower::{Layer, ServiceBuilder, ServiceExt};

use crate::{
    notes::Notes,
    support::{echo, limited, ms, reason, rejection, worker},
};

/// Runs `call` as a hedge does: as a spare attempt, in each poll.
async fn spare<F: Future>(call: F) -> F::Output {
    let mut call = pin!(call);
    poll_fn(|cx| Attempt::FIRST.next().spare().with(|| call.as_mut().poll(cx))).await
}

/// C2
#[tokio::test(start_paused = true)]
async fn spare_call_is_refused_at_once_instead_of_queued() {
    let layer = ThrottleLayer::concurrency(1).queue(10);
    let (service, handle) = (limited(&layer), layer.handle());
    let mut running = task::spawn(service.clone().oneshot(100));
    assert_pending!(running.poll());
    let error = assert_ready_err!(task::spawn(spare(service.clone().oneshot(1))).poll());
    assert_eq!(reason(Err::<u64, _>(error)), Reason::Overloaded);
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 1, 0],
        spare_refused: 1,
        in_flight: Some(1),
        limit: Some(1),
    });
    assert_eq!(handle.snapshot(), expected);
    assert_eq!((handle.calls(), handle.rejected(), handle.spare_refused()), (1, 0, 1));
}

#[tokio::test(start_paused = true)]
async fn spare_call_is_admitted_and_counted_while_a_permit_is_free() {
    let layer = ThrottleLayer::concurrency(2);
    let (service, handle) = (limited(&layer), layer.handle());
    let mut running = task::spawn(service.clone().oneshot(100));
    assert_pending!(running.poll());
    let mut hedge = task::spawn(spare(service.clone().oneshot(100)));
    assert_pending!(hedge.poll());
    assert_eq!((handle.admitted(), handle.in_flight()), (2, 2));
    drop(hedge);
    assert_eq!((handle.in_flight(), handle.spare_refused()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn spare_call_neither_overtakes_nor_displaces_a_waiter() {
    let layer = ThrottleLayer::concurrency(1).queue(1);
    let (service, handle) = (limited(&layer), layer.handle());
    let mut running = task::spawn(service.clone().oneshot(100));
    let mut waiting = task::spawn(Criticality::Sheddable.around(service.clone().oneshot(7)));
    assert_pending!(running.poll());
    assert_pending!(waiting.poll());
    let urgent = || Criticality::CriticalPlus.around(service.clone().oneshot(1));
    assert_eq!(reason(spare(urgent()).await), Reason::Overloaded);
    assert_eq!(handle.queued(), 1);
    drop(running);
    // The permit is the waiter's, whether or not the waiter has been polled since.
    assert_eq!(reason(spare(urgent()).await), Reason::Overloaded);
    assert_pending!(waiting.poll());
    advance(ms(7)).await;
    assert_ready_ok!(waiting.poll());
    assert_eq!((handle.rejected(), handle.spare_refused()), (0, 2));
    assert_eq!(spare(urgent()).await.ok(), Some(1));
}

/// The longest queue wait of zero and a full limit of zero have no special case.
#[tokio::test(start_paused = true)]
async fn spare_call_is_refused_as_full_at_a_limit_of_zero() {
    for queue in [Queue::new(0), Queue::new(9).max_wait(ms(0)), Queue::new(9).adaptive_lifo()] {
        let layer = ThrottleLayer::concurrency(0).queue(queue).retry_after(ms(40));
        let why = rejection(spare(limited(&layer).oneshot(1)).await);
        assert_eq!(why.reason(), Reason::Overloaded);
        assert!(why.retry_after() >= Some(ms(40)));
        assert_eq!((layer.handle().rejected(), layer.handle().spare_refused()), (0, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn spare_call_is_refused_by_a_rate_without_a_free_cell() {
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(1)).queue(10);
    let (service, handle) = (echo(&layer), layer.handle());
    assert_eq!(spare(service.clone().oneshot(1)).await.ok(), Some(1));
    let why = rejection(spare(service.clone().oneshot(2)).await);
    assert_eq!((why.reason(), why.retry_after()), (Reason::RateLimited, Some(ms(100))));
    assert_eq!((handle.admitted(), handle.rejected(), handle.spare_refused()), (1, 0, 1));
    assert_eq!(handle.queued(), 0);
    advance(ms(100)).await;
    assert_eq!(spare(service.oneshot(3)).await.ok(), Some(3));
}

#[tokio::test(start_paused = true)]
async fn spare_call_takes_no_cell_that_a_waiter_of_the_rate_is_due() {
    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(1)).queue(10);
    let (service, handle) = (echo(&layer), layer.handle());
    service.clone().oneshot(1).await.unwrap();
    let mut waiting = task::spawn(service.clone().oneshot(2));
    assert_pending!(waiting.poll());
    // The wait of the waiter, and its own.
    let why = rejection(spare(service.clone().oneshot(3)).await);
    assert_eq!((why.reason(), why.retry_after()), (Reason::RateLimited, Some(ms(200))));
    advance(ms(100)).await;
    assert_ready_ok!(waiting.poll());
    assert_eq!(reason(spare(service.clone().oneshot(4)).await), Reason::RateLimited);
    assert_eq!((handle.admitted(), handle.spare_refused()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn cost_of_a_spare_call_counts_as_that_of_any_call() {
    let cost = |n: &u32| *n;
    let layer = ThrottleLayer::rates(Rates::new(Rate::per_second(10)).and(Rate::per_hour(100)))
        .queue(9)
        .cost(cost);
    let (service, handle) = (echo(&layer), layer.handle());
    service.clone().oneshot(10).await.unwrap();
    assert_eq!(spare(service.clone().oneshot(0)).await.ok(), Some(0));
    assert_eq!(reason(spare(service.clone().oneshot(11)).await), Reason::NeverAdmissible);
    assert_eq!(reason(spare(service.oneshot(1)).await), Reason::RateLimited);
    assert_eq!((handle.rejected(), handle.spare_refused()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn spare_call_is_no_sample_but_counts_as_in_flight() {
    let notes = Notes::of(2);
    let layer = ThrottleLayer::adaptive(notes.clone()).queue(9);
    let service = limited(&layer);
    spare(service.clone().oneshot(10)).await.unwrap();
    let mut hedge = task::spawn(spare(service.clone().oneshot(50)));
    assert_pending!(hedge.poll());
    service.clone().oneshot(10).await.unwrap();
    drop(hedge);
    assert_eq!(notes.take(), [(ms(10), 2, false)]);
    let mut running = [50, 50].map(|millis| task::spawn(service.clone().oneshot(millis)));
    for call in &mut running {
        assert_pending!(call.poll());
    }
    assert_eq!(reason(spare(service.oneshot(1)).await), Reason::Overloaded);
    assert_eq!((layer.handle().rejected(), layer.handle().spare_refused()), (0, 1));
    assert_eq!(notes.take(), []);
}

#[tokio::test(start_paused = true)]
async fn refused_spare_call_leaves_the_accept_ratio_as_it_is() {
    let meaning = |outcome: Result<&u64, &BoxError>| match outcome {
        Ok(0) => Verdict::Transient,
        _ => Verdict::Success,
    };
    let layer = ThrottleLayer::accept_ratio().seed(3).classify(meaning);
    let (service, handle) = (layer.layer(worker()), layer.handle());
    for n in 0..40 {
        let _ = service.clone().oneshot(u64::from(n < 10)).await;
    }
    let probability = || handle.rejection_probability(Criticality::Critical);
    let (before, rejected) = (probability(), handle.rejected());
    assert!(before > 0.4 && before < 0.8, "{before}");
    // The draws are seeded, so the number of refusals before a call is sent is always the same.
    while spare(service.clone().oneshot(0)).await.is_err() {
        assert!((probability() - before).abs() < f64::EPSILON);
    }
    assert!(handle.spare_refused() > 0);
    assert_eq!((handle.rejected(), handle.admitted()), (rejected, 41 - rejected));
    assert!(probability() > before, "a spare call that was sent counts");
}

#[tokio::test(start_paused = true)]
async fn spare_call_is_refused_by_the_limit_of_its_key_only() {
    let key = |millis: &u64| (*millis != 9).then_some(millis % 10);
    let layer = ThrottleLayer::concurrency(1).keyed(key).queue(5);
    let (service, handle) = (limited(&layer), layer.handle());
    let mut running = task::spawn(service.clone().oneshot(17));
    assert_pending!(running.poll());
    assert_eq!(reason(spare(service.clone().oneshot(7)).await), Reason::Overloaded);
    assert_eq!(spare(service.clone().oneshot(8)).await.ok(), Some(8));
    assert_eq!(spare(service.oneshot(9)).await.ok(), Some(9), "no key, no limit");
    assert_eq!((handle.queued(), handle.rejected(), handle.spare_refused()), (0, 0, 1));
    assert_eq!(handle.for_key(&7).unwrap().spare_refused(), 1, "the count is that of all keys");
}

#[tokio::test(start_paused = true)]
async fn spare_call_is_refused_by_a_keyed_rate_and_by_a_shared_overflow() {
    let layer =
        ThrottleLayer::rate(Rate::per_hour(1)).keyed(|n: &u32| Some(*n)).queue(5).max_keys(1);
    let (service, handle) = (echo(&layer), layer.handle());
    for n in [1, 2] {
        service.clone().oneshot(n).await.unwrap();
        assert_eq!(reason(spare(service.clone().oneshot(n)).await), Reason::RateLimited);
    }
    assert_eq!((handle.queued(), handle.rejected(), handle.spare_refused()), (0, 0, 2));
}

/// An observed call that would wait gets a permit beyond the limit. A spare call would not wait.
#[tokio::test(start_paused = true)]
async fn observed_spare_call_runs_and_takes_no_place_of_the_queue() {
    let layer = ThrottleLayer::concurrency(1).queue(5).observe();
    let (service, handle) = (limited(&layer), layer.handle());
    let mut running = task::spawn(service.clone().oneshot(100));
    assert_pending!(running.poll());
    let mut hedge = task::spawn(spare(service.clone().oneshot(100)));
    assert_pending!(hedge.poll());
    assert_eq!((handle.in_flight(), handle.spare_refused(), handle.rejected()), (1, 1, 0));

    let layer = ThrottleLayer::rate(Rate::per_second(10).burst(1)).queue(5).observe();
    let (service, handle) = (echo(&layer), layer.handle());
    for n in 0..3 {
        assert_eq!(spare(service.clone().oneshot(n)).await.ok(), Some(n));
    }
    assert_eq!((handle.admitted(), handle.spare_refused(), handle.rejected()), (1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn nested_limits_count_a_spare_call_where_it_is_refused() {
    let (outer, inner) = (ThrottleLayer::concurrency(5), ThrottleLayer::concurrency(1).queue(5));
    let (admitted, refused) = (outer.handle(), inner.handle());
    let service = ServiceBuilder::new().layer(outer).layer(inner).service(worker());
    let mut running = task::spawn(service.clone().oneshot(100));
    assert_pending!(running.poll());
    assert_eq!(reason(spare(service.clone().oneshot(1)).await), Reason::Overloaded);
    assert_eq!((admitted.admitted(), admitted.in_flight(), admitted.spare_refused()), (2, 1, 0));
    assert_eq!((refused.admitted(), refused.spare_refused(), refused.queued()), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn per_service_state_counts_its_own_refused_spare_calls() {
    let layer = ThrottleLayer::concurrency(0).queue(3).per_service();
    let service = layer.layer(worker());
    let handle = service.handle();
    assert_eq!(reason(spare(service.oneshot(1)).await), Reason::Overloaded);
    assert_eq!((handle.spare_refused(), layer.handle().spare_refused()), (1, 0));
}
