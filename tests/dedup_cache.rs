//! Answers that are kept for a while: how long, how old they are, and what stands in when they are over.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::time::Duration;

use axum::{Router, routing::get};
use buttress::{
    Cache, DedupHandle, DedupLayer, HttpExt, Ratio,
    dedup::FlightGuard,
    http_grpc::{ControlBody, FromCache, SharedBody},
    layer_api::{Degraded, Reason, Source, Verdict},
};
use http::{Request, Response, StatusCode, header::AGE};
use loopback::{
    AnyBody, Cached, Gated, Origin, Work, answer, ask_for, get_of, http1, read, serve, streams,
    until,
};
use tokio::{task::JoinSet, time::advance};
use tower::{ServiceBuilder, ServiceExt, util::Oneshot};

const OK: StatusCode = StatusCode::OK;

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Keeps what says so itself, and to the second.
fn from_headers() -> Cache {
    Cache::from_headers().jitter(Ratio::ZERO)
}

/// An origin behind what is kept of it.
struct CachedOrigin {
    stack: Cached,
    handle: DedupHandle,
}

type Answered = Response<ControlBody<SharedBody<AnyBody>, FlightGuard>>;

impl CachedOrigin {
    fn new(keep: Cache, origin: &Origin) -> Self {
        let layer = DedupLayer::new().cache(keep).http();
        let handle = layer.handle();
        Self { stack: ServiceBuilder::new().layer(layer).service(origin.clone()), handle }
    }

    fn call(&self, path: &str) -> Oneshot<Cached, Request<String>> {
        self.stack.clone().oneshot(ask_for(path))
    }

    async fn look(&self) -> Seen {
        see(self.call("/").await.unwrap()).await
    }
}

/// What was answered, how old that is said to be, and whether it is stale.
type Seen = (String, Option<u64>, Option<bool>);

async fn see(response: Answered) -> Seen {
    let age = response.headers().get(AGE).map(|age| age.to_str().unwrap().parse().unwrap());
    let stale = response.extensions().get::<FromCache>().map(|kept| kept.stale);
    (String::from_utf8(read(response).await.to_vec()).unwrap(), age, stale)
}

fn made(call: &str) -> Seen {
    (call.to_owned(), None, None)
}

fn kept(call: &str, age: u64) -> Seen {
    (call.to_owned(), Some(age), Some(false))
}

fn stale(call: &str, age: u64) -> Seen {
    (call.to_owned(), Some(age), Some(true))
}

/// Answers with the number of the call, and what may be done with it.
fn numbered(control: &'static str) -> Origin {
    Origin::new(move |_, call| Ok(answer(OK, &[("cache-control", control)], call.to_string())))
}

#[tokio::test]
async fn a_server_and_its_client_cache_cacheable_responses() {
    let work = Work::default();
    work.allow(2);
    let handler = {
        let work = work.clone();
        async move || ([("cache-control", "max-age=600")], work.call().await.to_string())
    };
    let layer = || DedupLayer::new().cache(Cache::from_headers()).http();
    let (server, client) = (layer(), layer());
    let app = Router::new().route("/", get(handler)).layer(server.clone());
    let address = serve(app).await.unwrap();
    let stack = ServiceBuilder::new().layer(client.clone()).service(http1());
    for hits in 0..3 {
        let bare = http1().request(get_of(address, "")).await.unwrap();
        assert_eq!(bare.headers().contains_key(AGE), hits > 0);
        assert_eq!(read(bare).await, "1");
        let through = stack.clone().oneshot(get_of(address, "")).await.unwrap();
        assert_eq!(through.extensions().get::<FromCache>().is_some(), hits > 0);
        assert_eq!(through.headers()["cache-control"], "max-age=600");
        assert_eq!(read(through).await, "1");
        until(|| server.handle().waiters() == 0).await;
    }
    assert_eq!(work.calls(), 1);
    assert_eq!(client.handle().cache_hits(), 2);
    assert_eq!(server.handle().cache_hits(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_age_of_an_entry_grows_until_the_entry_expires() {
    let origin = numbered("max-age=60");
    let cache = CachedOrigin::new(from_headers(), &origin);
    assert_eq!(cache.look().await, made("1"));
    assert_eq!(cache.look().await, kept("1", 0));
    advance(seconds(10)).await;
    assert_eq!(cache.look().await, kept("1", 10));
    advance(seconds(49)).await;
    assert_eq!(cache.look().await, kept("1", 59));
    advance(seconds(1)).await;
    assert_eq!(cache.look().await, made("2"));
    assert_eq!(origin.calls(), 2);
    assert_eq!(cache.handle.cache_hits(), 3);
    assert_eq!(cache.handle.stale_hits(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_from_another_cache_is_as_old_as_it_was_there() {
    let headers = &[("cache-control", "max-age=60"), ("age", "25")];
    let origin = Origin::new(move |_, call| Ok(answer(OK, headers, call.to_string())));
    let cache = CachedOrigin::new(from_headers(), &origin);
    assert_eq!(cache.look().await, ("1".to_owned(), Some(25), None));
    advance(seconds(34)).await;
    assert_eq!(cache.look().await, kept("1", 59));
    advance(seconds(1)).await;
    assert_eq!(cache.look().await, ("2".to_owned(), Some(25), None));
}

/// RFC 9111, section 4.2.3: it is as old as its head, however slowly its body is read.
#[tokio::test(start_paused = true)]
async fn the_age_of_an_entry_grows_while_its_body_is_streamed() {
    let (streams, mut writers) = streams();
    let origin = Origin::new(move |_, _| {
        let mut response = streams.respond();
        let headers = &[("cache-control", "max-age=60"), ("age", "5")];
        *response.headers_mut() = answer(OK, headers, "").headers().clone();
        Ok(response)
    });
    let cache = CachedOrigin::new(from_headers(), &origin);
    for (slow, left) in [(40, 15), (54, 1), (55, 0), (100, 0)] {
        let response = cache.call("/").await.unwrap();
        let writer = writers.next().await;
        advance(seconds(slow)).await;
        writer.write("whole");
        drop(writer);
        assert_eq!(see(response).await, ("whole".to_owned(), Some(5), None));
        if left > 0 {
            assert_eq!(cache.look().await, kept("whole", 5 + slow));
            advance(seconds(left)).await;
        }
        assert_eq!(cache.handle.cache_entries(), 0, "{slow} s");
        assert_eq!(cache.handle.in_flight(), 0, "{slow} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hundred_readers_of_a_stale_answer_are_one_refresh_that_reads_its_body_to_the_end() {
    let (streams, mut writers) = streams();
    let origin = Origin::new(move |_, call| {
        let headers = &[("cache-control", "max-age=10, stale-while-revalidate=20")];
        if call == 2 {
            let mut slow = streams.respond();
            *slow.headers_mut() = answer(OK, headers, "").headers().clone();
            return Ok(slow);
        }
        Ok(answer(OK, headers, call.to_string()))
    });
    let cache = CachedOrigin::new(from_headers(), &origin);
    assert_eq!(cache.look().await, made("1"));
    advance(seconds(15)).await;
    let mut readers = JoinSet::new();
    for _ in 0..100 {
        readers.spawn(cache.call("/"));
    }
    for response in readers.join_all().await {
        assert_eq!(see(response.unwrap()).await, stale("1", 15));
    }
    let writer = writers.next().await;
    assert_eq!(origin.calls(), 2);
    assert_eq!(cache.handle.refreshes(), 1);
    writer.write("all of ");
    advance(seconds(1)).await;
    assert_eq!(cache.look().await, stale("1", 16));
    writer.write("the second");
    drop(writer);
    until(|| cache.handle.in_flight() == 0).await;
    assert_eq!(cache.look().await, kept("all of the second", 1));
    // Fresh for ten from when its head came, stale for twenty, and then over.
    advance(seconds(29)).await;
    assert_eq!(cache.look().await, made("3"));
    assert_eq!(cache.handle.refreshes(), 1);
    assert_eq!(origin.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_leaves_the_old_answer_and_the_next_one_waits() {
    let origin = Origin::new(|_, call| match call {
        1 => {
            let control = "max-age=10, stale-while-revalidate=1000";
            Ok(answer(OK, &[("cache-control", control)], "1"))
        }
        _ => Ok(answer(StatusCode::BAD_GATEWAY, &[], "")),
    });
    let cache = CachedOrigin::new(from_headers(), &origin);
    assert_eq!(cache.look().await, made("1"));
    advance(seconds(11)).await;
    for (waited, age, calls) in [(0, 11, 2), (0, 11, 2), (2, 13, 3), (0, 13, 3), (60, 73, 4)] {
        advance(seconds(waited)).await;
        assert_eq!(cache.look().await, stale("1", age));
        until(|| cache.handle.in_flight() == 0).await;
        tokio::task::yield_now().await;
        assert_eq!(origin.calls(), calls, "at {age} s");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_stands_in_for_a_failure_and_says_so() {
    let origin = Origin::new(|request, call| match (call, request.uri().path()) {
        (1, _) => Ok(answer(OK, &[("cache-control", "max-age=10, stale-if-error=60")], "1")),
        (2, _) => Ok(answer(StatusCode::SERVICE_UNAVAILABLE, &[], "")),
        (3, _) => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()),
        (4, _) => Ok(answer(StatusCode::INTERNAL_SERVER_ERROR, &[], "")),
        (5, _) => panic!("as told"),
        _ => Ok(answer(StatusCode::SERVICE_UNAVAILABLE, &[], "down")),
    });
    let cache = CachedOrigin::new(from_headers(), &origin);
    assert_eq!(cache.look().await, made("1"));
    advance(seconds(9)).await;
    for age in [10, 11, 12, 13] {
        advance(seconds(1)).await;
        assert_eq!(cache.look().await, stale("1", age), "{age}");
    }
    assert_eq!(origin.calls(), 5);
    // No failure of another call, and no longer than it said.
    assert_eq!(cache.call("/other").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    advance(seconds(56)).await;
    assert_eq!(cache.look().await, stale("1", 69));
    advance(seconds(1)).await;
    assert_eq!(cache.look().await, made("down"));
}

#[tokio::test(start_paused = true)]
async fn stale_response_in_place_of_a_failure_carries_degraded() {
    let origin = Origin::new(|_, call| match call {
        1 => Ok(answer(OK, &[("cache-control", "max-age=10, stale-if-error=60")], "1")),
        2 => Ok(answer(StatusCode::TOO_MANY_REQUESTS, &[], "")),
        3 => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()),
        _ => panic!("as told"),
    });
    let cache = CachedOrigin::new(from_headers(), &origin);
    let degraded = async || {
        let response = cache.call("/").await.unwrap();
        let mark = response.extensions().get::<Degraded>().cloned();
        assert_eq!(read(response).await, "1");
        mark
    };
    assert_eq!(degraded().await, None, "the service's own response");
    advance(seconds(9)).await;
    assert_eq!(degraded().await, None, "a fresh entry replaces no failure");
    for (age, verdict) in [
        (10, Verdict::Throttled(None)),
        (11, Verdict::Transient),
        (12, Verdict::rejected("dedup", Reason::Panicked, None)),
    ] {
        advance(seconds(1)).await;
        let mark = degraded().await.unwrap();
        assert_eq!((mark.source, mark.instead_of), (Source::StaleCache, verdict));
        assert_eq!(mark.origin.layer(), "dedup");
        assert_eq!(mark.age.unwrap().by_now(), seconds(age));
    }
}

/// The mark alone is enough: the signal does not cross a task, and the extensions of a response do.
#[tokio::test(start_paused = true)]
async fn response_that_carries_degraded_is_not_cached() {
    let origin = Origin::new(|_, call| {
        let mut response = answer(OK, &[("cache-control", "max-age=10")], call.to_string());
        if call < 3 {
            let by = buttress::layer_api::Origin::new("fallback");
            let mark = Degraded::new(by, Source::Value, Verdict::Transient);
            response.extensions_mut().insert(mark);
        }
        Ok(response)
    });
    let cache = CachedOrigin::new(from_headers(), &origin);
    for expected in ["1", "2", "3", "3"] {
        assert_eq!(read(cache.call("/").await.unwrap()).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_must_revalidate_response_is_cached_but_never_served_stale() {
    for control in [
        "max-age=10, must-revalidate, stale-while-revalidate=60, stale-if-error=60",
        "max-age=10, proxy-revalidate",
        "s-maxage=10, stale-while-revalidate=60",
    ] {
        let origin = Origin::new(move |_, call| match call {
            1 => Ok(answer(OK, &[("cache-control", control)], "1")),
            _ => Ok(answer(StatusCode::SERVICE_UNAVAILABLE, &[], "down")),
        });
        let keep = from_headers().stale_while_revalidate(seconds(60)).stale_if_error(seconds(60));
        let cache = CachedOrigin::new(keep, &origin);
        assert_eq!(cache.look().await, made("1"));
        advance(seconds(9)).await;
        assert_eq!(cache.look().await, kept("1", 9));
        advance(seconds(1)).await;
        assert_eq!(cache.look().await, made("down"), "{control}");
        assert_eq!(cache.handle.refreshes(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_not_found_response_is_cached_for_the_negative_ttl() {
    let origin =
        Origin::new(|_, call| Ok(answer(StatusCode::NOT_FOUND, &[], format!("no {call}"))));
    let keep = Cache::new(seconds(60)).negative_ttl(seconds(2)).jitter(Ratio::ZERO);
    let cache = CachedOrigin::new(
        keep.stale_if_error(seconds(60)).stale_while_revalidate(seconds(60)),
        &origin,
    );
    assert_eq!(cache.look().await, made("no 1"));
    advance(seconds(1)).await;
    let response = cache.call("/").await.unwrap();
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert_eq!(read(response).await, "no 1");
    advance(seconds(2)).await;
    assert_eq!(cache.look().await, made("no 2"));
    let unasked = CachedOrigin::new(Cache::new(seconds(60)), &origin);
    assert_eq!(unasked.look().await, made("no 3"));
    assert_eq!(unasked.look().await, made("no 4"));
}

/// The limit below has no permit left.
#[tokio::test(start_paused = true)]
async fn a_hit_waits_for_nothing() {
    let work = Work::default();
    let layer = DedupLayer::new().cache(Cache::new(seconds(60))).http();
    let origin = numbered("max-age=60");
    let gated = Gated::new(work.clone(), origin);
    let stack = ServiceBuilder::new().layer(layer.clone()).service(gated);
    let ask = |path: &str| stack.clone().oneshot(ask_for(path));
    work.allow(1);
    read(ask("/").await.unwrap()).await;
    let mut running = JoinSet::new();
    running.spawn(ask("/stuck"));
    until(|| work.running() == 1).await;
    assert_eq!(read(ask("/").await.unwrap()).await, "1");
    assert_eq!(layer.handle().cache_hits(), 1);
    assert_eq!(layer.handle().in_flight(), 1);
    running.shutdown().await;
    assert_eq!(work.running(), 0);
    assert_eq!(layer.handle().in_flight(), 0);
}
