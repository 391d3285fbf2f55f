//! Which answers are kept, as requests and responses say.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::time::Duration;

use axum::{Router, routing::get};
use buttress::{Cache, DedupLayer, Http, HttpExt, ThrottleLayer, layer_api::ByMode};
use http::{HeaderName, Method, Request, StatusCode, header::CONTENT_LENGTH};
use http_body_util::BodyExt;
use loopback::{
    Gated, Headers, Origin, Work, answer, ask, ask_for, get_of, http1, nothing, read, serve,
    streams, three, until,
};
use tokio::task::JoinSet;
use tower::{ServiceBuilder, ServiceExt};

const OK: StatusCode = StatusCode::OK;
const LONG: Duration = Duration::from_secs(600);

/// Keeps everything that may be.
fn keep() -> DedupLayer<Http, ByMode, Cache> {
    let keep =
        Cache::new(LONG).negative_ttl(LONG).stale_while_revalidate(LONG).stale_if_error(LONG);
    DedupLayer::new().cache(keep).http()
}

/// Whether an answer to such a request is kept, so that the second caller gets it too.
async fn is_kept(request: Headers, status: u16, response: Headers) -> bool {
    let status = StatusCode::from_u16(status).unwrap();
    let origin = Origin::new(move |_, call| Ok(answer(status, response, call.to_string())));
    let layer = keep();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(origin.clone());
    for _ in 0..2 {
        let response = stack.clone().oneshot(ask(Method::GET, "/", request)).await.unwrap();
        assert_eq!(response.status(), status);
        read(response).await;
    }
    let is_kept = layer.handle().cache_entries() == 1;
    assert_eq!(
        (origin.calls(), layer.handle().cache_hits()),
        if is_kept { (1, 1) } else { (2, 0) }
    );
    is_kept
}

#[tokio::test(start_paused = true)]
async fn response_directives_decide_about_caching() {
    let table: [(u16, Headers, bool); 27] = [
        (200, &[], true),
        (200, &[("cache-control", "public")], true),
        (200, &[("cache-control", "max-age=60")], true),
        (200, &[("cache-control", "max-age=60, must-revalidate")], true),
        (200, &[("cache-control", "max-age=0, must-revalidate")], false),
        (200, &[("cache-control", "private")], false),
        (200, &[("cache-control", "private, max-age=60")], false),
        (200, &[("cache-control", "private=\"set-cookie\", max-age=60")], false),
        (200, &[("cache-control", "no-store")], false),
        (200, &[("cache-control", "max-age=60"), ("cache-control", "No-Store")], false),
        (200, &[("cache-control", "no-cache")], false),
        (200, &[("pragma", "no-cache")], false),
        (200, &[("set-cookie", "a=b")], false),
        (200, &[("set-cookie", "a=b"), ("cache-control", "public, max-age=60")], false),
        (200, &[("vary", "accept")], true),
        (200, &[("vary", "*")], false),
        (200, &[("vary", "x-tenant"), ("cache-control", "public, max-age=60")], true),
        (200, &[("vary", "x-request-id"), ("cache-control", "public, max-age=60")], false),
        (200, &[("content-type", "application/grpc")], false),
        (200, &[("content-type", "text/event-stream")], false),
        (206, &[("cache-control", "max-age=60")], false),
        (301, &[], true),
        (302, &[], false),
        (302, &[("cache-control", "max-age=60")], true),
        (404, &[], true),
        (403, &[], false),
        (410, &[("cache-control", "no-store")], false),
    ];
    for (status, response, expected) in table {
        assert_eq!(is_kept(&[], status, response).await, expected, "{status} {response:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn request_directives_decide_about_caching() {
    const MAY: Headers = &[("cache-control", "max-age=60")];
    const PUBLIC: Headers = &[("cache-control", "max-age=60, public")];
    const REVALIDATED: Headers = &[("cache-control", "max-age=60, must-revalidate")];
    const BY_SHARED: Headers = &[("cache-control", "s-maxage=60")];
    let table: [(Headers, Headers, bool); 12] = [
        (&[("authorization", "alice")], &[], false),
        (&[("authorization", "alice")], MAY, false),
        (&[("authorization", "alice")], PUBLIC, true),
        (&[("authorization", "alice")], REVALIDATED, true),
        (&[("authorization", "alice")], BY_SHARED, true),
        // For the cookie is part of the key.
        (&[("cookie", "alice")], MAY, true),
        (&[("cache-control", "no-store")], MAY, false),
        (&[("cache-control", "no-cache")], MAY, false),
        (&[("cache-control", "max-stale")], MAY, true),
        (&[("pragma", "no-cache")], MAY, false),
        (&[("range", "bytes=0-")], MAY, false),
        (&[("if-none-match", "\"a\"")], MAY, false),
    ];
    for (request, response, expected) in table {
        assert_eq!(is_kept(request, 200, response).await, expected, "{request:?} {response:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_never_cached_despite_its_headers() {
    const KEEP_IT: Headers = &[("cache-control", "public, max-age=60")];
    for status in [408, 425, 429, 500, 502, 503, 504] {
        for response in [&[], KEEP_IT] {
            assert!(!is_kept(&[], status, response).await, "{status} {response:?}");
        }
    }
}

/// It looks like an answer of the service, and there is time for what is kept.
#[tokio::test(start_paused = true)]
async fn a_rejection_of_a_layer_below_is_never_cached() {
    let (work, origin) = (Work::default(), Origin::new(|_, _| Ok(answer(OK, &[], "there"))));
    let (layer, limit) = (keep(), ThrottleLayer::concurrency(1).http());
    let limited = ServiceBuilder::new().layer(limit.clone());
    let limited = limited.service(Gated::new(work.clone(), origin));
    let stack = ServiceBuilder::new().layer(layer.clone()).service(limited.clone());
    let mut running = JoinSet::new();
    running.spawn(limited.oneshot(ask_for("/other")));
    until(|| work.running() == 1).await;
    for _ in 0..3 {
        let rejected = stack.clone().oneshot(ask_for("/")).await.unwrap();
        assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    assert_eq!((limit.handle().rejected(), layer.handle().cache_entries()), (3, 0));
    work.allow(2);
    read(running.join_next().await.unwrap().unwrap().unwrap()).await;
    assert_eq!(read(stack.oneshot(ask_for("/")).await.unwrap()).await, "there");
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_or_too_long_body_is_not_cached() {
    let origin = Origin::new(|request, _| Ok(answer(OK, &[], request.uri().path().to_owned())));
    let layer = DedupLayer::new().cache(Cache::new(LONG));
    let layer = layer.http_with(Http::new().max_shared_body(8));
    let stack = ServiceBuilder::new().layer(layer.clone()).service(origin.clone());
    assert_eq!(three(&stack, &origin, || ask_for("/1234567")).await, 1);
    assert_eq!(three(&stack, &origin, || ask_for("/12345678")).await, 3);
    let dropped = stack.clone().oneshot(ask_for("/unread")).await.unwrap();
    drop(dropped);
    assert_eq!((layer.handle().cache_entries(), layer.handle().in_flight()), (1, 0));
    assert_eq!(three(&stack, &origin, || ask_for("/unread")).await, 1);
}

#[tokio::test]
async fn a_body_that_fails_midway_is_not_cached() {
    let (streams, mut writers) = streams();
    let app = Router::new().route("/", get(async move || streams.respond()));
    let address = serve(app).await.unwrap();
    let layer = keep();
    let stack = ServiceBuilder::new().layer(layer.clone()).service(http1());
    for _ in 0..2 {
        let response = stack.clone().oneshot(get_of(address, "")).await.unwrap();
        let writer = writers.next().await;
        writer.write("half of");
        writer.fail();
        response.into_body().collect().await.unwrap_err();
        assert_eq!((layer.handle().cache_entries(), layer.handle().in_flight()), (0, 0));
    }
    let response = stack.clone().oneshot(get_of(address, "")).await.unwrap();
    let writer = writers.next().await;
    writer.write("all of it");
    drop(writer);
    assert_eq!(read(response).await, "all of it");
    assert_eq!(read(stack.oneshot(get_of(address, "")).await.unwrap()).await, "all of it");
}

/// On the server a handler of axum has made a body for a `HEAD` too. Nobody reads it, so it is not kept.
#[tokio::test]
async fn a_head_is_kept_for_heads_with_its_length_and_a_get_for_gets() {
    let work = Work::default();
    work.allow(9);
    let handler = {
        let work = work.clone();
        async move || format!("call {}", work.call().await)
    };
    let (server, client) = (keep(), keep());
    let app = Router::new().route("/", get(handler)).layer(server.clone());
    let address = serve(app).await.unwrap();
    let stack = ServiceBuilder::new().layer(client.clone()).service(http1());
    for round in 0..3 {
        let head = Request::head(format!("http://{address}/")).body(nothing()).unwrap();
        let head = stack.clone().oneshot(head).await.unwrap();
        assert_eq!(head.headers()[CONTENT_LENGTH], "6");
        assert!(read(head).await.is_empty());
        let whole = stack.clone().oneshot(get_of(address, "")).await.unwrap();
        assert_eq!(whole.headers()[CONTENT_LENGTH], "6");
        assert_eq!(read(whole).await, "call 2");
        until(|| server.handle().in_flight() == 0).await;
        assert_eq!((work.calls(), client.handle().cache_hits()), (2, 2 * round));
    }
    assert_eq!((client.handle().cache_entries(), server.handle().cache_entries()), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn each_target_has_an_entry_per_tenant_unless_the_tenant_header_is_ignored() {
    let origin = Origin::new(|request, call| {
        let headers: Headers = &[("vary", "accept-language, x-tenant")];
        let language = request.headers().get("accept-language");
        let language = language.map_or("none", |language| language.to_str().unwrap());
        Ok(answer(OK, headers, format!("{language} {call}")))
    });
    let with = |language: &'static str, tenant: &'static str| {
        let mut request = ask_for("/");
        request.headers_mut().insert("accept-language", language.parse().unwrap());
        request.headers_mut().insert("x-tenant", tenant.parse().unwrap());
        request
    };
    let http = Http::new().ignore_headers([HeaderName::from_static("x-tenant")]);
    let layer = DedupLayer::new().cache(Cache::new(LONG)).http_with(http);
    let ignored = ServiceBuilder::new().layer(layer).service(origin.clone());
    assert_eq!(three(&ignored, &origin, || with("de", "a")).await, 3);
    let named = ServiceBuilder::new().layer(keep()).service(origin.clone());
    for (language, tenant) in [("de", "a"), ("en", "a"), ("de", "b"), ("de", "")] {
        assert_eq!(three(&named, &origin, || with(language, tenant)).await, 1);
    }
    let again = named.oneshot(with("en", "a")).await.unwrap();
    assert!(read(again).await.starts_with(b"en"));
}
