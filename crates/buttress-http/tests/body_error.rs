//! The error of a body after many layers.
#![cfg(all(feature = "axum", feature = "reqwest", feature = "tonic"))]
#![expect(clippy::unwrap_used, reason = "the helpers of a test panic as the test would")]

use std::{
    error::Error,
    io,
    iter::successors,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{
    Attempt, BoxError, ByteBudget, Guard, Origin, Propagate, Reader, Reason, Rejection, Replay,
    Respond, Share,
};
use buttress_http::{ControlBody, Http, Protocol, ReplayBody};
use bytes::Bytes;
use http_body::{Body, Frame};
use http_body_util::BodyExt;

const LAYERS: usize = 10;
const REQWEST: &str = "request or response body error";

struct Held;

impl Guard for Held {}

/// A body that fails at once.
struct Failing(Option<BoxError>);

impl Body for Failing {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.take().map(Err))
    }
}

fn failing(error: impl Into<BoxError>) -> Failing {
    Failing(Some(error.into()))
}

fn reset() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

fn rejection() -> Rejection {
    Rejection::new(Reason::DeadlineExceeded, Origin::new("deadline"))
}

/// A body of reqwest that fails as one off a connection does.
fn of_reqwest(error: impl Into<BoxError>) -> reqwest::Body {
    reqwest::Body::wrap(failing(error))
}

async fn texts(body: impl Body<Error: Into<BoxError>>) -> Vec<String> {
    let mut body = std::pin::pin!(body);
    chain(body.frame().await.unwrap().err().unwrap())
}

/// The texts along an error's chain, which has the cause as it was.
fn chain(error: impl Into<BoxError>) -> Vec<String> {
    let error: BoxError = error.into();
    let first: &(dyn Error + 'static) = error.as_ref();
    let mut found = false;
    let chain = successors(Some(first), |error| (*error).source());
    let texts = chain.inspect(|error| found |= error.is::<io::Error>() || error.is::<Rejection>());
    let texts = texts.map(ToString::to_string).collect();
    assert!(found, "{error:?}");
    texts
}

fn count(texts: &[String], text: &str) -> usize {
    texts.iter().filter(|other| other.contains(text)).count()
}

fn admitted(body: reqwest::Body) -> reqwest::Response {
    let request = reqwest::Request::new(http::Method::GET, "http://host/".parse().unwrap());
    let mut response = reqwest::Response::from(http::Response::new(body));
    for _ in 0..LAYERS {
        let seed = Respond::<_, reqwest::Response, reqwest::Error>::seed(&Http::new(), &request);
        response = Respond::<reqwest::Request, _, reqwest::Error>::admit(
            &Http::new(),
            seed,
            response,
            Some(Held),
        );
    }
    response
}

#[tokio::test]
async fn ten_layers_around_reqwest_wrap_a_body_error_once() {
    let told = chain(admitted(of_reqwest(reset())).chunk().await.unwrap_err());
    assert_eq!(count(&told, REQWEST), 1, "{told:?}");
    assert_eq!(count(&told, "connection reset"), 1, "{told:?}");
    let told = chain(admitted(of_reqwest(rejection())).chunk().await.unwrap_err());
    assert_eq!(count(&told, REQWEST), 1, "{told:?}");
    assert_eq!(told.last(), Some(&rejection().to_string()));
}

#[tokio::test]
async fn ten_recording_layers_wrap_a_reqwest_body_error_once() {
    let mut request = reqwest::Request::new(http::Method::PUT, "http://host/".parse().unwrap());
    *request.body_mut() = Some(of_reqwest(reset()));
    let mut kept = Vec::new();
    for _ in 0..LAYERS {
        kept.push(Replay::<reqwest::Request>::save(&Http::new(), &mut request).unwrap());
    }
    let told = texts(request.body_mut().take().unwrap()).await;
    assert_eq!(count(&told, REQWEST), 1, "{told:?}");
    assert_eq!(told.len(), 3, "{told:?}");
    let again = Replay::<reqwest::Request>::again(&Http::new(), &kept[0], Attempt::FIRST.next());
    assert!(again.is_none(), "what failed cannot be sent again");
}

#[tokio::test]
async fn ten_sharing_layers_wrap_a_reqwest_body_error_once() {
    let mut response = reqwest::Response::from(http::Response::new(of_reqwest(reset())));
    let allowance = Arc::new(ByteBudget::new(1 << 20));
    for _ in 0..LAYERS {
        let shared = Share::<reqwest::Response>::share(&Http::new(), response, &allowance).unwrap();
        response = Share::<reqwest::Response>::restore(&Http::new(), &shared, Reader::Leader);
    }
    let told = chain(response.chunk().await.unwrap_err());
    assert_eq!(count(&told, REQWEST), 1, "{told:?}");
    assert_eq!(count(&told, "the body of a shared response failed"), 1, "{told:?}");
}

#[tokio::test]
async fn ten_layers_around_axum_wrap_an_error_once() {
    let mut body = axum_core::body::Body::new(failing(reset()));
    let mut kept = Vec::new();
    for _ in 0..LAYERS {
        kept.push(body.save(1 << 16));
        let control = ControlBody::new(Protocol::Http, body, Some(Held));
        body = axum_core::body::Body::new(control);
    }
    // axum's own error reads like its cause.
    let told = texts(body).await;
    assert_eq!(told.len(), 2, "{told:?}");
}

#[tokio::test]
async fn tonic_body_status_stays_single() {
    let mut body = tonic::body::Body::new(failing(tonic::Status::data_loss("torn")));
    for _ in 0..LAYERS {
        let _saved = body.save(1 << 16);
        let control = ControlBody::new(Protocol::Grpc, body, Some(Held));
        body = tonic::body::Body::new(control);
    }
    let status = body.frame().await.unwrap().unwrap_err();
    assert_eq!(status.code(), tonic::Code::DataLoss);
    assert_eq!(status.message(), "torn");
    assert!(status.source().is_none(), "{status:?}");
}

#[tokio::test]
async fn many_watching_layers_wrap_a_body_error_once() {
    let mut request = reqwest::Request::new(http::Method::PUT, "http://host/".parse().unwrap());
    *request.body_mut() = Some(of_reqwest(reset()));
    for _ in 0..LAYERS {
        assert!(Http::new().watch_upload(&mut request).is_some());
    }
    let told = texts(request.body_mut().take().unwrap()).await;
    assert_eq!(count(&told, REQWEST), 1, "{told:?}");
    assert!(told.len() <= 3, "{told:?}");

    let mut request = http::Request::new(axum_core::body::Body::new(failing(reset())));
    for _ in 0..LAYERS {
        assert!(Http::new().watch_upload(&mut request).is_some());
    }
    let told = texts(request.into_body()).await;
    assert_eq!(told.len(), 2, "{told:?}");

    let mut request = http::Request::new(tonic::body::Body::new(failing(reset())));
    for _ in 0..LAYERS {
        assert!(Http::new().watch_upload(&mut request).is_some());
    }
    let told = texts(request.into_body()).await;
    assert_eq!(told.len(), 2, "{told:?}");
}
