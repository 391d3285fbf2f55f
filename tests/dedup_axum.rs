//! One handler call for many clients of an axum server.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    handler::Handler,
    routing::{any, get},
};
use buttress::{DeadlineLayer, DedupHandle, DedupLayer, Http, HttpExt, ThrottleLayer};
use bytes::Bytes;
use http::{Request, StatusCode, header::CONTENT_LENGTH};
use loopback::{AnyBody, Work, get_of, http1, http2, nothing, read, serve, until};
use tokio::task::JoinSet;
use tower::{ServiceBuilder, ServiceExt};

fn dedup() -> DedupLayer<Http> {
    DedupLayer::new().http()
}

/// What each of a number of clients was answered.
type Answers = JoinSet<(StatusCode, Bytes)>;

fn send(answers: &mut Answers, request: Request<AnyBody>) {
    answers.spawn(async move {
        let response = http1().request(request).await.unwrap();
        (response.status(), read(response).await)
    });
}

/// Lets ten clients ask for one URL, and says what they were answered.
async fn ten_ask(address: SocketAddr, path: &str, handle: &DedupHandle, work: &Work) -> Vec<Bytes> {
    let mut answers = Answers::new();
    for _ in 0..10 {
        send(&mut answers, get_of(address, path));
    }
    until(|| handle.waiters() == 10).await;
    work.allow(1);
    let answers = answers.join_all().await.into_iter();
    answers.map(|(status, body)| (status == StatusCode::OK).then_some(body).unwrap()).collect()
}

#[tokio::test]
async fn concurrent_clients_share_one_call_at_each_place_of_a_router() {
    let work = Work::default();
    let handler = {
        let work = work.clone();
        async move || work.call().await.to_string()
    };
    let path = |router: Router| Router::new().nest("/nested", router);
    let of = |put: &dyn Fn(DedupLayer<Http>) -> Router| {
        let layer = dedup();
        let handle = layer.handle();
        (path(put(layer)), handle)
    };
    let apps = [
        of(&|layer| Router::new().route("/", get(handler.clone())).layer(layer)),
        of(&|layer| Router::new().route("/", get(handler.clone())).route_layer(layer)),
        of(&|layer| Router::new().route("/", get(handler.clone()).layer(layer))),
        of(&|layer| Router::new().route("/", get(handler.clone()).route_layer(layer))),
        // Here the layer makes a new service for every request.
        of(&|layer| Router::new().route("/", get(handler.clone().layer(layer)))),
        of(&|layer| Router::new().fallback(handler.clone().layer(layer))),
    ];
    for (round, (app, handle)) in (1..).zip(apps) {
        let address = serve(app).await.unwrap();
        let answers = ten_ask(address, "nested", &handle, &work).await;
        assert_eq!(answers, vec![Bytes::from(round.to_string()); 10]);
        assert_eq!((handle.leaders(), handle.followers(), handle.bypassed()), (1, 9, 0));
        until(|| (handle.in_flight(), handle.waiters()) == (0, 0)).await;
    }
}

#[tokio::test]
async fn services_made_one_by_one_share_a_flight() {
    let (work, layer) = (Work::default(), dedup());
    let app = || {
        let work = work.clone();
        Router::new()
            .route("/", get(async move || work.call().await.to_string()))
            .layer(layer.clone())
    };
    let mut answers = JoinSet::new();
    for _ in 0..10 {
        let request = Request::get("/").body(nothing()).unwrap();
        answers.spawn(app().oneshot(request));
    }
    until(|| layer.handle().waiters() == 10).await;
    work.allow(1);
    for answer in answers.join_all().await {
        assert_eq!(read(answer.unwrap()).await, "1");
    }
}

#[tokio::test]
async fn other_urls_methods_and_hosts_are_other_calls() {
    let (work, layer) = (Work::default(), dedup());
    let handler = {
        let work = work.clone();
        async move || work.call().await.to_string()
    };
    let app = Router::new().fallback(any(handler)).layer(layer.clone());
    let address = serve(app).await.unwrap();
    let host = |host: &'static str| {
        let mut request = get_of(address, "");
        request.headers_mut().insert("host", http::HeaderValue::from_static(host));
        request
    };
    let head = || Request::head(format!("http://{address}/")).body(nothing()).unwrap();
    let requests = || {
        let paths = ["", "?", "?a", "a", "a/", "A", "%61"].map(|path| get_of(address, path));
        paths.into_iter().chain([head(), host("other"), host("OTHER"), host("other:80")])
    };
    let mut answers = Answers::new();
    for request in requests().chain(requests()) {
        send(&mut answers, request);
    }
    until(|| layer.handle().waiters() == 22).await;
    assert_eq!(work.calls(), 11);
    work.allow(11);
    answers.join_all().await;
    assert_eq!((layer.handle().leaders(), layer.handle().followers()), (11, 11));
}

#[tokio::test]
async fn unsafe_methods_bypass_deduplication() {
    let (work, layer) = (Work::default(), dedup());
    let handler = {
        let work = work.clone();
        async move || work.call().await.to_string()
    };
    let app = Router::new().fallback(any(handler)).layer(layer.clone());
    let address = serve(app).await.unwrap();
    let mut answers = Answers::new();
    for method in ["POST", "POST", "PUT", "PUT", "DELETE", "DELETE", "PATCH", "OPTIONS", "OPTIONS"]
    {
        let request = Request::builder().method(method).uri(format!("http://{address}/"));
        send(&mut answers, request.body(nothing()).unwrap());
    }
    until(|| work.running() == 9).await;
    assert_eq!((layer.handle().bypassed(), layer.handle().in_flight()), (9, 0));
    work.allow(9);
    let mut served: Vec<_> = answers.join_all().await.into_iter().map(|(_, body)| body).collect();
    served.sort_unstable();
    served.dedup();
    assert_eq!(served.len(), 9, "two clients had one answer");
}

#[tokio::test]
async fn a_head_response_keeps_its_content_length() {
    let (work, layer) = (Work::default(), dedup());
    let handler = {
        let work = work.clone();
        async move || format!("of call {}", work.call().await)
    };
    let address = serve(Router::new().route("/", get(handler)).layer(layer.clone())).await.unwrap();
    for client in [http1(), http2()] {
        let mut heads = JoinSet::new();
        for _ in 0..4 {
            let request = Request::head(format!("http://{address}/")).body(nothing()).unwrap();
            heads.spawn(client.request(request));
        }
        until(|| layer.handle().waiters() == 4).await;
        work.allow(1);
        for response in heads.join_all().await {
            let response = response.unwrap();
            assert_eq!(response.headers()[CONTENT_LENGTH], "9");
            assert!(read(response).await.is_empty());
        }
        until(|| layer.handle().in_flight() == 0).await;
    }
    assert_eq!((layer.handle().leaders(), work.calls()), (2, 2));
}

#[tokio::test]
async fn a_dedup_layer_works_between_other_layers_and_over_itself() {
    let (work, layer) = (Work::default(), dedup());
    let handler = {
        let work = work.clone();
        async move || work.call().await.to_string()
    };
    let limit = ThrottleLayer::concurrency(1).http();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(Duration::from_secs(20)).http())
        .layer(dedup().named("outer"))
        .layer(layer.clone())
        .layer(limit.clone());
    let app = Router::new().route("/", get(handler)).layer(stack);
    let address = serve(app).await.unwrap();
    let mut answers = Answers::new();
    for _ in 0..10 {
        send(&mut answers, get_of(address, ""));
    }
    until(|| work.running() == 1 && layer.handle().waiters() == 1).await;
    work.allow(1);
    for (status, body) in answers.join_all().await {
        assert_eq!((status, body), (StatusCode::OK, Bytes::from("1")));
    }
    until(|| limit.handle().in_flight() == 0).await;
    assert_eq!((limit.handle().admitted(), limit.handle().rejected()), (1, 0));
}

#[tokio::test]
async fn a_panic_is_a_500_for_all_callers_and_the_next_call_is_fresh() {
    let (work, layer) = (Work::default(), dedup());
    let handler = {
        let work = work.clone();
        async move || match work.call().await {
            1 => panic!("as told"),
            call => call.to_string(),
        }
    };
    let address = serve(Router::new().route("/", get(handler)).layer(layer.clone())).await.unwrap();
    let mut answers = Answers::new();
    for _ in 0..10 {
        send(&mut answers, get_of(address, ""));
    }
    until(|| layer.handle().waiters() == 10).await;
    work.allow(2);
    for (status, _) in answers.join_all().await {
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    }
    assert_eq!((work.calls(), layer.handle().panics(), layer.handle().in_flight()), (1, 1, 0));
    let response = http1().request(get_of(address, "")).await.unwrap();
    assert_eq!(read(response).await, "2");
}

#[tokio::test]
async fn a_panic_that_goes_on_cuts_one_connection_only() {
    let (work, layer) = (Work::default(), dedup().resume_panics());
    let handler = {
        let work = work.clone();
        async move || match work.call().await {
            1 => panic!("as told"),
            call => call.to_string(),
        }
    };
    let address = serve(Router::new().route("/", get(handler)).layer(layer.clone())).await.unwrap();
    let mut answers = JoinSet::new();
    for _ in 0..10 {
        answers.spawn(http1().request(get_of(address, "")));
    }
    until(|| layer.handle().waiters() == 10).await;
    work.allow(1);
    let answers = answers.join_all().await;
    let answered = answers.iter().filter_map(|answer| answer.as_ref().ok());
    let statuses: Vec<_> = answered.map(hyper::Response::status).collect();
    assert_eq!(statuses, vec![StatusCode::INTERNAL_SERVER_ERROR; 9]);
}

/// A nested router sees a path without its prefix, and so does a layer in it.
#[tokio::test]
async fn below_a_prefix_that_is_taken_off_each_router_has_a_layer_of_its_own() {
    let router = |name: &'static str| Router::new().route("/x", get(async move || name));
    let apart =
        Router::new().nest("/a", router("a").layer(dedup())).nest("/b", router("b").layer(dedup()));
    let above = Router::new().nest("/a", router("a")).nest("/b", router("b")).layer(dedup());
    for app in [apart, above] {
        let address = serve(app).await.unwrap();
        for (path, expected) in [("a/x", "a"), ("b/x", "b")] {
            let response = http1().request(get_of(address, path)).await.unwrap();
            assert_eq!(read(response).await, expected);
        }
    }
}

#[tokio::test]
async fn each_response_type_of_a_handler_can_be_shared() {
    async fn failing() -> Result<&'static str, (StatusCode, String)> {
        Err((StatusCode::CONFLICT, "taken".to_owned()))
    }
    let app = Router::new()
        .route("/text", get(async || "text"))
        .route("/bytes", get(async || vec![1_u8, 2, 3]))
        .route("/none", get(async || StatusCode::NO_CONTENT))
        .route("/failing", get(failing))
        .route("/body", get(async || axum::body::Body::from("body")))
        .layer(dedup());
    let address = serve(app).await.unwrap();
    for (path, status, body) in [
        ("text", StatusCode::OK, &b"text"[..]),
        ("bytes", StatusCode::OK, &[1, 2, 3]),
        ("none", StatusCode::NO_CONTENT, b""),
        ("failing", StatusCode::CONFLICT, b"taken"),
        ("body", StatusCode::OK, b"body"),
        ("missing", StatusCode::NOT_FOUND, b""),
    ] {
        let response = http1().request(get_of(address, path)).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
        assert_eq!(read(response).await, body, "{path}");
    }
}
