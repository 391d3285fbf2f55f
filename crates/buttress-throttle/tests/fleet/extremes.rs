//! Numbers at the ends of their ranges, from the user and from the store.

use std::time::Duration;

use buttress_state::{Ask, Grant, QuotaStore, StoreError, StoreErrorKind, StoreSnapshot};
use buttress_testkit::FakeStore;
use buttress_throttle::{Fleet, Queue, Rate, Ratio, ThrottleLayer, WithoutStore};
use tokio::time::{sleep, timeout};
use tower::{Layer, ServiceExt};

use crate::support::{call, inner, millis, replica};

/// A store that answers each request with the same numbers.
#[derive(Clone, Debug)]
struct Same {
    /// How many cells more than asked for.
    more: u32,
    next: Duration,
    full_in: Duration,
    remaining: u64,
    lost: bool,
    fails: Option<(StoreErrorKind, Duration)>,
    time_limit: Duration,
}

impl QuotaStore for Same {
    async fn acquire(&self, ask: Ask<'_>) -> Result<Grant, StoreError> {
        if let Some((kind, pause)) = self.fails {
            return Err(StoreError::new(kind).after(pause));
        }
        let granted = if self.next.is_zero() { ask.want } else { 0 }.saturating_add(self.more);
        let full_in = ask.rates.iter().map(|_| self.full_in).collect();
        let mut grant = Grant::new(granted, self.next, full_in, self.remaining);
        grant.lost = self.lost;
        Ok(grant)
    }

    fn snapshot(&self) -> StoreSnapshot {
        StoreSnapshot::default()
    }

    fn time_limit(&self) -> Duration {
        self.time_limit
    }
}

const SANE: Same = Same {
    more: 0,
    next: Duration::ZERO,
    full_in: Duration::ZERO,
    remaining: 1,
    lost: false,
    fails: None,
    time_limit: Duration::from_millis(25),
};

fn stores() -> Vec<Same> {
    let max = Duration::MAX;
    let failing = |kind, pause| Same { fails: Some((kind, pause)), ..SANE };
    vec![
        SANE,
        Same { more: 1, ..SANE },
        Same { more: u32::MAX, ..SANE },
        Same { full_in: max, remaining: u64::MAX, lost: true, ..SANE },
        Same { next: max, full_in: max, remaining: u64::MAX, ..SANE },
        Same { next: millis(1), remaining: 0, ..SANE },
        Same { time_limit: Duration::ZERO, ..SANE },
        Same { time_limit: max, ..SANE },
        Same { time_limit: max, next: max, ..SANE },
        failing(StoreErrorKind::Timeout, Duration::ZERO),
        failing(StoreErrorKind::Rejected, max),
    ]
}

fn rates() -> Vec<Rate> {
    let counts = [0, 1, 100, u32::MAX];
    let periods = [Duration::ZERO, Duration::from_nanos(1), millis(1000), Duration::MAX];
    let mut rates: Vec<_> = counts
        .into_iter()
        .flat_map(|count| periods.map(|period| Rate::new(count, period)))
        .collect();
    rates.extend([
        Rate::per_second(1).burst(u32::MAX),
        Rate::per_second(u32::MAX).burst(1),
        Rate::new(u32::MAX, Duration::from_nanos(1)).burst(u32::MAX),
    ]);
    rates
}

fn fleets(store: &Same) -> Vec<Fleet> {
    let fleet = |replicas| Fleet::new(store.clone(), replicas);
    let max = Duration::MAX;
    vec![
        fleet(0),
        fleet(u32::MAX),
        fleet(4).exact(),
        fleet(4).lease(Duration::ZERO),
        fleet(4).lease(max).reserve(Ratio::percent(100)),
        fleet(u32::MAX).lease(max).without_store(WithoutStore::FailOpen),
        fleet(1).reserve(Ratio::percent(0)).without_store(WithoutStore::FailClosed),
    ]
}

/// Whatever the numbers are, each call is decided in the time of the store or of the queue.
#[tokio::test(start_paused = true)]
async fn extreme_numbers_decide_each_call_without_a_panic() {
    for store in stores() {
        for rate in rates() {
            for fleet in fleets(&store) {
                for queue in [0, usize::MAX] {
                    let told = format!("{store:?} {rate:?} {fleet:?} {queue}");
                    let queue = Queue::new(queue).max_wait(millis(50));
                    let layer = ThrottleLayer::rate(rate)
                        .fleet(fleet.clone())
                        .queue(queue)
                        .cost(|cells: &u32| *cells)
                        .advertise_quota();
                    for cells in [0, 1, 2, 1 << 20, u32::MAX, 1] {
                        let called = layer.layer(inner()).oneshot(cells);
                        let ended = timeout(Duration::from_secs(3600), called).await;
                        assert!(ended.is_ok(), "{told}: {cells} cells");
                    }
                    let handle = layer.handle();
                    assert!(handle.fleet().debt <= handle.fleet().away_admitted, "{told}");
                }
            }
        }
    }
}

/// A store cannot send a key away for ever.
#[tokio::test(start_paused = true)]
async fn store_is_asked_again_within_a_minute_whatever_pause_it_wants() {
    let store = FakeStore::new();
    let layer = replica(&store, Rate::per_second(100), 4);
    store.fail(StoreError::new(StoreErrorKind::Rejected).after(Duration::MAX));
    assert_eq!(call(&layer).await, Ok(()));
    assert_eq!(layer.handle().fleet().keys_away, 1);
    sleep(Duration::from_secs(60)).await;
    assert_eq!(call(&layer).await, Ok(()));
    sleep(millis(1)).await;
    assert_eq!(layer.handle().fleet().keys_away, 0);
}
