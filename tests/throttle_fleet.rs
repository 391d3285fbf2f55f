//! The rate of a fleet in the words of HTTP: what each replica tells its callers.

use std::time::Duration;

use axum::{Router, body::Body, response::Response, routing::any};
use buttress::{Fleet, HttpExt, Rate, Rates, ThrottleLayer, WithoutStore};
use buttress_testkit::{FakeStore, Outage};
use http::{Request, StatusCode};
use tokio::time::advance;
use tower::ServiceExt;

/// A replica in front of handlers that answer at once.
fn replica(rates: Rates, fleet: Fleet) -> Router {
    let layer = ThrottleLayer::rates(rates).fleet(fleet);
    app().layer(layer.named("api").advertise_quota().http())
}

fn app() -> Router {
    Router::new().fallback(any(async || "served"))
}

/// What the replica answers, without a socket between, so that time can be paused.
async fn ask(replica: &Router) -> Response {
    replica.clone().oneshot(Request::new(Body::empty())).await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).and_then(|value| value.to_str().ok())
}

/// Asks the replica. Asserts the status, and the quotas with their remaining cells and their resets.
async fn assert_told(replica: &Router, status: StatusCode, policy: &str, limit: &str) {
    let response = ask(replica).await;
    assert_eq!(response.status(), status);
    assert_eq!(header(&response, "ratelimit-policy"), Some(policy));
    assert_eq!(header(&response, "ratelimit"), Some(limit));
}

/// A23: the rest of the bucket is that of the last grant, until this replica asks again.
#[tokio::test(start_paused = true)]
async fn replica_tells_the_rate_of_the_fleet_and_what_its_last_grant_left() {
    let store = FakeStore::new();
    let replica = || replica(Rates::new(Rate::per_minute(4)), Fleet::new(store.clone(), 2).exact());
    let (one, other) = (replica(), replica());
    let policy = "\"api\";q=4;w=60";
    assert_told(&one, StatusCode::OK, policy, "\"api\";r=3;t=15").await;
    assert_told(&other, StatusCode::OK, policy, "\"api\";r=2;t=30").await;
    assert_told(&one, StatusCode::OK, policy, "\"api\";r=1;t=45").await;
    // A cell comes, and the bucket is not extrapolated.
    advance(Duration::from_secs(15)).await;
    assert_told(&other, StatusCode::OK, policy, "\"api\";r=1;t=45").await;
    assert_told(&one, StatusCode::OK, policy, "\"api\";r=0;t=60").await;
    let denied = ask(&one).await;
    assert_eq!(denied.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(header(&denied, "ratelimit"), Some("\"api\";r=0;t=60"));
    assert_eq!(header(&denied, "retry-after"), Some("15"));
    // Denied without a request: `reset` counts down from the last grant.
    advance(Duration::from_secs(10)).await;
    assert_told(&one, StatusCode::TOO_MANY_REQUESTS, policy, "\"api\";r=0;t=50").await;
}

/// A23: no time passes, so each cell of the store is spent, held here, or told as left there.
#[tokio::test(start_paused = true)]
async fn cells_held_ahead_count_as_remaining_up_to_the_burst() {
    let store = FakeStore::new();
    let layer = ThrottleLayer::rate(Rate::per_second(100)).fleet(Fleet::new(store.clone(), 1));
    let layer = layer.named("api").advertise_quota().http();
    let (handle, replica) = (layer.handle(), app().layer(layer));
    // 20 of the 100 cells may be held ahead, so the store has 80.
    for spent in 1..=40 {
        let response = ask(&replica).await;
        let limit = header(&response, "ratelimit").unwrap_or_default();
        let told = format!("\"api\";r={};t=", 80 - spent);
        assert!(limit.starts_with(&told), "{limit} in place of {told}");
    }
    assert!(handle.tokens() > 0, "nothing is held ahead");
    assert!(store.asks().len() < 40);
    handle.set_rate(Rate::per_second(10));
    let response = ask(&replica).await;
    assert_eq!(header(&response, "ratelimit-policy"), Some("\"api\";q=10;w=1"));
    assert!(header(&response, "ratelimit").is_some_and(|limit| limit.contains(";r=10;")));
}

/// A23: each rate has the reset of its own bucket. A rate with a period of 0 is always full.
#[tokio::test(start_paused = true)]
async fn each_of_several_rates_of_a_fleet_is_told() {
    let rates =
        Rates::new(Rate::per_second(2)).and(Rate::new(7, Duration::ZERO)).and(Rate::per_minute(3));
    let one = replica(rates, Fleet::new(FakeStore::new(), 2));
    let policy = "\"api-1\";q=2;w=1,\"api-2\";q=7;w=1,\"api-3\";q=3;w=60";
    let told = [
        "\"api-1\";r=1;t=1,\"api-2\";r=7;t=0,\"api-3\";r=1;t=20",
        "\"api-1\";r=0;t=1,\"api-2\";r=7;t=0,\"api-3\";r=0;t=40",
    ];
    for limit in told {
        assert_told(&one, StatusCode::OK, policy, limit).await;
    }
}

/// Without the store, a replica tells what it admits: its part of the rate, or nothing.
#[tokio::test(start_paused = true)]
async fn replica_without_the_store_tells_its_part_of_the_rate() {
    let store = FakeStore::new();
    store.begin_outage(Outage::Refused);
    let fleet = |policy| Fleet::new(store.clone(), 2).without_store(policy);
    let local = replica(Rates::new(Rate::per_minute(4)), fleet(WithoutStore::LocalShare));
    let policy = "\"api\";q=4;w=60";
    assert_told(&local, StatusCode::OK, policy, "\"api\";r=1;t=30").await;
    assert_told(&local, StatusCode::OK, policy, "\"api\";r=0;t=60").await;
    assert_told(&local, StatusCode::TOO_MANY_REQUESTS, policy, "\"api\";r=0;t=60").await;
    let open = replica(Rates::new(Rate::per_minute(4)), fleet(WithoutStore::FailOpen));
    for _ in 0..9 {
        let response = ask(&open).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "ratelimit"), None);
    }
}
