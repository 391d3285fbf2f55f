//! The events of a client. In a file of their own: see `Events`.

mod support;

use std::time::Duration;

use buttress_redis::{Redis, RedisQuotas};
use buttress_state::{Ask, CellRate, Grant, QuotaStore, StoreError};
use buttress_testkit::Events;
use support::{PATIENT, Server, eventually};

async fn take(quotas: &RedisQuotas) -> Result<Grant, StoreError> {
    let rate = CellRate::new(Duration::from_secs(3600), 1_000_000);
    quotas.acquire(Ask::new(b"key", &[rate], 1)).await
}

async fn works(quotas: &RedisQuotas) {
    eventually("a grant", async || take(quotas).await.is_ok()).await;
}

#[tokio::test]
async fn credentials_are_in_no_event_and_no_debug() {
    let options = ["--requirepass", "s3cret"];
    let Some(server) = Server::start_with("credentials", &options).await else { return };
    let events = Events::record();
    for password in ["s3cret", "wr0ng"] {
        let url = format!("redis://default:{password}@127.0.0.1:{}", server.port);
        let redis = Redis::open(&url, "shop").unwrap().time_limit(PATIENT);
        let quotas = redis.quotas();
        if password == "s3cret" {
            works(&quotas).await;
        } else {
            eventually("a failed dial", async || events.count("redis.dial_failed") > 0).await;
        }
        let shown = format!("{redis:?} {quotas:?} {:?} {:?}", redis.flights(), take(&quotas).await);
        assert!(!shown.contains(password), "{shown}");
        let shown = format!("{:?}", events.all());
        assert!(!shown.contains(password), "{shown}");
    }
    let url = "redis://default:s3cret@host:port";
    let error = Redis::open(url, "shop").unwrap_err();
    assert!(!format!("{error:?} {error}").contains("s3cret"));
}

#[tokio::test]
async fn each_change_of_the_connection_is_an_event() {
    let Some(mut server) = Server::start("events").await else { return };
    let events = Events::record();
    let redis = Redis::open(server.url(), "shop").unwrap().time_limit(PATIENT);
    let quotas = redis.quotas();
    works(&quotas).await;
    assert_eq!(events.names(), ["redis.connected"]);
    assert_eq!(events.all()[0].field("node"), Some(&*format!("127.0.0.1:{}", server.port)));
    server.kill();
    eventually("a failed dial", async || events.count("redis.dial_failed") > 0).await;
    server.restart().await;
    works(&quotas).await;
    assert_eq!(events.count("redis.connection_lost"), 1);
    assert_eq!(events.count("redis.connected"), 2);
    let warnings = events.named("redis.dial_failed");
    let loud = warnings.iter().filter(|event| event.level == tracing::Level::WARN).count();
    assert_eq!(loud, 1, "one warning per outage");
    assert!(warnings[0].field("error").unwrap().contains("refused"), "{warnings:?}");

    server.run::<()>(&["CONFIG", "SET", "maxmemory", "1"]).await;
    for _ in 0..100 {
        take(&quotas).await.unwrap_err();
    }
    let refusals = events.named("redis.rejected");
    assert!((1..50).contains(&refusals.len()), "{} events of 100 refusals", refusals.len());
    assert!(refusals[0].field("error").unwrap().starts_with("OOM"), "{refusals:?}");
}
