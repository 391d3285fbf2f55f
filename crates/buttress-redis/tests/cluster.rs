//! A real cluster of three servers.
#![cfg(feature = "cluster")]
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper that fails fails its test"
)]

mod support;

use std::{collections::HashSet, time::Duration};

use buttress_redis::{OpenError, Redis, RedisQuotas};
use buttress_state::{
    Ask, Begun, CellRate, Ending, FlightStore, Grant, QuotaStore, Slot, StoreError,
};
use buttress_testkit::{flight_contract, quota_contract};
use bytes::Bytes;
use support::{PATIENT, Server, eventually};
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);

struct Cluster(Vec<Server>);

impl Cluster {
    async fn start(test: &str) -> Option<Self> {
        let options = [
            "--cluster-enabled",
            "yes",
            "--cluster-node-timeout",
            "2000",
            "--cluster-require-full-coverage",
            "no",
        ];
        let mut servers = Vec::new();
        for _ in 0..3 {
            servers.push(Server::start_with(test, &options).await?);
        }
        for (index, server) in servers.iter().enumerate() {
            let (first, last) = (index * 5462, (index * 5462 + 5461).min(16_383));
            let (first, last) = (first.to_string(), last.to_string());
            server.run::<()>(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await;
            let epoch = (index + 1).to_string();
            server.run::<()>(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await;
        }
        let cluster = Self(servers);
        for server in &cluster.0 {
            let port = cluster.0[0].port.to_string();
            server.run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port]).await;
        }
        for server in &cluster.0 {
            eventually("the cluster is formed", async || {
                let info: String = server.run(&["CLUSTER", "INFO"]).await;
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            })
            .await;
        }
        Some(cluster)
    }

    async fn open(&self) -> Redis {
        let redis = Redis::open_cluster([self.0[0].url()], "shop").unwrap().time_limit(PATIENT);
        eventually("all servers answer", async || {
            for key in 0..64_u8 {
                if take(&redis.quotas(), key).await.is_err() {
                    return false;
                }
            }
            true
        })
        .await;
        redis
    }

    async fn keys(&self) -> Vec<usize> {
        let mut keys = Vec::new();
        for server in &self.0 {
            keys.push(server.run(&["DBSIZE"]).await);
        }
        keys
    }
}

async fn take(quotas: &RedisQuotas, key: u8) -> Result<Grant, StoreError> {
    let rates = [CellRate::new(HOUR, 1000), CellRate::new(HOUR, 2000)];
    quotas.acquire(Ask::new(&[key], &rates, 1)).await
}

#[test]
fn cluster_needs_urls_of_a_cluster() {
    let open = |urls: &[&str]| Redis::open_cluster(urls, "shop").map(drop);
    assert_eq!(open(&[]), Err(OpenError::Cluster));
    assert_eq!(open(&["redis://a/1"]), Err(OpenError::Cluster));
    assert_eq!(open(&["unix:///socket"]), Err(OpenError::Cluster));
    assert_eq!(open(&["redis://a", "nonsense"]), Err(OpenError::Url));
    assert_eq!(open(&["redis://a", "redis://b:1"]), Ok(()));
}

#[tokio::test]
async fn keys_spread_over_all_servers() {
    let Some(cluster) = Cluster::start("a cluster").await else { return };
    let redis = cluster.open().await;
    assert!(cluster.keys().await.iter().all(|keys| *keys >= 2), "{:?}", cluster.keys().await);
    assert_eq!(cluster.keys().await.iter().sum::<usize>(), 128, "two buckets a key");
    let flights = redis.flights();
    for key in 0..32_u8 {
        let group = [key];
        let slot = Slot::new(&group, b"key");
        let Begun::Lead(token) = flights.begin(slot, None).await.unwrap() else {
            panic!("no lead")
        };
        assert!(matches!(flights.begin(slot, None).await.unwrap(), Begun::Busy(_)));
        let changed = flights.changed(slot, Instant::now() + HOUR);
        flights.finish(slot, &token, Ending::value(Bytes::from_static(b"x"), HOUR)).await.unwrap();
        // Messages of one server reach the subscribers of all.
        tokio::time::timeout(PATIENT, changed).await.expect("a message");
        assert!(matches!(flights.begin(slot, None).await.unwrap(), Begun::Hit { .. }));
    }
    flights.clear().await.unwrap();
    assert!(matches!(flights.begin(Slot::new(&[0], b"key"), None).await.unwrap(), Begun::Lead(_)));
}

#[tokio::test]
async fn contracts_hold_on_a_cluster() {
    let Some(cluster) = Cluster::start("the contracts on a cluster").await else { return };
    let redis = cluster.open().await;
    quota_contract(redis.quotas()).await;
    flight_contract(redis.flights()).await;
}

/// A dead primary costs the slots of the others nothing.
#[tokio::test]
async fn killed_primary_takes_only_its_own_slots_along() {
    let Some(mut cluster) = Cluster::start("a primary that dies").await else { return };
    let redis = cluster.open().await.time_limit(Duration::from_millis(500));
    let quotas = redis.quotas();
    cluster.0[1].kill();
    let mut lost = HashSet::new();
    eventually("the loss is noticed", async || {
        lost.clear();
        for key in 0..64 {
            if take(&quotas, key).await.is_err() {
                lost.insert(key);
            }
        }
        !lost.is_empty()
    })
    .await;
    assert!(lost.len() < 60, "{lost:?}");
    for _ in 0..20 {
        for key in (0..64).filter(|key| !lost.contains(key)) {
            let grant = take(&quotas, key).await;
            assert!(grant.is_ok(), "key {key} of another server: {grant:?}");
        }
        for key in &lost {
            assert!(take(&quotas, *key).await.is_err());
        }
    }
    cluster.0[1].restart().await;
    for key in 0..64 {
        eventually("the slots are back", async || take(&quotas, key).await.is_ok()).await;
    }
    eventually("circuits close", async || redis.snapshot().open_circuits == 0).await;
}

/// An invalidation that waits for a dead server holds up no other.
#[tokio::test]
async fn invalidations_are_confirmed_by_the_servers_that_are_back() {
    let Some(mut cluster) = Cluster::start("invalidations that wait").await else { return };
    let redis = cluster.open().await;
    let flights = redis.flights();
    let begins = async |group: u8| flights.begin(Slot::new(&[group], b"key"), None).await.is_ok();
    for group in 0..64 {
        assert!(begins(group).await);
    }
    let slot: usize = cluster.0[0].run(&["CLUSTER", "KEYSLOT", "{shop:epoch}:e"]).await;
    let epoch = slot / 5462;
    for server in &mut cluster.0 {
        server.kill();
    }
    for group in 0..64 {
        assert!(flights.invalidate(&[group]).await.is_err());
    }
    for server in [epoch, (epoch + 1) % 3] {
        cluster.0[server].restart().await;
    }
    let mut back = 0;
    eventually("two of three servers take part again", async || {
        back = 0;
        for group in 0..64 {
            back += u32::from(begins(group).await);
        }
        back > 32
    })
    .await;
}

#[tokio::test]
async fn replica_takes_over_from_a_killed_primary() {
    let Some(mut cluster) = Cluster::start("a failover").await else { return };
    let replica = Server::start_with(
        "a failover",
        &["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"],
    );
    let Some(replica) = replica.await else { return };
    let port = cluster.0[0].port.to_string();
    replica.run::<()>(&["CLUSTER", "MEET", "127.0.0.1", &port]).await;
    let primary: String = cluster.0[1].run(&["CLUSTER", "MYID"]).await;
    eventually("the replica follows", async || {
        replica.try_run::<()>(&["CLUSTER", "REPLICATE", &primary]).await.is_ok()
    })
    .await;
    let redis = cluster.open().await;
    eventually("the replica is in sync", async || {
        let info: String = replica.run(&["INFO", "replication"]).await;
        info.contains("master_link_status:up")
    })
    .await;
    cluster.0[1].kill();
    let quotas = redis.quotas();
    for key in 0..64 {
        eventually("the replica answers", async || take(&quotas, key).await.is_ok()).await;
    }
    let role: Vec<redis::Value> = replica.run(&["ROLE"]).await;
    assert_eq!(role[0], redis::Value::BulkString(b"master".to_vec()));
}

/// `MOVED` and `ASK` say that nothing ran, so the operation goes to the other server.
#[tokio::test]
async fn slot_that_moves_is_followed() {
    let Some(cluster) = Cluster::start("a slot that moves").await else { return };
    let redis = cluster.open().await;
    let quotas = redis.quotas();
    let bytes = buttress_state::quota_key("layer", Some("key"));
    let ask = async || {
        let rate = [CellRate::new(HOUR, 1000)];
        quotas.acquire(Ask::new(&bytes, &rate, 1)).await.unwrap().remaining
    };
    assert_eq!(ask().await, 999);
    let name = quotas.bucket_name("layer", Some("key"), 0);
    let slot: u16 = cluster.0[0].run(&["CLUSTER", "KEYSLOT", &name]).await;
    let from = usize::from(slot) / 5462;
    let (from, to) = (&cluster.0[from], &cluster.0[(from + 1) % 3]);
    let slot = slot.to_string();
    let ids: (String, String) =
        (from.run(&["CLUSTER", "MYID"]).await, to.run(&["CLUSTER", "MYID"]).await);
    to.run::<()>(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &ids.0]).await;
    from.run::<()>(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &ids.1]).await;
    assert_eq!(ask().await, 998, "the old server still holds the bucket");
    let port = to.port.to_string();
    from.run::<String>(&["MIGRATE", "127.0.0.1", &port, &name, "0", "5000"]).await;
    assert_eq!(ask().await, 997, "ASK");
    to.run::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids.1]).await;
    from.run::<()>(&["CLUSTER", "SETSLOT", &slot, "NODE", &ids.1]).await;
    assert_eq!(ask().await, 996, "MOVED");
    assert_eq!(ask().await, 995);
}
