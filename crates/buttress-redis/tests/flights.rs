//! Values and locks, against a real server.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod support;

use std::time::Duration;

use buttress_redis::{Redis, RedisFlights};
use buttress_state::{Begun, Ending, Finished, FlightStore, Slot, StoreErrorKind, Token};
use buttress_testkit::flight_contract;
use bytes::Bytes;
use support::{PATIENT, Proxy, Server, eventually};
use tokio::time::Instant;

const HOUR: Duration = Duration::from_secs(3600);
const SLOT: Slot<'static> = Slot::new(b"group", b"key");

async fn open(url: String) -> Redis {
    let redis = Redis::open(url, "shop").unwrap().time_limit(PATIENT);
    eventually("a connection", async || redis.snapshot().is_connected).await;
    redis
}

async fn flights_of(server: &Server) -> RedisFlights {
    open(server.url()).await.flights()
}

async fn lead(flights: &RedisFlights, slot: Slot<'_>) -> Token {
    match flights.begin(slot, None).await.unwrap() {
        Begun::Lead(token) => token,
        begun => panic!("not the leader: {begun:?}"),
    }
}

fn value(bytes: &'static [u8]) -> Ending {
    Ending::value(Bytes::from_static(bytes), HOUR)
}

async fn names(server: &Server) -> Vec<String> {
    let mut names: Vec<String> = server.run(&["KEYS", "*"]).await;
    names.sort();
    names
}

#[tokio::test]
async fn contract_of_a_flight_store_holds() {
    let Some(server) = Server::start("the contract of a flight store").await else { return };
    flight_contract(flights_of(&server).await).await;
}

#[tokio::test]
async fn value_of_the_leader_is_a_hit_for_all_processes() {
    let Some(server) = Server::start("a shared value").await else { return };
    let (one, two) = (flights_of(&server).await, flights_of(&server).await);
    let token = lead(&one, SLOT).await;
    let Begun::Busy(left) = two.begin(SLOT, None).await.unwrap() else { panic!("two leaders") };
    assert!(left <= Duration::from_secs(3));
    assert_eq!(one.finish(SLOT, &token, value(b"answer")).await.unwrap(), Finished::Stored);
    let begun = two.begin(SLOT, None).await.unwrap();
    let Begun::Hit { bytes, ttl, stamp, .. } = begun else { panic!("{begun:?}") };
    assert_eq!((&*bytes, stamp), (&b"answer"[..], token.owner));
    assert!(ttl <= HOUR && ttl > HOUR / 2);
    assert!(matches!(two.begin(SLOT, Some(stamp)).await.unwrap(), Begun::Lead(_)));
}

#[tokio::test]
async fn value_of_any_bytes_is_found() {
    let Some(server) = Server::start("values of any bytes").await else { return };
    let flights = flights_of(&server).await;
    for bytes in [&b""[..], b"v", b"\0", &vec![255; 300_000]] {
        let key = bytes.len().to_le_bytes();
        let slot = Slot::new(bytes, &key);
        let token = lead(&flights, slot).await;
        let ending = Ending::value(Bytes::copy_from_slice(bytes), HOUR);
        flights.finish(slot, &token, ending).await.unwrap();
        let begun = flights.begin(slot, None).await.unwrap();
        assert!(matches!(&begun, Begun::Hit { bytes: found, .. } if *found == bytes));
    }
}

#[tokio::test]
async fn lock_is_gone_within_a_trip_after_an_abandoned_flight() {
    let Some(server) = Server::start("an abandoned flight").await else { return };
    let flights = flights_of(&server).await;
    for _ in 0..3 {
        let token = lead(&flights, SLOT).await;
        let finished = flights.finish(SLOT, &token, Ending::Abandon).await.unwrap();
        assert_eq!(finished, Finished::Stored);
    }
}

#[tokio::test]
async fn unshared_value_lets_followers_go_alone_for_a_second() {
    let Some(server) = Server::start("an unshared value").await else { return };
    let flights = flights_of(&server).await;
    let token = lead(&flights, SLOT).await;
    flights.finish(SLOT, &token, Ending::Unshared).await.unwrap();
    let value = names(&server).await.into_iter().find(|name| name.contains(":v:")).unwrap();
    let left: i64 = server.run(&["PTTL", &value]).await;
    assert!(left <= 1000, "{left} ms");
    assert!(matches!(flights.begin(SLOT, None).await.unwrap(), Begun::Unshared | Begun::Lead(_)));
    eventually("the note ends", async || {
        matches!(flights.begin(SLOT, None).await.unwrap(), Begun::Lead(_))
    })
    .await;
}

#[tokio::test]
async fn leader_that_dies_costs_its_lease() {
    let Some(server) = Server::start("a leader that dies").await else { return };
    let dying = flights_of(&server).await.lease(Duration::from_millis(200));
    lead(&dying, SLOT).await;
    // With the last handle the task that renews the lock ends, as with the process.
    drop(dying);
    let flights = flights_of(&server).await;
    eventually("the lock ends", async || {
        matches!(flights.begin(SLOT, None).await.unwrap(), Begun::Lead(_))
    })
    .await;
}

#[tokio::test]
async fn lock_is_renewed_while_the_work_takes_longer_than_the_lease() {
    let Some(server) = Server::start("work beyond the lease").await else { return };
    let redis = open(server.url()).await;
    let flights = redis.flights().lease(Duration::from_millis(300));
    let token = lead(&flights, SLOT).await;
    let renewals = async || server.calls("evalsha").await;
    let before = renewals().await;
    eventually("five renewals", async || renewals().await >= before + 5).await;
    // On a machine that stood still the lock may have ended. Then the value is late.
    let finished = flights.finish(SLOT, &token, value(b"x")).await.unwrap();
    assert!(matches!(finished, Finished::Stored | Finished::StoredLate), "{finished:?}");
    let after = renewals().await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(renewals().await, after, "the renewal ends with the flight");
}

#[tokio::test]
async fn renewal_ends_after_its_longest_time() {
    let Some(server) = Server::start("the end of renewals").await else { return };
    let flights = flights_of(&server).await.lease(Duration::from_millis(60));
    let short = flights.clone().renew_for(Duration::from_millis(200));
    lead(&short, SLOT).await;
    let other = flights_of(&server).await;
    eventually("the lock ends", async || {
        matches!(other.begin(SLOT, None).await.unwrap(), Begun::Lead(_))
    })
    .await;
    let by_hand = flights.renew_for(Duration::ZERO);
    let slot = Slot::new(b"g", b"by hand");
    let token = lead(&by_hand, slot).await;
    assert!(by_hand.renew(slot, &token).await.is_ok());
}

#[tokio::test]
async fn lost_lock_fills_an_empty_slot_only() {
    let Some(server) = Server::start("a late value").await else { return };
    let flights = flights_of(&server).await;
    let late = lead(&flights, SLOT).await;
    let lock = names(&server).await.into_iter().find(|name| name.contains(":l:")).unwrap();
    server.run::<()>(&["DEL", &lock]).await;
    let next = lead(&flights, SLOT).await;
    assert_eq!(flights.finish(SLOT, &late, value(b"late")).await.unwrap(), Finished::StoredLate);
    assert_eq!(flights.finish(SLOT, &next, value(b"next")).await.unwrap(), Finished::Stored);
    assert_eq!(flights.finish(SLOT, &late, value(b"again")).await.unwrap(), Finished::Superseded);
    assert_eq!(flights.finish(SLOT, &late, Ending::Unshared).await.unwrap(), Finished::Superseded);
    let begun = flights.begin(SLOT, None).await.unwrap();
    assert!(matches!(&begun, Begun::Hit { bytes, .. } if &**bytes == b"next"), "{begun:?}");
}

#[tokio::test]
async fn invalidation_during_a_flight_supersedes_its_value() {
    let Some(server) = Server::start("an invalidation during a flight").await else { return };
    let (one, two) = (flights_of(&server).await, flights_of(&server).await);
    let token = lead(&one, SLOT).await;
    two.invalidate(SLOT.group).await.unwrap();
    assert_eq!(one.finish(SLOT, &token, value(b"old")).await.unwrap(), Finished::Superseded);
    let token = lead(&two, SLOT).await;
    two.finish(SLOT, &token, value(b"new")).await.unwrap();
    let other = Slot::new(SLOT.group, b"variant");
    let variant = lead(&one, other).await;
    one.finish(other, &variant, value(b"variant")).await.unwrap();
    one.invalidate(SLOT.group).await.unwrap();
    for slot in [SLOT, other] {
        assert!(matches!(two.begin(slot, None).await.unwrap(), Begun::Lead(_)));
    }
}

#[tokio::test]
async fn lost_generation_revives_no_value() {
    let Some(server) = Server::start("an evicted generation").await else { return };
    let flights = flights_of(&server).await;
    let token = lead(&flights, SLOT).await;
    flights.finish(SLOT, &token, value(b"x")).await.unwrap();
    let generation = names(&server).await.into_iter().find(|name| name.ends_with(":g")).unwrap();
    server.run::<()>(&["DEL", &generation]).await;
    assert!(matches!(flights.begin(SLOT, None).await.unwrap(), Begun::Lead(_)));
}

#[tokio::test]
async fn foreign_types_and_values_are_misses() {
    let Some(server) = Server::start("foreign types").await else { return };
    let flights = flights_of(&server).await;
    let token = lead(&flights, SLOT).await;
    flights.finish(SLOT, &token, value(b"x")).await.unwrap();
    let token = flights.begin(SLOT, Some(token.owner)).await.unwrap();
    assert!(matches!(token, Begun::Lead(_)));
    let all = names(&server).await;
    assert_eq!(all.len(), 4, "{all:?}");
    for command in ["SET", "RPUSH", "SADD"] {
        for name in &all {
            server.run::<()>(&["DEL", name]).await;
            let _: redis::Value = server.run(&[command, name, "x"]).await;
        }
        // The epoch is read again after a second. Then the damaged one is replaced.
        let other = flights_of(&server).await;
        assert!(matches!(other.begin(SLOT, None).await.unwrap(), Begun::Lead(_)), "{command}");
        for name in &all {
            server.run::<()>(&["DEL", name]).await;
            let _: redis::Value = server.run(&[command, name, "x"]).await;
        }
        let begun = flights.begin(SLOT, None).await.unwrap();
        let Begun::Lead(token) = begun else { panic!("{command}: {begun:?}") };
        let finished = flights.finish(SLOT, &token, value(b"y")).await.unwrap();
        assert!(matches!(finished, Finished::Stored | Finished::Superseded), "{finished:?}");
    }
}

#[tokio::test]
async fn end_of_a_flight_is_announced_only_if_a_caller_waits() {
    let Some(server) = Server::start("announcements").await else { return };
    let (one, two) = (flights_of(&server).await, flights_of(&server).await);
    eventually("both subscribe", async || {
        let channels: Vec<(String, u64)> =
            pairs(server.run(&["PUBSUB", "NUMSUB", "shop:0", "shop:63"]).await);
        channels.iter().all(|(_, subscribers)| *subscribers == 2)
    })
    .await;
    let token = lead(&one, SLOT).await;
    one.finish(SLOT, &token, value(b"x")).await.unwrap();
    assert_eq!(server.calls("publish").await, 0, "nobody waits");

    let slot = Slot::new(b"other", b"key");
    let token = lead(&one, slot).await;
    let until = Instant::now() + HOUR;
    let changed = two.changed(slot, until);
    assert!(matches!(two.begin(slot, None).await.unwrap(), Begun::Busy(_)));
    one.finish(slot, &token, value(b"x")).await.unwrap();
    // Without the message this would take an hour.
    tokio::time::timeout(PATIENT, changed).await.expect("a message");
    assert_eq!(server.calls("publish").await, 1);
    assert!(matches!(two.begin(slot, None).await.unwrap(), Begun::Hit { .. }));
    let past = two.changed(slot, Instant::now());
    tokio::time::timeout(PATIENT, past).await.expect("the wait ends at its time");
}

fn pairs(value: redis::Value) -> Vec<(String, u64)> {
    redis::from_redis_value(value).unwrap()
}

#[tokio::test]
async fn clear_changes_every_name() {
    let Some(server) = Server::start("an epoch").await else { return };
    let (one, two) = (flights_of(&server).await, flights_of(&server).await);
    let token = lead(&one, SLOT).await;
    one.finish(SLOT, &token, value(b"x")).await.unwrap();
    assert!(matches!(two.begin(SLOT, None).await.unwrap(), Begun::Hit { .. }));
    let flying = Slot::new(b"flying", b"key");
    let old = lead(&one, flying).await;
    one.clear().await.unwrap();
    assert_eq!(one.finish(flying, &old, value(b"old")).await.unwrap(), Finished::Superseded);
    assert!(matches!(one.begin(SLOT, None).await.unwrap(), Begun::Lead(_)));
    eventually("the other process reads the epoch", async || {
        !matches!(two.begin(SLOT, None).await.unwrap(), Begun::Hit { .. })
    })
    .await;
}

#[tokio::test]
async fn everything_at_rest_expires() {
    let Some(server) = Server::start("memory at rest").await else { return };
    let flights = flights_of(&server).await;
    let token = lead(&flights, SLOT).await;
    flights
        .finish(SLOT, &token, Ending::value(Bytes::from_static(b"x"), Duration::MAX))
        .await
        .unwrap();
    lead(&flights, Slot::new(b"other", b"key")).await;
    flights.invalidate(b"third").await.unwrap();
    let day = 24 * 3600 * 1000;
    for name in names(&server).await {
        let left: i64 = server.run(&["PTTL", &name]).await;
        assert!((1..=day + 60_000).contains(&left), "{name}: {left} ms");
        assert!(name.starts_with("{shop:"), "{name}");
    }
}

#[tokio::test]
async fn invalidation_waits_while_the_store_is_away() {
    let Some(server) = Server::start("an invalidation while away").await else { return };
    let proxy = Proxy::to(server.port).await;
    let (near, far) = (flights_of(&server).await, open(proxy.url()).await);
    let (redis, far) = (far.clone(), far.time_limit(Duration::from_millis(25)).flights());
    for group in [b"group", b"other"] {
        let slot = Slot::new(group, b"key");
        let token = lead(&near, slot).await;
        near.finish(slot, &token, value(b"old")).await.unwrap();
        eventually("a hit", async || matches!(far.begin(slot, None).await, Ok(Begun::Hit { .. })))
            .await;
    }
    proxy.pause(true);
    let error = far.invalidate(b"group").await.unwrap_err();
    assert!(matches!(error.kind(), StoreErrorKind::Timeout | StoreErrorKind::Unavailable));
    assert!(far.begin(SLOT, None).await.is_err());
    proxy.pause(false);
    // Until the store has the invalidation, this process takes nothing of the group.
    eventually("the invalidation arrives", async || match far.begin(SLOT, None).await {
        Ok(Begun::Hit { .. }) => panic!("an invalidated value"),
        begun => begun.is_ok(),
    })
    .await;
    assert!(!matches!(near.begin(SLOT, None).await.unwrap(), Begun::Hit { .. }));
    let other = Slot::new(b"other", b"key");
    assert!(matches!(near.begin(other, None).await.unwrap(), Begun::Hit { .. }));

    proxy.pause(true);
    eventually("the store is away", async || {
        redis.snapshot().open_circuits > 0 || far.invalidate(b"0").await.is_err()
    })
    .await;
    for group in 0..1100_u32 {
        far.invalidate(&group.to_le_bytes()).await.unwrap_err();
    }
    proxy.pause(false);
    eventually("too many invalidations clear", async || {
        !matches!(near.begin(other, None).await.unwrap(), Begun::Hit { .. })
    })
    .await;
}

#[tokio::test]
async fn caller_that_leaves_leaves_no_lock() {
    let Some(server) = Server::start("a leader that leaves").await else { return };
    let proxy = Proxy::to(server.port).await;
    let flights = open(proxy.url()).await.flights();
    let near = flights_of(&server).await;
    assert!(matches!(flights.begin(Slot::new(b"warm", b"up"), None).await, Ok(Begun::Lead(_))));
    proxy.delay(Duration::from_millis(100));
    let before = server.calls("evalsha").await;
    {
        let mut begin = Box::pin(flights.begin(SLOT, None));
        eventually("the lock is taken", async || {
            let _ = futures_util::poll!(begin.as_mut());
            server.calls("evalsha").await > before
        })
        .await;
    }
    // Without a release the lock would be renewed by nobody, and would last for 3 s.
    let start = Instant::now();
    eventually("the lock is released", async || {
        matches!(near.begin(SLOT, None).await.unwrap(), Begun::Lead(_))
    })
    .await;
    assert!(start.elapsed() < Duration::from_secs(60));
}

#[tokio::test]
async fn restart_of_the_store_in_a_flight_is_no_error_for_long() {
    let Some(mut server) = Server::start("a restart in a flight").await else { return };
    let flights = open(server.url()).await.flights();
    let token = lead(&flights, SLOT).await;
    server.kill();
    assert!(flights.finish(SLOT, &token, value(b"x")).await.is_err());
    server.restart().await;
    eventually("another flight", async || {
        matches!(flights.begin(SLOT, None).await, Ok(Begun::Lead(_)))
    })
    .await;
    let finished = flights.finish(SLOT, &token, value(b"x")).await.unwrap();
    assert_eq!(finished, Finished::Superseded, "the generation is another");
}

/// The probes have the longest time limit of any operation, and a renewal has that of the others.
#[tokio::test]
async fn silent_connection_is_replaced_while_locks_are_renewed() {
    let Some(server) = Server::start("a half-open connection with a lock").await else { return };
    let proxy = Proxy::to(server.port).await;
    let redis = Redis::open(proxy.url(), "shop").unwrap();
    let flights = redis.flights().lease(HOUR);
    let works = async || flights.begin(SLOT, None).await.is_ok();
    eventually("a lock", works).await;
    let connections = redis.snapshot().connections;
    proxy.half_open();
    eventually("a time-out", async || flights.begin(SLOT, None).await.is_err()).await;
    // With the lease as the limit, a probe alone would take 20 minutes.
    eventually("another connection", works).await;
    assert!(redis.snapshot().connections > connections);
}
