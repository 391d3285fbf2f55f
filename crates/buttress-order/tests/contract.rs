//! The contract of a tower layer.

use buttress_core::BoxError;
use buttress_order::{OrderLayer, OrderSnapshot};
use buttress_testkit::{Probe, contract, counts, sweep};
use tokio_test::{assert_pending, task};
use tower::{Layer, ServiceExt};

/// All calls have the same key.
#[expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::unnecessary_wraps,
    reason = "the shape of a key"
)]
fn all(_: &u32) -> Option<()> {
    Some(())
}

#[tokio::test(start_paused = true)]
async fn serial_layer_keeps_the_contract() {
    contract(|| OrderLayer::serial(|n: &u32| Some(*n))).await;
    contract(|| OrderLayer::serial(|n: &u32| Some(n % 3))).await;
    contract(|| OrderLayer::serial(all)).await;
    contract(|| OrderLayer::serial(all).queue(3)).await;
    contract(|| OrderLayer::serial(|n: &u32| Some(*n)).max_keys(0)).await;
}

#[tokio::test(start_paused = true)]
async fn latest_wins_layer_keeps_the_contract() {
    contract(|| OrderLayer::latest(|n: &u32| Some(*n))).await;
    contract(|| OrderLayer::latest(|n: &u32| Some(n % 3))).await;
    contract(|| OrderLayer::latest(all)).await;
    contract(|| OrderLayer::latest(|n: &u32| Some(*n)).overlapping()).await;
    contract(|| OrderLayer::latest(all).overlapping()).await;
}

#[tokio::test(start_paused = true)]
async fn layer_without_keys_keeps_the_contract() {
    contract(|| OrderLayer::serial(|_: &u32| None::<()>)).await;
    contract(|| OrderLayer::latest(|_: &u32| None::<()>).until_head()).await;
}

#[tokio::test(start_paused = true)]
async fn dropped_call_leaves_no_turn_at_any_await() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1).pausing(3);
    let layer = OrderLayer::serial(all).queue(0);
    let (handle, stack) = (layer.handle(), layer.layer(probe.clone()));
    let drops = sweep(|| stack.clone().oneshot(1))
        .over(&probe)
        .also(|at| assert_eq!(handle.keys(), 0, "{at}"))
        .await;
    assert!(drops > 3);
    let layer = OrderLayer::latest(all);
    let (handle, stack) = (layer.handle(), layer.layer(probe.clone()));
    let drops = sweep(|| stack.clone().oneshot(1))
        .over(&probe)
        .also(|at| assert_eq!(handle.keys(), 0, "{at}"))
        .await;
    assert!(drops > 3);
}

/// Both calls are polled in turn, so the sweep drops each pair in all states of the second call:
/// waiting, granted and not polled, awaiting readiness, running.
#[tokio::test(start_paused = true)]
async fn dropped_waiter_leaves_no_place_at_any_await() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(1).pausing(2);
    let layer = OrderLayer::serial(all);
    let (handle, stack) = (layer.handle(), layer.layer(probe.clone()));
    let pair = || {
        let (first, second) = (stack.clone().oneshot(1), stack.clone().oneshot(2));
        async move {
            let (first, second) = tokio::join!(first, second);
            assert_eq!((first.unwrap(), second.unwrap()), (1, 2));
        }
    };
    let drops = sweep(pair)
        .over(&probe)
        .also(|at| {
            assert_eq!(handle.keys(), 0, "{at}");
            assert_eq!(handle.queued(), 0, "{at}");
        })
        .await;
    assert!(drops > 5);
}

#[tokio::test(start_paused = true)]
async fn dropped_superseding_call_leaves_no_place_at_any_await() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(2).pausing(3);
    for overlapping in [false, true] {
        let latest = OrderLayer::latest(all);
        let (handle, stack) = if overlapping {
            let layer = latest.overlapping();
            (layer.handle(), layer.layer(probe.clone()))
        } else {
            (latest.handle(), latest.layer(probe.clone()))
        };
        let pair = || {
            let (first, second) = (stack.clone().oneshot(1), stack.clone().oneshot(2));
            async move {
                let (first, second) = tokio::join!(first, second);
                first.unwrap_err();
                assert_eq!(second.unwrap(), 2);
            }
        };
        let drops = sweep(pair)
            .over(&probe)
            .also(|at| {
                assert_eq!(handle.keys(), 0, "{at}");
                assert_eq!(handle.queued(), 0, "{at}");
            })
            .await;
        assert!(drops > 3);
    }
}

/// The second call of a pair, in each of its states while the first runs on.
#[tokio::test(start_paused = true)]
async fn second_call_of_a_key_can_be_dropped_in_each_state() {
    let probe = Probe::new(|n: u32| Ok::<_, BoxError>(n)).permits(2);
    let layer = OrderLayer::serial(all);
    let (handle, stack) = (layer.handle(), layer.layer(probe.clone()));
    for polls in 0..4 {
        probe.hold();
        let mut first = task::spawn(stack.clone().oneshot(1));
        assert_pending!(first.poll());
        let mut second = task::spawn(stack.clone().oneshot(2));
        // Not called, waiting, granted and not polled, running.
        if polls > 0 {
            assert_pending!(second.poll());
        }
        if polls > 1 {
            drop(first);
            assert!(second.is_woken());
        }
        if polls > 2 {
            assert_pending!(second.poll());
            assert_eq!(probe.live(), 1);
        }
        let mut third = task::spawn(stack.clone().oneshot(3));
        assert_pending!(third.poll());
        drop(second);
        probe.release();
        if polls < 2 {
            assert!(!third.is_woken());
        } else {
            assert!(third.is_woken(), "the turn passes on, after {polls} steps");
            assert_eq!(third.await.unwrap(), 3);
        }
    }
    assert_eq!(handle.keys(), 0);
    assert!(probe.at_rest());
    let expected = counts!(OrderSnapshot { calls: 11 });
    assert_eq!(handle.snapshot(), expected);
}
