//! A rate that replicas keep together, over a store that answers at once. No call waits for the store.

use std::{cell::OnceCell, time::Duration};

use buttress::throttle::{Fleet, Rate, ThrottleLayer};
use buttress_state::{Ask, Grant, QuotaStore, StoreError, StoreSnapshot};
use tower::{Layer, Service, ServiceExt};

use crate::{
    Case, Echo, Inner, Pattern, Workload,
    cases::settings::{BUTTRESS, rate},
    drive_plain, enter_runtime,
};

pub(crate) fn plain() -> Vec<Case> {
    let lease = OnceCell::new();
    let keyed_lease = OnceCell::new();
    vec![
        Case::new(Pattern::Rate, FLEET, Workload::Plain, move |inner, calls| {
            let layer = lease.get_or_init(|| {
                let layer = ThrottleLayer::rate(rate()).fleet(fleet(Grants::All)).cost(cells);
                warm_up(&layer, &[COSTLY; 64]);
                layer
            });
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::KeyedRate, FLEET, Workload::Plain, move |inner, calls| {
            let layer = keyed_lease.get_or_init(|| {
                let fleet = ThrottleLayer::rate(rate()).fleet(fleet(Grants::All));
                let layer = fleet.cost(cells).keyed(key);
                warm_up(&layer, &[COSTLY; 64]);
                layer
            });
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::DeniedRate, BUTTRESS, Workload::Plain, |inner, calls| {
            let layer = ThrottleLayer::rate(seldom());
            warm_up(&layer, &[7]);
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
        Case::new(Pattern::DeniedRate, FLEET, Workload::Plain, |inner, calls| {
            let layer = ThrottleLayer::rate(seldom()).fleet(fleet(Grants::None));
            warm_up(&layer, &[7]);
            drive_plain(layer.layer(Echo(inner)), calls)
        }),
    ]
}

/// A store that grants all cells or none.
#[derive(Clone, Copy, Debug)]
enum Grants {
    All,
    None,
}

impl QuotaStore for Grants {
    async fn acquire(&self, ask: Ask<'_>) -> Result<Grant, StoreError> {
        let (granted, next) = match self {
            Self::All => (ask.want, Duration::ZERO),
            Self::None => (0, HOUR),
        };
        Ok(Grant::new(granted, next, ask.rates.iter().map(|_| HOUR).collect(), 0))
    }

    fn snapshot(&self) -> StoreSnapshot {
        StoreSnapshot::default()
    }

    /// No request is given up, however slow an instrument makes the process.
    fn time_limit(&self) -> Duration {
        HOUR
    }
}

/// No cell ends while a case runs.
fn fleet(store: Grants) -> Fleet {
    Fleet::new(store, 1).lease(HOUR)
}

/// A rate of one call, for all that a case does.
fn seldom() -> Rate {
    Rate::per_hour(1)
}

/// Makes calls in a runtime of its own. After costly calls, a million cells are held: more than all
/// runs of a case take.
fn warm_up<L>(layer: &L, requests: &[u64])
where
    L: Layer<Echo>,
    L::Service: Service<u64, Response = u64>,
{
    enter_runtime().block_on(async {
        for request in requests {
            let _ = layer.layer(Echo(Inner::Ready)).oneshot(*request).await;
            // Lets a request ahead of need end.
            tokio::task::yield_now().await;
        }
    });
}

/// The key is the lowest byte of a request.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "keys are read off a reference")]
#[expect(clippy::unnecessary_wraps, reason = "a request may have no key")]
const fn key(request: &u64) -> Option<u64> {
    Some(*request & 0xff)
}

/// The rest of a request counts the cells beyond the first.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "costs are read off a reference")]
#[expect(clippy::cast_possible_truncation, reason = "the number is small")]
const fn cells(request: &u64) -> u32 {
    1 + (*request >> 8) as u32
}

const FLEET: &str = "buttress, `fleet`";
const HOUR: Duration = Duration::from_secs(3600);
/// A request with the key of all others, and with 65,536 cells.
const COSTLY: u64 = 7 + (65_535 << 8);
