//! Rates in the words of HTTP and gRPC: what callers are told, and when they may come again.

#![expect(clippy::unwrap_used, reason = "what helps a test may panic as the test may")]

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body, response::Response, routing::any};
use buttress::{
    Backoff, DeadlineLayer, HttpExt, Rate, Rates, Reason, RetryLayer, StopReason, ThrottleLayer,
    http_grpc::ResponseHead,
};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use loopback::{Checkup, background, channel, http1, incoming, nothing, serve};
use tokio::time::{Instant, advance};
use tonic::{Code, transport::Server};
use tonic_health::pb::{
    HealthCheckRequest, health_client::HealthClient, health_server::HealthServer,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

const TENANT: HeaderName = HeaderName::from_static("x-tenant");
const CRITICALITY: HeaderName = HeaderName::from_static("x-criticality");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A router of handlers that answer at once; what stands before them is the test's.
fn app() -> Router {
    Router::new().fallback(any(async || "served"))
}

/// What `app` answers, without a socket between, so that time can be paused.
async fn ask(app: &Router, headers: &[(HeaderName, HeaderValue)]) -> Response {
    let mut request = Request::new(Body::empty());
    request.headers_mut().extend(headers.iter().cloned());
    app.clone().oneshot(request).await.unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_call_over_the_rate_is_answered_with_429_and_when_to_come_again() {
    let app = app().layer(ThrottleLayer::rate(Rate::per_minute(2)).named("api").http());
    for _ in 0..2 {
        assert_eq!(ask(&app, &[]).await.status(), StatusCode::OK);
    }
    advance(Duration::from_millis(100)).await;
    for _ in 0..2 {
        let rejected = ask(&app, &[]).await;
        assert_eq!(rejected.status(), StatusCode::TOO_MANY_REQUESTS);
        // 29.9 s, in whole seconds.
        assert_eq!(header(&rejected, "retry-after"), Some("30"));
        let rejection = rejected.rejection().unwrap();
        assert_eq!(rejection.origin().to_string(), "throttle `api`");
        assert_eq!(rejection.reason(), Reason::RateLimited);
        assert_eq!(rejection.retry_after(), Some(Duration::from_millis(29_900)));
        assert_eq!(header(&rejected, "ratelimit"), None);
    }
    advance(Duration::from_millis(29_900)).await;
    assert_eq!(ask(&app, &[]).await.status(), StatusCode::OK);
    assert_eq!(ask(&app, &[]).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(start_paused = true)]
async fn an_advertised_rate_is_in_every_response() {
    let app =
        app().layer(ThrottleLayer::rate(Rate::per_minute(2)).named("api").advertise_quota().http());
    let told = [
        (StatusCode::OK, "\"api\";r=1;t=30", None),
        (StatusCode::OK, "\"api\";r=0;t=60", None),
        (StatusCode::TOO_MANY_REQUESTS, "\"api\";r=0;t=60", Some("30")),
    ];
    for (status, limit, retry_after) in told {
        let response = ask(&app, &[]).await;
        assert_eq!(response.status(), status);
        assert_eq!(header(&response, "ratelimit-policy"), Some("\"api\";q=2;w=60"));
        assert_eq!(header(&response, "ratelimit"), Some(limit));
        assert_eq!(header(&response, "retry-after"), retry_after);
    }
}

#[tokio::test(start_paused = true)]
async fn each_of_several_rates_is_advertised_and_the_longest_wait_counts() {
    let rates = Rates::new(Rate::per_second(2)).and(Rate::per_minute(3));
    let app = app().layer(ThrottleLayer::rates(rates).named("api").advertise_quota().http());
    let told = ["\"api-1\";r=1;t=1,\"api-2\";r=2;t=20", "\"api-1\";r=0;t=1,\"api-2\";r=1;t=40"];
    for limit in told {
        let response = ask(&app, &[]).await;
        let policy = "\"api-1\";q=2;w=1,\"api-2\";q=3;w=60";
        assert_eq!(header(&response, "ratelimit-policy"), Some(policy));
        assert_eq!(header(&response, "ratelimit"), Some(limit));
    }
    assert_eq!(header(&ask(&app, &[]).await, "retry-after"), Some("1"));
    advance(seconds(1)).await;
    assert_eq!(ask(&app, &[]).await.status(), StatusCode::OK);
    assert_eq!(header(&ask(&app, &[]).await, "retry-after"), Some("19"));
}

/// What a request weighs is what its client says of it.
fn by_length(request: &axum::extract::Request) -> u32 {
    let length = request.headers().get(http::header::CONTENT_LENGTH);
    length.and_then(|length| length.to_str().ok()?.parse().ok()).unwrap_or(1)
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_fits_is_answered_with_413_without_retry_after() {
    let layer =
        ThrottleLayer::rate(Rate::per_second(100)).cost(by_length).queue(9).advertise_quota();
    let layer = layer.http();
    let app = app().layer(layer.clone());
    let length = |bytes| (http::header::CONTENT_LENGTH, HeaderValue::from_static(bytes));
    let rejected = ask(&app, &[length("101")]).await;
    assert_eq!(rejected.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(header(&rejected, "retry-after"), None);
    assert_eq!(header(&rejected, "ratelimit"), Some("\"throttle\";r=100;t=0"));
    assert_eq!(rejected.rejection().unwrap().reason(), Reason::NeverAdmissible);
    let rejected = ask(&app, &[length("101"), (http::header::CONTENT_TYPE, GRPC)]).await;
    assert_eq!(header(&rejected, "grpc-status"), Some("8"));
    assert_eq!(header(&rejected, "grpc-retry-pushback-ms"), Some("-1"));
    assert_eq!(ask(&app, &[length("100")]).await.status(), StatusCode::OK);
    assert_eq!(layer.handle().tokens(), 0);
    assert_eq!(layer.handle().rejected(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_tenant_has_a_rate_of_its_own_and_is_told_of_no_other() {
    let tenant = |request: &axum::extract::Request| request.headers().get(TENANT).cloned();
    let layer = ThrottleLayer::rate(Rate::per_minute(1)).advertise_quota().keyed(tenant).http();
    let app = app().layer(layer.clone());
    for name in ["ada", "grace"] {
        let by = [(TENANT, HeaderValue::from_static(name))];
        let served = ask(&app, &by).await;
        assert_eq!(header(&served, "ratelimit"), Some("\"throttle\";r=0;t=60"));
        let rejected = ask(&app, &by).await;
        assert_eq!(rejected.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    for _ in 0..3 {
        let unlimited = ask(&app, &[]).await;
        assert_eq!(unlimited.status(), StatusCode::OK);
        assert_eq!(header(&unlimited, "ratelimit"), None);
    }
    assert_eq!(layer.handle().keys(), 2);
    assert_eq!(layer.handle().rejected(), 2);
    advance(seconds(60)).await;
    assert_eq!(layer.handle().keys(), 0);
}

/// Another hour passes before a busy machine is slow enough to matter.
#[tokio::test]
async fn one_rate_counts_over_all_connections_and_routes() {
    let layer = ThrottleLayer::rate(Rate::per_hour(5)).http();
    let app = Router::new().route("/a", any(async || "served")).layer(layer.clone());
    let app = app.merge(Router::new().route("/b", any(async || "served")).route_layer(layer));
    let address = serve(app).await.unwrap();
    let mut served = 0;
    for path in ["a", "b"].into_iter().cycle().take(20) {
        let request = Request::get(format!("http://{address}/{path}")).body(nothing()).unwrap();
        let response = http1().request(request).await.unwrap();
        if response.status() == StatusCode::OK {
            served += 1;
        } else {
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            let delay: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((600..=720).contains(&delay), "{delay}");
        }
    }
    assert_eq!(served, 5);
}

#[tokio::test]
async fn a_stub_is_told_resource_exhausted_and_when_to_come_again() {
    let (address, incoming) = incoming().unwrap();
    let layer = ThrottleLayer::rate(Rate::per_hour(1)).named("health").http();
    let service = HealthServer::new(Checkup::default());
    let mut server = Server::builder().layer(layer.clone());
    background(server.add_service(service).serve_with_incoming(incoming));
    let mut client = HealthClient::new(channel(address).unwrap());
    let mut stream = client.watch(HealthCheckRequest::default()).await.unwrap().into_inner();
    let status = client.check(HealthCheckRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().starts_with("throttle `health`: rate limited"));
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
    let pushback: u64 = pushback.to_str().unwrap().parse().unwrap();
    assert!((3_000_000..=3_600_000).contains(&pushback), "{pushback}");
    // A stream has paid once, and runs to its end.
    for _ in 0..3 {
        assert!(stream.message().await.unwrap().is_some());
    }
    assert!(stream.message().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_retry_over_a_rate_comes_again_when_it_is_told_to_and_pays_nothing() {
    let layer = ThrottleLayer::rate(Rate::per_second(1)).http();
    let retry = RetryLayer::new(3).backoff(Backoff::none()).http();
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::new(seconds(10)).http())
        .layer(retry.clone())
        .layer(layer.clone())
        .service(service_fn(async |_: Request<String>| {
            Ok::<_, Infallible>(http::Response::new("served".to_owned()))
        }));
    let start = Instant::now();
    let balance = retry.handle().budget().balance();
    for call in 0..3 {
        let response = stack.clone().oneshot(Request::default()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(start.elapsed().as_secs(), call);
    }
    assert_eq!(retry.handle().retries(), 2);
    assert_eq!(layer.handle().rejected(), 2);
    assert!(retry.handle().budget().balance() >= balance);
    assert!(StopReason::ALL.iter().all(|stop| retry.handle().stopped(*stop) == 0));
}

#[tokio::test(start_paused = true)]
async fn calls_in_the_queue_of_a_rate_are_served_in_turn_and_one_that_cannot_wait_is_told_at_once()
{
    let layer = ThrottleLayer::rate(Rate::per_second(1)).queue(9).http();
    let app = app().layer(layer.clone()).layer(DeadlineLayer::new(seconds(2)).http());
    let start = Instant::now();
    let call = async || (ask(&app, &[]).await.status(), start.elapsed().as_secs());
    let outcomes = tokio::join!(call(), call(), call(), call());
    let served = |seconds| (StatusCode::OK, seconds);
    let rejected = (StatusCode::TOO_MANY_REQUESTS, 0);
    assert_eq!(outcomes, (served(0), served(1), served(2), rejected));
    assert_eq!(layer.handle().queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn over_a_rate_the_more_critical_waits_and_the_less_critical_makes_room() {
    let layer = ThrottleLayer::rate(Rate::per_second(1)).queue(1).http();
    let app = app().layer(layer.clone());
    assert_eq!(ask(&app, &[]).await.status(), StatusCode::OK);
    let by = |criticality| [(CRITICALITY, HeaderValue::from_static(criticality))];
    let (sheddable, critical) = (by("sheddable"), by("critical-plus"));
    let start = Instant::now();
    let (sheddable, critical) = tokio::join!(ask(&app, &sheddable), ask(&app, &critical));
    assert_eq!(critical.status(), StatusCode::OK);
    assert_eq!(start.elapsed(), seconds(1));
    assert_eq!(sheddable.status(), StatusCode::TOO_MANY_REQUESTS);
    // Behind the one that waits.
    assert_eq!(header(&sheddable, "retry-after"), Some("2"));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waited_is_told_what_is_left_when_it_goes() {
    let layer = ThrottleLayer::rate(Rate::per_minute(2)).queue(1).advertise_quota().http();
    let app = app().layer(layer);
    for _ in 0..2 {
        ask(&app, &[]).await;
    }
    let start = Instant::now();
    let waited = ask(&app, &[]).await;
    assert_eq!(start.elapsed(), seconds(30));
    assert_eq!(header(&waited, "ratelimit"), Some("\"throttle\";r=0;t=60"));
}

#[tokio::test(start_paused = true)]
async fn a_full_limit_says_when_to_come_again_if_it_was_told_to() {
    let full = || ThrottleLayer::concurrency(0).seed(1);
    let silent = app().layer(full().http());
    assert_eq!(header(&ask(&silent, &[]).await, "retry-after"), None);
    let app = app().layer(full().retry_after(seconds(20)).http());
    let mut told = Vec::new();
    for _ in 0..20 {
        let rejected = ask(&app, &[]).await;
        assert_eq!(rejected.status(), StatusCode::SERVICE_UNAVAILABLE);
        told.push(header(&rejected, "retry-after").unwrap().parse::<u64>().unwrap());
    }
    assert!(told.iter().all(|told| (20..=30).contains(told)), "{told:?}");
    assert!(told.iter().any(|one| *one != told[0]), "they do not all come back together: {told:?}");
    let rejected = ask(&app, &[(http::header::CONTENT_TYPE, GRPC)]).await;
    assert_eq!(header(&rejected, "grpc-status"), Some("14"));
    let pushback: u64 = header(&rejected, "grpc-retry-pushback-ms").unwrap().parse().unwrap();
    assert!((20_000..=30_000).contains(&pushback), "{pushback}");
}
