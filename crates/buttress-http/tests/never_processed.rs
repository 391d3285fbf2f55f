//! The verdicts on real failures of real connections.
#![cfg(feature = "hyper")]
#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]

use std::{
    future::{pending, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use buttress_core::{BoxError, Classify, Origin, Reason, Rejection, Verdict};
use buttress_http::{Http, never_processed};
use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};
use hyper_util::{
    client::legacy::{self, Client},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tower::service_fn;

type Body = UnsyncBoxBody<Bytes, BoxError>;

#[tokio::test]
async fn a_refused_connection_was_never_processed() {
    let error = client().request(post(no_listener().await)).await.unwrap_err();
    assert_eq!(verdict(&error), Verdict::NeverProcessed);
    assert_eq!(verdict(&BoxError::from(error)), Verdict::NeverProcessed);
}

#[tokio::test]
async fn a_handshake_that_was_refused_is_permanent() {
    let untrusted = || io::Error::new(io::ErrorKind::InvalidData, "invalid peer certificate");
    for error in [
        BoxError::from(untrusted()),
        io::Error::other(untrusted()).into(),
        io::Error::from(io::ErrorKind::InvalidData).into(),
        // native-tls on Linux and on macOS.
        "error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed"
            .into(),
        "error:0A00010B:SSL routines::wrong version number".into(),
        "The certificate was not trusted.".into(),
        // tonic
        "HTTP/2 was not negotiated.".into(),
    ] {
        let error = connecting(error).await;
        assert_eq!(verdict(&error), Verdict::Permanent, "{error:?}");
        assert!(never_processed(&error));
    }
}

#[tokio::test]
async fn a_connection_that_broke_during_the_handshake_was_never_processed() {
    for error in [
        BoxError::from(io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof")),
        io::Error::from(io::ErrorKind::ConnectionReset).into(),
        io::Error::from(io::ErrorKind::TimedOut).into(),
        io::Error::other("failed to lookup address information").into(),
        "error:0A000126:SSL routines::unexpected eof while reading".into(),
        "request timed out".into(),
    ] {
        let error = connecting(error).await;
        assert_eq!(verdict(&error), Verdict::NeverProcessed, "{error:?}");
    }
}

/// The text of a resolver names the host, whatever that is called.
#[tokio::test]
async fn a_name_that_is_not_found_was_never_processed_whatever_the_host_is_called() {
    let resolver = service_fn(|name: legacy::connect::dns::Name| {
        let text = format!("no record found for {name}");
        ready(Err::<std::vec::IntoIter<SocketAddr>, _>(BoxError::from(text)))
    });
    let connector = legacy::connect::HttpConnector::new_with_resolver(resolver);
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build(connector);
    let request = Request::get("http://certificates.test/").body(Body::default()).unwrap();
    let error = client.request(request).await.unwrap_err();
    assert_eq!(verdict(&error), Verdict::NeverProcessed, "{error:?}");
}

#[test]
fn data_that_is_invalid_after_the_handshake_is_permanent_only_if_a_certificate_was_refused() {
    let of = |text: &str| verdict(&io::Error::new(io::ErrorKind::InvalidData, text));
    assert_eq!(of("received fatal alert: CertificateRequired"), Verdict::Permanent);
    assert_eq!(of("received fatal alert: UnknownCA"), Verdict::Permanent);
    assert_eq!(of("cannot decrypt peer's message"), Verdict::Transient);
}

/// The error of a client that could not connect because of `error`.
async fn connecting(error: BoxError) -> legacy::Error {
    let error = Arc::new(Mutex::new(Some(error)));
    let connector = service_fn(move |_: Uri| {
        let error = error.lock().unwrap().take().unwrap();
        ready(Err::<TokioIo<TcpStream>, _>(error))
    });
    let client: Client<_, Body> = Client::builder(TokioExecutor::new()).build(connector);
    client.request(post(([127, 0, 0, 1], 443).into())).await.unwrap_err()
}

#[tokio::test]
async fn a_connection_closed_before_the_answer_is_transient() {
    let error = talk(async |mut socket| {
        read_head(&mut socket).await;
        None
    })
    .await;
    assert_eq!(verdict(&error), Verdict::Transient);
    assert!(!never_processed(&error));
}

#[tokio::test]
async fn a_connection_reset_before_the_answer_is_transient() {
    let error = talk(async |mut socket| {
        read_head(&mut socket).await;
        socket.set_zero_linger().unwrap();
        None
    })
    .await;
    assert_eq!(verdict(&error), Verdict::Transient);
    assert!(!never_processed(&error));
}

#[tokio::test]
async fn an_answer_cut_off_in_its_head_is_transient() {
    let error = talk(async |mut socket| {
        read_head(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await.unwrap();
        None
    })
    .await;
    assert_eq!(verdict(&error), Verdict::Transient);
}

#[tokio::test]
async fn an_answer_that_is_no_http_is_permanent() {
    let error = talk(async |mut socket| {
        read_head(&mut socket).await;
        socket.write_all(b"220 mail.example.org ESMTP\r\n\r\n").await.unwrap();
        Some(socket)
    })
    .await;
    assert_eq!(verdict(&error), Verdict::Permanent);
}

#[tokio::test]
async fn a_request_body_that_fails_is_permanent() {
    let listener = listener().await;
    let request =
        post(listener.local_addr().unwrap()).map(|_| Broken(Some("broken".into())).boxed_unsync());
    let error = tokio::select! {
        answer = client().request(request) => answer.unwrap_err(),
        _ = hold(&listener, async |socket| Some(socket)) => unreachable!(),
    };
    assert_eq!(verdict(&error), Verdict::Permanent);
}

#[tokio::test]
async fn a_refused_stream_was_never_processed() {
    let error = talk_h2(&[reset(REFUSED_STREAM)], Then::Hold).await;
    assert_eq!(verdict(&error), Verdict::NeverProcessed);
}

#[tokio::test]
async fn a_stream_reset_for_any_other_reason_may_have_been_processed() {
    for reason in [NO_ERROR, INTERNAL_ERROR, CANCEL] {
        let error = talk_h2(&[reset(reason)], Then::Hold).await;
        assert_eq!(verdict(&error), Verdict::Transient, "{reason}");
    }
}

#[tokio::test]
async fn a_stream_that_the_server_calls_malformed_is_permanent() {
    let error = talk_h2(&[reset(PROTOCOL_ERROR)], Then::Hold).await;
    assert_eq!(verdict(&error), Verdict::Permanent);
    let error = talk_h2(&[go_away(1, PROTOCOL_ERROR)], Then::Close).await;
    assert_eq!(verdict(&error), Verdict::Transient, "the connection may be to blame");
}

/// A proxy sends on what it reads, and so it may be another connection that failed.
#[tokio::test]
async fn error_of_a_request_body_says_nothing_about_the_connection() {
    let origin = Origin::new("deadline");
    let cut = Rejection::new(Reason::DeadlineExceeded, origin);
    let refused = talk_h2(&[reset(REFUSED_STREAM)], Then::Hold).await;
    assert!(never_processed(&refused));
    for cause in [BoxError::from(cut), refused.into()] {
        let listener = listener().await;
        let broken = Broken(Some(cause)).boxed_unsync();
        let request = post(listener.local_addr().unwrap()).map(|_| broken);
        let error = tokio::select! {
            answer = client().request(request) => answer.unwrap_err(),
            _ = hold(&listener, async |socket| Some(socket)) => unreachable!(),
        };
        assert_eq!(verdict(&error), Verdict::Permanent);
        assert!(!never_processed(&error));
    }
}

#[tokio::test]
async fn a_stream_above_the_last_of_a_goaway_was_never_processed() {
    for reason in [NO_ERROR, INTERNAL_ERROR] {
        let error = talk_h2(&[go_away(0, reason)], Then::Hold).await;
        assert_eq!(verdict(&error), Verdict::NeverProcessed, "{reason}");
    }
}

#[tokio::test]
async fn a_stream_below_the_last_of_a_goaway_may_have_been_processed() {
    let error = talk_h2(&[go_away(1, NO_ERROR)], Then::Close).await;
    assert_eq!(verdict(&error), Verdict::Transient);
}

#[cfg(feature = "reqwest")]
mod of_reqwest {
    use super::*;

    #[tokio::test]
    async fn a_refused_connection_was_never_processed() {
        let request = reqwest::Client::new().post(format!("http://{}/", no_listener().await));
        let error = request.send().await.unwrap_err();
        assert_eq!(verdict(&error), Verdict::NeverProcessed);
    }

    #[tokio::test]
    async fn unusable_address_is_permanent() {
        let error = reqwest::Client::new().get("no address").send().await.unwrap_err();
        assert_eq!(verdict(&error), Verdict::Permanent);
    }

    #[tokio::test]
    async fn a_connection_closed_before_the_answer_is_transient() {
        let listener = listener().await;
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let closing = async |mut socket: TcpStream| {
            read_head(&mut socket).await;
            None
        };
        let error = tokio::select! {
            answer = reqwest::Client::new().post(url).send() => answer.unwrap_err(),
            _ = hold(&listener, closing) => unreachable!(),
        };
        assert_eq!(verdict(&error), Verdict::Transient);
    }
}

#[cfg(feature = "tonic")]
mod of_tonic {
    use std::future::poll_fn;

    use tonic::{client::GrpcService, transport::Endpoint};

    use super::*;

    #[tokio::test]
    async fn a_refused_connection_was_never_processed() {
        let endpoint = Endpoint::try_from(format!("http://{}", no_listener().await)).unwrap();
        let mut channel = endpoint.connect_lazy();
        poll_fn(|cx| GrpcService::<tonic::body::Body>::poll_ready(&mut channel, cx)).await.unwrap();
        let request = Request::post("/service/method").body(tonic::body::Body::empty()).unwrap();
        let error = GrpcService::call(&mut channel, request).await.unwrap_err();
        assert_eq!(verdict(&error), Verdict::NeverProcessed);
        assert_eq!(verdict(&tonic::Status::from_error(error.into())), Verdict::NeverProcessed);
    }
}

/// What the client makes of a server that does `answer` and then holds on to what it returns.
async fn talk(answer: impl AsyncFnOnce(TcpStream) -> Option<TcpStream>) -> legacy::Error {
    let listener = listener().await;
    let request = post(listener.local_addr().unwrap());
    tokio::select! {
        answer = client().request(request) => answer.unwrap_err(),
        _ = hold(&listener, answer) => unreachable!(),
    }
}

/// The same in HTTP/2, answering the first request with `frames`.
async fn talk_h2(frames: &[Vec<u8>], then: Then) -> legacy::Error {
    let listener = listener().await;
    let request = post(listener.local_addr().unwrap());
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .retry_canceled_requests(false)
        .build_http();
    let answer = async |mut socket: TcpStream| {
        read_h2_head(&mut socket).await;
        for frame in frames {
            socket.write_all(frame).await.unwrap();
        }
        match then {
            Then::Hold => Some(socket),
            Then::Close => None,
        }
    };
    tokio::select! {
        answer = client.request(request) => answer.unwrap_err(),
        _ = hold(&listener, answer) => unreachable!(),
    }
}

#[derive(Clone, Copy)]
enum Then {
    Hold,
    Close,
}

async fn hold(
    listener: &TcpListener,
    answer: impl AsyncFnOnce(TcpStream) -> Option<TcpStream>,
) -> Option<TcpStream> {
    let (socket, _) = listener.accept().await.unwrap();
    let _held = answer(socket).await;
    pending().await
}

async fn read_head(socket: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        read.push(socket.read_u8().await.unwrap());
    }
}

/// Shakes hands and reads up to the first HEADERS.
async fn read_h2_head(socket: &mut TcpStream) {
    let mut preface = [0; 24];
    socket.read_exact(&mut preface).await.unwrap();
    socket.write_all(&frame(SETTINGS, 0, &[])).await.unwrap();
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await.unwrap();
        let [a, b, c, kind, ..] = head;
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        socket.read_exact(&mut payload).await.unwrap();
        if kind == HEADERS {
            return;
        }
    }
}

fn reset(reason: u32) -> Vec<u8> {
    frame(RST_STREAM, 1, &reason.to_be_bytes())
}

fn go_away(last: u32, reason: u32) -> Vec<u8> {
    frame(GOAWAY, 0, &[last.to_be_bytes(), reason.to_be_bytes()].concat())
}

fn frame(kind: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).unwrap();
    let mut frame = vec![0, 0, length, kind, 0];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn verdict<E: 'static>(error: &E) -> Verdict {
    let request = Request::new(());
    let seed = Classify::<_, Response<()>, E>::seed(&Http::new(), &request);
    Classify::<Request<()>, Response<()>, _>::classify(&Http::new(), &seed, Err(error))
}

fn client() -> Client<legacy::connect::HttpConnector, Body> {
    Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http()
}

fn post(address: SocketAddr) -> Request<Body> {
    let body = Empty::new().map_err(BoxError::from).boxed_unsync();
    Request::post(format!("http://{address}/")).body(body).unwrap()
}

/// A body that fails.
struct Broken(Option<BoxError>);

impl http_body::Body for Broken {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.take().map(Err))
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

/// An address without a listener.
async fn no_listener() -> SocketAddr {
    listener().await.local_addr().unwrap()
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const NO_ERROR: u32 = 0;
const PROTOCOL_ERROR: u32 = 1;
const INTERNAL_ERROR: u32 = 2;
const REFUSED_STREAM: u32 = 7;
const CANCEL: u32 = 8;
