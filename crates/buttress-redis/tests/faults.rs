//! A server that loses its state or refuses commands.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::time::Duration;

use buttress_redis::{Redis, RedisQuotas};
use buttress_state::{
    Ask, Begun, CellRate, Ending, FlightStore, Grant, QuotaStore, Slot, StoreError, StoreErrorKind,
};
use bytes::Bytes;
use support::{PATIENT, Server, eventually};

const HOUR: Duration = Duration::from_secs(3600);

async fn open(server: &Server) -> Redis {
    let redis = Redis::open(server.url(), "shop").unwrap().time_limit(PATIENT);
    eventually("a connection", async || redis.snapshot().is_connected).await;
    redis
}

fn rate(expect: bool) -> CellRate {
    let mut rate = CellRate::new(HOUR, 10);
    rate.expect = expect;
    rate
}

async fn take(quotas: &RedisQuotas, expect: bool) -> Result<Grant, StoreError> {
    quotas.acquire(Ask::new(b"key", &[rate(expect)], 1)).await
}

async fn refused(redis: &Redis) -> StoreError {
    let error = take(&redis.quotas(), false).await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Rejected, "{error:?}");
    assert_eq!(redis.snapshot().open_circuits, 0, "a refusal opens no circuit");
    error
}

fn reason(error: &StoreError) -> String {
    std::error::Error::source(error).unwrap().to_string()
}

#[tokio::test]
async fn flushed_scripts_are_loaded_again() {
    let Some(server) = Server::start("SCRIPT FLUSH").await else { return };
    let redis = open(&server).await;
    for round in 1..=5 {
        assert_eq!(take(&redis.quotas(), false).await.unwrap().remaining, 10 - round);
        server.run::<()>(&["SCRIPT", "FLUSH"]).await;
    }
    let slot = Slot::new(b"group", b"key");
    let flights = redis.flights();
    assert!(matches!(flights.begin(slot, None).await, Ok(Begun::Lead(_))));
}

#[tokio::test]
async fn flushed_bucket_that_is_expected_starts_empty() {
    let Some(server) = Server::start("FLUSHALL").await else { return };
    let redis = open(&server).await;
    assert!(!take(&redis.quotas(), false).await.unwrap().lost);
    server.run::<()>(&["FLUSHALL"]).await;
    let grant = take(&redis.quotas(), true).await.unwrap();
    assert_eq!((grant.granted, grant.lost), (0, true));
    let grant = take(&redis.quotas(), true).await.unwrap();
    assert_eq!((grant.granted, grant.lost), (0, false));
}

#[tokio::test]
async fn restart_without_persistence_is_a_loss_and_with_persistence_is_none() {
    let Some(mut server) = Server::start("a restart").await else { return };
    for (options, is_lost) in
        [(&[][..], true), (&["--appendonly", "yes", "--appendfsync", "always"][..], false)]
    {
        server.kill();
        server.set_options(options);
        server.restart().await;
        let redis = open(&server).await;
        take(&redis.quotas(), false).await.unwrap();
        server.kill();
        server.restart().await;
        eventually("a connection", async || take(&redis.quotas(), true).await.is_ok()).await;
        let grant = take(&redis.quotas(), false).await.unwrap();
        assert_eq!(grant.granted, u32::from(!is_lost), "{options:?}");
    }
}

#[tokio::test]
async fn evicted_bucket_that_is_expected_starts_empty() {
    let Some(server) = Server::start("an eviction").await else { return };
    let redis = open(&server).await;
    take(&redis.quotas(), false).await.unwrap();
    server
        .run::<()>(&["CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", "1"])
        .await;
    // Evicts what it can, and then refuses what would need memory.
    let _ = server.try_run::<()>(&["SET", "other", "x"]).await;
    eventually("the bucket is evicted", async || server.run::<u64>(&["DBSIZE"]).await == 0).await;
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let grant = take(&redis.quotas(), true).await.unwrap();
    assert_eq!((grant.granted, grant.lost), (0, true));
}

#[tokio::test]
async fn server_without_memory_refuses() {
    let Some(server) = Server::start("OOM").await else { return };
    let redis = open(&server).await;
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    let error = refused(&redis).await;
    assert!(redis.snapshot().is_connected, "a refusal costs no connection");
    assert!(reason(&error).starts_with("OOM"), "{error:?}");
    assert_eq!(error.retry_after(), None);
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    assert_eq!(
        take(&redis.quotas(), false).await.unwrap().remaining,
        9,
        "a refusal debits nothing"
    );
}

#[tokio::test]
async fn replica_refuses() {
    let Some(server) = Server::start("READONLY").await else { return };
    let redis = open(&server).await;
    server.run::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let error = refused(&redis).await;
    assert!(reason(&error).starts_with("READONLY"), "{error:?}");
    server.run::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    eventually("a grant", async || take(&redis.quotas(), false).await.is_ok()).await;
}

#[tokio::test]
async fn server_that_loads_refuses() {
    let Some(mut server) = Server::start("LOADING").await else { return };
    let mut fill = redis::pipe();
    for key in 0..3000 {
        fill.cmd("SET").arg(format!("filler{key}")).arg(vec![b'x'; 2000]).ignore();
    }
    fill.query_async::<()>(&mut server.admin().await).await.unwrap();
    server.run::<()>(&["SAVE"]).await;
    server.kill();
    server.set_options(&[
        "--key-load-delay",
        "20000",
        "--loading-process-events-interval-bytes",
        "1024",
        "--rdbcompression",
        "no",
    ]);
    server.restart().await;
    let redis = open(&server).await;
    let error = refused(&redis).await;
    assert!(reason(&error).starts_with("LOADING"), "{error:?}");
    server.kill();
    server.set_options(&[]);
    server.restart().await;
    eventually("the data is loaded", async || take(&redis.quotas(), false).await.is_ok()).await;
}

/// The rules of access that the docs advise.
const RULES: [&str; 19] = [
    "on",
    ">pass",
    "~{shop:*",
    "&shop:*",
    "-@all",
    "+evalsha",
    "+script|load",
    "+get",
    "+set",
    "+setrange",
    "+del",
    "+pttl",
    "+publish",
    "+subscribe",
    "+time",
    "+hello",
    "+ping",
    "+cluster|slots",
    "+asking",
];

async fn user(server: &Server, rules: &[&str]) -> Redis {
    let command: Vec<&str> =
        ["ACL", "SETUSER", "shop", "reset"].iter().chain(rules).copied().collect();
    server.run::<()>(&command).await;
    let url = format!("redis://shop:pass@127.0.0.1:{}", server.port);
    let redis = Redis::open(url, "shop").unwrap().time_limit(PATIENT);
    eventually("a connection", async || redis.snapshot().is_connected).await;
    redis
}

#[tokio::test]
async fn everything_works_with_the_advised_rules_of_access() {
    let Some(server) = Server::start("access rules").await else { return };
    let redis = user(&server, &RULES).await;
    let quotas = redis.quotas();
    for round in 0..3 {
        take(&quotas, false).await.unwrap();
        let flights = redis.flights();
        let key = format!("key{round}");
        let slot = Slot::new(b"group", key.as_bytes());
        let Begun::Lead(token) = flights.begin(slot, None).await.unwrap() else {
            panic!("no lead")
        };
        assert!(flights.renew(slot, &token).await.unwrap());
        assert!(matches!(flights.begin(slot, None).await.unwrap(), Begun::Busy(_)));
        let value = Ending::value(Bytes::from_static(b"x"), HOUR);
        flights.finish(slot, &token, value).await.unwrap();
        assert!(matches!(flights.begin(slot, None).await.unwrap(), Begun::Hit { .. }));
        flights.invalidate(b"group").await.unwrap();
        flights.clear().await.unwrap();
        server.run::<()>(&["SCRIPT", "FLUSH"]).await;
    }
    let log: Vec<redis::Value> = server.run(&["ACL", "LOG"]).await;
    assert!(log.is_empty(), "{log:?}");
}

#[tokio::test]
async fn rules_that_forbid_scripts_refuse_for_ten_seconds() {
    let Some(server) = Server::start("rules without scripts").await else { return };
    let rules: Vec<&str> = RULES.iter().filter(|rule| **rule != "+evalsha").copied().collect();
    let redis = user(&server, &rules).await;
    let error = refused(&redis).await;
    assert_eq!(error.retry_after(), Some(Duration::from_secs(10)));
    assert!(reason(&error).starts_with("NOPERM"), "{error:?}");
}

/// A bucket that cannot be read is not a bucket that was lost.
#[tokio::test]
async fn rules_that_forbid_a_command_of_a_script_refuse_and_overwrite_nothing() {
    let Some(server) = Server::start("rules without GET").await else { return };
    let redis = user(&server, &RULES).await;
    take(&redis.quotas(), false).await.unwrap();
    server.run::<()>(&["ACL", "SETUSER", "shop", "-get"]).await;
    refused(&redis).await;
    server.run::<()>(&["ACL", "SETUSER", "shop", "+get"]).await;
    let grant = take(&redis.quotas(), false).await.unwrap();
    assert_eq!((grant.granted, grant.remaining, grant.lost), (1, 8, false));
}

#[tokio::test]
async fn other_namespace_is_out_of_reach() {
    let Some(server) = Server::start("another namespace").await else { return };
    user(&server, &RULES).await;
    let url = format!("redis://shop:pass@127.0.0.1:{}", server.port);
    let other = Redis::open(url, "bank").unwrap().time_limit(PATIENT);
    eventually("a connection", async || other.snapshot().is_connected).await;
    refused(&other).await;
}
