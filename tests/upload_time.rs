//! The time that a caller needs to send its request is not the service's.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress::{
    Backoff, BoxError, DeadlineLayer, Http, HttpExt, RetryLayer, StopReason, ThrottleLayer,
    layer_api::{Criticality, Deadline, Propagate},
    throttle::{AcceptRatio, Adapt, Aimd, Gradient, Gradient2, Sample, Trend, Vegas},
};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody, channel::Channel};
use loopback::{AnyBody, background, nothing};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};

type Service<B = AnyBody> = BoxCloneService<Request<B>, Response<AnyBody>, BoxError>;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A law that notes its samples, and takes what a call takes without load for known.
#[derive(Clone, Debug, Default)]
struct Notes {
    samples: Arc<Mutex<Vec<(Duration, bool)>>>,
    least: Option<Duration>,
}

impl Notes {
    fn take(&self) -> Vec<(Duration, bool)> {
        std::mem::take(&mut self.samples.lock().unwrap())
    }
}

impl Adapt for Notes {
    fn limit(&self) -> u32 {
        1
    }

    fn learn(&mut self, sample: Sample) -> u32 {
        self.samples.lock().unwrap().push((sample.rtt, sample.dropped));
        1
    }

    fn unloaded_rtt(&self) -> Option<Duration> {
        self.least
    }
}

/// A body whose caller sends something at each of these times, in milliseconds, and ends with the last.
fn sent_at(times: &'static [u64]) -> AnyBody {
    let (mut sender, body) = Channel::<Bytes, BoxError>::new(1);
    background(async move {
        let mut now = 0;
        for time in times {
            sleep(ms(time - now)).await;
            now = *time;
            sender.send_data(Bytes::from_static(b"some")).await.ok();
        }
    });
    body.boxed_unsync()
}

/// A body that its caller breaks off after 20 ms.
fn broken_off() -> AnyBody {
    let (sender, body) = Channel::<Bytes, BoxError>::new(1);
    background(async move {
        sleep(ms(20)).await;
        sender.abort("broken off".into());
    });
    body.boxed_unsync()
}

/// What a service does with a call, in order.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Works for so many milliseconds.
    Work(u64),
    /// Reads the next frame of the body.
    Read,
    /// Reads the body to its end.
    ReadAll,
    /// Reads the body for so many milliseconds.
    ReadFor(u64),
    /// Never answers.
    Hang,
}
use Act::{Hang, Read, ReadAll, ReadFor, Work};

fn service(acts: &'static [Act], status: StatusCode) -> Service {
    let serve = move |request: Request<AnyBody>| async move {
        let mut body = request.into_body();
        for act in acts {
            match *act {
                Work(millis) => sleep(ms(millis)).await,
                Read => drop(body.frame().await),
                ReadAll => while let Some(Ok(_)) = body.frame().await {},
                ReadFor(millis) => {
                    let read = async { while let Some(Ok(_)) = body.frame().await {} };
                    drop(timeout(ms(millis), read).await);
                }
                Hang => std::future::pending().await,
            }
        }
        let mut response = Response::new(nothing());
        *response.status_mut() = status;
        Ok::<_, BoxError>(response)
    };
    service_fn(serve).boxed_clone()
}

fn post<B>(body: B) -> Request<B> {
    Request::post("/").body(body).unwrap()
}

/// The samples of one call.
async fn samples(acts: &'static [Act], status: u16, body: AnyBody) -> Vec<(Duration, bool)> {
    let notes = Notes::default();
    let layer = ThrottleLayer::adaptive(notes.clone()).http();
    let service = service(acts, StatusCode::from_u16(status).unwrap());
    layer.layer(service).oneshot(post(body)).await.unwrap();
    notes.take()
}

#[tokio::test(start_paused = true)]
async fn a_sample_is_the_time_of_a_call_without_what_the_service_waited_for_its_body() {
    let slow = || sent_at(&[100, 200]);
    assert_eq!(samples(&[ReadAll, Work(5)], 200, slow()).await, [(ms(5), false)]);
    // Before it reads and in between, the time is the service's.
    assert_eq!(samples(&[Work(50), ReadAll, Work(5)], 200, slow()).await, [(ms(55), false)]);
    let halves = &[Read, Work(30), ReadAll, Work(5)];
    assert_eq!(samples(halves, 200, slow()).await, [(ms(35), false)]);
    // A caller that was faster than the service has cost it nothing.
    assert_eq!(samples(&[Work(300), ReadAll, Work(5)], 200, slow()).await, [(ms(305), false)]);
    assert_eq!(samples(&[ReadAll, Work(5)], 200, nothing()).await, [(ms(5), false)]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_body_has_ended_is_a_sample_unless_the_service_waited_for_it_until_then()
 {
    let slow = || sent_at(&[100, 200]);
    assert_eq!(samples(&[Work(5)], 200, slow()).await, [(ms(5), false)]);
    assert_eq!(samples(&[ReadFor(5)], 200, slow()).await, []);
    // It has let go of the body: it needs no more of it.
    assert_eq!(samples(&[Read, Work(5)], 413, slow()).await, [(ms(5), false)]);
    assert_eq!(samples(&[Read, ReadFor(5)], 413, slow()).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_its_caller_breaks_off_makes_no_sample() {
    for status in [200, 400] {
        assert_eq!(samples(&[ReadAll, Work(5)], status, broken_off()).await, []);
    }
}

#[tokio::test(start_paused = true)]
async fn a_shed_call_is_a_sample_of_overload_despite_its_caller() {
    for body in [sent_at(&[100, 200]), broken_off()] {
        let samples = samples(&[ReadFor(5)], 429, body).await;
        assert_eq!(samples, [(ms(5), true)]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_a_sample_only_if_the_service_had_the_body_or_did_not_ask_for_it() {
    let timeout = DeadlineLayer::new(ms(150)).http();
    for (acts, times, expected) in [
        ([ReadAll, Hang], [100, 100].as_slice(), vec![(ms(50), true)]),
        ([ReadAll, Hang], &[100, 200], vec![]),
        ([Hang, Hang], &[100, 200], vec![(ms(150), true)]),
        ([Read, Hang], &[0, 200], vec![(ms(150), true)]),
    ] {
        let notes = Notes::default();
        let layer = ThrottleLayer::adaptive(notes.clone()).http();
        let acts: &'static [Act] = Box::leak(Box::new(acts));
        let service = service(acts, StatusCode::OK);
        let outer = ServiceBuilder::new().layer(timeout.clone()).layer(layer.clone());
        outer.service(service.clone()).oneshot(post(sent_at(times))).await.unwrap();
        assert_eq!(notes.take(), expected, "a deadline around it, {acts:?}");
        let inner = ServiceBuilder::new().layer(layer).layer(timeout.clone());
        inner.service(service).oneshot(post(sent_at(times))).await.unwrap();
        assert_eq!(notes.take(), expected, "an attempt's timeout, {acts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_while_the_service_waits_for_its_body_says_nothing() {
    let notes = Notes { least: Some(ms(10)), ..Notes::default() };
    let layer = ThrottleLayer::adaptive(notes.clone()).http();
    let service = layer.layer(service(&[ReadAll, Hang], StatusCode::OK));
    for (times, expected) in [
        ([100, 200].as_slice(), vec![]),
        (&[100, 145], vec![]),
        (&[100, 130], vec![(ms(20), false)]),
    ] {
        let call = service.clone().oneshot(post(sent_at(times)));
        timeout(ms(150), call).await.unwrap_err();
        assert_eq!(notes.take(), expected, "{times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_in_the_queue_is_watched_too() {
    let notes = Notes::default();
    let layer = ThrottleLayer::adaptive(notes.clone()).queue(1).http();
    let service = layer.layer(service(&[ReadAll, Work(5)], StatusCode::OK));
    let mut calls = JoinSet::new();
    for _ in 0..2 {
        calls.spawn(service.clone().oneshot(post(sent_at(&[1000]))));
    }
    calls.join_all().await;
    assert_eq!(notes.take(), [(ms(5), false), (ms(5), false)]);
}

/// The sample of a call whose body of type `B` has come after 100 ms, to a service that needs 5 ms.
async fn sample_of<B>(body: B) -> Vec<(Duration, bool)>
where
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Send + Unpin + 'static,
{
    let notes = Notes::default();
    let layer = ThrottleLayer::adaptive(notes.clone()).http();
    let serve = async |request: Request<B>| {
        let collected = request.into_body().collect().await.unwrap();
        assert_eq!(collected.to_bytes(), "some");
        sleep(ms(5)).await;
        Ok::<_, BoxError>(Response::new(nothing()))
    };
    layer.layer(service_fn(serve)).oneshot(post(body)).await.unwrap();
    notes.take()
}

#[tokio::test(start_paused = true)]
async fn every_body_that_can_hold_another_is_watched_and_stays_what_it_was() {
    fn slow<E>() -> impl Body<Data = Bytes, Error = E> + Send + Sync + 'static
    where
        E: Send + Sync + 'static,
    {
        let (mut sender, body) = Channel::<Bytes, E>::new(1);
        background(async move {
            sleep(ms(100)).await;
            sender.send_data(Bytes::from_static(b"some")).await.ok();
        });
        body
    }
    let expected = [(ms(5), false)];
    assert_eq!(sample_of(slow::<BoxError>().boxed_unsync()).await, expected);
    assert_eq!(sample_of(slow::<Infallible>().boxed_unsync()).await, expected);
    assert_eq!(sample_of(slow::<std::io::Error>().boxed_unsync()).await, expected);
    assert_eq!(sample_of(slow::<hyper::Error>().boxed_unsync()).await, expected);
    assert_eq!(sample_of(slow::<tonic::Status>().boxed_unsync()).await, expected);
    assert_eq!(sample_of(slow::<axum::Error>().boxed_unsync()).await, expected);
    assert_eq!(sample_of(slow::<reqwest::Error>().boxed_unsync()).await, expected);
    assert_eq!(sample_of(slow::<BoxError>().boxed()).await, expected);
    assert_eq!(sample_of(axum::body::Body::new(slow::<BoxError>())).await, expected);
    assert_eq!(sample_of(tonic::body::Body::new(slow::<BoxError>())).await, expected);
    assert_eq!(sample_of(reqwest::Body::wrap(slow::<BoxError>())).await, expected);
    assert_eq!(sample_of(Full::new(Bytes::from_static(b"some"))).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_there_already_is_not_watched() {
    let http = Http::new();
    assert!(http.watch_upload(&mut post(Full::new(Bytes::from_static(b"some")))).is_none());
    assert!(http.watch_upload(&mut post(Empty::<Bytes>::new())).is_none());
    assert!(http.watch_upload(&mut post("some".to_owned())).is_none());
    assert!(http.watch_upload(&mut post(nothing())).is_none());
    assert!(http.watch_upload(&mut post(axum::body::Body::empty())).is_none());
    assert!(http.watch_upload(&mut post(reqwest::Body::from("some"))).is_none());
    let url = reqwest::Url::parse("http://localhost/").unwrap();
    let mut request = reqwest::Request::new(http::Method::POST, url);
    assert!(http.watch_upload(&mut request).is_none());
    *request.body_mut() = Some("some".into());
    assert!(http.watch_upload(&mut request).is_none());
    let frames = tokio_stream::once(Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"some"))));
    *request.body_mut() = Some(reqwest::Body::wrap(StreamBody::new(frames)));
    assert!(http.watch_upload(&mut request).is_some());
}

/// The limit after 10,000 calls, every fifth with an upload that takes 200 ms, before a service that needs
/// 5 ms.
async fn limit_with_slow_uploads(law: impl Adapt) -> u32 {
    let layer = ThrottleLayer::adaptive(law).http();
    let service = layer.layer(service(&[ReadAll, Work(5)], StatusCode::OK));
    let mut calls = JoinSet::new();
    for n in 0..10_000 {
        let body = if n % 5 == 0 { sent_at(&[200]) } else { nothing() };
        calls.spawn(service.clone().oneshot(post(body)));
        if n % 10 == 0 {
            sleep(ms(5)).await;
        }
        while calls.try_join_next().is_some() {}
    }
    layer.handle().limit()
}

#[tokio::test(start_paused = true)]
async fn slow_uploads_lower_no_limit() {
    for (name, limit) in [
        ("Aimd", limit_with_slow_uploads(Aimd::default().initial(100)).await),
        ("Vegas", limit_with_slow_uploads(Vegas::default().initial(100)).await),
        ("Gradient", limit_with_slow_uploads(Gradient::default().initial(100)).await),
        ("Gradient2", limit_with_slow_uploads(Gradient2::default().initial(100)).await),
        ("Trend", limit_with_slow_uploads(Trend::default().initial(100)).await),
    ] {
        // While it is down to probe, a limit is half of itself.
        assert!(limit >= 50, "{name}: {limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_sends_until_its_deadline_makes_no_service_look_overloaded() {
    let layer = ThrottleLayer::accept_ratio_with(&AcceptRatio::new()).http();
    let handle = layer.handle();
    let rejection = || handle.rejection_probability(Criticality::Critical);
    let service = layer.layer(service(&[ReadAll, Hang], StatusCode::OK));
    for _ in 0..100 {
        let call = service.clone().oneshot(post(sent_at(&[100, 200])));
        let call = Deadline::after(ms(150)).around(call);
        timeout(ms(150), call).await.unwrap_err();
        assert!(rejection().abs() < f64::EPSILON);
    }
    let call = Deadline::after(ms(150)).around(service.clone().oneshot(post(sent_at(&[100]))));
    timeout(ms(150), call).await.unwrap_err();
    assert!(rejection() > 0.4, "it had the body for 50 ms");
}

#[tokio::test(start_paused = true)]
async fn a_retry_learns_the_time_of_an_attempt_without_its_upload() {
    for (times, retries) in [([0].as_slice(), 1), (&[100], 1)] {
        let layer = RetryLayer::new(2)
            .backoff(Backoff::none())
            .skip_late_attempts()
            .http_with(Http::new().assume_idempotent());
        let upload = layer.layer(service(&[ReadAll, Work(5)], StatusCode::OK));
        for _ in 0..10 {
            upload.clone().oneshot(post(sent_at(times))).await.unwrap();
        }
        let failing = layer.layer(service(&[ReadAll, Work(5)], StatusCode::BAD_GATEWAY));
        let call = failing.oneshot(post(nothing()));
        Deadline::after(ms(50)).around(call).await.unwrap();
        let handle = layer.handle();
        assert_eq!(handle.retries(), retries);
        assert_eq!(handle.stopped(StopReason::CannotFinish), 0);
    }
}
