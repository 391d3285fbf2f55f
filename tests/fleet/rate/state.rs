//! The server forgets the state of the rate.

use buttress::throttle::Ratio;
use buttress_testkit::Events;

use crate::replica::{Setup, call_all, until_back, until_empty};
use crate::support::{Server, eventually};

/// Leases of a fifth of the burst.
fn setup() -> Setup {
    Setup { reserve: Ratio::percent(20), ..Setup::of(400) }
}

/// L7: who has an open lease expects the bucket, so the bucket starts empty.
#[tokio::test]
async fn flushed_state_yields_no_second_burst_under_active_callers() {
    let Some(server) = Server::start("FLUSHALL").await else { return };
    let events = Events::record();
    let replicas = setup().replicas(server.url()).await;
    let before = call_all(&replicas, 20).await;
    assert_eq!(before, 80);
    server.run::<()>(&["FLUSHALL"]).await;
    let after = until_empty(&replicas).await;
    // Only cells that were granted before.
    assert!(before + after <= 400, "{before} and {after}");
    assert_eq!(events.named("throttle.state_lost")[0].field("instance"), Some("orders"));
    assert_eq!(events.count("throttle.store_lost"), 0, "the store was never away");
}

/// L7: a newcomer cannot know that there was a bucket. The bound is one more burst.
#[tokio::test]
async fn flushed_state_yields_one_burst_at_most_if_a_newcomer_asks_first() {
    let Some(server) = Server::start("a newcomer after FLUSHALL").await else { return };
    let mut replicas = setup().replicas(server.url()).await;
    let before = call_all(&replicas, 10).await;
    server.run::<()>(&["FLUSHALL"]).await;
    replicas.insert(0, setup().replica(server.url()).await);
    let after = until_empty(&replicas).await;
    assert!((before + 1..=800).contains(&(before + after)), "{before} and {after}");
}

/// L7, L9: the server evicts the bucket, and refuses to write another for a while.
#[tokio::test]
async fn evicted_bucket_yields_no_second_burst() {
    let Some(server) = Server::start("an eviction").await else { return };
    let replicas = setup().replicas(server.url()).await;
    let before = call_all(&replicas, 10).await;
    let evict = ["CONFIG", "SET", "maxmemory-policy", "allkeys-random", "maxmemory", "1"];
    server.run::<()>(&evict).await;
    // Evicts what it can, and then refuses what would need memory.
    let _ = server.try_run::<()>(&["SET", "other", "x"]).await;
    eventually("the bucket is evicted", async || server.run::<u64>(&["DBSIZE"]).await == 0).await;
    let during = call_all(&replicas, 200).await;
    server.run::<()>(&["CONFIG", "SET", "maxmemory", "0"]).await;
    let after = until_back(&replicas).await + until_empty(&replicas).await;
    let all = before + during + after;
    assert!(all <= 450, "{before}, {during} and {after}");
}

/// Chapter 8, I7: what is stored expires.
#[tokio::test]
async fn full_buckets_leave_the_server() {
    let Some(server) = Server::start("buckets that expire").await else { return };
    let rate = buttress::Rate::per_second(1000).burst(100);
    let replicas = Setup { rate, ..Setup::of(1) }.replicas(server.url()).await;
    call_all(&replicas, 50).await;
    eventually("the bucket is gone", async || server.run::<u64>(&["DBSIZE"]).await == 0).await;
}
