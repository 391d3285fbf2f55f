//! The connection to a real server, over networks that fail.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::time::Duration;

use buttress_redis::{OpenError, Redis, RedisQuotas};
use buttress_state::{Ask, CellRate, Grant, QuotaStore, StoreError, StoreErrorKind};
use support::{PATIENT, Proxy, Server, eventually};
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);

async fn take(quotas: &RedisQuotas) -> Result<Grant, StoreError> {
    quotas.acquire(Ask::new(b"key", &[CellRate::new(HOUR, 1_000_000)], 1)).await
}

async fn kind(quotas: &RedisQuotas) -> Option<StoreErrorKind> {
    take(quotas).await.err().map(|error| error.kind())
}

async fn connected(redis: &Redis) {
    eventually("a connection", async || redis.snapshot().is_connected).await;
}

async fn works(quotas: &RedisQuotas) {
    eventually("a grant", async || take(quotas).await.is_ok()).await;
}

/// The cells that the store has debited so far.
async fn debited(server: &Server) -> u64 {
    let redis = Redis::open(server.url(), "shop").unwrap().time_limit(PATIENT);
    connected(&redis).await;
    let ask = CellRate::new(HOUR, 1_000_000);
    let grant = redis.quotas().acquire(Ask::new(b"key", &[ask], 0)).await.unwrap();
    1_000_000 - grant.remaining
}

#[test]
fn namespace_and_url_are_checked() {
    let open = |url: &str, namespace: &str| Redis::open(url, namespace).map(drop);
    let url = "redis://localhost";
    assert_eq!(open(url, "shop-1.eu_west"), Ok(()));
    assert_eq!(open(url, &"a".repeat(64)), Ok(()));
    for namespace in ["", &"a".repeat(65), "Shop", "a b", "a{b", "a}b", "a:b", "a*", "ä", "a\n"] {
        assert_eq!(open(url, namespace), Err(OpenError::Namespace), "{namespace:?}");
    }
    for url in
        ["", "localhost", "http://localhost", "redis://", "redis://h:99999", "redis://h/x", "\0"]
    {
        assert_eq!(open(url, "shop"), Err(OpenError::Url), "{url:?}");
    }
    assert_eq!(open("rediss://localhost", "shop").is_ok(), cfg!(feature = "tls"));
}

#[tokio::test]
async fn first_operation_waits_for_the_first_connection() {
    let Some(server) = Server::start("first operation").await else { return };
    for _ in 0..20 {
        let redis = Redis::open(server.url(), "shop").unwrap().time_limit(PATIENT);
        take(&redis.quotas()).await.unwrap();
    }
    let redis = Redis::open(server.url(), "shop").unwrap();
    redis.connected().await;
    assert!(redis.snapshot().is_connected);
    redis.connected().await;
}

#[tokio::test]
async fn first_operation_waits_for_no_server_that_refuses() {
    let redis = Redis::open("redis://127.0.0.1:1", "shop").unwrap().time_limit(HOUR);
    assert_eq!(kind(&redis.quotas()).await, Some(StoreErrorKind::Unavailable));
}

#[test]
fn store_is_away_outside_of_a_runtime() {
    let redis = Redis::open("redis://127.0.0.1:1", "shop").unwrap();
    let quotas = redis.quotas();
    let future = take(&quotas);
    let outcome = futures_util::FutureExt::now_or_never(future).expect("no wait");
    assert_eq!(outcome.unwrap_err().kind(), StoreErrorKind::Unavailable);
    let snapshot = redis.snapshot();
    assert_eq!((snapshot.operations, snapshot.unavailable), (1, 1));
    assert!(!snapshot.is_connected);
}

#[test]
fn store_is_away_in_a_runtime_without_timers() {
    let redis = Redis::open("redis://127.0.0.1:1", "shop").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let quotas = redis.quotas();
    assert_eq!(runtime.block_on(kind(&quotas)), Some(StoreErrorKind::Unavailable));
}

#[test]
fn client_outlives_the_runtime_it_dialled_in() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let Some(server) = first.block_on(Server::start("a runtime that ends")) else { return };
    let redis = Redis::open(server.url(), "shop").unwrap();
    let quotas = redis.quotas();
    first.block_on(works(&quotas));
    drop(first);
    assert!(!redis.snapshot().is_connected);
    runtime().block_on(works(&quotas));
}

#[tokio::test]
async fn client_opens_while_the_server_is_away() {
    let Some(mut server) = Server::start("a server that is away").await else { return };
    server.kill();
    let redis = Redis::open(server.url(), "shop").unwrap().time_limit(HOUR);
    let quotas = redis.quotas();
    let start = Instant::now();
    assert_eq!(kind(&quotas).await, Some(StoreErrorKind::Unavailable));
    assert!(start.elapsed() < HOUR / 2, "a call without a connection does not wait");
    server.restart().await;
    works(&quotas).await;
}

#[tokio::test]
async fn killed_server_is_found_again() {
    let Some(mut server) = Server::start("kill -9").await else { return };
    let redis = Redis::open(server.url(), "shop").unwrap();
    let quotas = redis.quotas();
    for round in 0..3 {
        works(&quotas).await;
        server.kill();
        eventually("the loss is noticed", async || !redis.snapshot().is_connected).await;
        assert_eq!(kind(&quotas).await, Some(StoreErrorKind::Unavailable), "round {round}");
        server.restart().await;
    }
    works(&quotas).await;
    eventually("circuits close", async || redis.snapshot().open_circuits == 0).await;
    assert!(redis.snapshot().connections >= 4);
}

#[tokio::test]
async fn stopped_server_times_out_once_and_then_fails_at_once() {
    let Some(server) = Server::start("SIGSTOP").await else { return };
    let redis = Redis::open(server.url(), "shop").unwrap().time_limit(Duration::from_secs(1));
    let quotas = redis.quotas();
    works(&quotas).await;
    let before = debited(&server).await;
    server.signal("-STOP");
    assert_eq!(kind(&quotas).await, Some(StoreErrorKind::Timeout));
    assert!(redis.snapshot().open_circuits == 1);
    for _ in 0..1000 {
        assert_eq!(kind(&quotas).await, Some(StoreErrorKind::Unavailable));
    }
    assert_eq!(redis.snapshot().timeouts, 1, "an open circuit lets no operation wait");
    server.signal("-CONT");
    works(&quotas).await;
    // The call that timed out, and the one that worked. None was sent twice.
    assert!(debited(&server).await <= before + 2);
    eventually("the circuit closes", async || redis.snapshot().open_circuits == 0).await;
}

#[tokio::test]
async fn silent_connection_is_replaced() {
    let Some(server) = Server::start("a half-open connection").await else { return };
    let proxy = Proxy::to(server.port).await;
    let redis = Redis::open(proxy.url(), "shop").unwrap();
    let quotas = redis.quotas();
    works(&quotas).await;
    let connections = redis.snapshot().connections;
    proxy.half_open();
    eventually("a time-out", async || take(&quotas).await.is_err()).await;
    works(&quotas).await;
    assert!(redis.snapshot().connections > connections);
}

#[tokio::test]
async fn network_that_pauses_is_survived() {
    let Some(server) = Server::start("a network that pauses").await else { return };
    let proxy = Proxy::to(server.port).await;
    let redis = Redis::open(proxy.url(), "shop").unwrap();
    let quotas = redis.quotas();
    works(&quotas).await;
    proxy.pause(true);
    eventually("the connection is given up", async || {
        take(&quotas).await.is_err() && !redis.snapshot().is_connected
    })
    .await;
    proxy.pause(false);
    works(&quotas).await;
}

#[tokio::test]
async fn operation_whose_reply_is_lost_is_not_sent_again() {
    let Some(server) = Server::start("lost replies").await else { return };
    let proxy = Proxy::to(server.port).await;
    let redis = Redis::open(proxy.url(), "shop").unwrap();
    let quotas = redis.quotas();
    works(&quotas).await;
    let before = debited(&server).await;
    proxy.drop_replies(true);
    eventually("the debit arrives", async || {
        let _ = take(&quotas).await;
        debited(&server).await > before
    })
    .await;
    let snapshot = redis.snapshot();
    proxy.drop_replies(false);
    eventually("the circuit closes", async || redis.snapshot().open_circuits == 0).await;
    let debits = debited(&server).await - before;
    assert!(debits <= snapshot.timeouts, "{debits} debits, {snapshot:?}");
    works(&quotas).await;
}

/// Writes are paused while a server hands over to a replica. Reads are not.
#[tokio::test]
async fn server_that_pauses_writes_gets_no_further_operation() {
    let Some(server) = Server::start("CLIENT PAUSE WRITE").await else { return };
    let redis = Redis::open(server.url(), "shop").unwrap().time_limit(Duration::from_millis(200));
    let quotas = redis.quotas();
    works(&quotas).await;
    let before = redis.snapshot();
    server.run::<()>(&["CLIENT", "PAUSE", "1000000", "WRITE"]).await;
    assert_eq!(kind(&quotas).await, Some(StoreErrorKind::Timeout));
    // The operation and two probes. Meanwhile the circuit lets no other operation through.
    eventually("the connection is replaced", async || {
        assert_ne!(kind(&quotas).await, None);
        redis.snapshot().connections > before.connections
    })
    .await;
    assert_eq!(redis.snapshot().timeouts, before.timeouts + 1, "{:?}", redis.snapshot());
    server.run::<()>(&["CLIENT", "UNPAUSE"]).await;
    works(&quotas).await;
    eventually("circuits close", async || redis.snapshot().open_circuits == 0).await;
}

/// The name of a store leads to another server after a failover.
#[tokio::test]
async fn server_that_became_a_replica_is_dialled_again() {
    let Some(old) = Server::start("a failover by name").await else { return };
    let Some(new) = Server::start("a failover by name").await else { return };
    let proxy = Proxy::to(old.port).await;
    let redis = Redis::open(proxy.url(), "shop").unwrap().time_limit(PATIENT);
    let quotas = redis.quotas();
    works(&quotas).await;
    proxy.switch(new.port);
    old.run::<()>(&["REPLICAOF", "127.0.0.1", &new.port.to_string()]).await;
    works(&quotas).await;
}

#[tokio::test]
async fn replica_is_dialled_at_most_once_a_second() {
    let Some(server) = Server::start("a server that stays a replica").await else { return };
    let redis = Redis::open(server.url(), "shop").unwrap().time_limit(PATIENT);
    let quotas = redis.quotas();
    works(&quotas).await;
    server.run::<()>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    let start = Instant::now();
    eventually("some replacements", async || {
        assert!(take(&quotas).await.is_err());
        redis.snapshot().connections >= 3
    })
    .await;
    let replacements = redis.snapshot().connections - 1;
    assert!(
        start.elapsed().as_secs() + 1 >= replacements,
        "{replacements} in {:?}",
        start.elapsed()
    );
}

#[tokio::test]
async fn slow_network_is_used_within_the_time_limit() {
    let Some(server) = Server::start("a slow network").await else { return };
    let proxy = Proxy::to(server.port).await;
    let redis = Redis::open(proxy.url(), "shop").unwrap();
    works(&redis.quotas()).await;
    proxy.delay(Duration::from_millis(50));
    eventually("a time-out", async || kind(&redis.quotas()).await == Some(StoreErrorKind::Timeout))
        .await;
    let patient = redis.clone().time_limit(PATIENT).quotas();
    works(&patient).await;
    eventually("circuits close", async || redis.snapshot().open_circuits == 0).await;
}

#[tokio::test]
async fn connection_and_tasks_end_with_the_last_handle() {
    let Some(server) = Server::start("the end of a client").await else { return };
    let clients = async || {
        let list: String = server.run(&["CLIENT", "LIST"]).await;
        // One of them asks.
        list.lines().count() - 1
    };
    let redis = Redis::open(server.url(), "shop").unwrap().time_limit(PATIENT);
    let (quotas, flights) = (redis.quotas(), redis.flights());
    works(&quotas).await;
    drop(redis);
    assert!(take(&quotas).await.is_ok() || take(&quotas).await.is_err());
    assert_eq!(clients().await, 1);
    drop(quotas);
    assert_eq!(clients().await, 1);
    drop(flights);
    eventually("the connection ends", async || clients().await == 0).await;
    eventually("the tasks end", async || {
        tokio::runtime::Handle::current().metrics().num_alive_tasks() == 0
    })
    .await;
}

#[tokio::test]
async fn caller_that_leaves_disturbs_no_other() {
    let Some(server) = Server::start("a caller that leaves").await else { return };
    let redis = Redis::open(server.url(), "shop").unwrap().time_limit(PATIENT);
    let quotas = redis.quotas();
    works(&quotas).await;
    for _ in 0..100 {
        let (left, stayed) = tokio::join!(
            async {
                let call = std::pin::pin!(take(&quotas));
                futures_util::future::select(call, std::pin::pin!(tokio::task::yield_now())).await;
            },
            take(&quotas)
        );
        let () = left;
        stayed.unwrap();
    }
}
