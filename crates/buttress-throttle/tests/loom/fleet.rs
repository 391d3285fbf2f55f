//! The cells of a fleet: held ahead, and granted to calls that wait for the store.

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use buttress_control::Nanos;
use buttress_core::Plain;
use buttress_state::{Ask, Grant, QuotaStore, StoreError, StoreSnapshot};
use buttress_throttle::{Fleet, FleetCells, Rate, RateLimit, ThrottleLayer, UnitCost};
use loom::thread;
use tokio::{runtime::Builder, task::yield_now};

use super::{explore, hold, slots::LeaseSlots};

/// A store that grants what is asked for.
#[derive(Clone)]
struct Open;

impl QuotaStore for Open {
    async fn acquire(&self, ask: Ask<'_>) -> Result<Grant, StoreError> {
        let full_in = ask.rates.iter().map(|_| HOUR).collect();
        Ok(Grant::new(ask.want, Duration::ZERO, full_in, 0))
    }

    fn snapshot(&self) -> StoreSnapshot {
        StoreSnapshot::default()
    }

    /// No request is given up, however slow the exploration is.
    fn time_limit(&self) -> Duration {
        HOUR
    }
}

const HOUR: Duration = Duration::from_secs(3600);

type FleetLayer = ThrottleLayer<Plain, RateLimit<UnitCost, FleetCells>>;

/// The threads of loom are one thread of the system, so all of them are within the runtime. Only this
/// one runs its tasks.
#[test]
fn grant_reaches_the_next_waiter_while_an_undecided_call_leaves() {
    explore(|| {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let context = runtime.enter();
        let layer: FleetLayer =
            ThrottleLayer::rate(Rate::per_hour(9)).fleet(Fleet::new(Open, 1).exact());
        let (leaving, waits) = (hold(&layer), hold(&layer));
        let leaves = thread::spawn(move || drop(leaving));
        let tasks = async || {
            for _ in 0..4 {
                yield_now().await;
            }
        };
        drop(context);
        runtime.block_on(tasks());
        leaves.join().unwrap();
        // The requests that the grant and the leaving call gave rise to.
        runtime.block_on(tasks());
        let handle = layer.handle();
        let mut waits = pin!(waits);
        let context = runtime.enter();
        let _ = waits.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(context);
        assert_eq!((handle.admitted(), handle.queued()), (1, 0), "a waiter is left behind");
        let fleet = handle.fleet();
        let kept = handle.admitted() + u64::from(handle.tokens()) + fleet.expired;
        assert_eq!(kept, fleet.granted, "{fleet:?}");
    });
}

/// Two calls take while a grant comes and the former one ends: no cell is taken twice, and none is
/// lost but what `put` and `drop_ended` count.
#[test]
fn slots_grant_each_cell_once_while_a_grant_comes_and_another_ends() {
    explore(|| {
        let step = 1 << 16;
        let (early, late) = (Nanos::new(0), Nanos::new(2 * step));
        let slots = Arc::new(LeaseSlots::new());
        slots.put(early, 2, Nanos::new(2 * step));
        slots.put(early, 1, Nanos::new(9 * step));
        let takes: Vec<_> = [early, late]
            .into_iter()
            .map(|now| {
                let slots = Arc::clone(&slots);
                thread::spawn(move || {
                    let one = u32::from(slots.take(now, 1).is_some());
                    one + if slots.take_of_both(now, 2).is_some() { 2 } else { 0 }
                })
            })
            .collect();
        let dropped = slots.drop_ended(late) + slots.put(late, 2, Nanos::new(9 * step));
        let taken: u32 = takes.into_iter().map(|thread| thread.join().unwrap()).sum();
        // Cells that return to a slot which meanwhile holds another grant are lost, not granted.
        assert!(taken + dropped + slots.held(early) <= 5, "{taken} taken, {dropped} dropped");
    });
}

/// Two calls race for the cells of both slots: the last cells go to one of them at most.
#[test]
fn slots_never_grant_more_cells_than_they_hold() {
    explore(|| {
        let (now, ends) = (Nanos::new(0), Nanos::new(9 << 16));
        let slots = Arc::new(LeaseSlots::new());
        slots.put(now, 1, ends);
        slots.put(now, 2, ends);
        let both = thread::spawn({
            let slots = Arc::clone(&slots);
            move || if slots.take_of_both(now, 3).is_some() { 3 } else { 0 }
        });
        let one = u32::from(slots.take(now, 1).is_some());
        let taken = one + both.join().unwrap();
        assert_eq!(taken + slots.held(now), 3);
    });
}
