//! The instance that is called, and what a waiting call reserves.

use buttress_core::{Attempt, BoxError, Deadline, Reason};
use buttress_order::{OrderLayer, OrderSnapshot};
use buttress_testkit::{Probe, counts};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Layer, ServiceExt};
use tower_service::Service;

use crate::support::{ms, reason};

type Number = Probe<u32, u32, BoxError>;

fn probe(permits: usize) -> Number {
    Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(permits)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    reason = "the shape of a key"
)]
fn all(_: &u32) -> Option<()> {
    Some(())
}

/// Polls the service ready, and calls it.
async fn ready_call<S: Service<u32, Error = BoxError>>(service: &mut S, number: u32) -> S::Future {
    std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
    service.call(number)
}

#[tokio::test(start_paused = true)]
async fn call_that_begins_at_once_calls_the_instance_that_was_ready() {
    let probe = probe(1);
    let mut service = OrderLayer::serial(all).layer(probe.clone());
    let call = ready_call(&mut service, 7).await;
    assert_eq!((probe.live(), probe.reserved()), (1, 0));
    assert_eq!(call.await.unwrap(), 7);
    assert_eq!(probe.violations(), [0; 0]);
}

/// The running call may need the permit for its retry.
#[tokio::test(start_paused = true)]
async fn waiting_call_reserves_nothing() {
    for latest in [false, true] {
        let probe = probe(2);
        probe.hold();
        let mut service = if latest {
            OrderLayer::latest(all).layer(probe.clone())
        } else {
            OrderLayer::serial(all).layer(probe.clone())
        };
        let mut running = task::spawn(ready_call(&mut service, 1).await);
        let mut waiting = task::spawn(ready_call(&mut service, 2).await);
        assert_pending!(waiting.poll());
        assert_eq!((probe.live(), probe.reserved()), (1, 0));
        assert!(probe.reserve().is_some(), "a stranger gets the permit");
        probe.release();
        let _ = running.poll();
        drop(running);
        assert_eq!(waiting.await.unwrap(), 2);
        assert_eq!(probe.violations(), [0; 0]);
        assert!(probe.at_rest());
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_has_the_turn_awaits_the_readiness_of_its_clone() {
    let probe = probe(1);
    let mut service = OrderLayer::serial(all).layer(probe.clone());
    let running = ready_call(&mut service, 1).await;
    let mut waiting = {
        // `poll_ready` of this handle would wait for the permit, so it is called without.
        let mut other = service.clone();
        task::spawn(other.call(2))
    };
    assert_pending!(waiting.poll());
    assert_eq!(running.await.unwrap(), 1);
    let stranger = probe.reserve().unwrap();
    assert!(waiting.is_woken(), "it has the turn");
    assert_pending!(waiting.poll());
    assert_eq!(probe.waiting(), 1);
    drop(stranger);
    assert!(waiting.is_woken(), "its clone is ready");
    assert_eq!(waiting.await.unwrap(), 2);
    assert_eq!(probe.violations(), [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn error_of_readiness_after_the_turn_ends_the_call_and_passes_the_turn_on() {
    let probe = probe(1);
    let layer = OrderLayer::serial(all);
    let mut service = layer.layer(probe.clone());
    let running = ready_call(&mut service, 1).await;
    let waiting = [service.call(2), service.call(3)];
    probe.break_down(|| "broken".into());
    drop(running);
    for call in waiting {
        assert_eq!(call.await.unwrap_err().to_string(), "broken");
    }
    assert_eq!(layer.handle().keys(), 0);
    assert_eq!(layer.handle().snapshot(), counts!(OrderSnapshot { calls: 3 }));
}

#[tokio::test(start_paused = true)]
async fn deadline_ends_a_call_that_has_the_turn_and_awaits_readiness() {
    let probe = probe(1);
    let layer = OrderLayer::serial(all);
    let mut service = layer.layer(probe.clone());
    let running = ready_call(&mut service, 1).await;
    let deadline = Deadline::after(ms(10));
    let waiting = Deadline::with(Some(deadline), || service.call(2));
    let mut next = task::spawn(service.call(3));
    assert_pending!(next.poll());
    drop(running);
    let stranger = probe.reserve().unwrap();
    assert_eq!(reason(waiting.await), Reason::DeadlineExceeded);
    assert!(next.is_woken(), "the turn passes on");
    drop(stranger);
    assert_eq!(next.await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn call_that_awaits_readiness_is_superseded_by_a_later_call() {
    let probe = probe(2);
    let layer = OrderLayer::latest(all);
    let mut service = layer.layer(probe.clone());
    let running = ready_call(&mut service, 1).await;
    let mut newest = service.clone();
    std::future::poll_fn(|cx| newest.poll_ready(cx)).await.unwrap();
    let mut waiting = task::spawn(service.call(2));
    assert_pending!(waiting.poll());
    drop(running);
    let _stranger = probe.reserve().unwrap();
    assert_pending!(waiting.poll());
    assert_eq!(probe.waiting(), 1);
    let latest = newest.call(3);
    assert!(waiting.is_woken());
    assert_eq!(reason(waiting.await), Reason::Superseded);
    assert_eq!(latest.await.unwrap(), 3);
    assert_eq!(probe.waiting(), 0);
    assert_eq!(layer.handle().keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn rejected_call_gives_the_reservation_back() {
    let probe = probe(2);
    probe.hold();
    let mut service = OrderLayer::serial(all).queue(0).layer(probe.clone());
    let mut running = task::spawn(ready_call(&mut service, 1).await);
    assert_pending!(running.poll());
    let full = ready_call(&mut service, 2).await;
    assert_eq!(probe.reserved(), 0, "the handle lives on, and so does the future");
    assert_eq!(reason(full.await), Reason::Overloaded);
    probe.release();
    assert_ready_ok!(running.poll());
}

/// The rule of core for spare calls: never queued.
#[tokio::test(start_paused = true)]
async fn spare_call_begins_on_a_free_key_and_is_refused_on_a_busy_one() {
    let probe = probe(9);
    let serial = OrderLayer::serial(all);
    let latest = OrderLayer::latest(all);
    let overlapping = OrderLayer::latest(all).overlapping();
    let layers = [
        (serial.layer(probe.clone()).boxed_clone(), serial.handle()),
        (latest.layer(probe.clone()).boxed_clone(), latest.handle()),
        (overlapping.layer(probe.clone()).boxed_clone(), overlapping.handle()),
    ];
    let spare = Attempt::current().next().spare();
    for (mut service, handle) in layers {
        std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        assert_eq!(spare.with(|| service.call(1)).await.unwrap(), 1);
        let running = ready_call(&mut service, 2).await;
        std::future::poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        let refused = spare.with(|| service.call(3));
        assert_eq!(reason(refused.await), Reason::Overloaded);
        assert_eq!(running.await.unwrap(), 2, "it was not superseded");
        let expected = counts!(OrderSnapshot { calls: 3, spare_refused: 1 });
        assert_eq!(handle.snapshot(), expected);
    }
}
