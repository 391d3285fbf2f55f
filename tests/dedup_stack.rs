//! The whole stack of a client, in the standard order, and that of a server: what each layer holds is
//! given back whatever the callers do.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use buttress::{
    Backoff, Cache, Deadline, DeadlineLayer, DedupHandle, DedupLayer, Http, HttpExt, Reason,
    RetryHandle, RetryLayer, ThrottleHandle, ThrottleLayer, http_grpc::ResponseHead,
    throttle::ConcurrencyLimit,
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use loopback::{
    Gated, Origin, Work, Writers, answer, ask_for, chunks, get_of, http1, read, serve, streams,
    until,
};
use tokio::task::JoinSet;
use tower::{Service, ServiceBuilder, ServiceExt};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

type Bare = Client<HttpConnector, Empty<Bytes>>;

/// What there is to see of a stack.
#[derive(Clone)]
struct Handles {
    dedup: DedupHandle,
    retry: RetryHandle,
    throttle: ThrottleHandle<ConcurrencyLimit>,
}

impl Handles {
    /// Nobody holds anything any more.
    fn are_idle(&self) -> bool {
        (self.dedup.in_flight(), self.dedup.waiters()) == (0, 0)
            && (self.throttle.in_flight(), self.throttle.queued()) == (0, 0)
    }
}

/// A client with a permit for one call, whose callers have this `patience`.
fn client(
    patience: Duration,
) -> (
    impl Service<Request<Empty<Bytes>>, Response = Response<impl Answer>, Error = Error, Future: Send>
    + Clone
    + Send
    + 'static,
    Handles,
) {
    let dedup = DedupLayer::new().cache(Cache::from_headers()).http();
    let retry = RetryLayer::new(3).backoff(Backoff::none()).http();
    let throttle = ThrottleLayer::concurrency(1).queue(100).http();
    let handles =
        Handles { dedup: dedup.handle(), retry: retry.handle(), throttle: throttle.handle() };
    let transport: Bare =
        Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(patience).named("patience").http())
        .layer(dedup)
        .layer(retry)
        .layer(throttle)
        .layer(DeadlineLayer::new(LONG).named("attempt").http())
        .service(transport);
    (stack, handles)
}

type Error = hyper_util::client::legacy::Error;

/// A body of an answer.
trait Answer: Body<Data = Bytes, Error: std::fmt::Debug + Send> + Send + Unpin + 'static {}

impl<B> Answer for B where
    B: Body<Data = Bytes, Error: std::fmt::Debug + Send> + Send + Unpin + 'static
{
}

fn ask(address: SocketAddr, path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://{address}/{path}")).body(Empty::new()).unwrap()
}

/// An upstream with bodies the test writes at `/`, one that fails twice of three times at `/flaky`, and
/// one that is told how often to answer elsewhere.
async fn upstream() -> (SocketAddr, Writers, Work) {
    let ((streams, writers), work) = (streams(), Work::default());
    let (flaky, gated) = (Work::default(), work.clone());
    flaky.allow(1000);
    let flaky = async move || match flaky.call().await % 3 {
        0 => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let kept = async || ([("cache-control", "max-age=600")], "kept");
    let app = Router::new()
        .route("/", get(async move || streams.respond()))
        .route("/flaky", get(flaky))
        .route("/kept", get(kept))
        .fallback(async move || gated.call().await.to_string());
    (serve(app).await.unwrap(), writers, work)
}

#[tokio::test]
async fn many_callers_are_one_set_of_attempts_and_one_permit_at_a_time() {
    let (address, _writers, _) = upstream().await;
    let (stack, handles) = client(LONG);
    for round in 1..=3 {
        let mut calls = JoinSet::new();
        for _ in 0..20 {
            let call = stack.clone().oneshot(ask(address, "flaky"));
            calls.spawn(async move { call.await.unwrap().status() });
        }
        assert_eq!(calls.join_all().await, [StatusCode::OK; 20]);
        // A caller who came too late for a flight has led another one.
        assert_eq!(handles.throttle.admitted(), 3 * handles.dedup.leaders());
        assert!(handles.dedup.leaders() >= round && handles.are_idle());
        assert_eq!(handles.throttle.rejected(), 0);
    }
    assert_eq!(handles.retry.retries(), 2 * handles.dedup.leaders());
}

#[tokio::test]
async fn when_all_callers_leave_before_the_head_everything_is_given_back() {
    let (address, _writers, work) = upstream().await;
    let (stack, handles) = client(LONG);
    for round in 1..=5 {
        let mut calls = JoinSet::new();
        for path in ["a", "a", "a", "b", "b"] {
            let call = stack.clone().oneshot(ask(address, path));
            calls.spawn(async move { drop(call.await) });
        }
        until(|| handles.dedup.waiters() == 5 && work.running() == 1).await;
        assert_eq!(handles.throttle.in_flight(), 1);
        assert_eq!(handles.throttle.queued(), 1);
        calls.shutdown().await;
        assert!(handles.are_idle());
        until(|| work.running() == 0).await;
        assert_eq!(work.calls(), round);
        assert_eq!(handles.dedup.leaders(), 2 * round as u64);
    }
}

#[tokio::test]
async fn when_all_callers_leave_in_the_middle_of_a_body_everything_is_given_back() {
    let (address, mut writers, _) = upstream().await;
    let (stack, handles) = client(LONG);
    for _ in 0..5 {
        let mut bodies = Vec::new();
        for _ in 0..3 {
            let response = stack.clone().oneshot(ask(address, "")).await.unwrap();
            bodies.push(response.into_body());
        }
        let writer = writers.next().await;
        writer.write("one");
        for body in &mut bodies {
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        }
        assert_eq!(handles.dedup.waiters(), 3);
        assert_eq!(handles.throttle.in_flight(), 1);
        bodies.truncate(1);
        assert_eq!(handles.dedup.waiters(), 1);
        assert_eq!(handles.throttle.in_flight(), 1);
        drop(bodies);
        assert!(handles.are_idle());
        writer.abandoned().await;
    }
    assert_eq!(handles.throttle.admitted(), 5);
    assert_eq!(handles.dedup.leaders(), 5);
}

#[tokio::test]
async fn a_permit_is_given_back_when_the_body_is_there_however_long_it_is_read() {
    let (address, mut writers, _) = upstream().await;
    let (stack, handles) = client(LONG);
    let quick = stack.clone().oneshot(ask(address, "")).await.unwrap();
    let slow = stack.clone().oneshot(ask(address, "")).await.unwrap();
    let writer = writers.next().await;
    writer.write("all of it");
    drop(writer);
    assert_eq!(read(quick).await, "all of it");
    assert!(handles.throttle.in_flight() == 0 && handles.dedup.in_flight() == 0);
    assert_eq!(read(slow).await, "all of it");
    assert!(handles.are_idle());
}

#[tokio::test]
async fn a_cached_response_is_served_while_the_limit_below_is_full() {
    let (address, _writers, work) = upstream().await;
    let (stack, handles) = client(LONG);
    assert_eq!(read(stack.clone().oneshot(ask(address, "kept")).await.unwrap()).await, "kept");
    let mut running = JoinSet::new();
    let call = stack.clone().oneshot(ask(address, "stuck"));
    running.spawn(async move { drop(call.await) });
    until(|| work.running() == 1).await;
    for hits in 1..=3 {
        let hit = stack.clone().oneshot(ask(address, "kept")).await.unwrap();
        assert_eq!(read(hit).await, "kept");
        assert_eq!(handles.dedup.cache_hits(), hits);
        assert_eq!(handles.throttle.admitted(), 2);
    }
    running.shutdown().await;
    assert!(handles.are_idle());
}

#[tokio::test]
async fn callers_that_time_out_get_one_verdict_each_and_leave_nothing_behind() {
    let (address, _writers, work) = upstream().await;
    let (stack, handles) = client(SHORT);
    let mut calls = JoinSet::new();
    for path in ["a", "a", "a", "b", "b"] {
        let call = stack.clone().oneshot(ask(address, path));
        calls.spawn(async move {
            let response = call.await.unwrap();
            let rejection = response.rejection().unwrap();
            (response.status(), rejection.reason())
        });
    }
    for verdict in calls.join_all().await {
        assert_eq!(verdict, (StatusCode::GATEWAY_TIMEOUT, Reason::DeadlineExceeded));
    }
    assert!(handles.are_idle());
    assert_eq!(handles.retry.retries(), 0);
    assert_eq!(handles.dedup.cache_entries(), 0);
    until(|| work.running() == 0).await;
}

#[tokio::test]
async fn a_server_with_its_layers_in_order_answers_many_with_one_permit() {
    let work = Work::default();
    let handler = {
        let work = work.clone();
        async move || work.call().await.to_string()
    };
    let (dedup, throttle) = (DedupLayer::new().http(), ThrottleLayer::concurrency(1).http());
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(LONG).http())
        .layer(dedup.clone())
        .layer(throttle.clone());
    let app = Router::new().fallback(handler).layer(stack);
    let address = serve(app).await.unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        calls.spawn(http1().request(get_of(address, "")));
    }
    until(|| dedup.handle().waiters() == 10).await;
    // The one permit is taken, for ten; another key has none.
    let other = http1().request(get_of(address, "other")).await.unwrap();
    assert_eq!(other.status(), StatusCode::SERVICE_UNAVAILABLE);
    work.allow(1);
    for response in calls.join_all().await {
        assert_eq!(read(response.unwrap()).await, "1");
    }
    until(|| (dedup.handle().waiters(), throttle.handle().in_flight()) == (0, 0)).await;
    assert_eq!(throttle.handle().admitted(), 1);
    assert_eq!(throttle.handle().rejected(), 1);
}

/// The limit sees the memory of a body too, through whatever is put between.
#[tokio::test]
async fn a_body_over_the_cap_holds_its_permit_until_its_last_reader_has_ended() {
    let (address, mut writers, _) = upstream().await;
    let (dedup, throttle) = (DedupLayer::new(), ThrottleLayer::concurrency(1).http());
    let dedup = dedup.http_with(Http::new().max_shared_body(8));
    let stack = ServiceBuilder::new().layer(dedup.clone()).layer(throttle.clone());
    let stack = stack.service(http1());
    let first = stack.clone().oneshot(get_of(address, "")).await.unwrap();
    let second = stack.clone().oneshot(get_of(address, "")).await.unwrap();
    let writer = writers.next().await;
    writer.write("123456789");
    writer.write(" and on");
    let mut second = second.into_body();
    second.frame().await.unwrap().unwrap();
    drop(second);
    assert_eq!(throttle.handle().in_flight(), 1);
    assert_eq!(dedup.handle().in_flight(), 0);
    drop(writer);
    assert_eq!(read(first).await, "123456789 and on");
    assert_eq!(throttle.handle().in_flight(), 0);
    assert_eq!(dedup.handle().waiters(), 0);
}

/// The page has a body, so that the flight is to be joined while the impatient caller has not read it.
#[tokio::test(start_paused = true)]
async fn a_timeout_page_is_for_callers_without_time_and_the_others_restart() {
    let work = Work::default();
    let page = |response: Response<_>| match response.status() {
        StatusCode::GATEWAY_TIMEOUT => response.map(|_| chunks(&["too ", "late"])),
        _ => response.map(BodyExt::boxed_unsync),
    };
    let layer = DedupLayer::new().http();
    let stack = ServiceBuilder::new()
        .layer(layer.clone())
        .map_response(page)
        .layer(DeadlineLayer::new(LONG).http())
        .service(Gated::new(
            work.clone(),
            Origin::new(|_, call| Ok(answer(StatusCode::OK, &[], call.to_string()))),
        ));
    let (mut leader, mut followers) = (JoinSet::new(), JoinSet::new());
    let call = stack.clone().oneshot(ask_for("/"));
    leader.spawn(Deadline::after(SHORT).around(call));
    until(|| work.running() == 1).await;
    for _ in 0..2 {
        followers.spawn(stack.clone().oneshot(ask_for("/")));
    }
    until(|| layer.handle().waiters() == 3).await;
    let late = leader.join_next().await.unwrap().unwrap().unwrap();
    until(|| work.running() == 1).await;
    followers.spawn(stack.oneshot(ask_for("/")));
    until(|| layer.handle().followers() == 4).await;
    work.allow(1);
    for response in followers.join_all().await {
        assert_eq!(read(response.unwrap()).await, "1");
    }
    assert_eq!(late.status(), StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(read(late).await, "too late");
    assert_eq!(work.calls(), 2);
    assert_eq!(layer.handle().leaders(), 2);
    assert_eq!(layer.handle().in_flight(), 0);
}
