//! Cells of rates, against a real server.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::{sync::Arc, time::Duration};

use buttress_redis::{Redis, RedisQuotas};
use buttress_state::{Ask, CellRate, Grant, QuotaStore};
use buttress_testkit::quota_contract;
use support::{PATIENT, Server, eventually};
use tokio::time::{Instant, sleep};

const HOUR: Duration = Duration::from_secs(3600);

async fn quotas_of(server: &Server) -> RedisQuotas {
    let redis = Redis::open(server.url(), "shop").unwrap().time_limit(PATIENT);
    eventually("a connection", async || redis.snapshot().is_connected).await;
    redis.quotas()
}

fn hourly(burst: u32) -> CellRate {
    CellRate::new(HOUR, burst)
}

async fn take(quotas: &RedisQuotas, key: &[u8], rates: &[CellRate], want: u32) -> Grant {
    quotas.acquire(Ask::new(key, rates, want)).await.unwrap()
}

async fn server_micros(server: &Server) -> u64 {
    let (seconds, micros): (u64, u64) = server.run(&["TIME"]).await;
    seconds * 1_000_000 + micros
}

/// The name of the first bucket of a key whose bytes are written by hand.
async fn only_key(server: &Server) -> String {
    let keys: Vec<String> = server.run(&["KEYS", "*"]).await;
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys.into_iter().next().unwrap()
}

#[tokio::test]
async fn contract_of_a_quota_store_holds() {
    let Some(server) = Server::start("the contract of a quota store").await else { return };
    quota_contract(quotas_of(&server).await).await;
}

#[tokio::test]
async fn grant_takes_up_to_want_and_at_least_min() {
    let Some(server) = Server::start("grants of a rate").await else { return };
    let quotas = quotas_of(&server).await;
    let rates = [hourly(10)];
    let grant = take(&quotas, b"a", &rates, 4).await;
    assert_eq!((grant.granted, grant.remaining, grant.lost), (4, 6, false));
    assert_eq!(grant.next, Duration::ZERO);
    let grant = take(&quotas, b"a", &rates, 9).await;
    assert_eq!((grant.granted, grant.remaining), (6, 0));
    let mut ask = Ask::new(b"b", &rates, 20);
    ask.min = 11;
    let grant = quotas.acquire(ask).await.unwrap();
    assert_eq!((grant.granted, grant.remaining), (0, 10));
}

/// The adversary of a lease machine begins with this: what the store grants in an interval of `t` is
/// at most `B + r·t`, however many processes ask.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_never_get_more_than_the_rate_and_the_burst_together() {
    let Some(server) = Server::start("a rate under many processes").await else { return };
    let rate = [
        CellRate::new(Duration::from_micros(500), 100),
        CellRate::new(Duration::from_millis(1), 300),
    ];
    let mut processes = tokio::task::JoinSet::new();
    let first = server_micros(&server).await;
    let end = Instant::now() + Duration::from_secs(1);
    for process in 0..8_u32 {
        let quotas = quotas_of(&server).await;
        processes.spawn(async move {
            let (mut granted, mut asked) = (0, process);
            while Instant::now() < end {
                asked += 1;
                let mut ask = Ask::new(b"key", &rate, asked % 40 + 1);
                ask.min = asked % 3 + 1;
                granted += u64::from(quotas.acquire(ask).await.unwrap().granted);
            }
            granted
        });
    }
    let granted: u64 = processes.join_all().await.into_iter().sum();
    let elapsed = server_micros(&server).await - first;
    let most = (100 + elapsed / 500).min(300 + elapsed / 1000);
    assert!(granted <= most + 1, "{granted} cells, at most {most} in {elapsed} us");
    assert!(granted * 100 >= most * 70, "{granted} cells of {most}: cells were lost");
}

#[tokio::test]
async fn wait_is_the_time_to_min_cells_and_not_to_want() {
    let Some(server) = Server::start("the wait for cells").await else { return };
    let quotas = quotas_of(&server).await;
    let rates = [hourly(100)];
    take(&quotas, b"a", &rates, 100).await;
    let grant = take(&quotas, b"a", &rates, 100).await;
    assert_eq!(grant.granted, 0);
    assert!(grant.next <= HOUR && grant.next > HOUR / 2, "{:?}", grant.next);
}

#[tokio::test]
async fn bucket_ahead_of_the_clock_is_empty_and_the_clamp_is_kept() {
    let Some(server) = Server::start("a clock that goes back").await else { return };
    let quotas = quotas_of(&server).await;
    let rates = [CellRate::new(Duration::from_millis(100), 10)];
    take(&quotas, b"a", &rates, 1).await;
    let name = only_key(&server).await;
    let ahead = server_micros(&server).await + 60_000_000;
    server.run::<()>(&["SET", &name, &format!("{ahead}.000 100000.000000")]).await;
    let grant = take(&quotas, b"a", &rates, 1).await;
    assert_eq!(grant.granted, 0);
    assert!(grant.next <= Duration::from_millis(100), "{:?}", grant.next);
    let value: String = server.run(&["GET", &name]).await;
    let kept: u64 = value.split('.').next().unwrap().parse().unwrap();
    let now = server_micros(&server).await;
    assert!(kept < now + 1_100_000, "the clamp is not persisted: {value}");
    eventually("cells come back", async || take(&quotas, b"a", &rates, 1).await.granted == 1).await;
}

#[tokio::test]
async fn bucket_behind_the_clock_is_full() {
    let Some(server) = Server::start("a clock that goes forward").await else { return };
    let quotas = quotas_of(&server).await;
    let rates = [hourly(10)];
    take(&quotas, b"a", &rates, 10).await;
    let name = only_key(&server).await;
    let behind = server_micros(&server).await - 60_000_000;
    server.run::<()>(&["SET", &name, &format!("{behind}.000 3600000000.000000")]).await;
    assert_eq!(take(&quotas, b"a", &rates, 20).await.granted, 10);
}

#[tokio::test]
async fn state_is_written_though_nothing_is_granted() {
    let Some(server) = Server::start("a refusal that writes").await else { return };
    let quotas = quotas_of(&server).await;
    let mut expected = hourly(10);
    expected.expect = true;
    let grant = take(&quotas, b"lost", &[expected], 1).await;
    assert_eq!((grant.granted, grant.lost), (0, true));
    let grant = take(&quotas, b"lost", &[hourly(10)], 1).await;
    assert_eq!((grant.granted, grant.lost), (0, false), "the empty bucket was not written");

    let rates = [hourly(10)];
    let mut ask = Ask::new(b"debt", &rates, 0);
    ask.debt = 7;
    assert_eq!(quotas.acquire(ask).await.unwrap().granted, 0);
    assert_eq!(take(&quotas, b"debt", &[hourly(10)], 10).await.granted, 3);
}

#[tokio::test]
async fn debt_empties_the_bucket_at_most() {
    let Some(server) = Server::start("a debt").await else { return };
    let quotas = quotas_of(&server).await;
    let rates = [hourly(10)];
    for debt in [100, u64::MAX] {
        let mut ask = Ask::new(b"a", &rates, 1);
        ask.debt = debt;
        let grant = quotas.acquire(ask).await.unwrap();
        assert_eq!(grant.granted, 0);
        assert!(grant.next <= HOUR, "{:?}", grant.next);
        assert!(grant.full_in.iter().all(|full| *full <= 10 * HOUR), "{:?}", grant.full_in);
    }
}

#[tokio::test]
async fn change_of_the_rate_neither_fills_nor_empties_the_bucket() {
    let Some(server) = Server::start("a change of the rate").await else { return };
    let quotas = quotas_of(&server).await;
    take(&quotas, b"a", &[hourly(100)], 40).await;
    for interval in [HOUR / 2, HOUR * 3, HOUR] {
        let grant = take(&quotas, b"a", &[CellRate::new(interval, 100)], 0).await;
        assert_eq!(grant.remaining, 60, "a cell per {interval:?}");
    }
    assert_eq!(take(&quotas, b"a", &[hourly(50)], 50).await.granted, 10);
}

#[tokio::test]
async fn bucket_that_is_foreign_counts_as_lost_and_is_overwritten() {
    let Some(server) = Server::start("foreign values").await else { return };
    let quotas = quotas_of(&server).await;
    let rates = [hourly(10)];
    take(&quotas, b"a", &rates, 1).await;
    let name = only_key(&server).await;
    let now = server_micros(&server).await;
    let digits = "9".repeat(400);
    let endless = format!("{digits}.0 {digits}.0");
    let late = format!("{digits}.0 1000.000000");
    let poison = [
        vec!["SET", &*name, &endless],
        vec!["SET", &*name, &late],
        vec!["SET", &*name, "nan nan"],
        vec!["SET", &*name, "inf 1.0"],
        vec!["SET", &*name, "-1.000 1.000000"],
        vec!["SET", &*name, "1e400 1.0"],
        vec!["SET", &*name, ""],
        vec!["SET", &*name, "\0\u{1}poison"],
        vec!["RPUSH", &*name, "x"],
        vec!["HSET", &*name, "x", "y"],
        vec!["SADD", &*name, "x"],
        vec!["XADD", &*name, "*", "x", "y"],
    ];
    for command in poison {
        server.run::<()>(&["DEL", &name]).await;
        let _: redis::Value = server.run(&command).await;
        let grant = take(&quotas, b"a", &rates, 1).await;
        assert_eq!((grant.granted, grant.lost), (0, true), "{command:?}");
        let value: String = server.run(&["GET", &name]).await;
        let until: u64 = value.split('.').next().unwrap().parse().unwrap();
        assert!(until > now, "{command:?}: {value}");
    }
    let zero = format!("{now}.000 0.000000");
    server.run::<()>(&["SET", &name, &zero]).await;
    let grant = take(&quotas, b"a", &rates, 1).await;
    assert!(grant.granted <= 1, "an interval of zero is no division by zero");
}

#[tokio::test]
async fn buckets_expire_when_they_are_full() {
    let Some(server) = Server::start("buckets at rest").await else { return };
    let quotas = quotas_of(&server).await;
    let rates = [
        CellRate::new(Duration::from_micros(100), 100),
        CellRate::new(Duration::from_micros(10), 1000),
    ];
    let mut calls = tokio::task::JoinSet::new();
    for number in 0..5000_u32 {
        let quotas = quotas.clone();
        calls.spawn(async move { take(&quotas, &number.to_le_bytes(), &rates, 5).await.granted });
    }
    assert_eq!(calls.join_all().await.into_iter().sum::<u32>(), 25_000);
    eventually("the database is empty", async || server.run::<u64>(&["DBSIZE"]).await == 0).await;
}

#[tokio::test]
async fn bucket_name_is_the_name_in_the_store() {
    let Some(server) = Server::start("the name of a bucket").await else { return };
    let quotas = quotas_of(&server).await;
    let bytes = buttress_state::quota_key("per-tenant", Some(&42_u64));
    take(&quotas, &bytes, &[hourly(10), hourly(20)], 1).await;
    let mut keys: Vec<String> = server.run(&["KEYS", "*"]).await;
    keys.sort();
    let names: Vec<_> =
        (0..2).map(|rate| quotas.bucket_name("per-tenant", Some(&42_u64), rate)).collect();
    assert_eq!(keys, names);
    assert!(
        keys.iter().all(|name| name.starts_with("{shop:") && name.len() == 6 + 22 + 4),
        "{keys:?}"
    );
}

#[tokio::test]
async fn trip_is_one_command() {
    let Some(server) = Server::start("commands of a trip").await else { return };
    let quotas = quotas_of(&server).await;
    take(&quotas, b"a", &[hourly(10)], 1).await;
    let before = server.calls("evalsha").await;
    for _ in 0..10 {
        take(&quotas, b"a", &[hourly(10), hourly(5)], 1).await;
    }
    assert_eq!(server.calls("evalsha").await - before, 10);
    assert_eq!(server.calls("script|load").await, 1);
    assert_eq!(quotas.snapshot().operations, 11);
}

#[tokio::test]
async fn extreme_numbers_are_no_errors() {
    let Some(server) = Server::start("extreme numbers").await else { return };
    let quotas = quotas_of(&server).await;
    for interval in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
        for burst in [0, 1, u32::MAX] {
            for (want, min, debt) in
                [(0, 0, 0), (1, 1, 0), (u32::MAX, u32::MAX, u64::MAX), (1, u32::MAX, 1)]
            {
                let key = format!("{interval:?}{burst}{want}{min}");
                let rates = [CellRate::new(interval, burst)];
                let mut ask = Ask::new(key.as_bytes(), &rates, want);
                (ask.min, ask.debt) = (min, debt);
                let grant = quotas.acquire(ask).await.unwrap();
                assert!(grant.granted <= want, "{interval:?} {burst} {want} {min} {debt}");
            }
        }
    }
    let none = quotas.acquire(Ask::new(b"", &[], 7)).await.unwrap();
    assert_eq!(none.granted, 7, "without a rate nothing limits");
}

/// Two processes with clocks of their own see one bucket: only the clock of the store counts.
#[tokio::test]
async fn late_process_finds_the_bucket_of_the_others() {
    let Some(server) = Server::start("a process that comes late").await else { return };
    let (early, late) = (Arc::new(quotas_of(&server).await), quotas_of(&server).await);
    take(&early, b"a", &[hourly(10)], 8).await;
    sleep(Duration::from_millis(1)).await;
    assert_eq!(take(&late, b"a", &[hourly(10)], 8).await.granted, 2);
}
