//! Bodies that turn out to be longer than what is held of them, and the many who read them.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "what helps a test may panic as the test may"
)]

use std::{
    convert::Infallible, future::poll_fn, net::SocketAddr, pin::pin, task::Poll, time::Duration,
};

use axum::{Router, body::Body, routing::get};
use buttress::{BoxError, DedupLayer, Http, HttpExt};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use loopback::{AnyClient, Work, get_of, http1, http2, serve, until};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use tokio_stream::{StreamExt as _, iter};
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

type Layer = DedupLayer<Http>;

const CALLERS: usize = 10;

/// Less than the cap by default.
const NEAR: usize = 512 << 10;

/// Three times the cap by default.
const LENGTH: usize = 3 << 20;

/// A body of `length` bytes that does not say so, and is there at once.
fn long(length: usize) -> Body {
    let chunks = (0..length / CHUNK.len()).map(|_| Ok::<_, Infallible>(Bytes::from_static(CHUNK)));
    Body::from_stream(iter(chunks))
}

static CHUNK: &[u8] = &[b'x'; 16 << 10];

/// How far ten readers of one body have come, and how far the body is `ahead` of the last of them.
///
/// Where the readers run on several threads, one of them may be given no time for longer than any other is
/// willing to wait. A body that stays near all of them lets nobody fall behind, however busy the machine is.
#[derive(Clone)]
struct Pace {
    read: watch::Sender<[usize; CALLERS]>,
    ahead: usize,
}

impl Pace {
    fn new(ahead: usize) -> Self {
        Self { read: watch::Sender::new([0; CALLERS]), ahead }
    }

    /// A body of [`LENGTH`] bytes that does not say so.
    fn body(&self) -> Body {
        let chunks = iter((0..LENGTH).step_by(CHUNK.len()));
        let (read, ahead) = (self.read.subscribe(), self.ahead);
        Body::from_stream(chunks.then(move |at| {
            let mut read = read.clone();
            async move {
                let is_near = |read: &[usize; CALLERS]| read.iter().all(|read| at <= read + ahead);
                read.wait_for(is_near).await.map(|_| Bytes::from_static(CHUNK))
            }
        }))
    }

    /// Reads to the end as one of the ten, and returns the length.
    async fn read(
        self,
        reader: usize,
        response: Response<impl http_body::Body<Data = Bytes>>,
    ) -> usize {
        let mut body = pin!(response.into_body());
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            length += frame.ok().unwrap().into_data().unwrap().len();
            self.read.send_modify(|read| read[reader] = length);
        }
        length
    }
}

/// A server of long bodies, behind `layer`; each call waits for the `work`.
async fn serve_long<F>(layer: Option<&Layer>, work: &Work, body: F) -> SocketAddr
where
    F: Fn() -> Body + Clone + Send + Sync + 'static,
{
    let work = work.clone();
    let handler = async move || {
        work.call().await;
        body()
    };
    let app = Router::new().route("/", get(handler));
    serve(match layer {
        Some(layer) => app.layer(layer.clone()),
        None => app,
    })
    .await
    .unwrap()
}

async fn ten_clients_of_a_server(client: fn() -> AnyClient, ahead: usize) {
    let pace = Pace::new(ahead);
    let (work, layer) = (Work::default(), DedupLayer::new().http());
    let address = serve_long(Some(&layer), &work, body_of(&pace)).await;
    let mut clients = JoinSet::new();
    for _ in 0..CALLERS {
        clients.spawn(async move { client().request(get_of(address, "")).await.unwrap() });
    }
    until(|| layer.handle().waiters() == CALLERS).await;
    work.allow(1);
    let mut bodies = JoinSet::new();
    for reader in 0..CALLERS {
        let response = clients.join_next().await.unwrap().unwrap();
        bodies.spawn(pace.clone().read(reader, response));
    }
    assert_eq!(bodies.join_all().await, [LENGTH; CALLERS]);
    assert_eq!((work.calls(), layer.handle().bypassed()), (1, 0));
    until(|| (layer.handle().in_flight(), layer.handle().waiters()) == (0, 0)).await;
}

#[tokio::test]
async fn ten_clients_of_a_server_all_get_a_body_of_three_times_the_cap() {
    for client in [http1, http2] {
        ten_clients_of_a_server(client, LENGTH).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_clients_on_many_threads_all_get_a_body_of_three_times_the_cap() {
    for client in [http1, http2] {
        ten_clients_of_a_server(client, NEAR).await;
    }
}

fn body_of(pace: &Pace) -> impl Fn() -> Body + Clone + use<> {
    let pace = pace.clone();
    move || pace.body()
}

/// Ten calls of one `stack`, whose bodies are read as fast as they come.
async fn ten_calls<S, R, B>(
    stack: S,
    request: impl Fn() -> R,
    pace: &Pace,
    work: &Work,
    layer: &Layer,
) where
    S: Service<R, Response = B, Error: std::fmt::Debug> + Clone + Send + 'static,
    S::Future: Send,
    R: Send + 'static,
    B: Into<Response<reqwest::Body>> + Send + 'static,
{
    let mut calls = JoinSet::new();
    for reader in 0..CALLERS {
        let (call, pace) = (stack.clone().oneshot(request()), pace.clone());
        calls.spawn(async move { pace.read(reader, call.await.unwrap().into()).await });
    }
    until(|| layer.handle().waiters() == CALLERS).await;
    work.allow(1);
    assert_eq!(calls.join_all().await, [LENGTH; CALLERS]);
    assert_eq!((work.calls(), layer.handle().bypassed()), (1, 0));
    until(|| (layer.handle().in_flight(), layer.handle().waiters()) == (0, 0)).await;
}

async fn ten_calls_of_each_client(ahead: usize) {
    for client in [http1, http2] {
        let pace = Pace::new(ahead);
        let (work, layer) = (Work::default(), DedupLayer::new().http());
        let address = serve_long(None, &work, body_of(&pace)).await;
        let stack = ServiceBuilder::new()
            .map_response(|response: Response<_>| response.map(reqwest::Body::wrap))
            .layer(layer.clone())
            .service(client());
        ten_calls(stack, || get_of(address, ""), &pace, &work, &layer).await;
    }
    let pace = Pace::new(ahead);
    let (work, layer) = (Work::default(), DedupLayer::new().http());
    let address = serve_long(None, &work, body_of(&pace)).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(client);
    let request =
        || reqwest::Request::new(Method::GET, format!("http://{address}/").parse().unwrap());
    ten_calls(stack, request, &pace, &work, &layer).await;
}

#[tokio::test]
async fn ten_calls_of_a_client_all_get_a_body_of_three_times_the_cap() {
    ten_calls_of_each_client(LENGTH).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ten_calls_of_a_client_on_many_threads_all_get_a_body_of_three_times_the_cap() {
    ten_calls_of_each_client(NEAR).await;
}

/// Its connection fills up, and it falls too far behind.
#[tokio::test]
async fn a_client_that_does_not_read_on_is_left_behind_and_the_others_get_all() {
    let layer = DedupLayer::new().http_with(Http::new().max_shared_body(256 << 10));
    let work = Work::default();
    let length = 48 << 20;
    let address = serve_long(Some(&layer), &work, move || long(length)).await;
    let mut clients = JoinSet::new();
    for _ in 0..3 {
        clients.spawn(async move { http1().request(get_of(address, "")).await.unwrap() });
    }
    until(|| layer.handle().waiters() == 3).await;
    work.allow(1);
    let stopped = clients.join_next().await.unwrap().unwrap();
    let others = clients.join_all().await.into_iter().map(|response| async move {
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame.unwrap().into_data().unwrap().len();
        }
        bytes
    });
    assert_eq!(others.collect::<JoinSet<_>>().join_all().await, [length; 2]);
    stopped.into_body().collect().await.unwrap_err();
    until(|| (layer.handle().in_flight(), layer.handle().waiters()) == (0, 0)).await;
}

/// A stack over long bodies in memory, of which `cap` bytes are held.
fn in_memory(
    cap: usize,
) -> (
    Layer,
    Work,
    impl Service<
        Request<String>,
        Response = Response<impl http_body::Body<Data = Bytes, Error = BoxError> + Unpin + Send>,
        Error = Infallible,
        Future: Send,
    > + Clone,
) {
    let work = Work::default();
    let layer = DedupLayer::new().http_with(Http::new().max_shared_body(cap));
    let service = {
        let work = work.clone();
        service_fn(move |_: Request<String>| {
            let work = work.clone();
            async move {
                work.call().await;
                Ok(Response::new(long(LENGTH)))
            }
        })
    };
    let stack = ServiceBuilder::new().layer(layer.clone()).service(service);
    (layer, work, stack)
}

/// Awaits all of them in this task. Each is polled whenever it is.
async fn in_one_task<F: Future<Output = usize>>(calls: impl Iterator<Item = F>) -> Vec<usize> {
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    let mut outcomes = vec![None; calls.len()];
    poll_fn(|cx| {
        for (call, outcome) in calls.iter_mut().zip(&mut outcomes) {
            if outcome.is_none()
                && let Poll::Ready(length) = call.as_mut().poll(cx)
            {
                *outcome = Some(length);
            }
        }
        if outcomes.contains(&None) { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    outcomes.into_iter().flatten().collect()
}

fn ask() -> Request<String> {
    Request::get("http://here/").body(String::new()).unwrap()
}

/// The first to be polled finds all frames ready, and could read to the end before the others begin.
#[tokio::test(start_paused = true)]
async fn callers_in_one_task_all_get_a_body_that_is_always_ready() {
    for cap in [0, 100, 20 << 10, 1 << 20] {
        let (layer, work, stack) = in_memory(cap);
        let start = Instant::now();
        let calls = (0..CALLERS).map(|_| async {
            let response = stack.clone().oneshot(ask()).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes().len()
        });
        let answer = async {
            until(|| layer.handle().waiters() == CALLERS).await;
            work.allow(1);
        };
        let (lengths, ()) = tokio::join!(in_one_task(calls), answer);
        assert_eq!(lengths, [LENGTH; CALLERS]);
        assert_eq!((work.calls(), layer.handle().bypassed()), (1, 0));
        assert_eq!(Instant::now(), start);
    }
}

#[tokio::test(start_paused = true)]
async fn callers_that_read_at_different_speeds_all_get_all() {
    let (layer, work, stack) = in_memory(1 << 20);
    let mut calls = JoinSet::new();
    for call in 0..CALLERS {
        let pace = call as u64 % 8;
        let stack = stack.clone();
        let call = stack.oneshot(ask());
        calls.spawn(async move {
            let mut body = call.await.unwrap().into_body();
            let mut length = 0;
            while let Some(frame) = body.frame().await {
                length += frame.unwrap().into_data().unwrap().len();
                sleep(Duration::from_millis(pace)).await;
            }
            length
        });
    }
    until(|| layer.handle().waiters() == CALLERS).await;
    work.allow(1);
    assert_eq!(calls.join_all().await, [LENGTH; CALLERS]);
    assert_eq!((work.calls(), layer.handle().bypassed()), (1, 0));
}

/// The window has not moved yet, because one of the readers is behind.
#[tokio::test(start_paused = true)]
async fn a_body_over_the_cap_takes_no_caller_while_its_beginning_is_still_held() {
    let (layer, work, stack) = in_memory(20 << 10);
    work.allow(2);
    let mut front = stack.clone().oneshot(ask()).await.unwrap().into_body();
    let behind = stack.clone().oneshot(ask()).await.unwrap();
    assert_eq!(front.frame().await.unwrap().unwrap().into_data().unwrap().len(), CHUNK.len());
    assert_eq!((work.calls(), layer.handle().followers()), (1, 1));
    let mut next = Box::pin(front.frame());
    assert!(poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx).is_pending())).await);
    let late = stack.clone().oneshot(ask()).await.unwrap();
    assert_eq!((work.calls(), layer.handle().followers()), (2, 1));
    drop(next);
    let rest = async { front.collect().await.unwrap().to_bytes().len() + CHUNK.len() };
    let whole = async { behind.into_body().collect().await.unwrap().to_bytes().len() };
    assert_eq!(tokio::join!(rest, whole), (LENGTH, LENGTH));
    assert_eq!(late.into_body().collect().await.unwrap().to_bytes().len(), LENGTH);
}

/// It has joined, and its task does something else.
#[tokio::test(start_paused = true)]
async fn a_caller_that_does_not_come_for_its_head_delays_the_others_by_10_ms_and_has_a_call_of_its_own()
 {
    let (layer, work, stack) = in_memory(1 << 20);
    let mut busy = Box::pin(stack.clone().oneshot(ask()));
    let mut other = JoinSet::new();
    other.spawn(stack.clone().oneshot(ask()));
    until(|| layer.handle().waiters() == 1).await;
    assert!(poll_fn(|cx| Poll::Ready(busy.as_mut().poll(cx).is_pending())).await);
    let start = Instant::now();
    work.allow(2);
    let other = other.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(other.into_body().collect().await.unwrap().to_bytes().len(), LENGTH);
    assert_eq!(start.elapsed(), Duration::from_millis(10));
    let response = busy.await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), LENGTH);
    assert_eq!((work.calls(), layer.handle().bypassed()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_joins_late_does_not_take_the_place_of_one_that_was_there() {
    let (layer, work, stack) = in_memory(1 << 20);
    // The task of the leader does something else for 5 ms.
    let mut leader = Box::pin(stack.clone().oneshot(ask()));
    assert!(poll_fn(|cx| Poll::Ready(leader.as_mut().poll(cx).is_pending())).await);
    let mut other = JoinSet::new();
    other.spawn(stack.clone().oneshot(ask()));
    until(|| layer.handle().waiters() == 2).await;
    work.allow(2);
    let other = other.join_next().await.unwrap().unwrap().unwrap();
    let new = stack.clone().oneshot(ask()).await.unwrap();
    assert_eq!(layer.handle().followers(), 2);
    let mut bodies = JoinSet::new();
    bodies.spawn(async move { other.into_body().collect().await.unwrap().to_bytes().len() });
    bodies.spawn(async move { new.into_body().collect().await.unwrap().to_bytes().len() });
    sleep(Duration::from_millis(5)).await;
    let leader = leader.await.unwrap().into_body().collect().await;
    assert_eq!(leader.unwrap().to_bytes().len(), LENGTH);
    assert_eq!(bodies.join_all().await, [LENGTH; 2]);
}
