//! Odd options and hostile headers: no panic, and no wait without an end.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use buttress::{
    Backoff, Budget, Deadline, DeadlineLayer, Http, HttpExt, Jitter, Ratio, RetryLayer, StopReason,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use loopback::{AnyBody, background, http1, http2, listen, nothing, serve};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

const LONG: Duration = Duration::from_secs(20);
const TIME_LEFT: HeaderName = HeaderName::from_static("x-request-timeout-ms");

/// What a call through `layer` comes to, and how often its service was called.
async fn calls_of_a_failing_service(layer: RetryLayer) -> usize {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = ServiceBuilder::new().layer(layer).service(service_fn(move |(): ()| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Err::<(), BoxError>("no".into()) }
    }));
    service.oneshot(()).await.unwrap_err();
    calls.load(Ordering::Relaxed)
}

#[tokio::test]
async fn no_attempts_means_one() {
    assert_eq!(calls_of_a_failing_service(RetryLayer::new(0)).await, 1);
    assert_eq!(calls_of_a_failing_service(RetryLayer::new(1)).await, 1);
}

#[tokio::test]
async fn odd_numbers_of_a_backoff_wait_no_longer_than_its_cap() {
    let (base, cap) = (Duration::ZERO, Duration::from_millis(1));
    let factors = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, f64::MAX];
    let exponential = factors.map(|factor| Backoff::exponential(base, cap).factor(factor));
    let swapped = [
        Backoff::exponential(Duration::MAX, cap),
        Backoff::linear(Duration::MAX, cap),
        Backoff::decorrelated(Duration::MAX, cap),
        Backoff::decorrelated_v2(Duration::MAX, cap),
        Backoff::exponential(Duration::MAX, cap).jitter(Jitter::Equal),
    ];
    for backoff in exponential.into_iter().chain(swapped) {
        let began = Instant::now();
        let layer = RetryLayer::new(20).backoff(backoff).budget(Budget::unlimited());
        assert_eq!(calls_of_a_failing_service(layer).await, 20);
        assert!(began.elapsed() < LONG, "{backoff:?}");
    }
}

#[tokio::test]
async fn a_wait_that_has_no_end_is_not_begun_under_a_deadline() {
    let layer = RetryLayer::new(u32::MAX).backoff(Backoff::constant(Duration::MAX));
    let calls = Deadline::after(LONG).around(calls_of_a_failing_service(layer.clone())).await;
    assert_eq!(calls, 1);
    assert_eq!(layer.handle().stopped(StopReason::Deadline), 1);
}

#[tokio::test]
async fn odd_numbers_of_a_budget_are_the_nearest_that_make_sense() {
    for ratio in [f64::NAN, -1.0, f64::NEG_INFINITY, 0.0] {
        let budget = Budget::over(Duration::ZERO, Ratio::of(ratio), 0);
        let layer = RetryLayer::new(u32::MAX).backoff(Backoff::none()).budget(budget);
        assert_eq!(calls_of_a_failing_service(layer).await, 1, "{ratio}");
    }
    let most = Budget::over(Duration::MAX, Ratio::of(f64::INFINITY), u32::MAX);
    let layer = RetryLayer::new(50).backoff(Backoff::none()).budget(most);
    assert_eq!(calls_of_a_failing_service(layer).await, 50);
}

#[tokio::test]
async fn no_time_rejects_and_all_time_never_does() {
    let answer = |timeout| {
        let echo = service_fn(|x: u32| async move { Ok::<_, BoxError>(x) });
        ServiceBuilder::new().layer(DeadlineLayer::new(timeout)).service(echo).oneshot(7)
    };
    assert!(answer(Duration::ZERO).await.is_err());
    assert_eq!(answer(Duration::MAX).await.unwrap(), 7);
    assert_eq!(answer(Deadline::NEVER).await.unwrap(), 7);
}

/// Every header as the server got it, and whether the handler was reached.
async fn status_of(address: SocketAddr, name: &HeaderName, values: &[&[u8]]) -> StatusCode {
    let mut request = Request::get(format!("http://{address}/")).body(nothing()).unwrap();
    for value in values {
        request.headers_mut().append(name, HeaderValue::from_bytes(value).unwrap());
    }
    http1().request(request).await.unwrap().status()
}

#[tokio::test]
async fn a_hostile_time_left_only_ever_shortens() {
    let layer = DeadlineLayer::new(LONG).http_with(Http::new().timeout_header(TIME_LEFT));
    let handler = || async {
        let left = Deadline::current().unwrap().remaining();
        if left <= LONG { StatusCode::OK } else { StatusCode::IM_A_TEAPOT }
    };
    let address = serve(Router::new().route("/", get(handler)).layer(layer)).await.unwrap();
    let ignored: [&[&[u8]]; 9] = [
        &[b"-1"],
        &[b""],
        &[b"1e3"],
        &[b"NaN"],
        &[b"1.5"],
        &[b"\xff\xfe"],
        &[b"99999999999999999999999999999999"],
        &[b"soon", b"20000000"],
        &[b"+5"],
    ];
    for values in ignored {
        assert_eq!(status_of(address, &TIME_LEFT, values).await, StatusCode::OK, "{values:?}");
    }
    let none_left: [&[&[u8]]; 3] = [&[b"0"], &[b"90000", b"0"], &[b"soon", b"000"]];
    for values in none_left {
        let status = status_of(address, &TIME_LEFT, values).await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{values:?}");
    }
}

#[tokio::test]
async fn a_hostile_grpc_timeout_only_ever_shortens() {
    let app = Router::new()
        .fallback(|| async { [("grpc-status", "0"), ("content-type", "application/grpc")] })
        .layer(DeadlineLayer::new(LONG).http());
    let address = serve(app).await.unwrap();
    let cases: [(&[&[u8]], &str); 11] = [
        (&[b"99999999H"], "0"),
        (&[b"999999999H"], "0"),
        (&[b"H"], "0"),
        (&[b"-1S"], "0"),
        (&[b"1s"], "0"),
        (&[b"\xe2\x88\x9e"], "0"),
        (&[b"1S1S"], "0"),
        (&[b"99999999H", b"1H"], "0"),
        (&[b"0n"], "4"),
        (&[b"99999999H", b"0S"], "4"),
        (&[b"1n"], "4"),
    ];
    for (values, expected) in cases {
        let mut request = Request::post(format!("http://{address}/")).body(nothing()).unwrap();
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        for value in values {
            request.headers_mut().append("grpc-timeout", HeaderValue::from_bytes(value).unwrap());
        }
        let response = http2().request(request).await.unwrap();
        assert_eq!(response.headers()["grpc-status"], expected, "{values:?}");
    }
}

/// Answers every request with 503 and `headers`, written as they are.
async fn unavailable(headers: Vec<u8>) -> SocketAddr {
    let (address, listener) = listen().await.unwrap();
    background(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n")
                && socket.read_buf(&mut request).await.unwrap() > 0
            {}
            let head =
                [b"HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n", &headers[..]];
            let _ = socket.write_all(&[&head.concat()[..], b"\r\n"].concat()).await;
        }
    });
    address
}

async fn retried(headers: &[u8]) -> (u64, Option<StopReason>) {
    let address = unavailable(headers.to_vec()).await;
    let layer = RetryLayer::new(3).backoff(Backoff::none()).http();
    let stack = ServiceBuilder::new().layer(DeadlineLayer::new(LONG).http()).layer(layer.clone());
    let request = Request::get(format!("http://{address}/")).body(nothing()).unwrap();
    let began = Instant::now();
    let response = stack.service(http1()).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(began.elapsed() < LONG / 2, "{:?}", headers.escape_ascii().to_string());
    let handle = layer.handle();
    (handle.retries(), StopReason::ALL.iter().copied().find(|stop| handle.stopped(*stop) > 0))
}

#[tokio::test]
async fn a_hostile_retry_after_is_no_hint_or_stops_the_call_at_once() {
    let no_hint: [&[u8]; 8] = [
        b"retry-after: 9e99\r\n",
        b"retry-after: -1\r\n",
        b"retry-after: NaN\r\n",
        b"retry-after:\r\n",
        b"retry-after: \xff\xfe\r\n",
        b"retry-after: 3600\r\nretry-after: 3600\r\n",
        b"retry-after: Mon, 99 Foo 2026 00:00:00 GMT\r\n",
        // In the past: at once.
        b"retry-after: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    ];
    for headers in no_hint {
        let name = headers.escape_ascii().to_string();
        assert_eq!(retried(headers).await, (2, Some(StopReason::AttemptsUsed)), "{name}");
    }
    let too_late: [&[u8]; 4] = [
        b"retry-after: 99999999999999999999999999\r\n",
        b"retry-after: 3600\r\n",
        b"retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
        b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 09:49:37 GMT\r\n",
    ];
    for headers in too_late {
        let name = headers.escape_ascii().to_string();
        assert_eq!(
            retried(headers).await,
            (0, Some(StopReason::PushbackExceedsDeadline)),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_hostile_pushback_stops_the_call() {
    let pushbacks: [&[&[u8]]; 5] =
        [&[b"-1"], &[b"99999999999"], &[b"soon"], &[b"\xff"], &[b"1", b"1"]];
    for values in pushbacks {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        headers.insert("content-type", HeaderValue::from_static("application/grpc"));
        for value in values {
            headers.append("grpc-retry-pushback-ms", HeaderValue::from_bytes(value).unwrap());
        }
        let app = Router::new().fallback(|| async move { headers });
        let address = serve(app).await.unwrap();
        let layer = RetryLayer::new(3).backoff(Backoff::none()).http();
        let stack = ServiceBuilder::new().layer(layer.clone()).service(http2());
        let mut request = Request::post(format!("http://{address}/")).body(nothing()).unwrap();
        request.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
        stack.oneshot(request).await.unwrap();
        assert_eq!(layer.handle().stopped(StopReason::Pushback), 1, "{values:?}");
    }
}

#[tokio::test]
async fn a_body_over_no_cap_at_all_is_sent_once() {
    for (cap, calls_expected) in [(0, 1), (usize::MAX, 3)] {
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&calls);
        let service = service_fn(move |request: Request<AnyBody>| {
            counted.fetch_add(1, Ordering::Relaxed);
            async {
                let sent = request.into_body().collect().await?.to_bytes();
                assert_eq!(sent, "body");
                Ok::<_, BoxError>(unavailable_response())
            }
        });
        let layer = RetryLayer::new(3).backoff(Backoff::none());
        let layer = layer.http_with(Http::new().max_replay_body(cap));
        let request = Request::put("/").body(loopback::chunks(&["body"])).unwrap();
        ServiceBuilder::new().layer(layer).service(service).oneshot(request).await.unwrap();
        assert_eq!(calls.load(Ordering::Relaxed), calls_expected);
    }
}

fn unavailable_response() -> Response<Empty<bytes::Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}
