//! What the replicas of a fleet keep together, in `Http` mode.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    time::Duration,
};

use buttress::{
    BoxError, Cache, DedupLayer, Http, HttpExt, SharedCache, dedup::Dedup, layer_api::ByMode,
};
use buttress_testkit::FakeStore;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::channel::Channel;
use loopback::{AnyBody, Headers, Origin, answer, ask, ask_for, read};
use tokio::time::{Instant, sleep};
use tower::{ServiceBuilder, ServiceExt, service_fn};

type Shared = SharedCache<FakeStore, Http>;
type Replica = Dedup<Origin, Http, ByMode, Cache<Shared>>;

const FRESH: Headers = &[("cache-control", "max-age=60"), ("x-shop", "open")];
const COOKIE: Headers = &[("cache-control", "max-age=60"), ("set-cookie", "a=b")];

/// Two replicas in front of a shop whose answers are the number of the call.
struct Fleet {
    store: FakeStore,
    origin: Origin,
    replicas: [Replica; 2],
}

impl Fleet {
    fn new() -> Self {
        Self::with(|shared| shared)
    }

    fn with(options: impl Fn(Shared) -> Shared) -> Self {
        let store = FakeStore::new();
        store.set_delay(Duration::from_millis(2));
        let origin = Origin::new(|request, call| {
            let headers = if request.uri().path() == "/cookie" { COOKIE } else { FRESH };
            let length = if request.uri().path() == "/long" { 300_000 } else { 0 };
            Ok(answer(StatusCode::OK, headers, "0".repeat(length) + &call.to_string()))
        });
        let replicas = [(); 2].map(|()| {
            let shared = SharedCache::new(store.clone(), Http::new());
            let shared = options(shared.local_ttl(Duration::from_millis(100)));
            let cache = Cache::from_headers().store(shared);
            let layer = DedupLayer::new().cache(cache).http();
            ServiceBuilder::new().layer(layer).service(origin.clone())
        });
        Self { store, origin, replicas }
    }

    #[expect(clippy::unwrap_used, reason = "a helper of a test may panic, as the test may")]
    async fn send(&self, replica: usize, request: Request<String>) -> Response<Bytes> {
        let response = self.replicas.get(replica).unwrap().clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        Response::from_parts(head, read(Response::new(AnyBody::new(body))).await)
    }

    /// Sends the request to each replica, one after another. Returns the number of calls.
    async fn calls(&self, request: impl Fn() -> Request<String>) -> usize {
        let before = self.origin.calls();
        for replica in [0, 1] {
            self.send(replica, request()).await;
            settle().await;
        }
        self.origin.calls() - before
    }
}

/// Waits until the results are stored, and not as long as memory serves them.
async fn settle() {
    sleep(Duration::from_millis(10)).await;
}

#[tokio::test(start_paused = true)]
async fn response_of_one_replica_is_served_by_another_with_its_headers_and_age() {
    let fleet = Fleet::new();
    let first = fleet.send(0, ask_for("http://shop/x")).await;
    sleep(Duration::from_secs(30)).await;
    let second = fleet.send(1, ask_for("http://shop/x")).await;
    assert_eq!(fleet.origin.calls(), 1);
    assert_eq!(first.body(), second.body());
    assert_eq!(second.headers()["x-shop"], "open");
    assert_eq!(second.headers()["age"], "30");
    sleep(Duration::from_secs(30)).await;
    fleet.send(1, ask_for("http://shop/x")).await;
    assert_eq!(fleet.origin.calls(), 2, "fresh for 60 s in all");
}

#[tokio::test(start_paused = true)]
async fn concurrent_requests_of_all_replicas_make_one_call() {
    let fleet = Fleet::new();
    let send = |replica| fleet.send(replica, ask_for("http://shop/x"));
    let (a, b, c, d) = tokio::join!(send(0), send(1), send(0), send(1));
    let responses = [a, b, c, d];
    assert!(responses.iter().all(|response| *response.body() == "1"));
    assert_eq!(fleet.origin.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn successful_change_in_one_replica_outdates_all_variants_in_another() {
    let fleet = Fleet::new();
    let html = || ask(Method::GET, "http://shop/x", &[("accept", "text/html")]);
    assert_eq!(fleet.calls(|| ask_for("http://shop/x")).await, 1);
    assert_eq!(fleet.calls(html).await, 1);
    assert_eq!(fleet.calls(|| ask_for("http://shop/other")).await, 1);
    fleet.send(0, ask(Method::POST, "http://shop/x", &[])).await;
    sleep(Duration::from_millis(100)).await;
    assert_eq!(fleet.calls(|| ask_for("http://shop/x")).await, 1);
    assert_eq!(fleet.calls(html).await, 1);
    assert_eq!(fleet.calls(|| ask_for("http://shop/other")).await, 0);
}

#[tokio::test(start_paused = true)]
async fn replica_that_makes_a_change_serves_no_older_response() {
    let fleet = Fleet::new();
    assert_eq!(fleet.calls(|| ask_for("http://shop/x")).await, 1);
    for _ in 0..3 {
        let changed = fleet.send(1, ask(Method::PUT, "http://shop/x", &[])).await;
        let read = fleet.send(1, ask_for("http://shop/x")).await;
        assert!(read.body() > changed.body(), "read after the change");
    }
}

#[tokio::test(start_paused = true)]
async fn response_for_credentials_stays_in_its_replica_unless_the_user_says_otherwise() {
    let key = || ask(Method::GET, "http://shop/x", &[("x-api-key", "b")]);
    assert_eq!(Fleet::new().calls(key).await, 2);
    assert_eq!(Fleet::with(SharedCache::credentials).calls(key).await, 1);
    let plain = || ask(Method::GET, "http://shop/x", &[("user-agent", "curl")]);
    assert_eq!(Fleet::new().calls(plain).await, 1);
}

#[tokio::test(start_paused = true)]
async fn response_that_may_not_or_cannot_be_stored_is_called_for_by_each_replica() {
    for target in ["http://shop/cookie", "http://shop/long"] {
        assert_eq!(Fleet::new().calls(|| ask_for(target)).await, 2, "{target}");
    }
    let fleet = Fleet::with(|shared| shared.max_value(1 << 20));
    assert_eq!(fleet.calls(|| ask_for("http://shop/long")).await, 1);
}

#[tokio::test(start_paused = true)]
async fn no_request_fails_while_the_store_is_away() {
    let fleet = Fleet::new();
    fleet.store.begin_outage(buttress_testkit::Outage::Silent);
    assert_eq!(fleet.calls(|| ask_for("http://shop/x")).await, 2);
}

/// The callers of a body in progress are gone, and the client of the origin keeps a waker of the call.
#[tokio::test(start_paused = true)]
async fn body_that_all_callers_have_dropped_keeps_no_other_replica_waiting() {
    let fleet = Fleet::new();
    let wakers = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&wakers);
    let endless = service_fn(move |_: Request<String>| {
        let kept = Arc::clone(&kept);
        poll_fn(move |cx| {
            let (writer, body) = Channel::<Bytes, BoxError>::new(1);
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push((cx.waker().clone(), writer));
            let response = Response::builder().header("cache-control", "max-age=60");
            Poll::Ready(response.body(AnyBody::new(body)).map_err(BoxError::from))
        })
    });
    let cache = Cache::from_headers().store(SharedCache::new(fleet.store.clone(), Http::new()));
    let replica =
        ServiceBuilder::new().layer(DedupLayer::new().cache(cache).http()).service(endless);
    let response = replica.oneshot(ask_for("http://shop/x")).await;
    settle().await;
    assert!(response.is_ok());
    drop(response);
    settle().await;
    let began = Instant::now();
    assert_eq!(*fleet.send(0, ask_for("http://shop/x")).await.body(), "1");
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
}
