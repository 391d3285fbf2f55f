//! Keyed order on clients of hyper-util and reqwest, and in front of a plain service.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::net::SocketAddr;

use axum::{
    Router,
    routing::{any, get},
};
use buttress::{Authority, HttpExt, OrderLayer, Reason, Rejection, http_grpc::ResponseHead};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use loopback::{
    AnyBody, AnyClient, Work, Writers, get_of, http1, http2, read, serve, streams, until,
};
use tokio::task::JoinSet;
use tower::{Layer, ServiceExt, service_fn};

/// The path of a request, which stands for a resource.
#[expect(clippy::unnecessary_wraps, reason = "the shape of a key")]
fn resource(request: &Request<AnyBody>) -> Option<String> {
    Some(request.uri().path().to_owned())
}

async fn upstream() -> (SocketAddr, Writers) {
    let (streams, writers) = streams();
    let other = streams.clone();
    let app = Router::new()
        .route("/a", any(async move || streams.respond()))
        .route("/b", any(async move || other.respond()));
    (serve(app).await.unwrap(), writers)
}

async fn calls_of_hyper_take_turns(client: AnyClient) {
    let layer = OrderLayer::serial(resource).http();
    let (handle, client) = (layer.handle(), layer.layer(client));
    let (address, mut writers) = upstream().await;
    let first = client.clone().oneshot(get_of(address, "a")).await.unwrap();
    let writer = writers.next().await;
    let mut waiting = JoinSet::new();
    waiting.spawn(client.clone().oneshot(get_of(address, "a")));
    until(|| handle.waiting(&"/a".to_owned()) == 1).await;
    let other = client.clone().oneshot(get_of(address, "b")).await.unwrap();
    drop(writers.next().await);
    assert!(read(other).await.is_empty());
    assert!(writers.is_empty(), "two calls of a resource at once");
    writer.write("first");
    drop(writer);
    assert_eq!(read(first).await, "first");
    let second = waiting.join_next().await.unwrap().unwrap().unwrap();
    writers.next().await.fail();
    second.into_body().collect().await.unwrap_err();
    assert_eq!(handle.keys(), 0);
}

#[tokio::test]
async fn calls_of_hyper_take_turns_over_http1_and_http2() {
    calls_of_hyper_take_turns(http1()).await;
    calls_of_hyper_take_turns(http2()).await;
}

async fn superseded_call_of_hyper_reads_no_late_byte(client: AnyClient) {
    let layer = OrderLayer::latest(resource).named("search").http();
    let (handle, client) = (layer.handle(), layer.layer(client));
    let (address, mut writers) = upstream().await;
    let mut older = client.clone().oneshot(get_of(address, "a")).await.unwrap().into_body();
    let writer = writers.next().await;
    writer.write("early");
    assert_eq!(older.frame().await.unwrap().unwrap().into_data().unwrap(), "early");
    writer.write("late");
    let mut newest = JoinSet::new();
    newest.spawn(client.clone().oneshot(get_of(address, "a")));
    until(|| handle.waiting(&"/a".to_owned()) == 1).await;
    let error = older.frame().await.unwrap().unwrap_err();
    let rejection = Rejection::find(&error).unwrap();
    assert_eq!(rejection.reason(), Reason::Superseded);
    assert_eq!(rejection.origin().to_string(), "order `search`");
    assert!(older.frame().await.is_none());
    writer.abandoned().await;
    let newest = newest.join_next().await.unwrap().unwrap().unwrap();
    let newer = writers.next().await;
    newer.write("newest");
    drop(newer);
    assert_eq!(read(newest).await, "newest");
    assert_eq!((handle.keys(), handle.superseded()), (0, 1));
}

#[tokio::test]
async fn superseded_call_of_hyper_reads_no_late_byte_over_http1_and_http2() {
    superseded_call_of_hyper_reads_no_late_byte(http1()).await;
    superseded_call_of_hyper_reads_no_late_byte(http2()).await;
}

#[tokio::test]
async fn superseded_call_of_hyper_without_a_head_is_answered_with_409() {
    let work = Work::default();
    let handler = {
        let work = work.clone();
        async move || work.call().await.to_string()
    };
    let address = serve(Router::new().route("/a", get(handler))).await.unwrap();
    let layer = OrderLayer::latest(resource).http();
    let client = layer.layer(http1());
    let mut older = JoinSet::new();
    older.spawn(client.clone().oneshot(get_of(address, "a")));
    until(|| work.running() == 1).await;
    let mut newest = JoinSet::new();
    newest.spawn(client.oneshot(get_of(address, "a")));
    let superseded = older.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(superseded.status(), StatusCode::CONFLICT);
    assert_eq!(superseded.rejection().unwrap().reason(), Reason::Superseded);
    until(|| work.calls() == 2).await;
    work.allow(2);
    let newest = newest.join_next().await.unwrap().unwrap().unwrap();
    assert_eq!(newest.status(), StatusCode::OK);
}

#[tokio::test]
async fn calls_of_reqwest_take_turns_and_the_latest_ends_the_others() {
    let resource = |request: &reqwest::Request| Some(request.url().path().to_owned());
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (address, mut writers) = upstream().await;
    let get = || {
        let url = format!("http://{address}/a").parse().unwrap();
        reqwest::Request::new(http::Method::GET, url)
    };

    let layer = OrderLayer::serial(resource).http();
    let handle = layer.handle();
    let service = layer.layer(client.clone());
    let mut first = service.clone().oneshot(get()).await.unwrap();
    let writer = writers.next().await;
    let mut waiting = JoinSet::new();
    waiting.spawn(service.oneshot(get()));
    until(|| handle.queued() == 1).await;
    writer.write("first");
    assert_eq!(first.chunk().await.unwrap().unwrap(), "first");
    assert!(writers.is_empty());
    drop(writer);
    assert_eq!(first.chunk().await.unwrap(), None);
    let second = waiting.join_next().await.unwrap().unwrap().unwrap();
    drop(writers.next().await);
    drop(second);
    assert_eq!(handle.keys(), 0);

    let layer = OrderLayer::latest(resource).http();
    let (handle, service) = (layer.handle(), layer.layer(client));
    let mut older = service.clone().oneshot(get()).await.unwrap();
    let writer = writers.next().await;
    writer.write("early");
    assert_eq!(older.chunk().await.unwrap().unwrap(), "early");
    let mut newest = JoinSet::new();
    newest.spawn(service.oneshot(get()));
    until(|| handle.queued() == 1).await;
    writer.write("late");
    let error = older.chunk().await.unwrap_err();
    assert_eq!(Rejection::in_chain(&error).unwrap().reason(), Reason::Superseded);
    drop(older);
    assert_eq!(newest.join_next().await.unwrap().unwrap().unwrap().status(), StatusCode::OK);
}

/// No HTTP at all, and an error enum of the user's own.
#[tokio::test]
async fn calls_of_a_plain_service_fail_with_its_own_error() {
    #[derive(Debug, PartialEq)]
    enum Fault {
        Broken,
        Layer(Reason),
    }
    impl From<Rejection> for Fault {
        fn from(rejection: Rejection) -> Self {
            Self::Layer(rejection.reason())
        }
    }
    let work = Work::default();
    let serve = work.clone();
    let layer = OrderLayer::serial(|(shard, _): &(u32, bool)| Some(*shard)).queue(0);
    let service = layer.layer(service_fn(move |(_, broken): (u32, bool)| {
        let work = serve.clone();
        async move {
            let number = work.call().await;
            if broken { Err(Fault::Broken) } else { Ok(number) }
        }
    }));
    let mut first = JoinSet::new();
    first.spawn(service.clone().oneshot((1, true)));
    until(|| work.running() == 1).await;
    let full = service.clone().oneshot((1, false)).await;
    assert_eq!(full, Err(Fault::Layer(Reason::Overloaded)));
    work.allow(2);
    assert_eq!(first.join_next().await.unwrap().unwrap(), Err(Fault::Broken));
    assert_eq!(service.oneshot((1, false)).await, Ok(2));
}

/// The host of a request is its key, for requests of hyper and of reqwest.
#[tokio::test]
async fn calls_to_a_host_take_turns_over_clients_of_two_kinds() {
    let (address, mut writers) = upstream().await;
    let layer = OrderLayer::serial_per(Authority).http();
    let handle = layer.handle();
    let first = layer.layer(http1()).oneshot(get_of(address, "a")).await.unwrap();
    let writer = writers.next().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{address}/b").parse().unwrap();
    let mut waiting = JoinSet::new();
    waiting.spawn(layer.layer(client).oneshot(reqwest::Request::new(http::Method::GET, url)));
    until(|| handle.waiting(&address.to_string().into()) == 1).await;
    assert!(writers.is_empty());
    drop(writer);
    assert!(read(first).await.is_empty());
    let second = waiting.join_next().await.unwrap().unwrap().unwrap();
    drop(writers.next().await);
    assert!(second.bytes().await.unwrap().is_empty());
    assert_eq!(handle.keys(), 0);
}
