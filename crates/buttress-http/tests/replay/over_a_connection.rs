//! Replay over real connections.
#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use buttress_core::{Attempt, BoxError, Replay};
use buttress_http::Http;
use bytes::Bytes;
use http::Request;
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::stream::Boxed;

#[tokio::test]
async fn a_connection_reset_midway_leaves_the_rest_to_the_next_attempt() {
    let (listener, mut request, gate) = upload().await;
    let saved = Http::new().save(&mut request);
    let reset = async {
        let mut socket = accept(&listener).await;
        read_to(&mut socket, "start\r\n").await;
        socket.set_zero_linger().unwrap();
    };
    let client = client();
    let (answer, ()) = tokio::join!(client.request(request), reset);
    answer.unwrap_err();

    gate.store(true, Relaxed);
    let again: Request<Boxed> = Http::new().again(&saved.unwrap(), SECOND).unwrap();
    let answered = async {
        let mut socket = accept(&listener).await;
        let read = read_to(&mut socket, "\r\n0\r\n\r\n").await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        (socket, read)
    };
    let (answer, (_socket, read)) = tokio::join!(client.request(again), answered);
    assert_eq!(answer.unwrap().status(), 200);
    assert!(read.contains("\r\n5\r\nstart\r\n3\r\nend\r\n0\r\n\r\n"), "{read}");
}

#[tokio::test]
async fn a_refused_connection_leaves_the_whole_body() {
    let (listener, mut request, gate) = upload().await;
    let saved = Http::new().save(&mut request);
    drop(listener);
    client().request(request).await.unwrap_err();

    gate.store(true, Relaxed);
    let again: Request<Boxed> = Http::new().again(&saved.unwrap(), SECOND).unwrap();
    assert_eq!(again.into_body().collect().await.unwrap().to_bytes(), "startend");
}

#[tokio::test]
async fn an_early_answer_leaves_nothing() {
    let (listener, mut request, _gate) = upload().await;
    let saved = Http::new().save(&mut request);
    let answered = async {
        let mut socket = accept(&listener).await;
        read_to(&mut socket, "start\r\n").await;
        socket.write_all(b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        socket
    };
    let client = client();
    let (answer, _socket) = tokio::join!(client.request(request), answered);
    assert_eq!(answer.unwrap().status(), 503);
    let again: Option<Request<Boxed>> = Http::new().again(&saved.unwrap(), SECOND);
    assert!(again.is_none());
}

/// A server, and a request for it whose body stops midway until the gate is open.
async fn upload() -> (TcpListener, Request<Boxed>, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gate = Arc::new(AtomicBool::new(false));
    let body = Gated { chunks: vec!["end", "start"], gate: Arc::clone(&gate) };
    let url = format!("http://{}/", listener.local_addr().unwrap());
    (listener, Request::put(url).body(body.boxed_unsync()).unwrap(), gate)
}

struct Gated {
    chunks: Vec<&'static str>,
    gate: Arc<AtomicBool>,
}

impl Body for Gated {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        // Pending without a waker, because the gate never opens during an attempt.
        let open = self.chunks.len() != 1 || self.gate.load(Relaxed);
        ready!(if open { Poll::Ready(()) } else { Poll::Pending });
        Poll::Ready(self.chunks.pop().map(|chunk| Ok(Frame::data(chunk.into()))))
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    listener.accept().await.unwrap().0
}

async fn read_to(socket: &mut TcpStream, end: &str) -> String {
    let mut read = String::new();
    while !read.ends_with(end) {
        read.push(socket.read_u8().await.unwrap().into());
    }
    read
}

fn client() -> Client<HttpConnector, Boxed> {
    Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http()
}

const SECOND: Attempt = Attempt::FIRST.next();
