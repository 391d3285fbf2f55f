use std::{slice, time::Duration};

use buttress::{
    Rate, Reason, Redis, Rejection, ThrottleHandle, ThrottleLayer,
    throttle::{Fleet, FleetCells, FleetSnapshot, RateLimit, Ratio, UnitCost, WithoutStore},
};
use tokio::time::{Instant, sleep};
use tower::{Layer, ServiceExt, service_fn};

use crate::support::{PATIENT, eventually};

type Limit = RateLimit<UnitCost, FleetCells>;

/// A replica of the fleet: a layer, and a connection of its own.
pub(crate) struct Replica {
    pub(crate) layer: ThrottleLayer<buttress::layer_api::Plain, Limit>,
    pub(crate) redis: Redis,
}

/// How a fleet is set up.
#[derive(Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) rate: Rate,
    pub(crate) time_limit: Duration,
    pub(crate) policy: WithoutStore,
    pub(crate) reserve: Ratio,
}

impl Setup {
    /// Returns a setup whose bucket of `burst` cells gains none while a test runs.
    ///
    /// The time limit is longer than any pause of a busy machine. Leases are at most 2 % of the burst.
    pub(crate) fn of(burst: u32) -> Self {
        let rate = Rate::new(burst, THOUSAND_HOURS).burst(burst);
        let (policy, reserve) = (WithoutStore::LocalShare, Ratio::percent(2));
        Self { rate, time_limit: PATIENT, policy, reserve }
    }

    /// Sets the time limit for a server that falls silent.
    pub(crate) fn impatient(self) -> Self {
        Self { time_limit: Duration::from_millis(50), ..self }
    }

    pub(crate) async fn replica(self, url: impl AsRef<str>) -> Replica {
        let redis = Redis::open(url, "shop").unwrap().time_limit(self.time_limit);
        eventually("a connection", async || redis.snapshot().is_connected).await;
        let fleet =
            Fleet::new(redis.quotas(), REPLICAS).without_store(self.policy).reserve(self.reserve);
        Replica { layer: ThrottleLayer::rate(self.rate).fleet(fleet).named("orders"), redis }
    }

    /// Returns [`REPLICAS`] replicas.
    pub(crate) async fn replicas(self, url: impl AsRef<str>) -> Vec<Replica> {
        let mut replicas = Vec::new();
        for _ in 0..REPLICAS {
            replicas.push(self.replica(url.as_ref()).await);
        }
        replicas
    }
}

impl Replica {
    /// Makes a call: admitted, or the reason of the rejection.
    pub(crate) async fn call(&self) -> Result<(), Reason> {
        let inner = service_fn(|()| async { Ok::<_, Rejection>(()) });
        let end = self.layer.layer(inner).oneshot(()).await;
        end.map_err(|rejection| rejection.reason())
    }

    pub(crate) fn handle(&self) -> ThrottleHandle<Limit> {
        self.layer.handle()
    }

    pub(crate) fn fleet(&self) -> FleetSnapshot {
        self.handle().fleet()
    }

    pub(crate) fn is_away(&self) -> bool {
        self.fleet().keys_away > 0
    }
}

/// Makes `rounds` calls of each replica. Returns the number of admitted calls.
///
/// The others were denied by the rate: no caller sees that the store is away.
pub(crate) async fn call_all(replicas: &[Replica], rounds: u32) -> u64 {
    let mut admitted = 0;
    for _ in 0..rounds {
        for replica in replicas {
            match replica.call().await {
                Ok(()) => admitted += 1,
                Err(reason) => assert_eq!(reason, Reason::RateLimited),
            }
        }
    }
    admitted
}

/// Makes calls until all replicas are away. Returns the number of admitted calls.
pub(crate) async fn until_away(replicas: &[Replica]) -> u64 {
    let mut admitted = 0;
    eventually("all replicas are away", async || {
        admitted += call_all(replicas, 1).await;
        replicas.iter().all(Replica::is_away)
    })
    .await;
    admitted
}

/// Lets the replicas return one by one, and waits until no lease holds cells. Returns the number of admitted calls.
///
/// Then the store knows all debts. Otherwise a replica could spend cells that the debt of another takes.
pub(crate) async fn until_back(replicas: &[Replica]) -> u64 {
    let mut admitted = 0;
    for replica in replicas {
        eventually("the replica is back", async || {
            let is_back = !replica.is_away() && replica.fleet().debt == 0;
            if !is_back {
                admitted += call_all(slice::from_ref(replica), 1).await;
            }
            is_back
        })
        .await;
    }
    let held = || replicas.iter().map(|replica| replica.handle().tokens()).sum::<u32>();
    eventually("all leases have ended", async || held() == 0).await;
    admitted
}

/// Makes calls until no cell is left: neither in the store nor in a lease. Returns the number of admitted calls.
pub(crate) async fn until_empty(replicas: &[Replica]) -> u64 {
    let (mut admitted, mut quiet) = (0, 0);
    let end = Instant::now() + PATIENT;
    while quiet < 20 {
        assert!(Instant::now() < end, "cells are left after 60 s");
        let now = call_all(replicas, 1).await;
        quiet = if now == 0 { quiet + 1 } else { 0 };
        admitted += now;
        // A denied replica asks again after a pace.
        sleep(Duration::from_millis(5)).await;
    }
    admitted
}

pub(crate) const REPLICAS: u32 = 4;
const THOUSAND_HOURS: Duration = Duration::from_secs(3_600_000);
