//! Rates and caches of a fleet as a user writes them, in front of axum and behind reqwest.
#![cfg(all(feature = "axum", feature = "redis", feature = "reqwest", feature = "stack"))]
#![expect(clippy::unwrap_used, reason = "a request that is not made fails the test")]

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use buttress::{
    BoxError, Cache, ClientConfig, DedupLayer, Fleet, Http, HttpExt, Queue, Rate, Rates, Redis,
    ServerConfig, SharedCache, ThrottleLayer, WithoutStore,
};
use http::{Request, StatusCode};
use tower::ServiceExt;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// No server listens there, so the layers run without their store.
const NOWHERE: &str = "redis://127.0.0.1:1";

#[derive(Clone)]
struct Tenant {
    id: u64,
}

async fn orders() -> &'static str {
    "42"
}

async fn status(app: &Router, tenant: u64) -> StatusCode {
    let request = Request::get("/orders").extension(Tenant { id: tenant }).body(Body::empty());
    app.clone().oneshot(request.unwrap()).await.unwrap().status()
}

#[tokio::test(start_paused = true)]
async fn server_and_client_of_a_fleet_run_without_their_store() -> Result<(), BoxError> {
    let redis = Redis::open(NOWHERE, "shop")?;
    // axum: 100/s per tenant over the whole fleet
    let tenant = |request: &http::Request<Body>| Some(request.extensions().get::<Tenant>()?.id);
    let limit = ThrottleLayer::rate(Rate::per_second(100).burst(200))
        .fleet(Fleet::new(redis.quotas(), 12))
        .keyed(tenant)
        .advertise_quota()
        .named("per-tenant");
    let limits = limit.handle();
    let app = Router::new().route("/orders", get(orders)).layer(limit.http());
    for _ in 0..16 {
        assert_eq!(status(&app, 7).await, StatusCode::OK, "the share of one of 12 replicas");
    }
    assert_eq!(status(&app, 7).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(status(&app, 8).await, StatusCode::OK);
    assert_eq!(limits.fleet().keys_away, 2);

    // client: a third party grants us 10/s and 5,000 an hour in all; callers wait their turn
    let quota = ThrottleLayer::rates(Rates::new(Rate::per_second(10)).and(Rate::per_hour(5_000)))
        .fleet(Fleet::new(redis.quotas(), 12).without_store(WithoutStore::FailClosed))
        .queue(Queue::new(100).max_wait(SECOND))
        .named("partner-api")
        .http();
    // shared cache, one call per key in the fleet
    let shared = SharedCache::new(redis.flights(), Http::new()).credentials();
    let cache = Cache::from_headers().stale_while_revalidate(MINUTE).store(shared);
    let dedup = DedupLayer::new().cache(cache);
    let client = buttress::client().dedup(dedup).throttle(quota).http();

    let mut config = ClientConfig::default();
    config.rate.fleet.replicas = Some(24);
    config.cache.fleet.max_wait = Some(2 * SECOND);
    client.handle().apply(&config)?;
    assert_eq!(client.handle().config().cache.fleet.max_wait, Some(2 * SECOND));
    let client = client.service(reqwest::Client::new());
    let request = reqwest::Client::new().get("http://127.0.0.1:1/").build()?;
    let response = client.oneshot(request).await?;
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    Ok(())
}

#[test]
fn file_changes_the_fleet_of_a_server_in_http_mode() {
    let redis = Redis::open(NOWHERE, "shop").unwrap();
    let limit = ThrottleLayer::rate(Rate::per_second(100)).fleet(Fleet::new(redis.quotas(), 4));
    let server = buttress::server().throttle(limit).http();
    let mut config = ServerConfig::default();
    config.rate.fleet.replicas = Some(12);
    server.handle().apply(&config).unwrap();
    assert_eq!(server.handle().config().rate.fleet.replicas, Some(12));
}
