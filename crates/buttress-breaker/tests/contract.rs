//! The contract of a tower layer, in each state of the circuit.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use buttress_breaker::{Backoff, BreakerHandle, BreakerLayer, CircuitState, Ratio};
use buttress_core::BoxError;
use buttress_deadline::DeadlineLayer;
use buttress_testkit::{Probe, contract, sweep};
use tokio::time::advance;
use tower::{Layer, ServiceBuilder, ServiceExt};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn breaker_keeps_the_contract_while_closed() {
    contract(BreakerLayer::new).await;
    contract(|| BreakerLayer::new().slow(SECOND, Ratio::percent(50)).patience(SECOND)).await;
}

/// The contract makes up to three calls in a row that must be admitted.
#[tokio::test(start_paused = true)]
async fn breaker_that_opens_after_three_failures_keeps_the_contract() {
    contract(|| BreakerLayer::new().consecutive(3)).await;
    contract(|| BreakerLayer::new().consecutive(3).open_for(Backoff::none())).await;
}

/// A half-open circuit that admits each of the calls that the contract makes one by one.
#[tokio::test(start_paused = true)]
async fn breaker_keeps_the_contract_while_half_open() {
    contract(|| {
        let layer = BreakerLayer::new().open_for(Backoff::none()).probes(5, 5);
        layer.handle().open();
        layer
    })
    .await;
}

/// The ramp admits every call. It begins with the first answer.
#[tokio::test(start_paused = true)]
async fn breaker_keeps_the_contract_in_the_ramp() {
    contract(|| {
        let layer = BreakerLayer::new().open_for(Backoff::none()).probes(1, 1);
        let layer = layer.ramp(1000 * SECOND, &[Ratio::percent(100)]);
        layer.handle().open();
        layer
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn observing_breaker_keeps_the_contract_while_open_isolated_and_disabled() {
    contract(|| {
        let layer = BreakerLayer::new().observe().open_for(Backoff::constant(1000 * SECOND));
        layer.handle().open();
        layer
    })
    .await;
    contract(|| {
        let layer = BreakerLayer::new().observe();
        // The isolation outlasts the check, which has no place for the guard.
        std::mem::forget(layer.handle().isolate());
        layer
    })
    .await;
    contract(|| {
        let layer = BreakerLayer::new();
        layer.handle().disable();
        layer
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn keyed_breaker_keeps_the_contract() {
    contract(|| BreakerLayer::new().keyed(|n: &u32| Some(n % 3))).await;
    contract(|| BreakerLayer::new().keyed(|n: &u32| (*n > 20).then_some(*n))).await;
    contract(|| BreakerLayer::new().keyed(|n: &u32| Some(*n)).max_keys(0)).await;
}

#[tokio::test(start_paused = true)]
async fn stack_of_deadline_breaker_and_attempt_deadline_keeps_the_contract() {
    contract(|| {
        (DeadlineLayer::new(30 * SECOND), BreakerLayer::new(), DeadlineLayer::new(5 * SECOND))
    })
    .await;
}

/// Brings a circuit into a state.
type Setup = fn(&BreakerHandle);

async fn sweep_in(state: CircuitState, layer: BreakerLayer, setup: Setup) -> usize {
    let failures = Arc::new(AtomicU32::new(0));
    let probe = Probe::new(move |n: u32| match failures.fetch_add(1, Ordering::Relaxed) % 2 {
        0 => Err(BoxError::from("failure")),
        _ => Ok(n),
    });
    let probe = probe.permits(1).pausing(3);
    let handle = layer.handle();
    let stack = ServiceBuilder::new().layer(layer).service(probe.clone());
    let outcome = sweep(|| {
        setup(&handle);
        stack.clone().oneshot(1)
    })
    .over(&probe)
    .await;
    setup(&handle);
    assert_eq!(handle.state(), state);
    outcome
}

/// Each call of the sweep finds the circuit in the same state.
#[tokio::test(start_paused = true)]
async fn dropped_call_leaves_nothing_behind_in_any_state() {
    let half_open = || BreakerLayer::new().open_for(Backoff::none()).probes(1, 1);
    let cases: [(CircuitState, BreakerLayer, Setup, bool); 5] = [
        (CircuitState::Closed, BreakerLayer::new(), BreakerHandle::close, true),
        (CircuitState::Open, BreakerLayer::new(), BreakerHandle::open, false),
        (CircuitState::Open, half_open(), BreakerHandle::open, true),
        (CircuitState::Disabled, BreakerLayer::new(), BreakerHandle::disable, true),
        (
            CircuitState::Isolated,
            BreakerLayer::new(),
            |handle| std::mem::forget(handle.isolate()),
            false,
        ),
    ];
    for (state, layer, setup, runs) in cases {
        let drops = sweep_in(state, layer, setup).await;
        assert!(if runs { drops > 3 } else { drops > 0 }, "{state:?}: {drops}");
    }
}

/// A single place: if a drop lost it, the call after the drop would be rejected.
#[tokio::test(start_paused = true)]
async fn dropped_probe_leaves_its_place_at_any_await() {
    let layer = BreakerLayer::new().open_for(Backoff::none()).probes(1, 1).ramp(SECOND, &[]);
    let handle = layer.handle();
    let probe = Probe::new(Ok::<u32, BoxError>).permits(1).pausing(3);
    let service = layer.layer(probe.clone());
    let drops = sweep(|| {
        if handle.state() == CircuitState::Closed {
            handle.open();
        }
        service.clone().oneshot(1)
    })
    .over(&probe)
    .also(|at| {
        assert_eq!(handle.rejected(), 0, "{at}");
        assert_eq!(handle.counts().failures, 0, "{at}");
    })
    .await;
    assert!(drops > 3, "{drops}");
}

/// Without a success the ramp goes on, and a drop does not end it.
#[tokio::test(start_paused = true)]
async fn dropped_call_of_the_ramp_is_not_recorded() {
    let layer = BreakerLayer::new().open_for(Backoff::none()).probes(1, 1);
    let layer = layer.ramp(1000 * SECOND, &[Ratio::percent(100)]);
    let handle = layer.handle();
    let probe = Probe::new(Ok::<u32, BoxError>).permits(1).pausing(3);
    let service = layer.layer(probe.clone());
    handle.open();
    service.clone().oneshot(1).await.unwrap();
    assert_eq!(handle.state(), CircuitState::Ramp);
    let served = || probe.calls() - probe.abandoned();
    let drops = sweep(|| service.clone().oneshot(1))
        .over(&probe)
        .also(|at| {
            let counts = handle.counts();
            assert_eq!((counts.calls, counts.failures), (served() as u64, 0), "{at}");
        })
        .await;
    assert!(drops > 3, "{drops}");
    advance(2000 * SECOND).await;
    service.oneshot(1).await.unwrap();
    assert_eq!(handle.state(), CircuitState::Closed);
}
