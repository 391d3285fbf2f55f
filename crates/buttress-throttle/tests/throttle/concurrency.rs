//! Permits of a concurrency limit, and the events that return them.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use buttress_core::{BoxError, Criticality, Plain, Reason};
use buttress_testkit::{Probe, counts};
use buttress_throttle::{ThrottleLayer, ThrottleSnapshot};
use tokio_test::{assert_pending, assert_ready_ok, task};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_service::Service;

use crate::support::{limited, ms, reason, rejection, worker};

#[tokio::test(start_paused = true)]
async fn call_over_the_limit_is_rejected_at_once_with_the_layers_name() {
    let layer = ThrottleLayer::concurrency(2).named("db");
    let (service, handle) = (limited(&layer), layer.handle());
    let mut first = task::spawn(service.clone().oneshot(10));
    let mut second = task::spawn(service.clone().oneshot(10));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    let rejection = rejection(service.clone().oneshot(10).await);
    assert_eq!(rejection.reason(), Reason::Overloaded);
    assert_eq!(rejection.to_string(), "throttle `db`: overloaded");
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 2, 0],
        rejected: [0, 0, 1, 0],
        in_flight: Some(2),
        limit: Some(2)
    });
    assert_eq!(handle.snapshot(), expected);
    assert_eq!(first.await.unwrap() + second.await.unwrap(), 20);
    let expected = counts!(ThrottleSnapshot {
        admitted: [0, 0, 2, 0],
        rejected: [0, 0, 1, 0],
        in_flight: Some(0),
        limit: Some(2)
    });
    assert_eq!(handle.snapshot(), expected);
    assert_eq!(service.oneshot(1).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_permit_comes_back_when_a_call_ends_fails_is_dropped_or_panics() {
    let layer = ThrottleLayer::concurrency(1);
    let handle = layer.handle();
    let service = layer.layer(service_fn(|what: &'static str| async move {
        match what {
            "panic" => panic!("as told"),
            "fail" => Err(BoxError::from("as told")),
            "hang" => std::future::pending().await,
            _ => Ok(()),
        }
    }));
    service.clone().oneshot("answer").await.unwrap();
    service.clone().oneshot("fail").await.unwrap_err();
    let mut hanging = task::spawn(service.clone().oneshot("hang"));
    assert_pending!(hanging.poll());
    assert_eq!(handle.in_flight(), 1);
    drop(hanging);
    let mut panicking = task::spawn(service.clone().oneshot("panic"));
    catch_unwind(AssertUnwindSafe(|| panicking.poll())).unwrap_err();
    drop(panicking);
    assert_eq!(handle.in_flight(), 0);
    service.oneshot("answer").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unpolled_call_holds_its_permit_and_a_dropped_one_does_not() {
    let layer = ThrottleLayer::concurrency(1);
    let mut service = layer.layer(worker());
    let unpolled = service.ready().await.unwrap().call(1);
    assert_eq!(layer.handle().in_flight(), 1);
    drop(unpolled);
    assert_eq!(layer.handle().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn clones_and_services_of_a_layer_share_the_limit() {
    let layer = ThrottleLayer::concurrency(10);
    let services: Vec<_> = (0..1000).map(|_| limited(&layer.clone())).collect();
    let calls = services.into_iter().map(|service| tokio::task::spawn(service.oneshot(100)));
    let mut served = 0;
    for call in calls.collect::<Vec<_>>() {
        served += u32::from(call.await.unwrap().is_ok());
    }
    assert_eq!(served, 10);
    assert_eq!(layer.handle().rejected(), 990);
}

#[tokio::test(start_paused = true)]
async fn clones_share_a_queue_and_keep_their_own_name() {
    let layer = ThrottleLayer::concurrency(1).queue(1);
    let other = layer.clone().named("other");
    let mut calls = [layer.clone(), layer.clone()].map(|layer| {
        let mut call = task::spawn(limited(&layer).oneshot(10));
        assert_pending!(call.poll());
        call
    });
    assert_eq!(rejection(limited(&layer).oneshot(1).await).origin().name(), "throttle");
    assert_eq!(rejection(limited(&other).oneshot(1).await).origin().name(), "other");
    let [running, waiting] = &mut calls;
    assert_eq!(running.await.unwrap() + waiting.await.unwrap(), 20);
}

#[tokio::test(start_paused = true)]
async fn per_service_gives_each_service_its_own_limit_and_its_clones_share_it() {
    let layer = ThrottleLayer::concurrency(1).per_service();
    let (one, other) = (layer.layer(worker()), layer.layer(worker()));
    let mut busy = task::spawn(one.clone().oneshot(10));
    assert_pending!(busy.poll());
    assert_eq!(reason(one.clone().oneshot(1).await), Reason::Overloaded);
    assert_eq!(other.clone().oneshot(1).await.unwrap(), 1);
    assert_eq!(one.handle().in_flight(), 1);
    assert_eq!(other.handle().in_flight(), 0);
    assert_eq!(one.handle().admitted(), 1);
    assert_eq!(other.handle().admitted(), 1);
}

#[tokio::test(start_paused = true)]
async fn per_service_gives_each_service_counters_of_its_own() {
    let layer = ThrottleLayer::concurrency(1).retry_after(ms(100)).seed(7).per_service();
    let (one, other) = (layer.layer(worker()), layer.layer(worker()));
    let mut busy = [&one, &other].map(|service| task::spawn(service.clone().oneshot(10)));
    for call in &mut busy {
        assert_pending!(call.poll());
    }
    let first = rejection(one.clone().clone().oneshot(1).await).retry_after();
    let counts = |rejected| {
        counts!(ThrottleSnapshot {
            admitted: [0, 0, 1, 0],
            rejected: [0, 0, rejected, 0],
            in_flight: Some(1),
            limit: Some(1),
        })
    };
    assert_eq!(one.handle().snapshot(), counts(1));
    assert_eq!(other.handle().snapshot(), counts(0));
    let second = rejection(other.clone().oneshot(1).await).retry_after();
    assert_ne!(first, second, "the services share the random numbers");
    assert_eq!(one.handle().snapshot(), counts(1));
    assert_eq!(other.handle().snapshot(), counts(1));
    let untouched = counts!(ThrottleSnapshot { in_flight: Some(0), limit: Some(1) });
    assert_eq!(layer.handle().snapshot(), untouched);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_idle_ready_handles_hold_nothing() {
    let layer = ThrottleLayer::concurrency(1);
    let mut idle: Vec<_> = (0..1000).map(|_| limited(&layer)).collect();
    for service in &mut idle {
        service.ready().await.unwrap();
    }
    assert_eq!(limited(&layer).oneshot(1).await.unwrap(), 1);
}

/// tower's `load_shed` over a shared limit: the freed permit goes to an idle handle, and with nothing
/// in flight ten calls of ten are shed.
#[tokio::test(start_paused = true)]
async fn free_permit_goes_to_no_idle_handle() {
    let layer = ThrottleLayer::concurrency(1);
    let mut idle = limited(&layer);
    idle.ready().await.unwrap();
    let mut busy = limited(&layer);
    let call = busy.ready().await.unwrap().call(10);
    assert_eq!(reason(idle.call(1).await), Reason::Overloaded);
    idle.ready().await.unwrap();
    call.await.unwrap();
    for _ in 0..10 {
        assert_eq!(limited(&layer).oneshot(1).await.unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn rejected_call_gives_back_the_inner_reservation() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1);
    let mut service = ThrottleLayer::concurrency(0).layer(probe.clone());
    service.ready().await.unwrap();
    assert_eq!(probe.reserved(), 1);
    assert_eq!(reason(service.call(1).await), Reason::Overloaded);
    assert_eq!(probe.reserved(), 0);
    assert_eq!(probe.calls(), 0);
    assert!(probe.reserve().is_some(), "a stranger gets the permit");
}

#[tokio::test(start_paused = true)]
async fn a_layer_inside_itself_takes_two_permits() {
    let layer = ThrottleLayer::concurrency(2);
    let twice = ServiceBuilder::new().layer(layer.clone()).layer(layer.clone()).service(worker());
    let mut call = task::spawn(twice.clone().oneshot(10));
    assert_pending!(call.poll());
    assert_eq!(layer.handle().in_flight(), 2);
    let once = ThrottleLayer::concurrency(1);
    let nested = ServiceBuilder::new().layer(once.clone()).layer(once).service(worker());
    assert_eq!(reason(nested.oneshot(1).await), Reason::Overloaded);
}

/// A semaphore of tokio's says `Pending` with permits free once the task has used up its budget, and
/// a shedder takes that for "full".
#[tokio::test(start_paused = true)]
async fn task_without_coop_budget_takes_the_free_permit() {
    let layer = ThrottleLayer::concurrency(1).queue(1);
    let service = layer.layer(service_fn(|n: u32| async move { Ok::<_, BoxError>(n) }));
    let spent = tokio::task::spawn(async move {
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }
        let mut call = task::spawn(service.oneshot(1));
        assert_ready_ok!(call.poll())
    });
    assert_eq!(spent.await.unwrap(), 1);
    let expected =
        counts!(ThrottleSnapshot { admitted: [0, 0, 1, 0], in_flight: Some(0), limit: Some(1) });
    assert_eq!(layer.handle().snapshot(), expected);
}

#[tokio::test(start_paused = true)]
async fn lowered_limit_evicts_no_call_and_admits_none_above_it() {
    let layer = ThrottleLayer::concurrency(4);
    let (service, handle) = (limited(&layer), layer.handle());
    let mut calls: Vec<_> = (1..=4).map(|n| task::spawn(service.clone().oneshot(n))).collect();
    for call in &mut calls {
        assert_pending!(call.poll());
    }
    handle.set_limit(3);
    let mut left = calls.into_iter();
    left.next().unwrap().await.unwrap();
    assert_eq!(handle.in_flight(), 3);
    assert_eq!(reason(service.clone().oneshot(1).await), Reason::Overloaded);
    left.next().unwrap().await.unwrap();
    assert_eq!(service.clone().oneshot(1).await.unwrap(), 1);
    handle.set_limit(0);
    assert_eq!(reason(service.oneshot(1).await), Reason::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn observing_limit_admits_all_and_counts_the_same() {
    let run = |layer: ThrottleLayer<Plain, _, _>| async move {
        let service = limited(&layer);
        let mut outcomes = Vec::new();
        for round in 1..=3 {
            let calls = (0..5).map(|_| tokio::task::spawn(service.clone().oneshot(round * 10)));
            for call in calls.collect::<Vec<_>>() {
                outcomes.push(call.await.unwrap().is_ok());
            }
        }
        let handle = layer.handle();
        (outcomes, handle.rejected(), handle.admitted(), handle.in_flight())
    };
    let (outcomes, rejected, admitted, left) = run(ThrottleLayer::concurrency(2)).await;
    assert_eq!(rejected, 9);
    assert_eq!(admitted, 6);
    assert_eq!(left, 0);
    assert_eq!(outcomes.iter().filter(|served| **served).count(), 6);
    let (outcomes, ..) = run(ThrottleLayer::concurrency(2).observe()).await;
    assert!(outcomes.into_iter().all(|served| served));
    let (_, rejected, admitted, left) = run(ThrottleLayer::concurrency(2).observe()).await;
    assert_eq!(rejected, 9);
    assert_eq!(admitted, 6);
    assert_eq!(left, 0);
}

#[tokio::test(start_paused = true)]
async fn stacked_limits_reject_in_their_own_name() {
    let (outer, inner) =
        (ThrottleLayer::concurrency(2).named("outer"), ThrottleLayer::concurrency(1));
    let stack = ServiceBuilder::new().layer(outer.clone()).layer(inner.clone()).service(worker());
    let mut first = task::spawn(stack.clone().oneshot(10));
    assert_pending!(first.poll());
    assert_eq!(rejection(stack.clone().oneshot(10).await).origin().name(), "throttle");
    let expected =
        counts!(ThrottleSnapshot { admitted: [0, 0, 2, 0], in_flight: Some(1), limit: Some(2) });
    assert_eq!(outer.handle().snapshot(), expected);
    tokio::time::timeout(Duration::from_secs(1), first).await.unwrap().unwrap();
    assert_eq!(stack.oneshot(1).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn criticality_is_ambient_for_the_call_when_polled_elsewhere() {
    let work = |_: u32| async { Ok::<_, BoxError>(Criticality::current()) };
    let mut service = ThrottleLayer::concurrency(1).layer(service_fn(work));
    let call = Criticality::Sheddable.with(|| service.call(1));
    assert_eq!(call.await.unwrap(), Criticality::Sheddable);
}
