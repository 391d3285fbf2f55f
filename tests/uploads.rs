//! What limits make of uploads that their own callers break off, over real connections.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::any};
use buttress::{
    BoxError, Http, HttpExt, ThrottleLayer,
    layer_api::{ByMode, Classify, Criticality, Verdict},
    throttle::{AcceptRatio, AcceptRatioLimit, Adapt, Sample},
};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header::CONTENT_LENGTH};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody, channel::Channel};
use loopback::{AnyBody, background, channel, http1, http2, nothing, serve};
use tokio::sync::{mpsc, oneshot};
use tower::{Layer, Service, ServiceExt};

/// How an upload ends before its time.
#[derive(Clone, Copy, Debug)]
enum Break {
    /// With an error, before anything is sent.
    AtOnce,
    /// With an error, after the server has got some of it.
    Midway,
    /// With an error, though the server was told how long the body is.
    MidwayOfLength,
    /// Its sender is dropped before the body is as long as the server was told.
    Dropped,
    /// Not at all: its sender is dropped, and the server was not told how long the body is.
    Never,
}

const ALL: [Break; 4] = [Break::AtOnce, Break::Midway, Break::MidwayOfLength, Break::Dropped];

/// A server that reads all of a body before it answers, and says when it has begun to.
struct Server {
    address: SocketAddr,
    begun: mpsc::UnboundedReceiver<()>,
}

async fn server() -> Server {
    let (report, begun) = mpsc::unbounded_channel();
    let read = async move |request: Request<axum::body::Body>| {
        let mut body = request.into_body();
        let first = body.frame().await;
        report.send(()).ok();
        if let Some(Ok(_)) = first {
            while let Some(Ok(_)) = body.frame().await {}
        }
    };
    let address = serve(Router::new().fallback(any(read))).await.unwrap();
    Server { address, begun }
}

impl Server {
    /// A request whose body ends as told, the latter once the second half of the answer says so.
    fn upload(&self, how: Break) -> (Request<AnyBody>, oneshot::Sender<()>) {
        let (go_on, wait) = oneshot::channel();
        let body = if let Break::AtOnce = how {
            let broken = Err::<Frame<Bytes>, _>(BoxError::from("broken"));
            StreamBody::new(tokio_stream::once(broken)).boxed_unsync()
        } else {
            let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
            background(async move {
                sender.send_data(Bytes::from_static(b"some")).await.ok();
                wait.await.ok();
                match how {
                    Break::Dropped | Break::Never => drop(sender),
                    _ => sender.abort("broken".into()),
                }
            });
            body.boxed_unsync()
        };
        let mut request = Request::post(format!("http://{}/service/method", self.address));
        if let Break::MidwayOfLength | Break::Dropped = how {
            request = request.header(CONTENT_LENGTH, HeaderValue::from_static("10"));
        }
        (request.body(body).unwrap(), go_on)
    }

    /// Sends an upload with `client`, and breaks it off.
    async fn send<S, Req>(
        &mut self,
        client: S,
        how: Break,
        convert: impl FnOnce(Request<AnyBody>) -> Req,
    ) -> Result<S::Response, S::Error>
    where
        S: Service<Req>,
    {
        let (request, go_on) = self.upload(how);
        let call = client.oneshot(convert(request));
        let breaks = async {
            if !matches!(how, Break::AtOnce) {
                while self.begun.try_recv().is_ok() {}
                self.begun.recv().await;
                if let Break::Never = how {
                    tokio::time::advance(SLOW).await;
                }
                go_on.send(()).ok();
            }
        };
        tokio::join!(call, breaks).0
    }
}

fn as_it_is(request: Request<AnyBody>) -> Request<AnyBody> {
    request
}

fn of_tonic(request: Request<AnyBody>) -> Request<tonic::body::Body> {
    let mut request = request.map(tonic::body::Body::new);
    let grpc = HeaderValue::from_static("application/grpc");
    request.headers_mut().insert(http::header::CONTENT_TYPE, grpc);
    request
}

fn of_reqwest(request: Request<AnyBody>) -> reqwest::Request {
    let body = |body: AnyBody| reqwest::Body::wrap_stream(body.into_data_stream());
    request.map(body).try_into().unwrap()
}

fn client_of_reqwest() -> reqwest::Client {
    reqwest::Client::builder().retry(reqwest::retry::never()).no_proxy().build().unwrap()
}

/// What a layer reads out of an error: the verdict, and whether it was made on this side.
fn meaning<T, E: 'static>(outcome: Result<T, E>) -> (Verdict, bool) {
    fn read<C, E>(classify: &C, error: &E) -> (Verdict, bool)
    where
        C: Classify<Request<()>, Response<()>, E>,
    {
        let (seed, outcome) = (classify.seed(&Request::new(())), Err(error));
        (classify.classify(&seed, outcome), classify.is_callers_own(&seed, outcome))
    }
    match outcome {
        Ok(_) => (Verdict::Success, false),
        Err(error) => read(&Http::new(), &error),
    }
}

#[tokio::test]
async fn an_upload_cut_off_by_its_caller_has_the_same_verdict_over_every_client() {
    let mut server = server().await;
    let reqwest = client_of_reqwest();
    let channel = channel(server.address).unwrap();
    for how in ALL {
        for client in [http1(), http2()] {
            let outcome = server.send(client, how, as_it_is).await.map(drop);
            assert_eq!(meaning(outcome), (Verdict::Permanent, true), "hyper, {how:?}");
        }
        let outcome = server.send(reqwest.clone(), how, of_reqwest).await.map(drop);
        assert_eq!(meaning(outcome), (Verdict::Permanent, true), "reqwest, {how:?}");
        let outcome = server.send(channel.clone(), how, of_tonic).await;
        let status = outcome.map_err(|error| tonic::Status::from_error(error.into()));
        assert_eq!(meaning(status), (Verdict::Permanent, true), "a status of tonic, {how:?}");
        let outcome = server.send(channel.clone(), how, of_tonic).await;
        assert_eq!(meaning(outcome), (Verdict::Permanent, true), "tonic, {how:?}");
    }
}

/// Breaks off 200 uploads through a limit, and returns how many calls it did not send.
async fn rejected_after_broken_uploads<S, Req>(
    client: S,
    server: &mut Server,
    convert: impl Fn(Request<AnyBody>) -> Req,
) -> u64
where
    AcceptRatioOver<S>: Service<Req>,
    S: Clone,
{
    let layer = ThrottleLayer::accept_ratio_with(&AcceptRatio::new()).http();
    let service = layer.layer(client);
    for how in ALL.into_iter().cycle().take(200) {
        let outcome = server.send(service.clone(), how, &convert).await;
        assert!(outcome.is_err());
    }
    let handle = layer.handle();
    assert_eq!(handle.admitted() + handle.rejected(), 200);
    assert!(handle.rejection_probability(Criticality::Critical).abs() < f64::EPSILON);
    handle.rejected()
}

type AcceptRatioOver<S> = buttress::throttle::Throttle<S, Http, AcceptRatioLimit, ByMode>;

#[tokio::test]
async fn uploads_cut_off_by_their_callers_cause_no_rejection() {
    let mut server = server().await;
    for client in [http1(), http2()] {
        let rejected = rejected_after_broken_uploads(client, &mut server, as_it_is).await;
        assert_eq!(rejected, 0, "hyper");
    }
    let rejected = rejected_after_broken_uploads(client_of_reqwest(), &mut server, of_reqwest);
    assert_eq!(rejected.await, 0, "reqwest");
    let channel = channel(server.address).unwrap();
    let rejected = rejected_after_broken_uploads(channel, &mut server, of_tonic);
    assert_eq!(rejected.await, 0, "tonic");
}

/// A law that notes its samples.
#[derive(Clone, Debug, Default)]
struct Notes(Arc<Mutex<Vec<Sample>>>);

impl Adapt for Notes {
    fn limit(&self) -> u32 {
        1
    }

    fn learn(&mut self, sample: Sample) -> u32 {
        self.0.lock().unwrap().push(sample);
        1
    }
}

#[tokio::test]
async fn uploads_cut_off_by_their_callers_are_no_samples() {
    let mut server = server().await;
    let notes = Notes::default();
    let layer = ThrottleLayer::adaptive(notes.clone()).http();
    let channel = channel(server.address).unwrap();
    for how in ALL {
        for client in [http1(), http2()] {
            server.send(layer.layer(client), how, as_it_is).await.unwrap_err();
        }
        server.send(layer.layer(client_of_reqwest()), how, of_reqwest).await.unwrap_err();
        server.send(layer.layer(channel.clone()), how, of_tonic).await.unwrap_err();
    }
    assert_eq!(*notes.0.lock().unwrap(), []);
    let whole = Request::get(format!("http://{}/", server.address)).body(nothing()).unwrap();
    layer.layer(http2()).oneshot(whole).await.unwrap();
    assert_eq!(notes.0.lock().unwrap().len(), 1);
}

/// The clock stands still but for what a slow caller needs.
#[tokio::test(start_paused = true)]
async fn the_time_that_a_caller_needs_to_send_its_body_is_in_no_sample_of_any_client() {
    let mut server = server().await;
    let notes = Notes::default();
    let layer = ThrottleLayer::adaptive(notes.clone()).http();
    for client in [http1(), http2()] {
        server.send(layer.layer(client), Break::Never, as_it_is).await.unwrap();
    }
    server.send(layer.layer(client_of_reqwest()), Break::Never, of_reqwest).await.unwrap();
    let channel = channel(server.address).unwrap();
    server.send(layer.layer(channel), Break::Never, of_tonic).await.unwrap();
    let samples = notes.0.lock().unwrap();
    assert_eq!(samples.len(), 4);
    assert!(samples.iter().all(|sample| sample.rtt < SLOW && !sample.dropped), "{samples:?}");
}

/// How long a slow caller needs.
const SLOW: Duration = Duration::from_secs(24 * 3600);
