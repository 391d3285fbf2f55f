//! What a meter sees of HTTP responses: to the end of the body, whatever the end.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, routing::get};
use buttress::{
    Backoff, BoxError, Budget, DeadlineLayer, HedgeLayer, HttpExt, MeterLayer, RetryLayer, Verdict,
    observability::{CallEnd, CallRecord, Record, Subject},
};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use loopback::{get_of, http1, http2, read, serve, streams, until};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// Subject, end, retries and hedges of each call.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<Row>>>);

type Row = (Subject, CallEnd, u16, u16);

impl Records {
    fn ends(&self) -> Vec<CallEnd> {
        self.0.lock().unwrap().iter().map(|(_, end, ..)| *end).collect()
    }
}

impl Record for Records {
    fn record(&self, call: &CallRecord<'_>) {
        let record = (call.subject, call.end, call.retries, call.hedges);
        self.0.lock().unwrap().push(record);
    }
}

/// A body that is written, broken off, and dropped, over HTTP/1 and HTTP/2.
#[tokio::test]
async fn end_of_the_body_decides_if_the_head_is_a_success() {
    let (streams, mut writers) = streams();
    let address =
        serve(Router::new().route("/", get(async move || streams.respond()))).await.unwrap();
    for client in [http1(), http2()] {
        let records = Records::default();
        let layer = MeterLayer::call(records.clone()).http();
        let handle = layer.handle();
        let service = layer.layer(client);
        let ask = async || service.clone().oneshot(get_of(address, "")).await.unwrap();

        let response = ask().await;
        let writer = writers.next().await;
        writer.write("chunk");
        assert_eq!((records.ends().len(), handle.in_flight()), (0, 1), "until the body ends");
        drop(writer);
        assert_eq!(read(response).await, "chunk");
        assert_eq!(records.ends(), [CallEnd::Success]);

        let response = ask().await;
        writers.next().await.fail();
        assert!(response.into_body().collect().await.is_err());
        assert_eq!(records.ends()[1..], [CallEnd::Transient]);

        drop(ask().await);
        drop(writers.next().await);
        assert_eq!(records.ends()[2..], [CallEnd::Dropped]);
        assert_eq!((handle.begun(), handle.in_flight()), (3, 0));
    }
}

#[tokio::test]
async fn server_that_axum_runs_measures_until_the_last_frame_is_sent() {
    let (streams, mut writers) = streams();
    let records = Records::default();
    let layer = MeterLayer::call(records.clone()).http();
    let handle = layer.handle();
    let app = Router::new()
        .route("/", get(async move || streams.respond()))
        .route("/gone", get(async || StatusCode::NOT_FOUND))
        .layer(layer);
    let address = serve(app).await.unwrap();
    let response = http1().oneshot(get_of(address, "")).await.unwrap();
    let writer = writers.next().await;
    assert_eq!((handle.begun(), handle.in_flight()), (1, 1));
    drop(writer);
    read(response).await;
    until(|| handle.in_flight() == 0).await;
    read(http1().oneshot(get_of(address, "gone")).await.unwrap()).await;
    until(|| handle.ended(CallEnd::Permanent) == 1).await;
    assert_eq!(records.ends(), [CallEnd::Success, CallEnd::Permanent]);
}

/// The upstream answers the second attempt.
#[tokio::test(start_paused = true)]
async fn outer_meter_sees_the_call_and_inner_meter_each_attempt() {
    let records = Records::default();
    let stack = ServiceBuilder::new()
        .layer(MeterLayer::call(records.clone()).http())
        .layer(RetryLayer::new(3).backoff(Backoff::constant(SECOND)).http())
        .layer(MeterLayer::attempt(records.clone()).http());
    let calls = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let service = stack.service(service_fn(move |_: Request<Empty<bytes::Bytes>>| {
        let is_first = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        let mut response = Response::new(Full::<bytes::Bytes>::from("answer"));
        if is_first {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        std::future::ready(Ok::<_, BoxError>(response))
    }));
    let response = service.oneshot(Request::new(Empty::new())).await.unwrap();
    response.into_body().collect().await.unwrap();
    let records = records.0.lock().unwrap();
    assert_eq!(records.iter().filter(|(subject, ..)| *subject == Subject::Attempt).count(), 2);
    assert!(records.contains(&(Subject::Attempt, CallEnd::Success, 0, 0)));
    assert_eq!(records.last(), Some(&(Subject::Call, CallEnd::Success, 1, 0)));
}

/// The first try hangs, and its hedge answers.
#[tokio::test(start_paused = true)]
async fn hedge_is_recorded_and_the_lost_try_counts_as_dropped() {
    let records = Records::default();
    let stack = ServiceBuilder::new()
        .layer(MeterLayer::call(records.clone()).http())
        .layer(HedgeLayer::after(SECOND).budget(Budget::unlimited()).http())
        .layer(MeterLayer::attempt(records.clone()).http());
    let calls = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let service = stack.service(service_fn(move |_: Request<Empty<bytes::Bytes>>| {
        let is_first = calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0;
        async move {
            if is_first {
                std::future::pending::<()>().await;
            }
            Ok::<_, BoxError>(Response::new(Full::<bytes::Bytes>::from("answer")))
        }
    }));
    let response = service.oneshot(Request::new(Empty::new())).await.unwrap();
    response.into_body().collect().await.unwrap();
    let mut records = records.0.lock().unwrap().clone();
    assert_eq!(records.pop(), Some((Subject::Call, CallEnd::Success, 0, 1)));
    assert!(records.contains(&(Subject::Attempt, CallEnd::Dropped, 0, 0)));
    assert!(records.contains(&(Subject::Attempt, CallEnd::Success, 0, 0)));
}

/// A deadline inside cuts the body off.
#[tokio::test]
async fn body_that_an_inner_layer_cuts_off_ends_with_its_rejection() {
    let (streams, mut writers) = streams();
    let address =
        serve(Router::new().route("/", get(async move || streams.respond()))).await.unwrap();
    let records = Records::default();
    let service = ServiceBuilder::new()
        .layer(MeterLayer::call(records.clone()).http())
        .layer(DeadlineLayer::new(Duration::from_millis(50)).http())
        .service(http1());
    let response = service.oneshot(get_of(address, "")).await.unwrap();
    let _writer = writers.next().await;
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(records.ends(), [CallEnd::TimedOut]);
}

#[tokio::test(start_paused = true)]
async fn meter_until_head_ends_with_the_head() {
    let records = Records::default();
    let layer = MeterLayer::call(records.clone()).until_head().http();
    let service = layer.layer(service_fn(async |_: Request<Empty<bytes::Bytes>>| {
        Ok::<_, BoxError>(Response::new(Full::<bytes::Bytes>::from("answer")))
    }));
    let response = service.oneshot(Request::new(Empty::new())).await.unwrap();
    assert_eq!(records.ends(), [CallEnd::Success]);
    drop(response);
    assert_eq!(records.ends().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn classifier_of_the_user_judges_the_head() {
    let records = Records::default();
    let judge = |outcome: Result<&Response<Full<bytes::Bytes>>, &BoxError>| match outcome {
        Ok(response) if response.status() == StatusCode::NOT_FOUND => Verdict::Success,
        _ => Verdict::Unknown,
    };
    let layer = MeterLayer::call(records.clone()).classify(judge).http();
    let service = layer.layer(service_fn(async |_: Request<Empty<bytes::Bytes>>| {
        let mut response = Response::new(Full::<bytes::Bytes>::from("answer"));
        *response.status_mut() = StatusCode::NOT_FOUND;
        Ok::<_, BoxError>(response)
    }));
    let response = service.oneshot(Request::new(Empty::new())).await.unwrap();
    response.into_body().collect().await.unwrap();
    assert_eq!(records.ends(), [CallEnd::Success]);
}
