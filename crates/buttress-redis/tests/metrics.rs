//! The metrics of a store.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use buttress_core::{Measure, MetricValue};
use buttress_redis::{Redis, RedisQuotas};
use buttress_state::{Ask, CellRate, QuotaStore};
use support::{PATIENT, Server, eventually};

#[tokio::test]
async fn metrics_count_the_operations_of_all_clones() {
    let Some(mut server) = Server::start("metrics").await else { return };
    let redis = Redis::open(server.url(), "shop").unwrap().time_limit(PATIENT);
    let clone = redis.clone();
    eventually("a connection", async || redis.snapshot().is_connected).await;
    let begun = read(&redis);
    assert_eq!((begun["connections"], begun["connected"]), (1, 1));
    for quotas in [redis.quotas(), clone.quotas()] {
        assert!(take(&quotas).await);
    }
    let read_by = [&redis, &clone].map(read);
    assert_eq!(read_by[0], read_by[1]);
    let [now, _] = read_by;
    assert_eq!(now["operations"] - begun["operations"], 2);
    let kinds = ["timeout", "unavailable", "rejected", "corrupt"];
    assert!(kinds.iter().all(|kind| now[&format!("errors {kind}")] == 0));

    server.kill();
    eventually("the loss is noticed", async || !redis.snapshot().is_connected).await;
    assert!(!take(&redis.quotas()).await);
    let now = read(&redis);
    assert_eq!((now["connected"], now["errors unavailable"]), (0, 1));
}

#[tokio::test]
async fn stopped_server_shows_in_the_metrics() {
    let Some(server) = Server::start("metrics of a time-out").await else { return };
    let limit = Duration::from_secs(1);
    let redis = Redis::open(server.url(), "shop").unwrap().time_limit(limit);
    eventually("a grant", async || take(&redis.quotas()).await).await;
    let before = read(&redis)["errors timeout"];
    server.signal("-STOP");
    assert!(!take(&redis.quotas()).await);
    let now = read(&redis);
    server.signal("-CONT");
    assert_eq!(now["errors timeout"] - before, 1);
    assert_eq!((now["open_circuits"], now["connected"]), (1, 1));
}

/// All readings, by their names without `buttress.redis.`, and their labels.
fn read(redis: &Redis) -> BTreeMap<String, u64> {
    let mut readings = BTreeMap::new();
    redis.measure(&mut |reading| {
        assert_eq!(reading.instance(), "shop");
        let name = reading.metric().name().strip_prefix("buttress.redis.").unwrap();
        let name = reading.label().map_or(name.to_owned(), |(_, label)| format!("{name} {label}"));
        let value = match reading.value() {
            MetricValue::Count(count) => count,
            MetricValue::Gauge(value) => value.to_string().parse().unwrap(),
            other => unreachable!("{other:?}"),
        };
        assert_eq!(readings.insert(name, value), None);
    });
    readings
}

async fn take(quotas: &RedisQuotas) -> bool {
    let rate = CellRate::new(Duration::from_secs(3600), 1_000_000);
    quotas.acquire(Ask::new(b"key", &[rate], 1)).await.is_ok()
}
