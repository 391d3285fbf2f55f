//! What a caller's deadline means to those who share its call, over HTTP: the flight that lets a caller
//! down, the deadline that goes over the wire, and the change after which nobody is answered as of before.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress::{
    Backoff, BoxError, Deadline, DeadlineLayer, DedupLayer, Http, HttpExt, RetryLayer,
    layer_api::By,
};
use bytes::Bytes;
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use loopback::{AnyBody, answer, ask, ask_for, streams};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};

type Upstream = BoxCloneSyncService<Request<String>, Response<AnyBody>, BoxError>;

/// A service whose calls take so long, and how often it is called.
fn taking(delay: Duration) -> (Upstream, Arc<AtomicUsize>) {
    let calls = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&calls);
    let service = service_fn(move |request: Request<String>| {
        let number = counted.fetch_add(1, SeqCst) + 1;
        async move {
            sleep(delay).await;
            let grpc = request.headers().contains_key("grpc-timeout");
            let headers: &[_] = if grpc { &[("content-type", "application/grpc")] } else { &[] };
            Ok(answer(StatusCode::OK, headers, number.to_string()))
        }
    });
    (BoxCloneSyncService::new(service), calls)
}

const HEADER: HeaderName = HeaderName::from_static("x-timeout-ms");

/// A call of somebody with so much time, whose deadline goes on the wire.
async fn within<S, B>(patience: Duration, mode: Http, grpc: bool, shared: S) -> Got
where
    S: Service<Request<String>, Response = Response<B>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    let start = Instant::now();
    let headers: &[_] = if grpc { &[("content-type", "application/grpc")] } else { &[] };
    let request = ask(Method::POST, "http://shop/x", headers);
    let stack = DeadlineLayer::new(patience).http_with(mode).layer(shared);
    let response = stack.oneshot(request).await.unwrap();
    let grpc_status =
        response.headers().get("grpc-status").map(|status| status.to_str().unwrap().to_owned());
    let ok = response.status() == StatusCode::OK && grpc_status.is_none();
    if ok {
        assert!(response.into_body().collect().await.is_ok());
    }
    Got { ok, after: start.elapsed() }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Got {
    ok: bool,
    after: Duration,
}

fn dedup() -> DedupLayer<Http, By<impl Fn(&Request<String>) -> Option<u8> + Clone>> {
    DedupLayer::keyed(|_: &Request<String>| Some(7)).http()
}

const LEADER: Duration = Duration::from_micros(20_500);
/// When a timer for that fires.
const TICK: Duration = Duration::from_millis(21);
const FOLLOWER: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn followers_with_time_left_restart_despite_rounding_and_margin() {
    for (margin, grpc) in [(0, false), (5, false), (15, false), (0, true), (5, true), (15, true)] {
        for nested in [false, true] {
            let mode =
                Http::new().timeout_header(HEADER).deadline_margin(Duration::from_millis(margin));
            let (upstream, calls) = taking(Duration::from_millis(50));
            let inner = DeadlineLayer::new(Duration::from_secs(1)).http_with(mode.clone());
            let inside = boxed(inner.layer(upstream));
            let inside = if nested { boxed(dedup().layer(inside)) } else { inside };
            let shared = dedup().layer(inside);
            let (leader, early, late) = tokio::join!(
                within(LEADER, mode.clone(), grpc, shared.clone()),
                within(FOLLOWER, mode.clone(), grpc, shared.clone()),
                within(FOLLOWER, mode.clone(), grpc, shared.clone()),
            );
            let case = format!("margin {margin}, gRPC: {grpc}, nested: {nested}");
            assert!(!leader.ok && leader.after <= TICK, "{case}: {leader:?}");
            assert!(
                early.ok && early.after <= TICK + Duration::from_millis(50),
                "{case}: {early:?}"
            );
            assert_eq!(late, early, "{case}");
            // Less two margins of 15 ms, the leader's 20.5 ms leave nothing to announce: not sent.
            let sent = if margin == 15 { 1 } else { 2 };
            assert_eq!(calls.load(SeqCst), sent, "{case}");
        }
    }
}

/// A layer with time of its own that goes by what the request announces.
fn hop(margin: u64, inner: Upstream) -> Upstream {
    let mode = Http::new().timeout_header(HEADER).deadline_margin(Duration::from_millis(margin));
    boxed(DeadlineLayer::new(Duration::from_secs(1)).http_with(mode).layer(inner))
}

fn retried(inner: Upstream) -> Upstream {
    let mode = Http::new().timeout_header(HEADER).assume_idempotent();
    boxed(RetryLayer::new(3).backoff(Backoff::none()).http_with(mode).layer(inner))
}

/// The first call fails at once.
fn failing_once(inner: Upstream) -> Upstream {
    let failed = Arc::<AtomicUsize>::default();
    BoxCloneSyncService::new(service_fn(move |request| {
        let (first, inner) = (failed.fetch_add(1, SeqCst) == 0, inner.clone());
        async move {
            sleep(Duration::from_micros(2_300)).await;
            if first {
                return Ok(answer(StatusCode::BAD_GATEWAY, &[], ""));
            }
            inner.oneshot(request).await
        }
    }))
}

type Stack = fn(Upstream) -> Upstream;

/// The flight knows only its own deadline, and a layer below it only the one that it read.
#[tokio::test(start_paused = true)]
async fn followers_restart_through_each_layer_that_passes_the_leaders_deadline_on() {
    let stacks: [(&str, Stack); 8] = [
        ("a retry", |upstream| retried(hop(0, upstream))),
        ("two retries", |upstream| retried(retried(hop(0, upstream)))),
        ("a second attempt", |upstream| retried(hop(0, failing_once(upstream)))),
        ("two hops", |upstream| hop(5, hop(0, upstream))),
        ("four hops", |upstream| hop(5, hop(1, hop(1, hop(0, upstream))))),
        ("a flight between", |upstream| hop(5, boxed(dedup().layer(hop(0, upstream))))),
        ("until the head", |upstream| {
            let mode = Http::new().timeout_header(HEADER);
            let own = DeadlineLayer::new(Duration::from_secs(1)).until_head();
            boxed(own.http_with(mode).layer(upstream))
        }),
        ("all of them", |upstream| hop(1, retried(hop(5, retried(hop(0, upstream)))))),
    ];
    for (case, stack) in stacks {
        let (upstream, calls) = taking(Duration::from_millis(50));
        let shared = dedup().layer(stack(upstream));
        let mode = Http::new().timeout_header(HEADER);
        let (leader, follower) = tokio::join!(
            within(LEADER, mode.clone(), false, shared.clone()),
            within(FOLLOWER, mode.clone(), false, shared.clone()),
        );
        assert!(!leader.ok && leader.after <= TICK, "{case}: {leader:?}");
        assert!(follower.ok, "{case}: {follower:?}");
        assert_eq!(calls.load(SeqCst), 2, "{case}");
    }
}

/// It has nothing to do with who leads.
#[tokio::test(start_paused = true)]
async fn the_timeout_of_an_attempt_is_shared_by_all_callers_also_when_announced() {
    let mode = Http::new().timeout_header(HEADER);
    let (upstream, calls) = taking(Duration::from_millis(50));
    let attempt = Duration::from_millis(10);
    let inside = ServiceBuilder::new()
        .layer(DeadlineLayer::new(attempt).http_with(mode.clone()))
        .layer(DeadlineLayer::propagate().http_with(mode.clone()))
        .service(upstream);
    let shared = dedup().layer(inside);
    let (leader, follower) = tokio::join!(
        within(LEADER, mode.clone(), false, shared.clone()),
        within(FOLLOWER, mode.clone(), false, shared.clone()),
    );
    assert!(!leader.ok && !follower.ok);
    assert_eq!((follower.after, calls.load(SeqCst)), (attempt, 1));
}

fn boxed<S, B>(service: S) -> Upstream
where
    S: Service<Request<String>, Response = Response<B>, Error = BoxError, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let any = |body: B| body.map_err(Into::into).boxed_unsync();
    BoxCloneSyncService::new(service.map_response(move |response| response.map(any)))
}

/// A head comes at once, and then nothing.
#[tokio::test(start_paused = true)]
async fn a_body_that_hangs_fails_only_the_callers_of_one_timeout() {
    let ((streams, mut writers), calls) = (streams(), Arc::<AtomicUsize>::default());
    let counted = Arc::clone(&calls);
    let upstream = service_fn(move |_: Request<String>| {
        let first = counted.fetch_add(1, SeqCst) == 0;
        let response =
            if first { streams.respond() } else { answer(StatusCode::OK, &[], "all of it") };
        async move { Ok::<_, BoxError>(response) }
    });
    let layer = DedupLayer::new().http();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(1)).http())
        .layer(layer.clone())
        .service(upstream);
    let stack = boxed(stack);
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for n in 0..600 {
        let stack = stack.clone();
        callers.spawn(async move {
            sleep_until(start + n * Duration::from_millis(100)).await;
            let response = stack.oneshot(ask_for("http://shop/x")).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            response.into_body().collect().await.is_ok()
        });
    }
    let hanging = writers.next().await;
    hanging.write("some of it");
    let failed = callers.join_all().await.into_iter().filter(|is_served| !is_served).count();
    assert_eq!((failed, calls.load(SeqCst)), (10, 591));
    assert_eq!((layer.handle().in_flight(), layer.handle().waiters()), (0, 0));
    drop(hanging);
}

#[tokio::test(start_paused = true)]
#[expect(clippy::disallowed_methods, reason = "callers of their own, some of whom wait")]
async fn a_get_after_the_callers_own_post_joins_no_earlier_flight_without_a_cache() {
    let calls = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&calls);
    let upstream = service_fn(move |request: Request<String>| {
        let counted = Arc::clone(&counted);
        async move {
            if request.method() == Method::POST {
                let refused = request.uri().path() == "/refused";
                let status = if refused { StatusCode::CONFLICT } else { StatusCode::OK };
                return Ok::<_, BoxError>(answer(status, &[], "said"));
            }
            let number = counted.fetch_add(1, SeqCst) + 1;
            sleep(Duration::from_millis(50)).await;
            Ok(answer(StatusCode::OK, &[], number.to_string()))
        }
    });
    let layer = DedupLayer::new().http();
    let stack = boxed(layer.layer(upstream));
    let get = |path: &str| {
        let call = stack.clone().oneshot(ask_for(&format!("http://shop{path}")));
        tokio::spawn(
            async move { call.await.unwrap().into_body().collect().await.unwrap().to_bytes() },
        )
    };
    let post = async |path: &str| {
        let call = stack.clone().oneshot(ask(Method::POST, &format!("http://shop{path}"), &[]));
        drop(call.await.unwrap());
    };
    let (before, other) = (get("/x"), get("/other"));
    sleep(Duration::from_millis(10)).await;
    let joined = get("/x");
    tokio::task::yield_now().await;
    post("/x").await;
    let (after, same, also) = (get("/x"), get("/other"), get("/x"));
    assert_eq!(
        (before.await.unwrap(), joined.await.unwrap()),
        (Bytes::from("1"), Bytes::from("1"))
    );
    assert_eq!((other.await.unwrap(), same.await.unwrap()), (Bytes::from("2"), Bytes::from("2")));
    let last = get("/x");
    assert_eq!(
        (after.await.unwrap(), also.await.unwrap(), last.await.unwrap()),
        (Bytes::from("3"), Bytes::from("3"), Bytes::from("3"))
    );
    // What was refused has changed nothing.
    let before = get("/refused");
    tokio::task::yield_now().await;
    post("/refused").await;
    let after = get("/refused");
    assert_eq!(before.await.unwrap(), after.await.unwrap());
    assert_eq!(calls.load(SeqCst), 4);
}

#[tokio::test(start_paused = true)]
async fn followers_with_time_left_restart_with_each_layer_before_the_one_that_ends_the_call() {
    for (margin, grpc) in [(0, false), (5, false), (0, true), (5, true)] {
        let mode = Http::new()
            .timeout_header(HEADER)
            .deadline_margin(Duration::from_millis(margin))
            .assume_idempotent();
        let cut = DeadlineLayer::new(Duration::from_secs(1)).http_with(mode.clone());
        let retry = RetryLayer::new(3).http_with(mode.clone());
        let between = |name: &str, upstream: Upstream| match name {
            "a retry" => boxed(retry.layer(boxed(cut.layer(upstream)))),
            "a deadline" => boxed(cut.layer(boxed(cut.layer(upstream)))),
            "both" => boxed(cut.layer(boxed(retry.layer(boxed(cut.layer(upstream)))))),
            _ => boxed(Waiting(boxed(cut.layer(upstream)))),
        };
        for name in ["a retry", "a deadline", "both", "a queue"] {
            let (upstream, calls) = taking(Duration::from_millis(50));
            let shared = dedup().layer(between(name, upstream));
            let (leader, early, late) = tokio::join!(
                within(LEADER, mode.clone(), grpc, shared.clone()),
                within(FOLLOWER, mode.clone(), grpc, shared.clone()),
                within(FOLLOWER, mode.clone(), grpc, shared.clone()),
            );
            let case = format!("{name}, margin {margin}, gRPC: {grpc}");
            assert!(!leader.ok && leader.after <= TICK, "{case}: {leader:?}");
            assert!(early.ok && late.ok, "{case}: {early:?} {late:?}");
            assert_eq!(calls.load(SeqCst), 2, "{case}");
        }
    }
}

/// Makes each call 1 ms later, under the deadline that was ambient before, as a queue does.
#[derive(Clone)]
struct Waiting(Upstream);

impl Service<Request<String>> for Waiting {
    type Response = Response<AnyBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<AnyBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<String>) -> Self::Future {
        let inner = self.0.clone();
        Box::pin(Deadline::scope(async move {
            sleep(Duration::from_millis(1)).await;
            inner.oneshot(request).await
        }))
    }
}
