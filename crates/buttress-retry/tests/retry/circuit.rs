//! Rejections by an open circuit: the call stops, or waits once if the user asks for that.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use buttress_core::{BoxError, Deadline, Origin, Reason, Rejection};
use buttress_retry::{Backoff, Budget, Ratio, RetryLayer, RetryThrottle, StopReason};
use tokio::{task::JoinSet, time::Instant};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

use crate::support::{Log, MS, NO_WAIT, SECOND, calls, poll_once, rejected, scripted, times};

/// The rejection of a circuit that stays open for `retry_after`.
fn open(retry_after: impl Into<Option<Duration>>) -> BoxError {
    let rejection = Rejection::new(Reason::CircuitOpen, Origin::new("breaker"));
    match retry_after.into() {
        Some(retry_after) => rejection.after(retry_after).into(),
        None => rejection.into(),
    }
}

/// A service behind a circuit that is open for `interval`, and its log.
fn recovering(
    interval: Duration,
) -> (impl Service<u32, Response = u32, Error = BoxError, Future: Send> + Clone, Log) {
    let start = Instant::now();
    scripted(move |_| match interval.checked_sub(start.elapsed()) {
        Some(left) if !left.is_zero() => Err(open(left)),
        _ => Ok(7),
    })
}

/// A layer whose budget pays for nothing.
fn waiting() -> RetryLayer {
    RetryLayer::new(3).backoff(NO_WAIT).budget(Budget::new(Ratio::ZERO, 0)).wait_for_circuit()
}

/// C3, P1, CB-32
#[tokio::test(start_paused = true)]
async fn open_circuit_stops_the_call_at_once_whatever_retry_after_says() {
    for retry_after in [None, Some(Duration::ZERO), Some(4 * SECOND), Some(Duration::MAX)] {
        for left in [SECOND, 30 * SECOND, Duration::MAX] {
            let budget = Budget::throttle(RetryThrottle::new(10, Ratio::percent(10)));
            let layer = RetryLayer::new(3).budget(budget.clone());
            let (service, log) = scripted(move |_| Err(open(retry_after)));
            let (start, before) = (Instant::now(), budget.balance());
            let call = Deadline::after(left).around(layer.layer(service).oneshot(0));
            let error = call.await.unwrap_err();
            assert_eq!(Rejection::find(&error).unwrap().retry_after(), retry_after);
            assert_eq!((calls(&log), start.elapsed()), (1, Duration::ZERO));
            assert_eq!((layer.handle().retries(), budget.balance()), (0, before));
            assert_eq!(layer.handle().stopped(StopReason::Rejected), 1);
        }
    }
}

/// The outcome is not marked as given up: an outer layer may have the option.
#[tokio::test(start_paused = true)]
async fn open_circuit_is_left_to_an_outer_retry_that_waits() {
    let (service, log) = recovering(2 * SECOND);
    let inner = RetryLayer::new(3).backoff(NO_WAIT);
    let handle = inner.handle();
    let stack = ServiceBuilder::new().layer(waiting()).layer(inner);
    assert_eq!(stack.service(service).oneshot(0).await.unwrap(), 7);
    assert_eq!(calls(&log), 2);
    assert_eq!(handle.stopped(StopReason::Rejected), 1);
}

/// Other local rejections are waited for as before, exactly.
#[tokio::test(start_paused = true)]
async fn rejection_by_a_limit_is_waited_for_exactly_with_or_without_the_option() {
    for layer in [waiting(), RetryLayer::new(3)] {
        let (service, log) = scripted(|attempt| match attempt {
            1 => Err(rejected(4 * SECOND)),
            _ => Ok(7),
        });
        assert_eq!(layer.layer(service).oneshot(0).await.unwrap(), 7);
        assert_eq!(times(&log), [0, 4000]);
    }
}

/// C3
#[tokio::test(start_paused = true)]
async fn thousand_callers_wait_for_the_circuit_and_do_not_come_together() {
    let (service, log) = recovering(4 * SECOND);
    let layer = waiting().seed(7);
    let service = layer.layer(service);
    let callers: JoinSet<_> = (0..1000).map(|_| service.clone().oneshot(0)).collect();
    assert!(callers.join_all().await.into_iter().all(|outcome| outcome.is_ok()));
    let second = times(&log).split_off(1000);
    assert_eq!(second.len(), 1000);
    assert!(second.iter().all(|at| (4000..=6000).contains(at)), "never before the circuit asks");
    // Uniform over 2,000 ms: 50 calls in each 100 ms, and never a crowd in one of them.
    for from in (4000..6000).step_by(100) {
        let arrived = second.iter().filter(|at| (from..from + 100).contains(*at)).count();
        assert!((20..=80).contains(&arrived), "{arrived} calls in the 100 ms from {from} ms");
    }
    let most = second.chunk_by(|a, b| a == b).map(<[u128]>::len).max();
    assert!(most <= Some(6), "{most:?} calls in one millisecond");
    assert_eq!(layer.handle().retries(), 1000);
}

#[tokio::test(start_paused = true)]
async fn seed_repeats_the_waits_for_a_circuit() {
    let run = async |seed| {
        let (service, log) = recovering(4 * SECOND);
        waiting().seed(seed).layer(service).oneshot(0).await.unwrap();
        times(&log)[1]
    };
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}

/// CB-32
#[tokio::test(start_paused = true)]
async fn wait_for_the_circuit_is_spread_within_the_deadline() {
    let mut all = Vec::new();
    for seed in 0..20 {
        let (service, log) = recovering(4 * SECOND);
        let call = waiting().seed(seed).layer(service).oneshot(0);
        assert_eq!(Deadline::after(4100 * MS).around(call).await.unwrap(), 7);
        all.push(times(&log)[1]);
    }
    assert!(all.iter().all(|at| (4000..4100).contains(at)), "{all:?}");
    all.sort_unstable();
    all.dedup();
    assert!(all.len() > 10, "callers of one deadline still do not come together: {all:?}");
}

#[tokio::test(start_paused = true)]
async fn call_without_room_for_the_wait_stops_at_once() {
    for (retry_after, left, why) in [
        (Some(4 * SECOND), Some(SECOND), StopReason::PushbackExceedsDeadline),
        (Some(4 * SECOND), Some(4 * SECOND), StopReason::PushbackExceedsDeadline),
        (Some(Duration::MAX), Some(Duration::MAX), StopReason::PushbackExceedsDeadline),
        // `max_hint` is 60 s.
        (Some(61 * SECOND), None, StopReason::PushbackExceedsDeadline),
        (Some(Duration::MAX), None, StopReason::PushbackExceedsDeadline),
        // A circuit that is isolated by hand names no time.
        (None, Some(30 * SECOND), StopReason::Rejected),
        (None, None, StopReason::Rejected),
    ] {
        let (service, log) = scripted(move |_| Err(open(retry_after)));
        let (layer, start) = (waiting(), Instant::now());
        let call = layer.layer(service).oneshot(0);
        match left {
            Some(left) => Deadline::after(left).around(call).await.unwrap_err(),
            None => call.await.unwrap_err(),
        };
        assert_eq!(
            (calls(&log), start.elapsed()),
            (1, Duration::ZERO),
            "{retry_after:?}, {left:?}"
        );
        assert_eq!(layer.handle().stopped(why), 1, "{retry_after:?}, {left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn circuit_that_names_no_wait_is_asked_again_at_once_and_once() {
    let (service, log) = scripted(|_| Err(open(Duration::ZERO)));
    waiting().layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(times(&log), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn longest_wait_that_a_user_allows_does_not_overflow() {
    let (service, log) = scripted(|_| Err(open(Duration::MAX)));
    let layer = waiting().max_hint(Duration::MAX);
    let mut call = Box::pin(layer.layer(service).oneshot(0));
    assert!(poll_once(call.as_mut()).await.is_pending());
    assert_eq!(calls(&log), 1);
}

#[tokio::test(start_paused = true)]
async fn call_waits_for_a_circuit_once_and_for_free() {
    let (service, log) = scripted(|_| Err(open(SECOND)));
    let layer = waiting();
    layer.layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 2);
    assert!((1000..=1500).contains(&times(&log)[1]));
    assert_eq!(layer.handle().stopped(StopReason::Rejected), 1);
    assert_eq!(layer.handle().budget().balance(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn call_that_has_waited_for_a_limit_does_not_wait_for_a_circuit() {
    for open_first in [false, true] {
        let (service, log) = scripted(move |attempt| {
            Err(if (attempt == 1) == open_first { open(SECOND) } else { rejected(SECOND) })
        });
        let layer = waiting();
        layer.layer(service).oneshot(0).await.unwrap_err();
        assert_eq!(calls(&log), 2, "open first: {open_first}");
        assert_eq!(layer.handle().stopped(StopReason::Rejected), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_that_an_open_circuit_rejects_is_paid_for_once() {
    let budget = Budget::over(60 * SECOND, Ratio::ZERO, 1);
    let asked = Arc::new(AtomicUsize::new(0));
    let (service, _) = scripted(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Err("down".into()),
        1 => Err(open(SECOND)),
        _ => Ok(7),
    });
    let layer = waiting().budget(budget.clone());
    assert_eq!(layer.layer(service).oneshot(0).await.unwrap(), 7);
    assert_eq!(budget.balance(), Some(59));
}

#[tokio::test(start_paused = true)]
async fn layer_of_one_attempt_never_waits_for_a_circuit() {
    let (service, log) = recovering(SECOND);
    let layer = RetryLayer::new(1).wait_for_circuit();
    layer.layer(service).oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 1);
}

#[tokio::test(start_paused = true)]
async fn nested_retries_wait_for_a_circuit_once() {
    let (service, log) = scripted(|_| Err(open(SECOND)));
    let stack = ServiceBuilder::new().layer(waiting()).layer(waiting()).layer(waiting());
    stack.service(service).oneshot(0).await.unwrap_err();
    assert_eq!(calls(&log), 2);
    assert!((1000..=1500).contains(&times(&log)[1]));
}

#[tokio::test(start_paused = true)]
async fn observed_call_returns_the_rejection_of_an_open_circuit_at_once() {
    for (layer, retries, stopped) in [(waiting(), 1, 0), (RetryLayer::new(3), 0, 1)] {
        let (service, log) = recovering(SECOND);
        let (layer, start) = (layer.observe(), Instant::now());
        layer.layer(service).oneshot(0).await.unwrap_err();
        assert_eq!((calls(&log), start.elapsed()), (1, Duration::ZERO));
        assert_eq!(layer.handle().retries(), retries);
        assert_eq!(layer.handle().stopped(StopReason::Rejected), stopped);
    }
}

#[tokio::test(start_paused = true)]
async fn wait_for_a_circuit_leaves_the_backoff_of_later_attempts_alone() {
    let asked = Arc::new(AtomicUsize::new(0));
    let (service, log) = scripted(move |_| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Err(open(SECOND)),
        1 => Err("down".into()),
        _ => Ok(7),
    });
    let backoff = Backoff::exponential(SECOND, 8 * SECOND).jitter(buttress_retry::Jitter::None);
    let layer = RetryLayer::new(3).backoff(backoff).wait_for_circuit();
    assert_eq!(layer.layer(service).oneshot(0).await.unwrap(), 7);
    let times = times(&log);
    assert_eq!(times[2] - times[1], 1000);
}
