//! Bodies that many clients of a server read while they are on their way.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::net::SocketAddr;

use axum::{Router, routing::get};
use buttress::{DedupLayer, Http, HttpExt};
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use loopback::{AnyClient, Work, Writers, get_of, http1, http2, read, serve, streams, until};
use tokio::task::JoinSet;

type Layer = DedupLayer<Http>;

fn dedup() -> Layer {
    DedupLayer::new().http()
}

/// Both versions of HTTP, with a connection for each client.
const CLIENTS: [fn() -> AnyClient; 2] = [http1, http2];

/// A server that answers `/` with bodies the test writes, behind `layer`.
async fn serve_streams(layer: &Layer) -> (SocketAddr, Writers) {
    let (streams, writers) = streams();
    let app = Router::new().route("/", get(async move || streams.respond())).layer(layer.clone());
    (serve(app).await.unwrap(), writers)
}

async fn fetch(client: AnyClient, address: SocketAddr) -> Response<Incoming> {
    let response = client.request(get_of(address, "")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    response
}

/// The next chunk, which is there without an end of the body.
async fn chunk(response: &mut Response<Incoming>) -> Bytes {
    response.body_mut().frame().await.unwrap().unwrap().into_data().unwrap()
}

#[tokio::test]
async fn all_callers_read_chunks_as_they_come_and_a_late_one_from_the_first() {
    for client in CLIENTS {
        let layer = dedup();
        let (address, mut writers) = serve_streams(&layer).await;
        let mut first = fetch(client(), address).await;
        let writer = writers.next().await;
        writer.write("one ");
        assert_eq!(chunk(&mut first).await, "one ");
        let mut second = fetch(client(), address).await;
        assert_eq!(chunk(&mut second).await, "one ");
        writer.write("two ");
        assert_eq!(chunk(&mut second).await, "two ");
        assert_eq!(chunk(&mut first).await, "two ");
        let third = fetch(client(), address).await;
        assert_eq!(layer.handle().waiters(), 3);
        writer.write("three");
        drop(writer);
        assert_eq!(read(third).await, "one two three");
        assert_eq!(read(first).await, "three");
        assert_eq!(read(second).await, "three");
        until(|| (layer.handle().in_flight(), layer.handle().waiters()) == (0, 0)).await;
        assert_eq!((layer.handle().leaders(), layer.handle().followers()), (1, 2));
        assert!(writers.is_empty(), "a second call was made");
    }
}

/// It is not read at all here, as by a client on a slow line, and its connection fills up.
#[tokio::test]
async fn a_client_that_stops_reading_does_not_delay_the_others() {
    const CHUNK: &str =
        "a chunk of a body that is longer than what a connection takes in for nobody";
    let layer = DedupLayer::new().http_with(Http::new().max_shared_body(64 << 20));
    let (address, mut writers) = serve_streams(&layer).await;
    let slow = fetch(http1(), address).await;
    let quick = fetch(http1(), address).await;
    let writer = writers.next().await;
    for _ in 0..100_000 {
        writer.write(CHUNK);
    }
    drop(writer);
    assert_eq!(read(quick).await.len(), 100_000 * CHUNK.len());
    assert_eq!(read(slow).await.len(), 100_000 * CHUNK.len());
}

#[tokio::test]
async fn when_the_first_client_leaves_before_the_head_the_call_goes_on_for_the_others() {
    for client in CLIENTS {
        let (work, layer) = (Work::default(), dedup());
        let handler = {
            let work = work.clone();
            async move || work.call().await.to_string()
        };
        let app = Router::new().route("/", get(handler)).layer(layer.clone());
        let address = serve(app).await.unwrap();
        let mut first = JoinSet::new();
        first.spawn(fetch(client(), address));
        until(|| layer.handle().waiters() == 1).await;
        let mut others = JoinSet::new();
        for _ in 0..3 {
            others.spawn(async move { read(fetch(client(), address).await).await });
        }
        until(|| layer.handle().waiters() == 4).await;
        first.shutdown().await;
        until(|| layer.handle().waiters() == 3).await;
        assert_eq!((work.running(), layer.handle().handovers()), (1, 1));
        work.allow(1);
        assert_eq!(others.join_all().await, ["1"; 3]);
    }
}

#[tokio::test]
async fn when_the_first_client_leaves_in_the_middle_the_body_goes_on_for_the_others() {
    for client in CLIENTS {
        let layer = dedup();
        let (address, mut writers) = serve_streams(&layer).await;
        let mut first = fetch(client(), address).await;
        let writer = writers.next().await;
        writer.write("one ");
        chunk(&mut first).await;
        let mut second = fetch(client(), address).await;
        assert_eq!(chunk(&mut second).await, "one ");
        drop(first);
        until(|| layer.handle().waiters() == 1).await;
        writer.write("two");
        assert_eq!(chunk(&mut second).await, "two");
        let third = fetch(client(), address).await;
        drop(writer);
        assert!(read(second).await.is_empty());
        assert_eq!(read(third).await, "one two");
        assert!(writers.is_empty(), "a second call was made");
    }
}

#[tokio::test]
async fn when_all_have_left_the_call_is_dropped_and_the_next_is_fresh() {
    for client in CLIENTS {
        let (work, layer) = (Work::default(), dedup());
        let handler = {
            let work = work.clone();
            async move || work.call().await.to_string()
        };
        let app = Router::new().route("/", get(handler)).layer(layer.clone());
        let address = serve(app).await.unwrap();
        let mut clients = JoinSet::new();
        for _ in 0..3 {
            clients.spawn(fetch(client(), address));
        }
        until(|| layer.handle().waiters() == 3).await;
        clients.shutdown().await;
        until(|| (work.running(), layer.handle().in_flight()) == (0, 0)).await;
        work.allow(1);
        assert_eq!(read(fetch(client(), address).await).await, "2");
    }
}

#[tokio::test]
async fn when_all_have_left_the_body_is_dropped_and_the_next_call_has_another() {
    for client in CLIENTS {
        let layer = dedup();
        let (address, mut writers) = serve_streams(&layer).await;
        let mut readers = Vec::new();
        for _ in 0..3 {
            readers.push(fetch(client(), address).await);
        }
        let writer = writers.next().await;
        writer.write("one");
        for reader in &mut readers {
            assert_eq!(chunk(reader).await, "one");
        }
        drop(readers);
        writer.abandoned().await;
        until(|| (layer.handle().in_flight(), layer.handle().waiters()) == (0, 0)).await;
        let fresh = fetch(client(), address).await;
        let writer = writers.next().await;
        writer.write("another");
        drop(writer);
        assert_eq!(read(fresh).await, "another");
    }
}

#[tokio::test]
async fn a_body_that_fails_midway_fails_for_all_readers_after_the_same_bytes() {
    for client in CLIENTS {
        let layer = dedup();
        let (address, mut writers) = serve_streams(&layer).await;
        let mut readers = vec![fetch(client(), address).await, fetch(client(), address).await];
        let writer = writers.next().await;
        writer.write("one");
        for reader in &mut readers {
            assert_eq!(chunk(reader).await, "one");
        }
        writer.fail();
        for mut reader in readers {
            reader.body_mut().frame().await.unwrap().unwrap_err();
        }
        until(|| (layer.handle().in_flight(), layer.handle().waiters()) == (0, 0)).await;
    }
}

#[tokio::test]
async fn a_too_long_body_continues_for_its_readers_and_accepts_no_others() {
    for client in CLIENTS {
        let layer = DedupLayer::new().http_with(Http::new().max_shared_body(8));
        let (address, mut writers) = serve_streams(&layer).await;
        let mut first = fetch(client(), address).await;
        let mut second = fetch(client(), address).await;
        let writer = writers.next().await;
        writer.write("123456");
        assert_eq!(chunk(&mut first).await, "123456");
        assert_eq!(chunk(&mut second).await, "123456");
        writer.write("789");
        assert_eq!(chunk(&mut second).await, "789");
        assert_eq!(chunk(&mut first).await, "789");
        // Whoever comes now has a call of its own.
        let third = fetch(client(), address).await;
        let another = writers.next().await;
        another.write("short");
        drop(another);
        assert_eq!(read(third).await, "short");
        writer.write(" and more, of which nothing is kept");
        drop(writer);
        assert_eq!(read(first).await, " and more, of which nothing is kept");
        assert_eq!(read(second).await, " and more, of which nothing is kept");
        until(|| (layer.handle().in_flight(), layer.handle().waiters()) == (0, 0)).await;
    }
}

#[tokio::test]
async fn a_body_that_turns_out_too_long_without_the_first_goes_on_for_all_others() {
    let layer = DedupLayer::new().http_with(Http::new().max_shared_body(8));
    let (address, mut writers) = serve_streams(&layer).await;
    let first = fetch(http1(), address).await;
    let others = [fetch(http1(), address).await, fetch(http1(), address).await];
    drop(first);
    until(|| layer.handle().waiters() == 2).await;
    let writer = writers.next().await;
    writer.write("123456");
    writer.write("789");
    drop(writer);
    for other in others {
        assert_eq!(read(other).await, "123456789");
    }
}

/// The upstream is let go, whoever else might have come.
#[tokio::test]
async fn a_body_that_turns_out_too_long_is_dropped_when_all_its_readers_have_left() {
    for client in CLIENTS {
        let layer = DedupLayer::new().http_with(Http::new().max_shared_body(8));
        let (address, mut writers) = serve_streams(&layer).await;
        let mut readers = vec![fetch(client(), address).await, fetch(client(), address).await];
        let writer = writers.next().await;
        writer.write("longer than the cap");
        for reader in &mut readers {
            assert_eq!(chunk(reader).await, "longer than the cap");
        }
        drop(readers);
        writer.abandoned().await;
        until(|| (layer.handle().in_flight(), layer.handle().waiters()) == (0, 0)).await;
    }
}

#[tokio::test]
async fn a_body_that_says_it_is_too_long_is_for_the_first_and_the_others_make_calls_of_their_own() {
    let (work, layer) = (Work::default(), DedupLayer::new());
    let layer = layer.http_with(Http::new().max_shared_body(8));
    let handler = {
        let work = work.clone();
        async move || format!("the answer of call {}", work.call().await)
    };
    let app = Router::new().route("/", get(handler)).layer(layer.clone());
    let address = serve(app).await.unwrap();
    let mut answers = JoinSet::new();
    for _ in 0..5 {
        answers.spawn(async move { read(fetch(http1(), address).await).await });
    }
    until(|| layer.handle().waiters() == 5).await;
    assert_eq!(work.calls(), 1);
    work.allow(5);
    let mut answers = answers.join_all().await;
    answers.sort_unstable();
    let expected = [1, 2, 3, 4, 5].map(|call| format!("the answer of call {call}"));
    assert_eq!(answers, expected);
    assert_eq!((layer.handle().leaders(), layer.handle().bypassed()), (1, 4));
    until(|| (layer.handle().in_flight(), layer.handle().waiters()) == (0, 0)).await;
}
