//! A rate and a cache that replicas share, over a store with moods, and a Redis that is away.

use std::time::Duration;

use buttress::{
    Cache, DedupLayer, Fleet, Rate, Redis, Registry, SharedCache, ThrottleLayer,
    layer_api::{BoxError, Json},
};
use buttress_testkit::{FakeStore, Outage};
use tokio::time::sleep;
use tower::{ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};

type Service = BoxCloneSyncService<(), (), BoxError>;

/// A service with a rate in each of the two stores.
pub(crate) struct Replica {
    store: FakeStore,
    limited: Service,
    limited_by_redis: Service,
    cached: Service,
}

impl Replica {
    pub(crate) fn start(registry: Registry) -> Self {
        let store = FakeStore::new();
        store.set_delay(Duration::from_millis(1));
        // No server listens there.
        let redis = Redis::open("redis://127.0.0.1:1", "shop").unwrap();
        let rate = ThrottleLayer::rate(Rate::per_second(200));
        let limit = rate.clone().fleet(Fleet::new(store.clone(), 2)).named("payments.fleet");
        let by_redis = rate.fleet(Fleet::new(redis.quotas(), 2)).named("payments.redis");
        let service = service_fn(async |()| Ok::<_, BoxError>(()));
        // Each call asks the store.
        let shared = SharedCache::new(store.clone(), Json).local_ttl(Duration::ZERO);
        let cache = Cache::new(Duration::from_secs(60)).store(shared);
        let dedup = DedupLayer::keyed(|(): &()| Some(1_u8)).cache(cache).named("payments.shared");
        let under =
            |layer| BoxCloneSyncService::new(ServiceBuilder::new().layer(layer).service(service));
        let registry = registry.add(limit.handle()).add(by_redis.handle()).add(redis);
        drop(registry.add(dedup.handle()));
        let cached = ServiceBuilder::new().layer(dedup).service(service);
        let cached = BoxCloneSyncService::new(cached);
        Self { store, limited: under(limit), limited_by_redis: under(by_redis), cached }
    }

    /// In each second round the store is away, and stays so until the next round.
    pub(crate) async fn send_round(&self, round: u32) {
        drop(self.limited_by_redis.clone().oneshot(()).await);
        if !round.is_multiple_of(2) {
            self.store.begin_outage(Outage::Refused);
            return self.send(20).await;
        }
        self.store.end_outage();
        // Slow enough for the replica to hold cells ahead, some of which end before the next call.
        for _ in 0..30 {
            self.send(1).await;
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(250)).await;
        // More calls than cells.
        self.send(600).await;
        self.store.lose_state();
        sleep(Duration::from_millis(50)).await;
        self.send(1).await;
    }

    async fn send(&self, calls: usize) {
        for _ in 0..calls {
            drop(self.limited.clone().oneshot(()).await);
            drop(self.cached.clone().oneshot(()).await);
        }
    }
}
