//! What the `Cache-Control` of a request wants: RFC 9111, section 5.2.1.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::time::Duration;

use buttress::{
    Cache, DedupLayer, Http, HttpExt, Reason, Rejection,
    dedup::{Dedup, Ratio},
    layer_api::{Degraded, Verdict},
};
use http::{Method, StatusCode};
use loopback::{Cached, Gated, Headers, Origin, Work, answer, ask, read, until};
use tokio::{
    task::JoinSet,
    time::{advance, sleep},
};
use tower::{Layer, ServiceBuilder, ServiceExt};

const LONG: Duration = Duration::from_secs(600);
const MINUTE: Headers = &[("cache-control", "public, max-age=60")];
const AGED: Headers = &[("cache-control", "max-age=60"), ("age", "20")];

/// Keeps as told, and to the second.
fn exactly() -> Cache {
    Cache::new(LONG).jitter(Ratio::percent(0))
}

fn cached(keep: Cache, origin: &Origin) -> Cached {
    DedupLayer::new().cache(keep).http().layer(origin.clone())
}

/// An origin that numbers its answers.
fn origin(headers: Headers) -> Origin {
    Origin::new(move |_, call| Ok(answer(StatusCode::OK, headers, call.to_string())))
}

/// The status and the body that a request with this `Cache-Control` gets.
async fn get(cached: &Cached, control: &'static str) -> (u16, String) {
    get_with(cached, &[("cache-control", control)]).await
}

async fn get_with(cached: &Cached, headers: &[(&'static str, &'static str)]) -> (u16, String) {
    let mut request = ask(Method::GET, "/", &[]);
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    let response = cached.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8(read(response).await.to_vec()).unwrap())
}

/// Whether a request gets an answer that was kept so many seconds ago.
async fn hits(keep: &Cache, kept: Headers, after: u64, control: &'static str) -> bool {
    let origin = origin(kept);
    let cached = cached(keep.clone(), &origin);
    get_with(&cached, &[]).await;
    advance(Duration::from_secs(after)).await;
    let (status, body) = get(&cached, control).await;
    assert_eq!(status, 200);
    body == "1"
}

#[tokio::test(start_paused = true)]
async fn a_request_gets_a_fresh_answer_no_older_than_it_wants() {
    for (after, control, hit) in [
        (10, "max-age=259200", true),
        (10, "max-age=10", true),
        (10, "max-age=9", false),
        (10, "max-age=0", false),
        (0, "max-age=0", false),
        (10, "min-fresh=50", true),
        (10, "min-fresh=51", false),
        (10, "max-age=10, min-fresh=50", true),
        (10, "max-age=10, min-fresh=51", false),
        (10, "max-stale", true),
        (10, "only-if-cached", true),
        (10, "no-cache", false),
        (10, "no-store", false),
        (10, "no-transform, unheard-of=5, max-age=x", true),
    ] {
        assert_eq!(hits(&exactly(), MINUTE, after, control).await, hit, "{after} {control}");
    }
    assert!(hits(&exactly(), AGED, 10, "max-age=30").await);
    assert!(!hits(&exactly(), AGED, 10, "max-age=29").await);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_names_a_limit_gets_a_stale_answer_only_with_max_stale() {
    const MUST: Headers = &[("cache-control", "max-age=60, must-revalidate")];
    let refreshing = exactly().stale_while_revalidate(LONG);
    let sparing = exactly().stale_if_error(LONG);
    for (keep, kept, control, hit) in [
        (&refreshing, MINUTE, "x", true),
        (&refreshing, MINUTE, "max-age=600", false),
        (&refreshing, MINUTE, "min-fresh=1", false),
        (&refreshing, MINUTE, "max-stale=10", true),
        (&refreshing, MINUTE, "max-stale=9", false),
        (&refreshing, MINUTE, "max-stale", true),
        (&refreshing, MINUTE, "max-age=70, max-stale=10", true),
        (&refreshing, MINUTE, "max-age=69, max-stale=10", false),
        (&refreshing, MUST, "max-stale", false),
        (&sparing, MINUTE, "x", false),
        (&sparing, MINUTE, "max-stale=10", true),
        (&sparing, MINUTE, "max-stale=9", false),
        (&sparing, MUST, "max-stale", false),
        (&exactly(), MINUTE, "max-stale", false),
    ] {
        assert_eq!(hits(keep, kept, 70, control).await, hit, "{keep:?} {kept:?} {control}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_wants_a_newer_answer_renews_the_kept_one() {
    let origin = origin(MINUTE);
    let cached = cached(exactly(), &origin);
    get_with(&cached, &[]).await;
    advance(Duration::from_secs(10)).await;
    assert_eq!(get(&cached, "max-age=5").await.1, "2");
    assert_eq!(get_with(&cached, &[]).await.1, "2");
    // One that goes alone leaves what is kept as it is.
    assert_eq!(get(&cached, "no-cache").await.1, "3");
    assert_eq!(get_with(&cached, &[]).await.1, "2");
    assert_eq!(get_with(&cached, &[("pragma", "no-cache")]).await.1, "4");
    let both: Headers = &[("pragma", "no-cache"), ("cache-control", "max-age=60")];
    assert_eq!(get_with(&cached, both).await.1, "2");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_wants_no_stale_answer_gets_the_failure() {
    let failing = || {
        Origin::new(|_, call| {
            let status = if call == 1 { StatusCode::OK } else { StatusCode::BAD_GATEWAY };
            Ok(answer(status, MINUTE, call.to_string()))
        })
    };
    for (control, status) in [
        ("x", 200),
        ("max-stale", 200),
        ("max-stale=9", 502),
        ("max-age=600", 502),
        ("min-fresh=1", 502),
        ("max-age=70, max-stale=10", 200),
    ] {
        let cached = cached(exactly().stale_if_error(LONG), &failing());
        get_with(&cached, &[]).await;
        advance(Duration::from_secs(70)).await;
        assert_eq!(get(&cached, control).await.0, status, "{control}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_for_kept_answers_only_never_asks_the_service() {
    let origin = origin(MINUTE);
    let keep = exactly().stale_while_revalidate(LONG);
    let cached = cached(keep, &origin);
    let only = || ask(Method::GET, "/", &[("cache-control", "only-if-cached")]);
    let response = cached.clone().oneshot(only()).await.unwrap();
    assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(response.extensions().get().map(Rejection::reason), Some(Reason::NotCached));
    assert_eq!(origin.calls(), 0);
    get_with(&cached, &[]).await;
    assert_eq!(get(&cached, "only-if-cached").await, (200, "1".to_owned()));
    assert_eq!(get(&cached, "only-if-cached, no-store").await, (200, "1".to_owned()));
    assert_eq!(get(&cached, "only-if-cached, no-cache").await.0, 504);
    advance(Duration::from_secs(70)).await;
    assert_eq!(get(&cached, "only-if-cached, max-age=60").await.0, 504);
    // Stale, and not refreshed for it.
    assert_eq!(get(&cached, "only-if-cached").await, (200, "1".to_owned()));
    tokio::task::yield_now().await;
    assert_eq!(origin.calls(), 1);
}

/// As a proxy adds them: Squid says `max-age=259200` in whatever it forwards.
#[tokio::test]
async fn requests_that_differ_in_what_they_want_of_a_cache_share_a_flight() {
    let (origin, gate) = (origin(MINUTE), Work::default());
    let layer = DedupLayer::new().cache(exactly()).http();
    let dedup = layer.layer(Gated::new(gate.clone(), origin.clone()));
    let controls = ["", "max-age=259200", "max-age=0", "min-fresh=10", "max-stale", "unheard-of"];
    let mut calls = JoinSet::new();
    for control in controls {
        let mut request = ask(Method::GET, "/", &[]);
        request.headers_mut().append("cache-control", control.parse().unwrap());
        calls.spawn(dedup.clone().oneshot(request));
    }
    until(|| layer.handle().waiters() == controls.len()).await;
    assert_eq!(gate.calls(), 1);
    let only = ask(Method::GET, "/", &[("cache-control", "only-if-cached")]);
    assert_eq!(dedup.clone().oneshot(only).await.unwrap().status(), StatusCode::GATEWAY_TIMEOUT);
    // An answer from before the request is not what this one wants.
    let anew = ask(Method::GET, "/", &[("cache-control", "no-cache")]);
    calls.spawn(dedup.oneshot(anew));
    until(|| gate.calls() == 2).await;
    gate.allow(2);
    for outcome in calls.join_all().await {
        assert_eq!(outcome.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(origin.calls(), 2);
}

/// RFC 9111, section 4.2.3: the answer may have been made at any instant since the request was sent.
#[tokio::test(start_paused = true)]
async fn the_time_that_an_answer_took_counts_as_its_age() {
    let origin = origin(MINUTE);
    let slow = ServiceBuilder::new()
        .map_future(|answer| async {
            sleep(Duration::from_secs(20)).await;
            answer.await
        })
        .service(origin.clone());
    let dedup = DedupLayer::new().cache(exactly()).http().layer(slow);
    let get = || ask(Method::GET, "/", &[]);
    read(dedup.clone().oneshot(get()).await.unwrap()).await;
    advance(Duration::from_secs(39)).await;
    let kept = dedup.clone().oneshot(get()).await.unwrap();
    assert_eq!(kept.headers()["age"], "59");
    advance(Duration::from_secs(1)).await;
    assert_eq!(read(dedup.oneshot(get()).await.unwrap()).await, "2");
}

#[tokio::test]
async fn a_layer_without_a_cache_passes_only_if_cached_on() {
    let origin = origin(MINUTE);
    let layer = DedupLayer::new().http();
    let dedup: Dedup<Origin, Http> = layer.layer(origin.clone());
    let only = ask(Method::GET, "/", &[("cache-control", "only-if-cached")]);
    assert_eq!(dedup.oneshot(only).await.unwrap().status(), StatusCode::OK);
    assert_eq!((origin.calls(), layer.handle().bypassed()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_leader_without_max_stale_does_not_deny_a_stale_answer_to_its_followers() {
    let origin = Origin::new(move |_, call| {
        let status = if call == 1 { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let headers = &[("cache-control", "max-age=60, stale-if-error=600")];
        Ok(answer(status, headers, call.to_string()))
    });
    let gate = Work::default();
    gate.allow(1);
    let layer = DedupLayer::new().cache(exactly()).http();
    let dedup = layer.layer(Gated::new(gate.clone(), origin.clone()));
    let call = |control: Option<&'static str>| {
        let mut request = ask(Method::GET, "/", &[]);
        if let Some(control) = control {
            request.headers_mut().insert("cache-control", control.parse().unwrap());
        }
        let (call, origin) = (dedup.clone().oneshot(request), origin.clone());
        async move {
            let response = call.await.unwrap();
            let status = response.status().as_u16();
            let mark = response.extensions().get::<Degraded>().map(|mark| mark.instead_of);
            let body = String::from_utf8(read(response).await.to_vec()).unwrap();
            assert_eq!(mark, (origin.calls() > 1 && body == "1").then_some(Verdict::Transient));
            (status, body)
        }
    };
    assert_eq!(call(None).await, (200, "1".into()));
    advance(Duration::from_secs(100)).await;
    gate.allow(1);
    assert_eq!(call(None).await, (200, "1".into()), "stale if error");
    let allow = async {
        until(|| layer.handle().waiters() == 2).await;
        gate.allow(10);
    };
    let (reload, other, ()) = tokio::join!(call(Some("max-age=0")), call(None), allow);
    assert_eq!((reload.0, other), (503, (200, "1".into())));
    assert_eq!((layer.handle().followers(), gate.calls()), (1, 3));
}
