//! What an intermediary answers in the service's place.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, http::HeaderName, response::IntoResponse};
use buttress::{Backoff, HttpExt, RetryLayer, http_grpc::Http};
use http::StatusCode;
use loopback::{background, channel, serve};
use tonic::{Code, Request};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::ServiceBuilder;

type Page = (StatusCode, Vec<(HeaderName, &'static str)>);

/// A proxy that gives up on an upstream which works on: each call it passes on is still running when
/// the caller is answered with `page`.
async fn proxy(page: Page) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let running = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&running);
    let app = Router::new().fallback(move || {
        count.fetch_add(1, Ordering::Relaxed);
        background(pending::<()>());
        let (status, fields) = page.clone();
        async move { (status, axum::response::AppendHeaders(fields)).into_response() }
    });
    (serve(app).await.unwrap(), running)
}

/// How often a call reaches the upstream behind such a proxy, and how the call ends.
async fn calls(page: Page, http: Http, key: Option<&'static str>) -> (usize, Code) {
    let (address, running) = proxy(page).await;
    let retry = RetryLayer::new(3).backoff(Backoff::constant(Duration::from_millis(1)));
    let stack =
        ServiceBuilder::new().layer(retry.http_with(http)).service(channel(address).unwrap());
    let mut request = Request::new(HealthCheckRequest::default());
    if let Some(key) = key {
        request.metadata_mut().insert("idempotency-key", key.parse().unwrap());
    }
    let status = HealthClient::new(stack).check(request).await.unwrap_err();
    (running.load(Ordering::Relaxed), status.code())
}

fn page(status: u16) -> Page {
    (StatusCode::from_u16(status).unwrap(), vec![(http::header::CONTENT_TYPE, "text/html")])
}

fn unavailable(status: u16) -> Page {
    let grpc = (http::header::CONTENT_TYPE, "application/grpc");
    let code = (HeaderName::from_static("grpc-status"), "14");
    (StatusCode::from_u16(status).unwrap(), vec![grpc, code])
}

#[tokio::test]
async fn a_grpc_call_that_a_proxy_gave_up_on_is_sent_once() {
    for status in [429, 502, 503, 504] {
        let sent = calls(page(status), Http::new(), None).await;
        assert_eq!(sent, (1, Code::Unavailable), "{status}");
    }
    // With the error page that proxies are taught for gRPC.
    assert_eq!(calls(unavailable(204), Http::new(), None).await.0, 1);
}

#[tokio::test]
async fn a_grpc_call_that_a_proxy_gave_up_on_is_repeated_if_it_is_idempotent() {
    assert_eq!(calls(page(504), Http::new(), Some("\"17\"")).await.0, 3);
    assert_eq!(calls(page(504), Http::new().assume_idempotent(), None).await.0, 3);
    assert_eq!(calls(page(504), Http::new().only_marked_idempotent(), Some("\"17\"")).await.0, 3);
}

#[tokio::test]
async fn an_unmarked_grpc_call_is_sent_once_where_only_idempotent_ones_are_repeated() {
    // A server that is stopped may say so to the calls it is working on.
    assert_eq!(calls(unavailable(200), Http::new(), None).await, (3, Code::Unavailable));
    let only = Http::new().only_marked_idempotent();
    assert_eq!(calls(unavailable(200), only, None).await, (1, Code::Unavailable));
}
