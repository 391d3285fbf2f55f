//! Hints: a call never waits for less time than a hint names.

use std::time::Duration;

use buttress_core::{BoxError, Deadline, RetryHint, Verdict};
use buttress_retry::{Backoff, Jitter, RetryLayer, StopReason};
use tokio::time::Instant;
use tower::{Layer, ServiceExt};

use crate::support::{
    MS, NO_WAIT, SECOND, calls, fixed, flaky, rejected, scripted, throttled, times,
};

/// A layer with a backoff of exactly `delay`, and the same random numbers in each run.
fn constant(delay: Duration) -> RetryLayer {
    RetryLayer::new(2).backoff(fixed(delay)).seed(7)
}

/// Returns the time of the second attempt in milliseconds, if there was one.
async fn second_attempt(
    layer: &RetryLayer,
    hint: RetryHint,
    left: Option<Duration>,
) -> Option<u128> {
    let (service, log) = flaky(1);
    let call = layer.clone().classify(throttled(hint)).layer(service).oneshot(0);
    let outcome = match left {
        Some(left) => Deadline::after(left).around(call).await,
        None => call.await,
    };
    assert_eq!(outcome.is_ok(), calls(&log) == 2);
    times(&log).get(1).copied()
}

#[tokio::test(start_paused = true)]
async fn hint_within_the_deadline_is_waited_for_in_full_and_then_spread() {
    let layer = constant(5 * SECOND);
    let mut all = Vec::new();
    for _ in 0..20 {
        let at =
            second_attempt(&layer, RetryHint::After(20 * SECOND), Some(60 * SECOND)).await.unwrap();
        assert!((20_000..=25_000).contains(&at), "{at} ms");
        all.push(at);
    }
    all.sort_unstable();
    all.dedup();
    assert!(all.len() > 15, "callers that were told the same second do not come together: {all:?}");
}

#[tokio::test(start_paused = true)]
async fn hint_over_a_minute_is_waited_for_if_the_deadline_allows() {
    let hint = RetryHint::After(120 * SECOND);
    let at = second_attempt(&constant(Duration::ZERO), hint, Some(300 * SECOND)).await;
    assert_eq!(at, Some(120_000));
}

#[tokio::test(start_paused = true)]
async fn spread_is_shortened_to_the_deadline_and_the_hint_is_not() {
    let layer = constant(100 * SECOND);
    for _ in 0..20 {
        let at =
            second_attempt(&layer, RetryHint::After(20 * SECOND), Some(21 * SECOND)).await.unwrap();
        assert!((20_000..=21_000).contains(&at), "{at} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn hint_over_max_hint_stops_the_call_when_there_is_no_deadline() {
    let still = constant(Duration::ZERO);
    let short = still.clone().max_hint(5 * SECOND);
    for (layer, hint, at) in [
        (&still, 60 * SECOND, Some(60_000)),
        (&still, 61 * SECOND, None),
        (&short, 5 * SECOND, Some(5000)),
        (&short, 5 * SECOND + MS, None),
        (&still, Duration::MAX, None),
        (&still, Duration::ZERO, Some(0)),
    ] {
        for hint in [RetryHint::After(hint), RetryHint::Exactly(hint)] {
            let (start, before) =
                (Instant::now(), layer.handle().stopped(StopReason::PushbackExceedsDeadline));
            assert_eq!(second_attempt(layer, hint, None).await, at, "{hint:?}");
            let stopped = layer.handle().stopped(StopReason::PushbackExceedsDeadline) - before;
            assert_eq!(stopped, u64::from(at.is_none()), "{hint:?}");
            assert_eq!(start.elapsed().as_millis(), at.unwrap_or(0), "{hint:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hint_as_long_as_the_time_left_stops_the_call() {
    let layer = constant(Duration::ZERO);
    for (hint, left, at) in [(1000, 1000, None), (2000, 1000, None), (900, 1000, Some(900))] {
        let start = Instant::now();
        let came = second_attempt(&layer, RetryHint::After(hint * MS), Some(left * MS)).await;
        assert_eq!(came, at);
        assert_eq!(start.elapsed().as_millis(), at.unwrap_or(0));
    }
    assert_eq!(layer.handle().stopped(StopReason::PushbackExceedsDeadline), 2);
}

#[tokio::test(start_paused = true)]
async fn hint_of_zero_is_spread_by_the_backoff() {
    let layer = constant(4 * SECOND);
    let mut all = Vec::new();
    for _ in 0..10 {
        all.push(second_attempt(&layer, RetryHint::After(Duration::ZERO), None).await.unwrap());
    }
    assert!(all.iter().all(|at| *at <= 4000) && all.iter().any(|at| *at > 400), "{all:?}");
}

#[tokio::test(start_paused = true)]
async fn pushback_is_exact_and_resets_the_backoff() {
    // gRFC A6. The delays would be 1, 2, 4 and 8 s.
    let (service, log) = scripted(|attempt| match attempt {
        3 => Err("pushback".into()),
        6 => Ok(0),
        _ => Err("failure".into()),
    });
    let backoff = Backoff::exponential(SECOND, 60 * SECOND).jitter(Jitter::None);
    let layer = RetryLayer::new(9).backoff(backoff).classify(|outcome: Result<&u32, &BoxError>| {
        match outcome {
            Ok(_) => Verdict::Success,
            Err(error) if error.to_string() == "pushback" => {
                Verdict::Throttled(Some(RetryHint::Exactly(500 * MS)))
            }
            Err(_) => Verdict::Transient,
        }
    });
    layer.layer(service).oneshot(0).await.unwrap();
    assert_eq!(times(&log), [0, 1000, 3000, 3500, 4500, 6500]);
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_a_limiter_is_exact_for_any_backoff() {
    for backoff in [NO_WAIT, Backoff::constant(7 * SECOND)] {
        let (service, log) =
            scripted(|attempt| if attempt == 1 { Err(rejected(300 * MS)) } else { Ok(0) });
        let layer = RetryLayer::new(3).backoff(backoff);
        layer.layer(service).oneshot(0).await.unwrap();
        assert_eq!(times(&log), [0, 300]);
    }
}

#[tokio::test(start_paused = true)]
async fn spread_of_a_hint_leaves_the_usual_attempt_time() {
    let layer = constant(10 * SECOND).skip_late_attempts();
    let (service, _) = flaky(0);
    let slow = tower::service_fn(move |request: u32| {
        let service = service.clone();
        async move {
            tokio::time::sleep(200 * MS).await;
            service.oneshot(request).await
        }
    });
    layer.layer(slow).oneshot(0).await.unwrap();
    for (left, comes) in [(1100, false), (1300, true)] {
        let at = second_attempt(&layer, RetryHint::After(1000 * MS), Some(left * MS)).await;
        assert_eq!(at.is_some(), comes);
        assert!(at.is_none_or(|at| (1000..=1100).contains(&at)), "{at:?}");
    }
    assert_eq!(layer.handle().stopped(StopReason::CannotFinish), 1);
}
